package git

import (
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// The look back for a force push ends after so many commits, or where all that is left is older than
// the commit looked for by more than clocks usually differ.
const (
	maxLookBack = 1000
	clockSkew   = 24 * time.Hour
)

// rewound reports whether the last revision is not in next's history. Where that can't be told within
// the bounds (a shallow clone, a long history) it says no, since a warning must not cry wolf.
func rewound(objects *objectStore, next *object.Commit, last Revision) bool {
	wanted := plumbing.NewHash(last.ID)
	oldest := last.Time.Add(-clockSkew)
	seen := map[plumbing.Hash]bool{next.Hash: true}
	queue := []*object.Commit{next}
	for len(queue) > 0 {
		commit := queue[0]
		queue = queue[1:]
		for _, parent := range commit.ParentHashes {
			if parent == wanted {
				return false
			}
			if seen[parent] {
				continue
			}
			seen[parent] = true
			if len(seen) > maxLookBack {
				return false
			}
			p, err := readCommit(objects, parent)
			if err != nil {
				return false
			}
			if p.Committer.When.After(oldest) {
				queue = append(queue, p)
			}
		}
	}
	return true
}

func readCommit(objects *objectStore, hash plumbing.Hash) (*object.Commit, error) {
	obj, err := objects.get(hash)
	if err != nil {
		return nil, err
	}
	commit := &object.Commit{}
	return commit, commit.Decode(obj)
}
