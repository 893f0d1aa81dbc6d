package spec

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/schema"
)

// ignoreFile lists, in gitignore's syntax, what isn't for evenkeel.
const ignoreFile = ".evenkeelignore"

// digest is of a file's name and content, from which all that is parsed follows.
type digest [sha256.Size]byte

func digestOf(name string, data []byte) digest {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", name)
	h.Write(data)
	return digest(h.Sum(nil))
}

// file is a YAML file of the repository, as it was read. Once parsed it never changes.
type file struct {
	name     string
	data     []byte
	docs     []document
	problems Problems
}

// document is one of a file, with what its schema says if it is ours.
type document struct {
	schema.Document
	broken Problems
}

// parse reads the documents and holds ours against their schema: all that a file needs by itself.
func (f *file) parse() {
	docs, problems := schema.Parse(f.name, f.data)
	f.problems, f.data = problems, nil
	for _, doc := range docs {
		d := document{Document: doc}
		if doc.APIVersion() == APIVersion {
			d.broken = schema.Validate(doc)
		}
		f.docs = append(f.docs, d)
	}
}

// discover finds the documents: in all YAML files but those that are hidden in a directory, ignored, or
// named by `from:` of a document.
func (l *loader) discover() {
	var found, unread []*file
	for _, name := range l.walk() {
		f := l.file(name)
		found = append(found, f)
		if f.data != nil {
			unread = append(unread, f)
		}
	}
	sideBySide(len(unread), func(i int) { unread[i].parse() })
	named := l.named(found)
	for _, f := range found {
		by, ok := named[f.name]
		if !ok {
			l.problems = append(l.problems, f.problems...)
			l.classify(f.docs)
			continue
		}
		for _, doc := range f.docs {
			if doc.APIVersion() == APIVersion {
				p := doc.Problem(doc.Root, "passed over: %s names this file with `from:`, so it is content and not a specification", by)
				l.warnings = append(l.warnings, p)
			}
		}
	}
}

// file reads a file, unless it is known what it says. What can't be read is a problem, each time anew.
func (l *loader) file(name string) *file {
	data, err := l.readFile(name, schema.MaxBytes+1)
	switch {
	case errors.Is(err, errNotRegular):
		return &file{name: name, problems: Problems{{File: name, Message: err.Error() + ": remove it, or list it in " + ignoreFile}}}
	case err != nil:
		return &file{name: name, problems: Problems{{File: name, Message: err.Error()}}}
	}
	key := digestOf(name, data)
	f := l.known[key]
	if f == nil {
		f = &file{name: name, data: data}
	}
	l.parsed[key] = f
	return f
}

// walk returns the names of the YAML files, sorted.
func (l *loader) walk() []string {
	var names []string
	var ignored ignore
	err := fs.WalkDir(l.files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			l.problems = append(l.problems, Problem{File: name, Message: "can't be read: " + reason(err).Error()})
			if entry != nil && entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(entry.Name(), ".") || ignored.match(name, true)) {
				return fs.SkipDir
			}
			l.ignoreRules(name, &ignored)
			return nil
		}
		if ignored.match(name, false) {
			return nil
		}
		if isYAML(name) {
			names = append(names, name)
		} else if entry.Type()&fs.ModeSymlink != 0 {
			l.linkedDirectory(name)
		}
		return nil
	})
	if err != nil {
		l.problems = append(l.problems, Problem{Message: "reading the repository: " + reason(err).Error()})
	}
	slices.Sort(names)
	return names
}

// linkedDirectory warns of a directory that isn't gone into: links could lead in a circle.
func (l *loader) linkedDirectory(name string) {
	if info, err := fs.Stat(l.files, name); err == nil && info.IsDir() && !strings.HasPrefix(path.Base(name), ".") {
		l.warnings = append(l.warnings, Problem{File: name, Message: "a symbolic link to a directory isn't followed: put the directory here, or list the link in " + ignoreFile})
	}
}

// ignoreRules adds the rules of a directory's own ignore file.
func (l *loader) ignoreRules(dir string, ignored *ignore) {
	name := path.Join(dir, ignoreFile)
	if _, err := fs.Stat(l.files, name); errors.Is(err, fs.ErrNotExist) {
		return
	}
	data, err := l.readFile(name, schema.MaxBytes)
	if err != nil {
		l.problems = append(l.problems, Problem{File: name, Message: err.Error()})
		return
	}
	ignored.add(dir, string(data))
}

func isYAML(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

// errNotRegular is of a directory, a named pipe, a device or a socket.
var errNotRegular = errors.New("is not a regular file")

// readFile reads a regular file up to a size. Anything else, such as a named pipe, could hang.
func (l *loader) readFile(name string, most int64) ([]byte, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	info, err := fs.Stat(l.files, name)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", reason(err))
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := l.files.Open(name)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", reason(err))
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", reason(err))
	}
	return data, nil
}

// reason is an error without the name of the file, which its problem has already.
func reason(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// named returns the files that documents name with `from:`, and which document names each.
func (l *loader) named(found []*file) map[string]string {
	named := map[string]string{}
	for _, f := range found {
		for _, doc := range f.docs {
			if doc.APIVersion() != APIVersion || doc.Kind() != KindEnvironment {
				continue
			}
			for _, layer := range doc.Root.At("spec", "layers").List() {
				for _, n := range layer.Get("files").List() {
					from := n.Get("from")
					target, err := resolve(f.name, text(from, ""))
					if err == nil && target != f.name && named[target] == "" {
						named[target] = fmt.Sprintf("%s:%d", f.name, from.Line)
					}
				}
			}
		}
	}
	return named
}

// resolve finds the file that `from:` names in a document of a file.
func resolve(document, from string) (string, error) {
	target := path.Join(path.Dir(document), from)
	switch {
	case from == "":
		return "", fmt.Errorf("is empty: write the path of a file, relative to the directory of this one")
	case path.IsAbs(from):
		return "", fmt.Errorf("is the absolute path %q: write it relative to the directory of this file", from)
	case !fs.ValidPath(target) || target == ".":
		return "", fmt.Errorf("%q leads out of the repository: the file must be inside it", from)
	}
	return target, nil
}

// classify keeps our documents, passes over encrypted ones and refuses all others, once a file.
func (l *loader) classify(docs []document) {
	refused := false
	for _, doc := range docs {
		switch version := doc.APIVersion(); {
		case version == APIVersion:
			l.docs = append(l.docs, doc)
		case doc.Root.Get("sops") != nil:
		case version == "" && doc.Root.Get("apiVersion") == nil && (doc.Kind() == KindFleet || doc.Kind() == KindEnvironment):
			p := doc.Problem(doc.Root, "is missing: write apiVersion: %s", APIVersion)
			p.Path = "apiVersion"
			l.problems = append(l.problems, p)
		case strings.HasPrefix(version, "evenkeel"):
			n := doc.Root.Get("apiVersion")
			l.problems = append(l.problems, doc.Problem(n, "is %q: this version of evenkeel reads %s", version, APIVersion))
		case !refused:
			refused = true
			what := "has no apiVersion"
			if version != "" {
				what = fmt.Sprintf("has apiVersion %s", version)
			}
			l.problems = append(l.problems, doc.Problem(doc.Root,
				"this document isn't evenkeel's (it %s, not %s): list the file in %s if it is for something else", what, APIVersion, ignoreFile))
		}
	}
}
