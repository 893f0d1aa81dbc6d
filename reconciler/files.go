package reconciler

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	// filesEvery is the most time between two looks of a run at the files in nodes, of which no event tells.
	filesEvery = 45 * time.Second
	// filesAtOnce is how many nodes of a host are read at a time.
	filesAtOnce = 4
	// longestFile is how much of a file is read to tell what it has become: as much as one of ours may have.
	longestFile = 4 << 20
)

// withFiles is a node's current instance with the files that were put into it.
type withFiles struct {
	fleet.Instance
	layer *spec.Layer
	files []spec.File
}

// fileNodes are the nodes whose files can be compared, by host: they run, were healthy, and were made for
// the spec that they have. The files of the next instance of a node are in its volumes already.
func (c *Controller) fileNodes(which func(fleet.NodeID) bool) map[string][]withFiles {
	observed := c.observed()
	nodes := fleet.Nodes(observed)
	c.mu.Lock()
	defer c.mu.Unlock()
	byHost := map[string][]withFiles{}
	for i := range nodes {
		n := &nodes[i]
		in, l := n.CurrentInstance(), c.layer(n.LayerID())
		if l == nil || in == nil || !which(n.NodeID) || n.Unproven || n.Candidate() != nil || in.State != fleet.StateRunning || !in.MadeFor(l) {
			continue
		}
		if files := plan.Watched(l); len(files) > 0 {
			byHost[in.Host] = append(byHost[in.Host], withFiles{*in, l, files})
		}
	}
	return byHost
}

func (c *Controller) anyNode(id fleet.NodeID) bool {
	return c.opts.Only == "" || id.Environment == c.opts.Only
}

// readFiles looks at the files of ours in all nodes, host beside host.
func (c *Controller) readFiles(ctx context.Context) {
	var wg sync.WaitGroup
	for name, nodes := range c.fileNodes(c.anyNode) {
		if h := c.host(name); h != nil {
			wg.Go(func() { c.readFilesOf(ctx, h, nodes) })
		}
	}
	wg.Wait()
}

// readFilesAside has them looked at beside a run, which plans anew where something has come of it.
func (c *Controller) readFilesAside(ctx context.Context) {
	for name, nodes := range c.fileNodes(c.anyNode) {
		h := c.host(name)
		if h == nil || h.looking.underway() {
			continue
		}
		h.looking.start(&c.besides, func() {
			h.looking.begin()
			if c.readFilesOf(ctx, h, nodes) {
				c.kick()
			}
		})
	}
}

// lookAgain looks once more at the changed files of a layer's nodes, before anything is done about them.
func (c *Controller) lookAgain(ctx context.Context, l fleet.LayerID) {
	fleetName := c.fleetName()
	for name, nodes := range c.fileNodes(func(id fleet.NodeID) bool { return id.LayerID() == l }) {
		h := c.host(name)
		if h == nil {
			continue
		}
		known := h.snapshot().Files
		nodes = slices.DeleteFunc(nodes, func(n withFiles) bool {
			return len(plan.FileChanges(fleetName, n.layer, &n.Instance, known[n.ID])) == 0
		})
		if len(nodes) > 0 {
			c.readFilesOf(ctx, h, nodes)
		}
	}
}

// readFilesOf looks at the files of a host's nodes, and says whether they aren't what was known of them. A host
// that doesn't answer isn't asked on.
func (c *Controller) readFilesOf(ctx context.Context, h *host, nodes []withFiles) (news bool) {
	if !h.snapshot().Reachable {
		return false
	}
	fleetName := c.fleetName()
	var mu sync.Mutex
	found := map[string]fleet.Files{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(filesAtOnce)
	for _, n := range nodes {
		g.Go(func() error {
			before := h.snapshot().Files[n.ID]
			read, err := h.lookInto(gctx, fleetName, n, before)
			if err != nil && gctx.Err() != nil {
				err = context.Cause(gctx) // which ended this one too
			}
			gone := errors.Is(err, fleet.ErrNotFound)
			if err != nil {
				read = fleet.Files{Files: before.Files, At: before.At, Problem: err.Error()}
			}
			if ctx.Err() == nil && !gone {
				mu.Lock()
				news = news || read.Problem != before.Problem || !slices.Equal(read.Files, before.Files)
				found[n.ID] = read
				mu.Unlock()
			}
			if errors.Is(err, fleet.ErrUnreachable) {
				return err // the others aren't asked
			}
			return nil
		})
	}
	_ = g.Wait() // what it was is kept with the nodes
	h.sawFiles(found)
	return news
}

// sawFiles keeps what was read of files, by instance, and forgets what is known of instances that are gone.
func (h *host) sawFiles(found map[string]fleet.Files) {
	h.mu.Lock()
	defer h.mu.Unlock()
	files := make(map[string]fleet.Files, len(h.state.Instances))
	for i := range h.state.Instances {
		id := h.state.Instances[i].ID
		if read, ok := found[id]; ok {
			files[id] = read
		} else if before, ok := h.state.Files[id]; ok {
			files[id] = before
		}
	}
	h.state.Files = files
}

// lookInto looks at an instance's files. Only one that isn't as it was put there, nor as it was when it was last
// read, is read.
func (h *host) lookInto(ctx context.Context, fleetName string, n withFiles, before fleet.Files) (fleet.Files, error) {
	read := fleet.Files{At: time.Now(), Files: make([]fleet.File, 0, len(n.files))}
	for i := range n.files {
		want := &n.files[i]
		f, err := h.engine.StatFile(ctx, n.ID, want.Path)
		if err != nil {
			return fleet.Files{}, err
		}
		known := before.File(want.Path)
		switch {
		case f.Missing || !f.Mode.IsRegular() || f.Size > longestFile:
		case f.Size == int64(len(want.Content)) && f.ModTime.Equal(fleet.PutAt(n.CreatedAt)):
			f.AsPut = true
		case known != nil && known.Digest != "" && known.SameStat(&f):
			f = *known
		default:
			var content []byte
			if f, content, err = h.engine.ReadFile(ctx, n.ID, want.Path, longestFile); err != nil {
				return fleet.Files{}, err
			}
			if content != nil {
				f.Digest = spec.FileDigest(fleetName, n.Environment, n.Layer, want.Path, content)
			}
		}
		read.Files = append(read.Files, f)
	}
	return read, nil
}
