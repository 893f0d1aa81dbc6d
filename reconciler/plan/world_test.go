package plan_test

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/zone"
	"github.com/evenkeel/evenkeel/spec"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// model is a fleet of hosts in memory: what operations do to it, and what can be seen of it.
type model struct {
	name    string
	hosts   map[string]*modelHost
	now     time.Time
	nextID  int
	touched []string // what was changed, by name

	desired *spec.Spec    // of the last pass
	weighed *plan.Weighed // what its removals were weighed with
}

type modelHost struct {
	state   fleet.HostState
	down    bool
	keeper  *fleet.KeeperState
	records map[string]any
}

func newModel(hosts ...string) *model {
	m := &model{name: "production", hosts: map[string]*modelHost{}, now: start}
	for i, h := range hosts {
		m.hosts[h] = &modelHost{
			state: fleet.HostState{
				Name: h, Reachable: true,
				Engine:    fleet.Engine{CPUs: 8, Memory: 16 * gi},
				Networks:  []fleet.Network{{Name: "bridge", Subnet: netip.MustParsePrefix("172.17.0.0/16")}},
				Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(11 + i)}), 32)},
			},
			records: map[string]any{},
		}
	}
	return m
}

func (m *model) names() []string {
	var names []string
	for h := range m.hosts {
		names = append(names, h)
	}
	slices.Sort(names)
	return names
}

// observe is what can be seen of the model.
func (m *model) observe() fleet.Observed {
	var o fleet.Observed
	for _, name := range m.names() {
		h := m.hosts[name]
		if h.down {
			o.Hosts = append(o.Hosts, fleet.HostState{Name: name, Problem: "dial: timeout"})
			continue
		}
		s := h.state
		s.Instances = slices.Clone(s.Instances)
		slices.SortFunc(s.Instances, func(a, b fleet.Instance) int {
			return cmp.Or(a.Compare(b.NodeID), cmp.Compare(a.Generation, b.Generation))
		})
		s.Networks, s.Volumes = slices.Clone(s.Networks), slices.Clone(s.Volumes)
		s.Keepers = slices.Clone(s.Keepers)
		if h.keeper != nil {
			k := *h.keeper
			k.Records = nil
			for key, v := range h.records {
				raw, err := json.Marshal(v)
				if err != nil {
					panic(err)
				}
				k.Records = append(k.Records, fleet.Record{Key: key, Value: raw})
			}
			slices.SortFunc(k.Records, func(a, b fleet.Record) int { return cmp.Compare(a.Key, b.Key) })
			s.Keeper = &k
		}
		o.Hosts = append(o.Hosts, s)
	}
	return o
}

// tell gives every keeper in reach its zone and the copy, as each pass of the controller does.
func (m *model) tell(s *spec.Spec, p plan.Plan) {
	o := m.observe()
	for _, z := range zone.Compute(s, o, p.Networks, nil) {
		if h := m.hosts[z.Host]; h.keeper != nil {
			h.keeper.Zone = z
		}
	}
	c, known := zone.Copy(s, o, p.Networks, zone.Outside{Said: p.Said})
	for _, h := range m.hosts {
		if known && !h.down && h.keeper != nil {
			h.keeper.Copy = c
		}
	}
}

func (m *model) tick() time.Time {
	m.now = m.now.Add(time.Second)
	return m.now
}

func (m *model) touch(what string) { m.touched = append(m.touched, what) }

// pass is one pass of the controller, and says whether anything was left to do.
func (m *model) pass(s *spec.Spec) (plan.Plan, bool) {
	in := input(s, m.observe())
	if m.desired == s {
		in.Weighed = m.weighed
	}
	p := plan.Compute(in)
	m.desired, m.weighed = s, p.Weighed
	m.apply(p)
	m.tell(s, p)
	work := len(p.Hosts) + len(p.Records)
	for _, l := range p.Layers {
		work += len(l.Operations)
	}
	return p, work > 0
}

// settle makes passes until a plan is empty, and returns how many were needed.
func (m *model) settle(s *spec.Spec) (passes int, last plan.Plan) {
	for ; passes < 8; passes++ {
		p, busy := m.pass(s)
		if last = p; !busy {
			break
		}
	}
	return passes, last
}
