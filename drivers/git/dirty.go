package git

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// Dirty lists the files below Options.Path that differ in the work tree from the revision's: changed,
// deleted, or YAML files that were never added; with Options.Reads only those that it reads, of the commit or of
// the work tree. It is for a warning ("committed?"), off the hot path: the revision was read from the commit
// alone. The list is sorted and relative to the path. It is empty for plain directories and bare repositories,
// and where the work tree isn't at that commit, so that there is nothing to compare.
func (s *Source) Dirty(ctx context.Context, rev Revision) ([]string, error) {
	repo, ok := s.origin.(*repository)
	if !ok || repo.bare || !rev.IsCommit() {
		return nil, nil
	}
	at, err := repo.checkedOut()
	if err != nil {
		return nil, inRepo(s.options.Repo, err)
	}
	files, ok := rev.Files.(treeFS)
	if !ok || at != rev.ID {
		return nil, nil
	}
	c := &comparison{ctx: ctx, repo: repo, top: filepath.Join(repo.top, filepath.FromSlash(repo.path))}
	if err := c.tracked(files.root, ""); err != nil {
		return nil, err
	}
	if err := c.untracked(files.root); err != nil {
		return nil, err
	}
	sort.Strings(c.differ)
	return s.thatMatter(c, files.root, slices.Compact(c.differ))
}

// thatMatter leaves out files that Options.Reads reads neither in the commit nor in the work tree. Where the
// work tree is too large to be looked through, nothing is left out.
func (s *Source) thatMatter(c *comparison, commit *node, list []string) ([]string, error) {
	if s.options.Reads == nil || len(list) == 0 {
		return list, nil
	}
	s.mu.Lock() // Reads isn't to read side by side
	defer s.mu.Unlock()
	seen, err := walk(c.ctx, c.top, s.options.limits())
	r := &reading{dirWalk: seen, used: map[*node]bool{}}
	if err == nil {
		err = r.read(s.options.Reads)
	}
	if err != nil {
		return list, c.ctx.Err()
	}
	inCommit := map[*node]bool{}
	s.options.Reads(treeFS{root: commit, use: func(n *node) error { inCommit[n] = true; return nil }})
	read := map[string]bool{}
	namesOf(seen.root, "", r.used, read)
	namesOf(commit, "", inCommit, read)
	return slices.DeleteFunc(list, func(name string) bool { return !read[name] }), nil
}

// namesOf adds the paths of those nodes below one that are among some.
func namesOf(n *node, at string, among map[*node]bool, into map[string]bool) {
	for _, child := range n.children {
		p := join(at, child.name)
		if among[child] {
			into[p] = true
		}
		namesOf(child, p, among, into)
	}
}

// checkedOut returns the commit that HEAD names.
func (r *repository) checkedOut() (string, error) {
	dirs, err := r.dirs()
	if err != nil {
		return "", err
	}
	hash, _, err := resolver{refs: refStore{dirs}}.follow("HEAD")
	return hash.String(), err
}

// comparison of a work tree with a snapshot.
type comparison struct {
	ctx    context.Context //nolint:containedctx // lives for one call
	repo   *repository
	top    string
	differ []string
}

func (c *comparison) tracked(n *node, at string) error {
	for _, child := range n.children {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		p := join(at, child.name)
		if child.mode.IsDir() {
			if err := c.tracked(child, p); err != nil {
				return err
			}
		} else if !sameFile(filepath.Join(c.top, filepath.FromSlash(p)), child) {
			c.differ = append(c.differ, p)
		}
	}
	return nil
}

// sameFile compares content, the size first. What git itself changes at checkout (line ends, large
// files kept elsewhere) is no difference.
func sameFile(full string, n *node) bool {
	info, err := os.Lstat(full)
	if err != nil || info.Mode().Type() != n.mode.Type() {
		return false
	}
	if n.mode&fs.ModeSymlink != 0 {
		target, err := os.Readlink(full)
		return err == nil && filepath.ToSlash(target) == string(n.data)
	}
	if bytes.HasPrefix(n.data, []byte("version https://git-lfs.github.com/spec/")) {
		return true
	}
	// Line ends can only make the file on disk longer, by one byte a line.
	if longer := info.Size() - int64(len(n.data)); longer < 0 || longer > int64(bytes.Count(n.data, []byte{'\n'})) {
		return false
	}
	content, err := os.ReadFile(full)
	return err == nil && (bytes.Equal(content, n.data) ||
		bytes.Equal(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n")), n.data))
}

// untracked finds YAML files that the revision doesn't have and that git isn't told to ignore.
func (c *comparison) untracked(root *node) error {
	var unknown []string
	known := treeFS{root: root}
	err := filepath.WalkDir(c.top, func(full string, d fs.DirEntry, err error) error {
		if ctxErr := c.ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		if err != nil {
			return nil //nolint:nilerr // what can't be read can't be compared
		}
		if d.IsDir() && full != c.top && (hidden(d.Name()) || foreign(full)) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || !isYAML(d.Name()) {
			return nil
		}
		rel, err := filepath.Rel(c.top, full)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if _, err := known.lookup(rel, true); err != nil {
			unknown = append(unknown, rel)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, rel := range unknown {
		if !c.ignored(join(c.repo.path, rel)) {
			c.differ = append(c.differ, rel)
		}
	}
	return nil
}

// foreign is another repository's work tree: a submodule, a clone.
func foreign(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, ".git"))
	return err == nil
}

// ignored asks the .gitignore files on the way to a path.
func (c *comparison) ignored(path string) bool {
	parts := strings.Split(path, "/")
	patterns := ignorePatterns(filepath.Join(c.repo.top, ".git", "info", "exclude"), nil)
	for i := range parts {
		dir := filepath.Join(append([]string{c.repo.top}, parts[:i]...)...)
		patterns = append(patterns, ignorePatterns(filepath.Join(dir, ".gitignore"), parts[:i])...)
	}
	return gitignore.NewMatcher(patterns).Match(parts, false)
}

func ignorePatterns(file string, domain []string) []gitignore.Pattern {
	content, err := readSmall(file)
	if err != nil {
		return nil
	}
	var patterns []gitignore.Pattern
	for line := range strings.SplitSeq(string(content), "\n") {
		line = strings.TrimRight(line, "\r")
		if line != "" && line[0] != '#' {
			patterns = append(patterns, gitignore.ParsePattern(line, domain))
		}
	}
	return patterns
}

func isYAML(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}
