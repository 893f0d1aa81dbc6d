package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxBytes is the largest file of documents that is read.
const MaxBytes = 1 << 20

// Document is one YAML document of a file.
type Document struct {
	File string
	Root *Node
	// Problems are those that were met on the way from YAML to the nodes, such as a key that is there
	// twice. They matter only if the document is evenkeel's.
	Problems Problems
}

// APIVersion is the text under the document's apiVersion.
func (d Document) APIVersion() string {
	text, _ := d.Root.Get("apiVersion").Text()
	return text
}

// Kind is the text under the document's kind.
func (d Document) Kind() string {
	text, _ := d.Root.Get("kind").Text()
	return text
}

// Problem is a problem at a node of the document.
func (d Document) Problem(n *Node, format string, args ...any) Problem {
	return Problem{File: d.File, Line: n.Line, Column: n.Column, Path: n.Path(), Message: fmt.Sprintf(format, args...)}
}

// Parse reads the documents of a file, empty ones left out. A document that can't be read doesn't
// hide those after it.
func Parse(file string, data []byte) ([]Document, Problems) {
	if len(data) > MaxBytes {
		return nil, Problems{{File: file, Message: fmt.Sprintf(
			"the file has more than %d MiB, the most that a file of documents may have: split it up, or list it in .evenkeelignore if it isn't for evenkeel", MaxBytes>>20)}}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if p, ok := encoding(data); !ok {
		p.File = file
		return nil, Problems{p}
	}
	var docs []Document
	var problems Problems
	for _, c := range split(data) {
		roots, err := parseChunk(c.text)
		if err != nil {
			problems = append(problems, syntaxProblem(file, c, err))
		}
		for _, root := range roots {
			b := &builder{file: file, offset: c.line - 1}
			node := b.document(root)
			if node == nil {
				problems = append(problems, b.problems...)
				continue
			}
			docs = append(docs, Document{File: file, Root: node, Problems: b.problems})
		}
	}
	return docs, problems
}

// encoding looks for what isn't UTF-8 text.
func encoding(data []byte) (Problem, bool) {
	const remedy = "save the file as UTF-8"
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return Problem{Line: 1, Column: 1, Message: "the file is UTF-16: " + remedy}, false
	}
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := rune(data[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(data[i:])
		}
		var wrong string
		switch {
		case r == utf8.RuneError && size == 1:
			wrong = fmt.Sprintf("the byte 0x%02X isn't UTF-8 text (is it Latin-1?): %s", data[i], remedy)
		case r == 0:
			wrong = "a NUL byte (is it UTF-16, or no text at all?): " + remedy
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			wrong = fmt.Sprintf("the control character 0x%02X: remove it, or write it as \"\\x%02X\" in double quotes", r, r)
		}
		if wrong != "" {
			return Problem{Line: line, Column: column, Message: wrong}, false
		}
		if r == '\n' {
			line, column = line+1, 0
		}
		i, column = i+size, column+1
	}
	return Problem{}, true
}

// chunk is the text of one document, and the line of the file that it begins at.
type chunk struct {
	text []byte
	line int
}

// split cuts a file at its document markers. A line that begins with one is never anything else in
// YAML, not even inside a block of text.
func split(data []byte) []chunk {
	var chunks []chunk
	start, startLine, line := 0, 1, 0
	for pos := 0; pos < len(data); {
		next := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			next = pos + i + 1
		}
		line++
		text := data[pos:next]
		switch {
		case isMarker(text, "---") && !onlyDirectives(data[start:pos]):
			chunks = append(chunks, chunk{data[start:pos], startLine})
			start, startLine = pos, line
		case isMarker(text, "..."):
			chunks = append(chunks, chunk{data[start:next], startLine})
			start, startLine = next, line+1
		}
		pos = next
	}
	return append(chunks, chunk{data[start:], startLine})
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

// onlyDirectives says whether a text holds nothing but directives, comments and blank lines, which
// belong to the document that follows.
func onlyDirectives(text []byte) bool {
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// parseChunk reads the YAML of one document. The library's panics become errors: what it is given
// comes from anyone who can write to the repository.
func parseChunk(text []byte) (roots []*yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: can't be read: %v", r)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var root yaml.Node
		if err := decoder.Decode(&root); err != nil {
			if errors.Is(err, io.EOF) {
				return roots, nil
			}
			return roots, err
		}
		roots = append(roots, &root)
	}
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// remedies add what would be right to what the YAML library says.
var remedies = []struct{ said, remedy string }{
	{"mapping values are not allowed", `a colon and a space inside a value need quotes around it, and a key under another one must be indented further`},
	{"did not find expected key", "check the indentation of this line and those above it"},
	{"could not find expected ':'", "a key needs a colon and a space behind it"},
	{"did not find expected '-' indicator", "check the indentation: the items of a list begin in the same column"},
	{"cannot start any token", "quotes are needed around a value that begins with @, ` or %"},
	{"unexpected end of stream", "a quote or bracket is opened and never closed"},
	{"did not find expected ',' or", "a bracket is opened and never closed, or a comma is missing"},
	{"unknown anchor", "an alias such as *name needs an anchor &name above it in the same document"},
	{"incompatible YAML document", "remove the line that begins with %YAML"},
	{"block sequence entries are not allowed", "a list under a key begins on its own line"},
}

// syntaxProblem words what the YAML library says about a text that isn't YAML.
func syntaxProblem(file string, c chunk, err error) Problem {
	message, line := err.Error(), 1
	if m := yamlError.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	lines := bytes.Split(c.text, []byte("\n"))
	line = firstBad(lines, message, min(max(line, 1), len(lines)))
	if tab := tabLine(lines, line); tab > 0 {
		return Problem{File: file, Line: c.line + tab - 1, Column: 1 + bytes.IndexByte(lines[tab-1], '\t'),
			Message: "a tab in the indentation: YAML is indented with spaces only"}
	}
	message = "this isn't YAML: " + message
	for _, r := range remedies {
		if strings.Contains(message, r.said) {
			message += ": " + r.remedy
			break
		}
	}
	text := lines[line-1]
	return Problem{File: file, Line: c.line + line - 1, Column: 1 + len(text) - len(bytes.TrimLeft(text, " ")), Message: message}
}

// firstBad finds the line that an error is in: the library often names the line where the value began
// that it couldn't end. That is the last line of the shortest beginning of the text that has the same error.
func firstBad(lines [][]byte, message string, said int) int {
	const most = 5000 // lines; beyond that it would take longer than it is worth
	if len(lines) > most {
		return said
	}
	n := sort.Search(len(lines), func(i int) bool {
		_, err := parseChunk(bytes.Join(lines[:i+1], []byte("\n")))
		if err == nil {
			return false
		}
		m := yamlError.FindStringSubmatch(err.Error())
		return m != nil && m[2] == message
	})
	if n == len(lines) {
		return said
	}
	return n + 1
}

// tabLine finds a line near the given one that is indented with a tab: the library names that line
// or the one before, and calls it a character that can't start a token.
func tabLine(lines [][]byte, near int) int {
	for n := max(near-1, 1); n <= min(near+1, len(lines)); n++ {
		text := lines[n-1]
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if bytes.IndexByte(indent, '\t') >= 0 && len(bytes.TrimSpace(text)) > 0 {
			return n
		}
	}
	return 0
}
