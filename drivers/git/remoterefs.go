package git

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// remoteRefs are a server's refs.
type remoteRefs struct {
	head   string // what HEAD names; empty: not told
	hashes map[string]plumbing.Hash
}

// remoteRef is what was asked for among them. A zero hash: it isn't a ref, so it may be a commit.
type remoteRef struct {
	name     string
	hash     plumbing.Hash
	warnings []string
}

// same says whether a revision is what it was when it was asked for before.
func (w remoteRef) same(last *fetched) bool {
	if w.hash.IsZero() {
		return strings.HasPrefix(last.ID, strings.ToLower(w.name)) && last.tipName == w.name
	}
	return w.hash == last.tip && w.name == last.tipName
}

func newRemoteRefs(list []*plumbing.Reference) remoteRefs {
	refs := remoteRefs{hashes: map[string]plumbing.Hash{}}
	for _, ref := range list {
		switch {
		case ref.Type() == plumbing.SymbolicReference && ref.Name() == plumbing.HEAD:
			refs.head = ref.Target().String()
		case ref.Type() == plumbing.HashReference:
			refs.hashes[ref.Name().String()] = ref.Hash()
		}
	}
	return refs
}

// choose finds the ref that is wanted: HEAD's branch, else a branch, else a tag, else what may be a commit.
func (r remoteRefs) choose(want string) (remoteRef, error) {
	if want == "" || want == "HEAD" {
		return r.chooseHead()
	}
	if err := checkWanted(want); err != nil {
		return remoteRef{}, err
	}
	places := []string{"refs/heads/" + want, "refs/tags/" + want}
	if validRefName(want) {
		places = []string{want}
	}
	var found []remoteRef
	for _, name := range places {
		if hash, ok := r.hashes[name]; ok {
			found = append(found, remoteRef{name: name, hash: hash})
		}
	}
	switch {
	case len(found) == 0 && commitLike(want):
		return remoteRef{name: want}, nil
	case len(found) == 0:
		return remoteRef{}, &Error{Reason: RefNotFound, What: fmt.Sprintf("there is no branch, tag or commit %q", want),
			Remedy: "push it, or correct --ref" + r.there()}
	case len(found) > 1:
		found[0].warnings = []string{fmt.Sprintf("--ref %s is ambiguous: the branch is read; write %s for the tag", want, found[1].name)}
	}
	return found[0], nil
}

func (r remoteRefs) chooseHead() (remoteRef, error) {
	if len(r.hashes) == 0 {
		return remoteRef{}, &Error{Reason: NoCommits, What: "it has no commit yet", Remedy: "push the specs"}
	}
	if hash, ok := r.hashes[r.head]; ok {
		return remoteRef{name: r.head, hash: hash}, nil
	}
	if hash, ok := r.hashes["HEAD"]; ok {
		return remoteRef{name: "HEAD", hash: hash}, nil
	}
	what := "its HEAD names no branch"
	if r.head != "" {
		what = fmt.Sprintf("its HEAD names the branch %s, which doesn't exist", shortRef(r.head))
	}
	return remoteRef{}, &Error{Reason: RefNotFound, What: what, Remedy: "name a branch with --ref" + r.there()}
}

// there lists the refs that there are, for a remedy.
func (r remoteRefs) there() string {
	var names []string
	for name := range r.hashes {
		if short := shortRef(name); short != name && !strings.HasSuffix(name, "^{}") && !strings.HasPrefix(name, "refs/pull/") {
			names = append(names, short)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return thereAre(names)
}

func commitLike(s string) bool {
	return len(s) >= minAbbrev && len(s) <= hashLen && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}
