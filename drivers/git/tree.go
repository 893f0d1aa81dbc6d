package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// node is a file, link or directory of a snapshot. Nodes never change once they are made, so that
// snapshots share what didn't change between them.
type node struct {
	name     string
	mode     fs.FileMode // type and permissions
	data     []byte      // a file's content, a link's target
	children []*node     // sorted by name
	hash     plumbing.Hash
	size     size
	links    int // links in it
	notes    []string
}

func (n *node) child(name string) *node {
	i := sort.Search(len(n.children), func(i int) bool { return n.children[i].name >= name })
	if i < len(n.children) && n.children[i].name == name {
		return n.children[i]
	}
	return nil
}

// adopt completes a directory with its children.
func (n *node) adopt(children []*node) {
	sort.Slice(children, func(i, j int) bool { return children[i].name < children[j].name })
	n.children = children
	for _, c := range children {
		n.size.bytes += c.size.bytes
		n.size.files += c.size.files
		n.links += c.links
		for _, note := range c.notes {
			n.notes = append(n.notes, c.name+"/"+note)
		}
	}
}

type size struct {
	bytes int64
	files int
}

// limits bound what is held in memory.
type limits size

var errTooLarge = errors.New("too large")

func (l limits) check(s size) error {
	if s.bytes <= l.bytes && s.files <= l.files {
		return nil
	}
	return l.refusal()
}

func (l limits) refusal() error {
	return &Error{Reason: TooLarge, What: fmt.Sprintf("it holds more than %d files or %d MiB", l.files, l.bytes>>20),
		Remedy: "name the folder that holds the specs with --path"}
}

// hidden directories are passed over: .git, editors' and tools' own state.
func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// index finds the nodes of an earlier snapshot by their hash.
func index(root *node) map[plumbing.Hash]*node {
	known := map[plumbing.Hash]*node{}
	var add func(n *node)
	add = func(n *node) {
		known[n.hash] = n
		for _, c := range n.children {
			add(c)
		}
	}
	if root != nil {
		add(root)
	}
	return known
}

// treeReader reads a commit's tree, taking from an earlier snapshot what has the same hash.
type treeReader struct {
	ctx     context.Context //nolint:containedctx // lives for one fetch
	objects *objectStore
	limits  limits
	known   map[plumbing.Hash]*node
	sum     size
}

const maxTreeDepth = 64

// at reads the directory at a path below the tree.
func (t *treeReader) at(hash plumbing.Hash, path string) (*node, error) {
	if path != "." {
		walked := ""
		for part := range strings.SplitSeq(path, "/") {
			tree, err := t.decode(hash, walked)
			if err != nil {
				return nil, err
			}
			walked = join(walked, part)
			entry := find(tree, part)
			if entry == nil || entry.Mode != filemode.Dir {
				return nil, noDirectory(walked, entry)
			}
			hash = entry.Hash
		}
	}
	return t.dir(hash, ".", "", 0)
}

func find(tree *object.Tree, name string) *object.TreeEntry {
	for i := range tree.Entries {
		if tree.Entries[i].Name == name {
			return &tree.Entries[i]
		}
	}
	return nil
}

func noDirectory(path string, entry *object.TreeEntry) error {
	what := "there is no " + path
	if entry != nil {
		kind := map[filemode.FileMode]string{filemode.Symlink: "symbolic link", filemode.Submodule: "submodule"}[entry.Mode]
		if kind == "" {
			kind = "file"
		}
		what = fmt.Sprintf("%s is a %s, not a directory", path, kind)
	}
	return &Error{Reason: PathMissing, What: what, Remedy: "commit it, or correct --repo and --path"}
}

func (t *treeReader) decode(hash plumbing.Hash, path string) (*object.Tree, error) {
	what := fmt.Sprintf("the tree of %s (%.12s)", orRoot(path), hash)
	obj, err := t.objects.get(hash)
	if err != nil {
		return nil, missing(what, err)
	}
	tree := &object.Tree{}
	if err := tree.Decode(obj); err != nil {
		return nil, missing(what, err)
	}
	if tree.Hash != hash {
		return nil, corrupt(what+" holds another tree's content", nil)
	}
	return tree, nil
}

func (t *treeReader) dir(hash plumbing.Hash, name, path string, depth int) (*node, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	if depth > maxTreeDepth {
		return nil, &Error{Reason: TooLarge, What: fmt.Sprintf("%.80s… lies more than %d directories deep", path, maxTreeDepth), Remedy: "flatten it"}
	}
	n := &node{name: name, mode: fs.ModeDir | 0o755, hash: hash}
	if old := t.known[hash]; old != nil && old.mode.IsDir() {
		n.children, n.size, n.links, n.notes = old.children, old.size, old.links, old.notes
		t.sum.bytes, t.sum.files = t.sum.bytes+old.size.bytes, t.sum.files+old.size.files
		return n, t.limits.check(t.sum)
	}
	tree, err := t.decode(hash, path)
	if err != nil {
		return nil, err
	}
	children := make([]*node, 0, len(tree.Entries))
	for i := range tree.Entries {
		e := &tree.Entries[i]
		if i > 0 && e.Name == tree.Entries[i-1].Name || !safeName(e.Name) {
			return nil, corrupt(fmt.Sprintf("the tree of %s holds a name that can't be: %.60q", orRoot(path), e.Name), nil)
		}
		child, err := t.entry(e, join(path, e.Name), depth)
		switch {
		case err != nil:
			return nil, err
		case child == nil:
			if note := passedOver(e); note != "" {
				n.notes = append(n.notes, note)
			}
		default:
			children = append(children, child)
		}
	}
	n.adopt(children)
	return n, nil
}

// entry reads what a tree's entry names; nil is something that is passed over.
func (t *treeReader) entry(e *object.TreeEntry, path string, depth int) (*node, error) {
	switch {
	case e.Mode == filemode.Submodule, !fs.ValidPath(e.Name), e.Mode == filemode.Dir && hidden(e.Name):
		return nil, nil
	case e.Mode == filemode.Dir:
		return t.dir(e.Hash, e.Name, path, depth+1)
	}
	n := &node{name: e.Name, mode: modeOf(e.Mode), hash: e.Hash}
	if old := t.known[e.Hash]; old != nil && !old.mode.IsDir() {
		n.data = old.data
	} else {
		data, err := t.objects.read(e.Hash, plumbing.BlobObject, t.limits.bytes-t.sum.bytes)
		if errors.Is(err, errTooLarge) {
			return nil, t.limits.refusal()
		}
		if err != nil {
			return nil, missing(fmt.Sprintf("the content of %s (%.12s)", path, e.Hash), err)
		}
		n.data = data
	}
	n.size = size{bytes: int64(len(n.data)), files: 1}
	if n.mode&fs.ModeSymlink != 0 {
		n.links = 1
	}
	t.sum.bytes, t.sum.files = t.sum.bytes+n.size.bytes, t.sum.files+1
	return n, t.limits.check(t.sum)
}

func passedOver(e *object.TreeEntry) string {
	switch {
	case e.Mode == filemode.Submodule:
		return e.Name + " is a submodule: passed over"
	case e.Mode != filemode.Dir && !fs.ValidPath(e.Name):
		return fmt.Sprintf("%q isn't UTF-8: passed over", e.Name)
	}
	return ""
}

// safeName refuses what no git writes: such a tree was made to reach out of its directory.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

func modeOf(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Executable:
		return 0o755
	default:
		return 0o644
	}
}

func join(dir, name string) string {
	if dir == "" || dir == "." {
		return name
	}
	return dir + "/" + name
}

func orRoot(path string) string {
	if path == "" {
		return "the root"
	}
	return path
}

// few keeps warnings readable.
func few(notes []string) []string {
	const most = 10
	if len(notes) <= most {
		return slices.Clip(notes)
	}
	return append(slices.Clone(notes[:most]), fmt.Sprintf("… and %d more of the kind", len(notes)-most))
}
