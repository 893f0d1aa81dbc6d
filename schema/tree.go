package schema

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What a document may hold once its aliases are resolved. A few lines of aliases of aliases would
// otherwise fill the memory.
const (
	maxNodes = 100_000
	maxDepth = 60
)

// builder turns the YAML library's nodes into ours: aliases and merge keys resolved, each key once.
type builder struct {
	file     string
	offset   int // lines of the file before this document
	count    int
	stopped  bool // a limit was reached; what is built is not the whole
	problems Problems
}

// document builds a document; nil where it is empty or too large.
func (b *builder) document(y *yaml.Node) *Node {
	if y.Kind == yaml.DocumentNode && len(y.Content) > 0 {
		y = y.Content[0]
	}
	if y.Kind == 0 || y.Kind == yaml.ScalarNode && y.ShortTag() == "!!null" {
		return nil
	}
	root := b.build(y, &Node{}, 0)
	if b.stopped {
		return nil
	}
	return root
}

func (b *builder) problem(n *Node, format string, args ...any) {
	b.problems = append(b.problems, Problem{File: b.file, Line: n.Line, Column: n.Column, Path: n.Path(), Message: fmt.Sprintf(format, args...)})
}

// stop ends the building: what would follow is the same problem again and again.
func (b *builder) stop(n *Node, format string, args ...any) {
	if !b.stopped {
		b.problem(n, format, args...)
		b.problems[len(b.problems)-1].Path = "" // it would be as long as the document is deep
	}
	b.stopped = true
}

// build fills n, which knows its parent already, from y.
func (b *builder) build(y *yaml.Node, n *Node, depth int) *Node {
	n.Line, n.Column = y.Line+b.offset, y.Column
	b.count++
	switch {
	case b.stopped:
		return n
	case b.count > maxNodes:
		b.stop(n, "the document has more than %d values once its aliases are resolved: split it up", maxNodes)
		return n
	case depth > maxDepth:
		b.stop(n, "nested more than %d deep, or an alias that holds itself", maxDepth)
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return b.build(y.Alias, n, depth+1)
	case yaml.SequenceNode:
		n.Kind = List
		n.Items = make([]*Node, len(y.Content))
		for i, item := range y.Content {
			n.Items[i] = b.build(item, &Node{parent: n, at: i}, depth+1)
		}
	case yaml.MappingNode:
		n.Kind = Map
		b.entries(y, n, depth)
	default:
		b.scalar(y, n)
	}
	return n
}

// entries fills a map: its own keys first, then those that it merges and doesn't have itself.
func (b *builder) entries(y *yaml.Node, n *Node, depth int) {
	n.Entries = make([]Entry, 0, len(y.Content)/2)
	lines := make(map[string]*yaml.Node, len(y.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.Kind == yaml.AliasNode && key.Alias != nil {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			b.problem(&Node{Line: key.Line + b.offset, Column: key.Column, parent: n.parent, key: n.key, at: n.at},
				"a list or a map as a key: keys are text")
			continue
		}
		if key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		if first, ok := lines[key.Value]; ok {
			b.problem(&Node{Line: key.Line + b.offset, Column: key.Column, parent: n, key: key.Value},
				"this key is here twice, first at line %d, column %d: remove one", first.Line+b.offset, first.Column)
			continue
		}
		lines[key.Value] = key
		b.entry(key, value, n, depth)
	}
	for _, merge := range merges {
		b.merge(merge, n, lines, depth+1)
	}
}

func (b *builder) entry(key, value *yaml.Node, n *Node, depth int) {
	built := b.build(value, &Node{parent: n, key: key.Value}, depth+1)
	n.Entries = append(n.Entries, Entry{Key: key.Value, Line: key.Line + b.offset, Column: key.Column, Value: built})
}

// merge adds what a merge key (<<) brings in: a map, an alias of one, or a list of those.
func (b *builder) merge(y *yaml.Node, n *Node, have map[string]*yaml.Node, depth int) {
	if b.count++; b.count > maxNodes || depth > maxDepth {
		b.stop(n, "merge keys (<<) that nest too deep or hold themselves")
		return
	}
	switch {
	case y.Kind == yaml.AliasNode && y.Alias != nil:
		b.merge(y.Alias, n, have, depth+1)
	case y.Kind == yaml.SequenceNode:
		for _, item := range y.Content {
			b.merge(item, n, have, depth+1)
		}
	case y.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(y.Content) && !b.stopped; i += 2 {
			key, value := y.Content[i], y.Content[i+1]
			if key.Kind != yaml.ScalarNode {
				continue // reported where the map was written
			}
			if key.ShortTag() == "!!merge" {
				b.merge(value, n, have, depth+1)
			} else if _, ok := have[key.Value]; !ok {
				have[key.Value] = key
				b.entry(key, value, n, depth)
			}
		}
	default:
		b.problem(&Node{Line: y.Line + b.offset, Column: y.Column, parent: n, key: "<<"},
			"a merge key takes a map, an alias of one, or a list of those")
	}
}

var (
	plainInt   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	plainFloat = regexp.MustCompile(`^-?(0|[1-9][0-9]*)\.[0-9]+$`)
)

// scalar reads a single value. A date is text, as it is in YAML 1.2: nothing of ours is one, and
// `restart: 2026-11-20` should just work.
func (b *builder) scalar(y *yaml.Node, n *Node) {
	n.Raw = y.Value
	n.Quoted = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch tag := y.ShortTag(); tag {
	case "!!null":
		n.Kind = Null
	case "!!bool":
		n.Kind, n.value = Bool, strings.EqualFold(y.Value, "true")
	case "!!int", "!!float":
		n.Kind, n.value = Number, number(y.Value)
	case "!!str", "!!timestamp":
		n.Kind, n.value = Text, y.Value
		if strings.IndexByte(y.Value, 0) >= 0 {
			b.problem(n, "holds a NUL character, which no program can be given: remove it")
		}
	default:
		n.Kind, n.value = Text, y.Value
		b.problem(n, "the tag %s means nothing to evenkeel: remove it", shorten(tag))
	}
}

// number reads a number; what YAML calls one and JSON doesn't becomes 0, and is refused by odd.
func number(text string) any {
	if plainInt.MatchString(text) {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return v
		}
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) && len(text) < 32 {
		return v
	}
	return int64(0)
}

// odd says whether a number is written in one of YAML's surprising ways: 010 is 8 to some readers and
// 10 to others.
func (n *Node) odd() bool {
	return n.Kind == Number && !plainFloat.MatchString(n.Raw) && !(plainInt.MatchString(n.Raw) && len(n.Raw) < 19)
}
