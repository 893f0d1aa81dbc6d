package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// movedError: something changed under a walk or a reading, which is to be begun anew.
type movedError struct{ path string }

func (e movedError) Error() string { return e.path + " changed while it was read" }

// dirWalk is one walk over a directory. It sees what there is and reads the content of no file.
type dirWalk struct {
	ctx    context.Context //nolint:containedctx // lives for one walk
	top    string
	limits limits
	root   *node
	nodes  []*node // in the order of the walk
	stamps []stamp // theirs
	place  map[*node]int
	files  int
}

func walk(ctx context.Context, top string, l limits) (*dirWalk, error) {
	info, err := os.Stat(top)
	if err != nil {
		return nil, ioError(top+" can't be opened", err)
	}
	if !info.IsDir() {
		return nil, &Error{Reason: PathMissing, What: top + " is not a directory", Remedy: "correct --repo and --path"}
	}
	w := &dirWalk{ctx: ctx, top: top, limits: l, place: map[*node]int{}}
	w.root, err = w.dir(top, ".", info, 0)
	return w, err
}

// see notes a node that was met.
func (w *dirWalk) see(n *node, s stamp) {
	w.place[n] = len(w.nodes)
	w.nodes, w.stamps = append(w.nodes, n), append(w.stamps, s)
}

func (w *dirWalk) stampOf(n *node) stamp { return w.stamps[w.place[n]] }

func (w *dirWalk) dir(full, name string, info fs.FileInfo, depth int) (*node, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	if depth > maxTreeDepth {
		return nil, &Error{Reason: TooLarge, What: fmt.Sprintf("%.80s… lies more than %d directories deep", full, maxTreeDepth), Remedy: "flatten it"}
	}
	n := &node{name: name, mode: fs.ModeDir | 0o755}
	w.see(n, stampOf(full, info))
	entries, err := os.ReadDir(full)
	if err != nil {
		return nil, w.failed(full, err)
	}
	var children []*node
	for _, e := range entries {
		if e.IsDir() && hidden(e.Name()) {
			continue
		}
		if !fs.ValidPath(e.Name()) {
			n.notes = append(n.notes, fmt.Sprintf("%q isn't UTF-8: passed over", e.Name()))
			continue
		}
		child, err := w.entry(filepath.Join(full, e.Name()), e.Name(), depth)
		if err != nil {
			return nil, err
		}
		if child == nil {
			n.notes = append(n.notes, e.Name()+" is neither a file nor a directory: passed over")
			continue
		}
		children = append(children, child)
	}
	n.adopt(children)
	return n, nil
}

func (w *dirWalk) entry(full, name string, depth int) (*node, error) {
	info, err := os.Lstat(full)
	if err != nil {
		return nil, w.failed(full, err)
	}
	n := &node{name: name, mode: info.Mode().Type() | info.Mode().Perm(), size: size{files: 1}}
	switch {
	case info.IsDir():
		return w.dir(full, name, info, depth+1)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(full)
		if err != nil {
			return nil, w.failed(full, err)
		}
		n.data, n.links = []byte(filepath.ToSlash(target)), 1
	case !info.Mode().IsRegular():
		return nil, nil
	default:
		n.size.bytes = info.Size()
	}
	w.see(n, stampOf(full, info))
	w.files++
	return n, w.limits.check(size{files: w.files})
}

// failed takes what vanished under the walk for a change, all else for an error.
func (w *dirWalk) failed(full string, err error) error {
	if full != w.top && errors.Is(err, fs.ErrNotExist) {
		return movedError{full}
	}
	return ioError(full+" can't be read", err)
}

// stamp is what tells that a file is still the same one with the same content.
type stamp struct {
	path    string
	mode    fs.FileMode
	size    int64
	mod     time.Time
	changed time.Time // of the inode; zero where the system doesn't tell
	inode   uint64
}

func stampOf(full string, info fs.FileInfo) stamp {
	s := stamp{path: full, mode: info.Mode(), size: info.Size(), mod: info.ModTime()}
	s.changed, s.inode = inodeOf(info)
	return s
}

func (s stamp) equal(o stamp) bool {
	return s.path == o.path && s.mode == o.mode && s.size == o.size && s.inode == o.inode &&
		s.mod.Equal(o.mod) && s.changed.Equal(o.changed)
}

func (s stamp) lastChange() time.Time {
	if s.changed.IsZero() {
		return s.mod
	}
	return s.changed
}

func (s stamp) youngerThan(t time.Time) bool { return s.changed.After(t) || s.mod.After(t) }

// content reads the file that the stamp is of and no other, without waiting for the far end of a pipe
// that took its place.
func (s stamp) content() ([]byte, error) {
	f, err := os.OpenFile(s.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, movedError{s.path}
		}
		return nil, ioError(s.path+" can't be read", err)
	}
	defer f.Close()
	if opened, err := f.Stat(); err != nil || !stampOf(s.path, opened).equal(s) {
		return nil, movedError{s.path}
	}
	content := make([]byte, s.size+1)
	got, err := io.ReadFull(f, content)
	if err == nil || int64(got) != s.size {
		return nil, movedError{s.path} // it grew or shrank
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, ioError(s.path+" can't be read", err)
	}
	return content[:got:got], nil
}
