package main

import (
	"cmp"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
	"github.com/evenkeel/evenkeel/drivers/journal"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// keptJournal is a [journal.Journal] as the reconciler wants it. A fleet's journal is in a folder of its
// name, which isn't known before a revision was read.
type keptJournal struct {
	dir  string // empty: no journal is kept
	by   string // who does what is kept
	show render.Progress
	load func(fs.FS) (*spec.Spec, error)

	mu    sync.Mutex
	known bool // the fleet's name
	kept  *journal.Journal
	// phases is where each node's operation was when it was last kept: what is said within a phase isn't.
	phases map[fleet.NodeID]rollout.Phase
}

// of opens the journal of the fleet in files, unless that is known. Its error is why files are invalid.
func (j *keptJournal) of(files fs.FS) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.known {
		return nil
	}
	loaded, err := j.load(files)
	if err != nil {
		return err
	}
	j.known = true
	if j.dir == "" {
		return nil
	}
	if j.kept, err = journal.Open(journal.Options{Dir: j.dir, Fleet: loaded.Fleet.Name}); err != nil {
		j.show.Say("no journal is kept: " + err.Error())
	}
	return nil
}

// Append writes a step of a node's operation, once for each phase. A journal that can't be written is said and
// holds nothing up.
func (j *keptJournal) Append(p rollout.Progress) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	node := fleet.NodeID{Environment: p.Environment, Layer: p.Layer, Node: p.Node}
	if j.kept == nil || j.phases[node] == p.Phase && !p.Phase.Ended() {
		return nil
	}
	if j.phases == nil {
		j.phases = map[fleet.NodeID]rollout.Phase{}
	}
	j.phases[node] = p.Phase
	return j.append(event(p))
}

// AppendStep writes what was done on a host beside nodes.
func (j *keptJournal) AppendStep(s reconciler.HostStep) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.append(hostEvent(s))
}

// append writes an event. j.mu is held.
func (j *keptJournal) append(e journal.Event) error {
	if j.kept == nil {
		return nil
	}
	e.By = j.by
	return j.kept.Append(e)
}

func (j *keptJournal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.kept == nil {
		return nil
	}
	return j.kept.Close()
}

// event is a step as the journal keeps it.
func event(p rollout.Progress) journal.Event {
	e := journal.Event{
		Time: p.Time, Revision: p.Revision, Environment: p.Environment, Layer: p.Layer, Node: p.Node, Host: p.Host,
		Operation: string(p.Operation), Phase: string(p.Phase), Cause: causes(p.Causes), Duration: time.Duration(p.Took), Message: p.Message,
	}
	if p.FromHost != "" {
		e.Host = p.FromHost + " → " + p.Host
	}
	if p.Phase.Ended() {
		e.Outcome = string(p.Phase)
	}
	if p.Error != "" {
		e.Message = strings.TrimSuffix(p.Error+"\n"+p.Message, "\n")
	}
	return e
}

// hostEvent is a step on a host as the journal keeps it.
func hostEvent(s reconciler.HostStep) journal.Event {
	phase := rollout.PhaseDone
	if s.Error != "" {
		phase = rollout.PhaseFailed
	}
	return journal.Event{
		Time: s.Time, Revision: s.Revision, Environment: s.Node.Environment, Layer: s.Node.Layer, Node: s.Node.Node, Host: s.Host,
		Operation: s.Operation + " " + s.What, Name: s.Name, Phase: string(phase), Outcome: string(phase),
		Cause: cmp.Or(s.Cause, causes(s.Causes)), Duration: s.Took, Message: s.Error,
	}
}

func causes(list []plan.Cause) string {
	var out []string
	for _, c := range list {
		out = append(out, render.Cause(c))
	}
	return strings.Join(out, "; ")
}
