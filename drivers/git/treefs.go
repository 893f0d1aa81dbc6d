package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// ErrLink is the cause of an error in opening a symbolic link that leads out of the revision's files,
// to nowhere, or round in circles.
var ErrLink = errors.New("symbolic link that can't be followed")

const maxLinks = 40

// treeFS shows a snapshot as a file system. Links to files appear as those files, anywhere in a path
// links are followed within the snapshot and never out of it. Links to directories and links that
// can't be followed are listed as links, so that fs.WalkDir doesn't walk into them.
type treeFS struct {
	root *node
	// use is told what is looked at, by itself or as a link on the way, and reads it where that is still to
	// be done; nil: all is read.
	use func(*node) error
}

var (
	_ fs.ReadFileFS = treeFS{}
	_ fs.ReadDirFS  = treeFS{}
	_ fs.StatFS     = treeFS{}
)

// newTreeFS also says which links can't be followed.
func newTreeFS(root *node) (fs.FS, []string) {
	f := treeFS{root: root}
	var notes []string
	f.eachLink(root, ".", func(p string, n *node) {
		if _, err := f.lookup(p, false); err != nil {
			notes = append(notes, fmt.Sprintf("%s is a link to %s, which isn't among the files read: passed over", p, n.data))
		}
	})
	return f, few(notes)
}

func (f treeFS) eachLink(n *node, p string, do func(string, *node)) {
	if n.links == 0 {
		return
	}
	if n.mode&fs.ModeSymlink != 0 {
		do(p, n)
	}
	for _, c := range n.children {
		f.eachLink(c, join(p, c.name), do)
	}
}

// lookup finds the node at a path, following links on the way.
func (f treeFS) lookup(name string, keepLast bool) (*node, error) {
	at := []*node{f.root}
	rest := split(name)
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			if len(at) == 1 {
				return nil, fmt.Errorf("%w: it leads out", ErrLink)
			}
			at = at[:len(at)-1]
			continue
		}
		n := at[len(at)-1].child(part)
		if n == nil {
			if links > 0 {
				return nil, fmt.Errorf("%w: %w", ErrLink, fs.ErrNotExist)
			}
			return nil, fs.ErrNotExist
		}
		if n.mode&fs.ModeSymlink == 0 || keepLast && len(rest) == 0 {
			at = append(at, n)
			continue
		}
		if f.use != nil {
			if err := f.use(n); err != nil {
				return nil, err
			}
		}
		target := string(n.data)
		if links++; links > maxLinks {
			return nil, fmt.Errorf("%w: it leads in circles", ErrLink)
		}
		if strings.HasPrefix(target, "/") || target == "" {
			return nil, fmt.Errorf("%w: it leads out", ErrLink)
		}
		rest = append(split(target), rest...)
	}
	return at[len(at)-1], nil
}

// split keeps "..", which path.Clean would resolve without regard to links.
func split(name string) []string {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

func (f treeFS) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, err := f.lookup(name, false)
	if err == nil && f.use != nil && op != "readdir" { // that there are directories is nothing to go by
		err = f.use(n)
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

func (f treeFS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name)
	if err != nil {
		return nil, err
	}
	info := nodeInfo{node: n, name: path.Base(name)}
	if n.mode.IsDir() {
		return &openDir{info: info, entries: f.entries(n, name)}, nil
	}
	return &openFile{info: info, Reader: bytes.NewReader(n.data)}, nil
}

func (f treeFS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	return nodeInfo{node: n, name: path.Base(name)}, nil
}

func (f treeFS) ReadFile(name string) ([]byte, error) {
	n, err := f.find("read", name)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	return bytes.Clone(n.data), nil
}

func (f treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return f.entries(n, name), nil
}

func (f treeFS) entries(n *node, at string) []fs.DirEntry {
	f.use = nil // to list something isn't to look at it
	entries := make([]fs.DirEntry, 0, len(n.children))
	for _, c := range n.children {
		info := nodeInfo{node: c, name: c.name}
		if c.mode&fs.ModeSymlink != 0 {
			if target, err := f.lookup(join(at, c.name), false); err == nil && !target.mode.IsDir() {
				info.node = target
			}
		}
		entries = append(entries, fs.FileInfoToDirEntry(info))
	}
	return entries
}

type nodeInfo struct {
	node *node
	name string
}

func (i nodeInfo) Name() string { return i.name }
func (i nodeInfo) Size() int64 {
	switch {
	case i.node.mode.IsDir():
		return 0
	case i.node.mode.IsRegular():
		return i.node.size.bytes
	}
	return int64(len(i.node.data))
}
func (i nodeInfo) Mode() fs.FileMode  { return i.node.mode }
func (i nodeInfo) ModTime() time.Time { return time.Time{} }
func (i nodeInfo) IsDir() bool        { return i.node.mode.IsDir() }
func (i nodeInfo) Sys() any           { return nil }

type openFile struct {
	info nodeInfo
	*bytes.Reader
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFile) Close() error               { return nil }

type openDir struct {
	info    nodeInfo
	entries []fs.DirEntry
}

func (o *openDir) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openDir) Close() error               { return nil }
func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.info.name, Err: errors.New("is a directory")}
}

func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(o.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(o.entries) {
		n = len(o.entries)
	}
	out := o.entries[:n:n]
	o.entries = o.entries[n:]
	return out, nil
}
