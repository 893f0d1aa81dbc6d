package git

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // git's own checksum, compared against, not relied on
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// objectStore reads objects for one fetch. It is opened anew each time: go-git remembers which packs
// there are, and a `git gc` beside it would make it look for those that are gone.
type objectStore struct {
	stores []*filesystem.ObjectStorage
}

// largeObject is the size from which an object is read in pieces, so that its size can be refused
// before its content is in memory.
const largeObject = 1 << 20

func openObjects(common string) *objectStore {
	s := &objectStore{}
	for _, dir := range objectDirs(filepath.Join(common, "objects")) {
		store := filesystem.NewObjectStorageWithOptions(
			dotgit.New(objectFS{osfs.New(filepath.Dir(dir))}), cache.NewObjectLRUDefault(),
			filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: largeObject})
		s.stores = append(s.stores, store)
	}
	return s
}

func (s *objectStore) close() {
	for _, store := range s.stores {
		_ = store.Close()
	}
}

func (s *objectStore) get(hash plumbing.Hash) (plumbing.EncodedObject, error) {
	err := plumbing.ErrObjectNotFound
	for _, store := range s.stores {
		obj, storeErr := store.EncodedObject(plumbing.AnyObject, hash)
		if storeErr == nil {
			return obj, nil
		}
		if !errors.Is(storeErr, plumbing.ErrObjectNotFound) {
			err = storeErr
		}
	}
	return nil, err
}

// read returns an object's content, checked against its hash.
func (s *objectStore) read(hash plumbing.Hash, want plumbing.ObjectType, most int64) ([]byte, error) {
	obj, err := s.get(hash)
	if err != nil {
		return nil, err
	}
	if obj.Type() != want {
		return nil, fmt.Errorf("it is a %s, not a %s", obj.Type(), want)
	}
	if obj.Size() > most {
		return nil, errTooLarge
	}
	r, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content := make([]byte, obj.Size())
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, err
	}
	if hashOf(want, content) != hash {
		return nil, errors.New("its content doesn't fit its hash")
	}
	return content, nil
}

// withPrefix returns the objects whose hash begins so, sorted.
func (s *objectStore) withPrefix(prefix string) ([]plumbing.Hash, error) {
	whole, err := hex.DecodeString(prefix[:len(prefix)/2*2])
	if err != nil {
		return nil, err
	}
	seen := map[plumbing.Hash]bool{}
	for _, store := range s.stores {
		hashes, err := store.HashesWithPrefix(whole)
		if err != nil {
			return nil, missing("its objects", err)
		}
		for _, h := range hashes {
			if strings.HasPrefix(h.String(), prefix) {
				seen[h] = true
			}
		}
	}
	out := make([]plumbing.Hash, 0, len(seen))
	for h := range seen {
		out = append(out, h)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].String() < out[j].String() })
	return out, nil
}

func hashOf(kind plumbing.ObjectType, content []byte) plumbing.Hash {
	h := sha1.New() //nolint:gosec // see the import
	fmt.Fprintf(h, "%s %d\x00", kind, len(content))
	h.Write(content)
	var out plumbing.Hash
	copy(out[:], h.Sum(nil))
	return out
}

// objectDirs follows alternates, which `git clone --shared` and `--reference` write. go-git takes
// relative ones from the wrong directory, so they are followed here and hidden from it.
func objectDirs(first string) []string {
	const most = 16
	dirs, seen := []string{first}, map[string]bool{first: true}
	for i := 0; i < len(dirs) && len(dirs) < most; i++ {
		f, err := os.Open(filepath.Join(dirs[i], "info", "alternates"))
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			dir := lines.Text()
			if dir == "" || dir[0] == '#' {
				continue
			}
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(dirs[i], dir)
			}
			if !seen[dir] && filepath.Base(dir) == "objects" && isDir(dir) {
				seen[dir] = true
				dirs = append(dirs, dir)
			}
		}
		f.Close()
	}
	return dirs
}

// objectFS shows go-git a repository as git itself sees it: a pack without its index isn't there yet
// (it is being written, or was left by a crash).
type objectFS struct {
	billy.Filesystem
}

func (f objectFS) ReadDir(dir string) ([]os.FileInfo, error) {
	all, err := f.Filesystem.ReadDir(dir)
	if filepath.Base(dir) != "pack" {
		return all, err
	}
	indexed := map[string]bool{}
	for _, info := range all {
		if name, ok := strings.CutSuffix(info.Name(), ".idx"); ok {
			indexed[name] = true
		}
	}
	var shown []os.FileInfo
	for _, info := range all {
		if name, ok := strings.CutSuffix(info.Name(), ".pack"); !ok || indexed[name] {
			shown = append(shown, info)
		}
	}
	return shown, err
}

func (f objectFS) Open(name string) (billy.File, error) {
	if filepath.Base(name) == "alternates" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f.Filesystem.Open(name)
}

// corrupt is a repository that can't be read as it is now.
func corrupt(what string, err error) *Error {
	return &Error{Reason: Corrupt, What: what, Err: err,
		Remedy: "look at it with `git fsck --full`, then fetch what is missing or clone it anew"}
}

// missing classes an error of reading an object.
func missing(what string, err error) *Error {
	switch {
	case errors.Is(err, plumbing.ErrObjectNotFound):
		return corrupt(what+" is missing (deleted, not yet fetched, or a clone with --filter)", err)
	case errors.Is(err, fs.ErrPermission):
		return ioError(what+" can't be read", err)
	}
	return corrupt(what+" is damaged", err)
}
