package git

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// newOrigin decides what Options.Repo is, and makes its address absolute.
func newOrigin(o *Options) (origin, error) {
	sub, err := cleanPath(o.Path)
	if err != nil {
		return nil, err
	}
	local, here := localPath(o.Repo)
	if !here {
		return newRemote(o, sub)
	}
	dir, err := filepath.Abs(local)
	if err != nil {
		return nil, ioError("the address can't be made absolute", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, ioError("it can't be opened", err)
	}
	if !info.IsDir() {
		return nil, &Error{Reason: BadOption, What: "it is a file", Remedy: "give --repo a directory"}
	}
	o.Repo, o.Path = dir, sub

	repo, found, err := locate(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case !found && o.Ref != "":
		return nil, &Error{Reason: BadOption, What: fmt.Sprintf("it is no git repository, so there is no ref %q in it", o.Ref),
			Remedy: "leave --ref out, or point --repo at a git repository"}
	case o.Worktree && o.Ref != "":
		return nil, &Error{Reason: BadOption, What: "the files as they are have no ref", Remedy: "give --ref or --worktree, not both"}
	case found && o.Worktree && repo.bare:
		return nil, &Error{Reason: BadOption, What: "a bare repository has no work tree", Remedy: "leave --worktree out"}
	case !found || o.Worktree:
		return &directory{path: filepath.Join(dir, filepath.FromSlash(sub)), base: dir, limits: o.limits(), reads: o.Reads}, nil
	}
	repo.path, repo.ref, repo.limits = path.Join(repo.prefix, sub), o.Ref, o.limits()
	return repo, nil
}

// localPath returns the path of a repository on this machine; false: it is elsewhere.
func localPath(repo string) (string, bool) {
	scheme, rest, isURL := strings.Cut(repo, "://")
	if isURL {
		p, err := url.PathUnescape(rest)
		return p, scheme == "file" && err == nil && strings.HasPrefix(p, "/")
	}
	// git's own rule for user@host:path: a colon before the first slash.
	host, _, colon := strings.Cut(repo, ":")
	if !colon || strings.Contains(host, "/") || filepath.VolumeName(repo) != "" {
		return repo, true
	}
	_, err := os.Stat(repo)
	return repo, err == nil
}

// redacted takes a password out of an address.
func redacted(repo string) string {
	if u, err := url.Parse(repo); err == nil {
		return u.Redacted()
	}
	if _, after, ok := strings.Cut(repo, "@"); ok {
		return after
	}
	return repo
}

func cleanPath(p string) (string, error) {
	clean := path.Clean(filepath.ToSlash(p))
	if p == "" {
		clean = "."
	}
	if !fs.ValidPath(clean) {
		return "", &Error{Reason: BadOption, What: fmt.Sprintf("the path %q leads out of it", p),
			Remedy: "give --path a folder below --repo, written without a leading slash"}
	}
	return clean, nil
}

// locate looks for the git repository that dir is or lies in.
func locate(dir string) (*repository, bool, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, false, ioError("its links can't be followed", err)
	}
	if looksLikeGitDir(real) && bareShape(real) {
		return &repository{top: real, bare: true, prefix: "."}, true, nil
	}
	for top := real; ; top = filepath.Dir(top) {
		marker := filepath.Join(top, ".git")
		if info, err := os.Stat(marker); err == nil {
			if !info.IsDir() || looksLikeGitDir(marker) {
				prefix, err := filepath.Rel(top, real)
				if err != nil {
					return nil, false, ioError("its place in the repository can't be told", err)
				}
				return &repository{top: top, prefix: filepath.ToSlash(prefix)}, true, nil
			}
		}
		if filepath.Dir(top) == top {
			return nil, false, nil
		}
	}
}

// looksLikeGitDir accepts damaged repositories too: to take one for a plain directory would bring
// files into force that nobody committed.
func looksLikeGitDir(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs", "packed-refs", "config"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// bareShape asks for more, since any directory may hold a file named config.
func bareShape(dir string) bool {
	_, headErr := os.Lstat(filepath.Join(dir, "HEAD"))
	_, configErr := os.Lstat(filepath.Join(dir, "config"))
	return isDir(filepath.Join(dir, "objects")) && isDir(filepath.Join(dir, "refs")) && (headErr == nil || configErr == nil)
}

func isDir(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.IsDir()
}

// gitDirs are the places of a repository's parts. They differ only in a linked work tree, whose HEAD
// is its own and whose refs and objects are the main repository's.
type gitDirs struct {
	own    string // HEAD, the state of a rebase
	common string // refs, packed-refs, objects, config
}

// dirs finds the parts anew, since a .git may be replaced at any time.
func (r *repository) dirs() (gitDirs, error) {
	if r.bare {
		return r.gone(gitDirs{own: r.top, common: r.top})
	}
	marker := filepath.Join(r.top, ".git")
	info, err := os.Stat(marker)
	if err != nil {
		return gitDirs{}, lost(marker, err)
	}
	own := marker
	if !info.IsDir() {
		if own, err = pointer(marker, "gitdir: ", r.top); err != nil {
			return gitDirs{}, err
		}
	}
	common, err := pointer(filepath.Join(own, "commondir"), "", own)
	if errors.Is(err, fs.ErrNotExist) {
		common, err = own, nil
	}
	if err != nil {
		return gitDirs{}, err
	}
	return r.gone(gitDirs{own: own, common: common})
}

// gone tells a repository that was removed from one that is damaged.
func (r *repository) gone(d gitDirs) (gitDirs, error) {
	for _, dir := range []string{d.own, d.common} {
		if _, err := os.Stat(dir); err != nil {
			return d, lost(dir, err)
		}
	}
	if !isDir(filepath.Join(d.common, "objects")) {
		return d, corrupt(fmt.Sprintf("%s has no objects directory", d.common), nil)
	}
	return d, nil
}

func lost(what string, err error) *Error {
	e := ioError(what+" can't be opened", err)
	if e.Reason == NotFound {
		e.Remedy = "put the repository back or clone it anew; until then the last good revision stays"
	}
	return e
}

// pointer reads a file that holds the path of a directory.
func pointer(file, prefix, base string) (string, error) {
	b, err := readSmall(file)
	if err != nil {
		return "", ioError(file+" can't be read", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	target, ok := strings.CutPrefix(strings.TrimSpace(line), prefix)
	if !ok || target == "" {
		return "", corrupt(fmt.Sprintf("%s doesn't name a directory", file), nil)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(base, target)
	}
	return target, nil
}
