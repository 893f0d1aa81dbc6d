package git

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// resolved is the commit that a wanted ref names at this moment.
type resolved struct {
	commit   *object.Commit
	ref      string
	warnings []string
}

// resolver answers which commit a ref names.
type resolver struct {
	refs    refStore
	objects *objectStore
	known   *object.Commit // read before, or nil
}

const (
	maxSymbolic = 5
	minAbbrev   = 4
	maxTagDepth = 10
)

func (r resolver) resolve(want string) (resolved, error) {
	if want == "" || want == "HEAD" {
		return r.head()
	}
	if err := checkWanted(want); err != nil {
		return resolved{}, err
	}
	found, err := r.candidates(want)
	if err != nil {
		return resolved{}, err
	}
	if len(found) == 0 {
		return r.byCommit(want)
	}
	out, err := r.commitOf(found[0].hash, found[0].short)
	if err != nil {
		return resolved{}, err
	}
	if len(found) > 1 {
		out.warnings = append(out.warnings, fmt.Sprintf("--ref %s is ambiguous: the %s is read; write %s for the %s",
			want, found[0].kind, found[1].name, found[1].kind))
	}
	return out, nil
}

// checkWanted tells someone who writes HEAD~1 that this isn't git's whole language.
func checkWanted(want string) error {
	if validRefPart(want) && !strings.HasPrefix(want, "-") {
		return nil
	}
	return &Error{Reason: BadOption, What: fmt.Sprintf("%q is no ref", want),
		Remedy: "give --ref a branch, a tag, or a full or abbreviated commit"}
}

type candidate struct {
	name, short, kind string
	hash              plumbing.Hash
}

// candidates lists what a name may mean, the first to be taken: branch, tag, branch of a remote.
func (r resolver) candidates(want string) ([]candidate, error) {
	places := []candidate{
		{name: "refs/heads/" + want, short: want, kind: "branch"},
		{name: "refs/tags/" + want, short: want, kind: "tag"},
		{name: "refs/remotes/" + want, short: want, kind: "remote's branch"},
	}
	if validRefName(want) {
		places = []candidate{{name: want, short: shortRef(want), kind: "ref"}}
	}
	var found []candidate
	for _, c := range places {
		hash, ok, err := r.follow(c.name)
		if err != nil {
			return nil, err
		}
		if ok {
			c.hash = hash
			found = append(found, c)
		}
	}
	return found, nil
}

// follow reads a ref through symbolic ones.
func (r resolver) follow(name string) (plumbing.Hash, bool, error) {
	for range maxSymbolic {
		value, found, err := r.refs.read(name)
		if err != nil || !found || value.symbolic == "" {
			return value.hash, found, err
		}
		name = value.symbolic
	}
	return plumbing.ZeroHash, false, corrupt(fmt.Sprintf("%s names itself", name), nil)
}

func (r resolver) head() (resolved, error) {
	value, found, err := r.refs.read("HEAD")
	if err != nil {
		return resolved{}, err
	}
	if !found {
		return resolved{}, corrupt("HEAD is missing", nil)
	}
	if value.symbolic == "" {
		if branch, doing := r.interrupted(); branch != "" {
			out, err := r.branch(branch)
			out.warnings = append(out.warnings, fmt.Sprintf("%s is under way: %s is read as it was before", doing, shortRef(branch)))
			return out, err
		}
		return r.commitOf(value.hash, "HEAD")
	}
	return r.branch(value.symbolic)
}

func (r resolver) branch(name string) (resolved, error) {
	hash, found, err := r.follow(name)
	if err != nil {
		return resolved{}, err
	}
	if found {
		return r.commitOf(hash, shortRef(name))
	}
	if others := r.refs.list("refs/heads/"); len(others) > 0 {
		return resolved{}, &Error{Reason: RefNotFound, What: fmt.Sprintf("HEAD names the branch %s, which doesn't exist", shortRef(name)),
			Remedy: "check out or name with --ref one that does: " + some(others)}
	}
	return resolved{}, &Error{Reason: NoCommits, What: "it has no commit yet", Remedy: "commit the specs"}
}

// interrupted names the branch that HEAD left for a rebase or a bisection: what HEAD passes through
// meanwhile is nobody's wish.
func (r resolver) interrupted() (branch, doing string) {
	for _, state := range []struct{ file, doing string }{
		{"rebase-merge/head-name", "a rebase"}, {"rebase-apply/head-name", "a rebase"}, {"BISECT_START", "a bisection"},
	} {
		b, err := os.ReadFile(filepath.Join(r.refs.dirs.own, filepath.FromSlash(state.file)))
		name := strings.TrimSpace(string(b))
		if err != nil || name == "" {
			continue
		}
		if !strings.HasPrefix(name, "refs/") {
			name = "refs/heads/" + name
		}
		if _, found, err := r.follow(name); err == nil && found {
			return name, state.doing
		}
	}
	return "", ""
}

func (r resolver) byCommit(want string) (resolved, error) {
	if hash, ok := parseHash(strings.ToLower(want)); ok {
		out, err := r.commitOf(hash, want)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return resolved{}, r.unknown(want)
		}
		return out, err
	}
	if len(want) < minAbbrev || len(want) > hashLen || strings.Trim(strings.ToLower(want), "0123456789abcdef") != "" {
		return resolved{}, r.unknown(want)
	}
	hashes, err := r.objects.withPrefix(strings.ToLower(want))
	if err != nil {
		return resolved{}, err
	}
	var fits []resolved
	var names []string
	for _, h := range hashes {
		if out, err := r.commitOf(h, want); err == nil {
			fits = append(fits, out)
			names = append(names, h.String()[:12])
		}
	}
	switch len(fits) {
	case 0:
		return resolved{}, r.unknown(want)
	case 1:
		return fits[0], nil
	}
	sort.Strings(names)
	return resolved{}, &Error{Reason: Ambiguous, What: fmt.Sprintf("the abbreviated commit %s fits %s", want, some(names)), Remedy: "write more of it"}
}

func (r resolver) unknown(want string) error {
	e := &Error{Reason: RefNotFound, What: fmt.Sprintf("there is no branch, tag or commit %q", want), Remedy: "push it, or correct --ref"}
	if names := append(r.refs.list("refs/heads/"), r.refs.list("refs/tags/")...); len(names) > 0 {
		e.Remedy += thereAre(names)
	}
	return e
}

// commitOf peels annotated tags off.
func (r resolver) commitOf(hash plumbing.Hash, ref string) (resolved, error) {
	for range maxTagDepth {
		if r.known != nil && r.known.Hash == hash {
			return resolved{commit: r.known, ref: ref}, nil
		}
		obj, err := r.objects.get(hash)
		if err != nil {
			return resolved{}, missing(fmt.Sprintf("%.12s, which %s names", hash, ref), err)
		}
		switch obj.Type() {
		case plumbing.CommitObject:
			commit := &object.Commit{}
			if err := commit.Decode(obj); err != nil {
				return resolved{}, missing(fmt.Sprintf("commit %.12s", hash), err)
			}
			return resolved{commit: commit, ref: ref}, nil
		case plumbing.TagObject:
			tag := &object.Tag{}
			if err := tag.Decode(obj); err != nil {
				return resolved{}, missing(fmt.Sprintf("tag %s", ref), err)
			}
			hash = tag.Target
		default:
			return resolved{}, &Error{Reason: RefNotFound, What: fmt.Sprintf("%s names a %s, not a commit", ref, obj.Type()),
				Remedy: "give --ref a branch, a tag of a commit, or a commit"}
		}
	}
	return resolved{}, corrupt(fmt.Sprintf("the tag %s names tags without end", ref), nil)
}

func shortRef(name string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "refs/remotes/", "refs/"} {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			return short
		}
	}
	return name
}

// some lists names up to a readable number.
// thereAre ends a remedy with what there is to choose from.
func thereAre(names []string) string {
	if len(names) == 1 {
		return "; there is only " + names[0]
	}
	return "; there are " + some(names)
}

func some(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
