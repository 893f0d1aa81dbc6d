package git

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
)

// refStore reads refs from disk at each question. go-git's own reader passes over a loose ref that is
// empty or damaged and answers with the older value in packed-refs: that would bring an old revision
// back after a power cut, so refs are read here, and what can't be read is an error.
type refStore struct {
	dirs gitDirs
}

// refValue is what a ref holds: another ref's name, or an object's hash.
type refValue struct {
	symbolic string
	hash     plumbing.Hash
}

const (
	maxRefSize = 64 << 10
	hashLen    = 40
)

// read returns a ref's value; found is false when there is no such ref.
func (s refStore) read(name string) (value refValue, found bool, err error) {
	content, err := readSmall(filepath.Join(s.dirOf(name), filepath.FromSlash(name)))
	switch {
	case err == nil:
		value, err = parseRef(content)
		if err != nil {
			return refValue{}, false, &Error{Reason: Corrupt, What: name + " " + err.Error(), Remedy: fmt.Sprintf(
				"it was probably half-written in a crash: take the last good commit from `git reflog` and write it with `git update-ref %s COMMIT`", name)}
		}
		return value, true, nil
	case !absent(err):
		return refValue{}, false, ioError(name+" can't be read", err)
	case !strings.HasPrefix(name, "refs/"):
		return refValue{}, false, nil
	}
	packed, err := s.packed()
	if err != nil {
		return refValue{}, false, err
	}
	hash, found := packed[name]
	return refValue{hash: hash}, found, nil
}

// dirOf returns where a ref lives: HEAD and a few others belong to the linked work tree.
func (s refStore) dirOf(name string) string {
	for _, shared := range []string{"refs/bisect/", "refs/worktree/", "refs/rewritten/"} {
		if strings.HasPrefix(name, shared) {
			return s.dirs.own
		}
	}
	if strings.HasPrefix(name, "refs/") {
		return s.dirs.common
	}
	return s.dirs.own
}

func (s refStore) packed() (map[string]plumbing.Hash, error) {
	f, err := os.Open(filepath.Join(s.dirs.common, "packed-refs"))
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, ioError("packed-refs can't be read", err)
	}
	defer f.Close()
	refs, err := parsePackedRefs(f)
	if err != nil {
		return nil, corrupt("packed-refs "+err.Error(), nil)
	}
	return refs, nil
}

// list returns the names of all refs below prefix, sorted; what can't be read is left out.
func (s refStore) list(prefix string) []string {
	seen := map[string]bool{}
	root := filepath.Join(s.dirs.common, filepath.FromSlash(prefix))
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(p, ".lock") {
			if rel, err := filepath.Rel(root, p); err == nil {
				seen[filepath.ToSlash(rel)] = true
			}
		}
		return nil
	})
	packed, _ := s.packed()
	for name := range packed {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			seen[short] = true
		}
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// parseRef reads the content of a loose ref or of HEAD.
func parseRef(content []byte) (refValue, error) {
	text := strings.TrimRight(string(content), " \t\r\n")
	if text == "" {
		return refValue{}, errors.New("is empty")
	}
	if target, ok := strings.CutPrefix(text, "ref:"); ok {
		target = strings.TrimLeft(target, " \t")
		if !validRefName(target) {
			return refValue{}, fmt.Errorf("names no ref: %.60q", target)
		}
		return refValue{symbolic: target}, nil
	}
	hash, ok := parseHash(text)
	if !ok {
		return refValue{}, fmt.Errorf("holds no commit: %.60q", text)
	}
	return refValue{hash: hash}, nil
}

// parsePackedRefs is strict: a file that was cut short must not read as one with fewer refs.
func parsePackedRefs(r io.Reader) (map[string]plumbing.Hash, error) {
	refs := map[string]plumbing.Hash{}
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return refs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("is cut short in line %d", n)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if peeled, ok := strings.CutPrefix(line, "^"); ok {
			if _, ok := parseHash(peeled); !ok {
				return nil, fmt.Errorf("is damaged in line %d: %.80q", n, line)
			}
			continue
		}
		id, name, _ := strings.Cut(line, " ")
		hash, ok := parseHash(id)
		if !ok || !validRefName(name) {
			return nil, fmt.Errorf("is damaged in line %d: %.80q", n, line)
		}
		refs[name] = hash
	}
}

func parseHash(text string) (plumbing.Hash, bool) {
	var h plumbing.Hash
	if len(text) != hashLen {
		return h, false
	}
	if _, err := hex.Decode(h[:], []byte(text)); err != nil {
		return h, false
	}
	return h, !h.IsZero()
}

// validRefName holds refs inside refs/, by the rules of git-check-ref-format(1).
func validRefName(name string) bool {
	return strings.HasPrefix(name, "refs/") && validRefPart(name)
}

func validRefPart(name string) bool {
	if name == "" || name == "@" || strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, ".") {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c == 0x7f || strings.IndexByte(`~^:?*[\`, c) >= 0 {
			return false
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// readSmall reads a file of git's own that is only ever small.
func readSmall(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: file, Err: syscall.EISDIR}
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(io.LimitReader(f, maxRefSize))
	return b.Bytes(), err
}

// absent covers a ref whose name is a directory of other refs, or lies below another ref.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR)
}
