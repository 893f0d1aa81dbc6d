package plan

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// A node whose files change soon after it started again and again is left as it is: a program in it changes
// them, and would do so in the next one too.
const (
	MostMended = 3         // how often in a row a node is made anew for that
	MendedSoon = time.Hour // what is soon
)

// filePrefix is what the fields of changed files begin with.
const filePrefix = "file "

// enginesOwn are files that the engine itself writes in each container.
var enginesOwn = []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}

// Watched are the files of ours in a layer's nodes that nobody else has to write.
func Watched(l *spec.Layer) []spec.File {
	own := func(f spec.File) bool { return slices.Contains(enginesOwn, f.Path) }
	if !slices.ContainsFunc(l.Files, own) {
		return l.Files
	}
	return slices.DeleteFunc(slices.Clone(l.Files), own)
}

// FileChange is a file of ours that isn't as it was put into a node.
type FileChange struct {
	Cause
	// At is when it was changed, or found to be gone; Told: the file itself says when.
	At   time.Time
	Told bool
}

// FileChanges are the files of an instance that aren't as they were put there, as far as they were read. What
// was made for another spec is a commit's concern.
func FileChanges(fleetName string, l *spec.Layer, in *fleet.Instance, read fleet.Files) []FileChange {
	if read.At.IsZero() || !in.MadeFor(l) {
		return nil
	}
	var changes []FileChange
	for _, want := range Watched(l) {
		f := read.File(want.Path)
		if f == nil {
			continue
		}
		from, to := fileTexts(fleetName, in.NodeID, &want, f)
		if from == to {
			continue
		}
		c := FileChange{Cause: Cause{Field: filePrefix + want.Path, From: from, To: to}, At: read.At}
		if !f.Missing && f.ModTime.After(in.CreatedAt) && !f.ModTime.After(read.At) {
			c.At, c.Told = f.ModTime, true
		}
		changes = append(changes, c)
	}
	return changes
}

// fileTexts are a file as found and as wanted, equal where there is no difference.
func fileTexts(fleetName string, id fleet.NodeID, want *spec.File, f *fleet.File) (found, wanted string) {
	mode := uint32(f.Mode.Perm())
	if f.AsPut && mode == want.Mode {
		return "", ""
	}
	wanted = spec.FileDigest(fleetName, id.Environment, id.Layer, want.Path, want.Content)
	switch {
	case f.Missing:
		return "removed", wanted
	case f.Mode&fs.ModeSymlink != 0:
		return "a link to " + f.Target, wanted
	case f.Mode.IsDir():
		return "a directory", wanted
	case !f.Mode.IsRegular():
		return "no regular file", wanted
	case f.AsPut:
		found = wanted
	case f.Digest == "":
		return fmt.Sprintf("%d bytes", f.Size), wanted
	default:
		found = f.Digest
	}
	if mode != want.Mode {
		found += fmt.Sprintf(" mode %04o", mode)
		wanted += fmt.Sprintf(" mode %04o", want.Mode)
	}
	return found, wanted
}

// GivenUp says whether a node isn't made anew for a changed file any more, since that was of no avail.
func (c FileChange) GivenUp(in *fleet.Instance) bool { return in.Mended >= MostMended && c.soon(in) }

// soon says whether a file was changed soon after its node started, as far as that can be told.
func (c FileChange) soon(in *fleet.Instance) bool { return c.At.Before(in.StartedAt.Add(MendedSoon)) }

// changedFiles are the causes for which a node with changed files is made anew. One that was never healthy
// is its rollout's concern.
func (w *world) changedFiles(l *layer, n *node, cur *fleet.Instance) []Cause {
	if n.seen.Unproven {
		return nil
	}
	var causes []Cause
	for _, c := range FileChanges(w.fleet.Name, l.spec, cur, w.byHost[cur.Host].state.Files[cur.ID]) {
		if c.GivenUp(cur) {
			w.warn(fmt.Sprintf("%s: %s was changed again, soon after the node was made anew for that, %d times in a row: it is left as it is. "+
				"A program in the node changes it: have it write elsewhere, or put the file into the image", cur.NodeID, strings.TrimPrefix(c.Field, filePrefix), cur.Mended))
			continue
		}
		causes = append(causes, c.Cause)
	}
	return causes
}

// mended is how often in a row, with the one to be made, a node has been made anew for files that were changed
// soon after it started; 0: it is made for something else.
func (w *world) mended(l *layer, op *Operation) int {
	if op.Kind != Redeploy || !slices.ContainsFunc(op.Causes, func(c Cause) bool { return strings.HasPrefix(c.Field, filePrefix) }) {
		return 0
	}
	cur, before := op.Instance, 0
	for _, c := range FileChanges(w.fleet.Name, l.spec, cur, w.byHost[cur.Host].state.Files[cur.ID]) {
		if c.soon(cur) {
			before = cur.Mended
		}
	}
	return before + 1
}
