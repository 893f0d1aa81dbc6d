package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

var web = fleet.LayerID{Environment: "shop", Layer: "web"}

// model is a layer in memory: what the rollout's edges do is done to it.
type model struct {
	mu        sync.Mutex
	spec      spec.Layer
	wanted    int // generation
	instances map[string]*fleet.Instance
	current   map[int]int // generation by node
	out       map[int]bool
	least     int // the fewest nodes that served at any time
	most      int // the most nodes that were worked on at once
	events    []string
	drains    []time.Duration // how long connections were given
	counts    []string        // of each operation that ended
	forgotten []string        // containers that were found to be gone
	broken    map[int]bool    // nodes that never get healthy in the wanted generation
	paused    *fleet.PauseRecord
	withdraw  error
	barred    error            // why the host may not be written to; nil: it may
	silent    bool             // nobody confirms a withdrawal
	took      time.Duration    // of a stop, and of a start
	blind     bool             // the plan doesn't see what else of a node runs
	conflicts int              // starts that found something taken
	taken     []fleet.Occupant // what else runs on the host, and holds what a container needs
	begun     time.Time
	changed   map[int]time.Duration // when a node was stopped, since begun
	drained   map[string][]uint16   // the ports whose connections were waited for
	signals   map[string]string     // with which instances were stopped
	unlisted  bool                  // the plan doesn't say that names are left
	returning int                   // the node that serves again right before it is withdrawn
	answered  bool                  // keepers answered with what is withdrawn, whatever the plan says
	// remembered is until when caches have names that led to a node.
	remembered time.Time
}

func newModel(replicas int, p spec.UpdatePolicy) *model {
	m := &model{
		spec:   spec.Layer{Name: "web", Replicas: replicas, LayerHash: "h1", Update: p},
		wanted: 1, instances: map[string]*fleet.Instance{}, current: map[int]int{}, out: map[int]bool{},
		broken: map[int]bool{}, took: 100 * time.Millisecond, least: replicas, changed: map[int]time.Duration{},
		drained: map[string][]uint16{}, signals: map[string]string{},
	}
	for n := 1; n <= replicas; n++ {
		in := m.instance(n, 1)
		in.State = fleet.StateRunning
		m.instances[in.ID] = in
		m.current[n] = 1
	}
	return m
}

func (m *model) instance(node, generation int) *fleet.Instance {
	return &fleet.Instance{
		NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: node}, Host: "h1", Generation: generation,
		Address: netip.AddrFrom4([4]byte{10, 112, 0, byte(node)}), Published: []fleet.Published{{Port: 80, Protocol: "tcp", HostPort: 80}},
		ID: fmt.Sprintf("%d-g%d", node, generation), State: fleet.StateCreated, RestartPolicy: "unless-stopped",
	}
}

// want makes a newer revision of the layer.
func (m *model) want(generation int, hash string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted, m.spec.LayerHash = generation, hash
}

func (m *model) world() World {
	return World{
		Hosts: m, Names: m, Records: m, Planner: m, Slots: NewSlots(), Fleet: func() string { return "f" },
		Report: m.note, Revision: func() string { return "r" }, Released: func() {},
	}
}

func (m *model) note(p Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, fmt.Sprintf("%d %s", p.Node, p.Phase))
	if p.Phase.Ended() {
		m.counts = append(m.counts, fmt.Sprintf("%s (%d/%d)", p.Phase, p.Done, p.Total))
	}
}

// plan is what the planner would say of the model.
func (m *model) plan() plan.Layer {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := m.spec
	l := plan.Layer{Environment: "shop", Layer: "web", Spec: &wanted}
	if m.paused != nil && m.paused.Hash == wanted.LayerHash {
		l.Paused = m.paused.Cause
	}
	for n := 1; n <= m.spec.Replicas; n++ {
		if m.current[n] == m.wanted {
			if in := m.instances[fmt.Sprintf("%d-g%d", n, m.wanted)]; in.State == fleet.StateExited {
				c := *in
				l.Operations = append(l.Operations, plan.Operation{
					Node: n, ID: in.NodeID, Kind: plan.Start, Host: "h1", Instance: &c, Others: m.others(n, in.ID),
					Causes: []plan.Cause{{Field: "state", From: "exited", To: "running"}},
				})
			}
			continue
		}
		next := m.instance(n, m.wanted)
		op := plan.Operation{
			Node: n, ID: next.NodeID, Kind: plan.Redeploy, Host: "h1", Intrusive: true, Serving: m.serves(n),
			Container: &fleet.Container{NodeID: next.NodeID, Generation: m.wanted, Host: "h1", Ports: next.Published},
			DNS:       m.leaves(),
			Causes:    []plan.Cause{{Field: "image", To: fmt.Sprint(m.wanted)}},
		}
		if in := m.instances[fmt.Sprintf("%d-g%d", n, m.current[n])]; in != nil {
			c := *in
			op.Instance = &c
		}
		if in := m.instances[next.ID]; in != nil {
			c := *in
			op.Candidate = &c
		}
		op.Others = m.others(n, next.ID, fmt.Sprintf("%d-g%d", n, m.current[n]))
		l.Operations = append(l.Operations, op)
	}
	return l
}

// others are the instances of a node that run beside those. m.mu is held.
func (m *model) others(n int, but ...string) []*fleet.Instance {
	var list []*fleet.Instance
	for _, id := range slices.Sorted(maps.Keys(m.instances)) {
		if in := m.instances[id]; in.Node == n && in.Running() && !slices.Contains(but, id) && !m.blind {
			c := *in
			list = append(list, &c)
		}
	}
	return list
}

// Occupants are the running instances, which each hold their node's address, and what else is there.
func (m *model) Occupants(context.Context) ([]fleet.Occupant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Clone(m.taken)
	for _, id := range slices.Sorted(maps.Keys(m.instances)) {
		if in := m.instances[id]; in.Running() {
			all = append(all, fleet.Occupant{ID: id, Name: id, Fleet: "f", NodeID: in.NodeID, Addresses: []netip.Addr{in.Address}})
		}
	}
	return all, nil
}

// serves says whether a node's current instance runs and is in the names. m.mu is held.
func (m *model) serves(n int) bool {
	in := m.instances[fmt.Sprintf("%d-g%d", n, m.current[n])]
	return in != nil && in.State == fleet.StateRunning && !m.out[n] && (!m.broken[n] || in.Generation == 1)
}

// bar has the host not be written to from now on.
func (m *model) bar(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.barred = why
}

// currentOf is the generation that a node is at.
func (m *model) currentOf(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current[n]
}

// runs says whether a node's current instance runs.
func (m *model) runs(n int) bool {
	in := m.instances[fmt.Sprintf("%d-g%d", n, m.current[n])]
	return in != nil && in.State == fleet.StateRunning
}

// weigh notes the fewest that ever served. m.mu is held.
func (m *model) weigh() {
	n := 0
	for node := 1; node <= m.spec.Replicas; node++ {
		if m.serves(node) {
			n++
		}
	}
	m.least = min(m.least, n)
	m.most = max(m.most, m.spec.Replicas-n)
}

func (m *model) Layer(_ context.Context, _ fleet.LayerID) (View, error) {
	v := View{Plan: m.plan(), Serving: map[int]bool{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := 1; n <= m.spec.Replicas; n++ {
		v.Serving[n] = m.serves(n)
	}
	return v, nil
}

// Gone forgets what isn't there: of an instance that is, the model knows.
func (m *model) Gone(_, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgotten = append(m.forgotten, id)
}

func (m *model) Engine(string) (Engine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m, m.barred
}

func (m *model) Prepare(context.Context, string, string) error { return nil }
func (m *model) Saw(fleet.Instance)                            {}
func (m *model) Hold(n fleet.NodeID)                           {}
func (m *model) Probe(context.Context, fleet.Instance) error   { return nil }

func (m *model) Withdraw(ctx context.Context, n fleet.NodeID, _ string) (Withdrawn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.withdraw != nil {
		return Withdrawn{}, m.withdraw
	}
	if in := m.instances[fmt.Sprintf("%d-g%d", n.Node, m.current[n.Node])]; m.returning == n.Node && in != nil {
		in.State, m.returning = fleet.StateRunning, 0
	}
	served := m.serves(n.Node)
	m.out[n.Node] = true
	m.weigh()
	if m.silent {
		m.mu.Unlock()
		<-ctx.Done()
		m.mu.Lock()
		return Withdrawn{}, context.Cause(ctx)
	}
	return Withdrawn{TTL: time.Second, Served: served, Internal: m.answered}, nil
}

func (m *model) Restore(_ context.Context, n fleet.NodeID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.out, n.Node)
	return nil
}

func (m *model) Health(_ context.Context, _, instance string) (fleet.ProbeResult, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.instances[instance]
	return fleet.ProbeResult{Healthy: !m.broken[in.Node] || in.Generation == 1, Last: "GET /healthz: 503"}, true, nil
}

func (m *model) leaves() *plan.Withdrawal {
	if m.unlisted {
		return nil
	}
	return &plan.Withdrawal{Withdraw: []string{"web"}}
}

func (m *model) Remembered(fleet.NodeID) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Until(m.remembered)
}

func (m *model) Drain(_ context.Context, in fleet.Instance, ports []uint16, timeout time.Duration) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drains = append(m.drains, timeout)
	m.drained[in.ID] = ports
	return 0, nil
}

func (m *model) PutRecord(context.Context, string, string, any) error { return nil }
func (m *model) DeleteRecord(context.Context, string, string) error   { return nil }
func (m *model) Pull(context.Context, string) error                   { return nil }
func (m *model) Update(context.Context, string, fleet.Limits) error   { return nil }
func (m *model) Logs(context.Context, string, int) ([]string, error)  { return []string{"panic"}, nil }
func (m *model) Remove(context.Context, string) error                 { return nil }
func (m *model) Restart(context.Context, string, string, time.Duration) error {
	return errors.New("the model restarts nothing")
}

func (m *model) Image(context.Context, string) (fleet.ImageInfo, error) {
	return fleet.ImageInfo{}, nil
}

func (m *model) Promote(_ context.Context, in fleet.Instance) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current[in.Node] = in.Generation
	return nil
}

func (m *model) Pause(_ context.Context, _ fleet.LayerID, p fleet.PauseRecord) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = &p
	return nil
}

func (m *model) Inspect(_ context.Context, id string) (fleet.Instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in := m.instances[id]; in != nil {
		return *in, nil
	}
	return fleet.Instance{}, fleet.ErrNotFound
}

func (m *model) Create(_ context.Context, c fleet.Container) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.instance(c.Node, c.Generation)
	m.instances[in.ID] = in
	return in.ID, nil
}

func (m *model) Start(ctx context.Context, id string) error {
	time.Sleep(m.took)
	occupants, _ := m.Occupants(ctx) // the model never fails to answer
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.instances[id]
	if in == nil {
		return fmt.Errorf("no such container: %w", fleet.ErrNotFound)
	}
	for _, o := range occupants {
		if o.ID != id && o.Holds(in.Address, in.Published) {
			m.conflicts++
			return fmt.Errorf("address already in use: %w", fleet.ErrConflict)
		}
	}
	m.instances[id].State = fleet.StateRunning
	m.weigh()
	return nil
}

func (m *model) Stop(_ context.Context, id, signal string, _ time.Duration) error {
	time.Sleep(m.took)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signals[id] = signal
	m.instances[id].State = fleet.StateExited
	m.changed[m.instances[id].Node] = time.Since(m.begun)
	m.weigh()
	return nil
}

// carry has a worker carry out what the model's plan says, and returns when it is idle.
func (m *model) carry(t *testing.T, stop <-chan struct{}) *Worker {
	t.Helper()
	m.begun = time.Now()
	w := NewWorker(t.Context(), stop, web, m.world())
	w.Offer(m.plan(), func(plan.Operation) bool { return true })
	return w
}
