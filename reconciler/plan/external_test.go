package plan_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// named gives the layer web a name at a provider, and hosts addresses.
func named(s *spec.Spec) *spec.Spec {
	s.Fleet.External = []spec.ExternalZone{{Name: "public", Zone: "example.com", TTL: 2 * time.Minute}}
	for i := range s.Fleet.Hosts {
		s.Fleet.Hosts[i].PublicAddresses = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})}
	}
	s.Environments[0].DNS = []spec.ExternalName{{Name: "shop.example.com", Type: spec.RecordA, Layer: "web", Zone: "public"}}
	return s
}

// aRecord is one of ours that leads to the nth host.
func aRecord(n int) fleet.DNSRecord {
	return fleet.DNSRecord{
		ID: fmt.Sprint(n), Name: "shop.example.com", Type: fleet.TypeA, Content: fmt.Sprintf("203.0.113.%d", n), TTL: 2 * time.Minute,
		Owner: fleet.DNSOwner("production", "shop"),
	}
}

func withZone(in plan.Input, records ...fleet.DNSRecord) plan.Input {
	in.Zones = []plan.Zone{{Name: "public", Records: records}}
	return in
}

func dnsLines(p plan.Plan) []string {
	var lines []string
	for _, op := range p.DNS {
		lines = append(lines, op.Operation+" "+op.Provider+" "+op.Record)
	}
	return lines
}

func TestExternalRecords(t *testing.T) {
	m := newModel("hn1", "hn2", "hn3")
	three := []string{"hn1", "hn2", "hn3"}

	fresh := plan.Compute(withZone(input(named(onHosts(three, web(3))), m.observe())))
	require.Equal(t, []string{"create public shop.example.com A 203.0.113.1", "create public shop.example.com A 203.0.113.2", "create public shop.example.com A 203.0.113.3"},
		dnsLines(fresh), "a plan looks ahead")
	require.False(t, fresh.Due, "nothing is to be led to yet")

	m.settle(onHosts(three, web(3)))
	missing := plan.Compute(withZone(input(named(onHosts(three, web(3))), m.observe()), aRecord(1), aRecord(2)))
	require.Equal(t, []string{"create public shop.example.com A 203.0.113.3"}, dnsLines(missing))
	require.True(t, missing.Due)
	require.True(t, missing.HasChanges)

	settled := plan.Compute(withZone(input(named(onHosts(three, web(3))), m.observe()), aRecord(1), aRecord(2), aRecord(3)))
	require.Empty(t, settled.DNS)
	require.False(t, settled.Due || settled.HasChanges)

	foreign := aRecord(3)
	foreign.Owner = fleet.DNSOwner("another", "shop")
	conflict := plan.Compute(withZone(input(named(onHosts(three, web(3))), m.observe()), aRecord(1), aRecord(2), foreign))
	require.Len(t, conflict.Refused, 1)
	require.Contains(t, conflict.Refused[0], "shop.example.com of shop in the zone example.com: A 203.0.113.3 is there already and belongs to the fleet another")
}

func TestNodesLeaveExternalNames(t *testing.T) {
	three := []string{"hn1", "hn2", "hn3"}
	m := newModel(three...)
	m.settle(onHosts(three, web(3)))
	p := plan.Compute(withZone(input(named(onHosts(three, web(3, newImage))), m.observe()), aRecord(1), aRecord(2), aRecord(3)))
	require.Empty(t, p.DNS, "a redeployed node comes back to where it was")
	for _, op := range p.Layers[0].Operations {
		host := op.Host[2:]
		require.Equal(t, []string{"shop.example.com A 203.0.113." + host}, op.DNS.Withdraw)
		require.Equal(t, 2*time.Minute, op.Lasts)
	}
	require.False(t, p.Layers[0].Downtime)
	require.GreaterOrEqual(t, time.Duration(p.Layers[0].EstimatedDuration), 6*time.Minute)

	// Where another node of the layer shares the host, its record stays until that leaves too.
	m = newModel("hn1", "hn2")
	m.settle(onHosts(two, web(3)))
	p = plan.Compute(withZone(input(named(onHosts(two, web(3, newImage))), m.observe()), aRecord(1), aRecord(2)))
	withdrawn := map[string]int{}
	for _, op := range p.Layers[0].Operations {
		if op.DNS != nil {
			for _, r := range op.DNS.Withdraw {
				withdrawn[op.Host+" "+r]++
			}
		}
	}
	shared := map[string]int{}
	for _, op := range p.Layers[0].Operations {
		shared[op.Host]++
	}
	for host, nodes := range shared {
		want := 0
		if nodes == 1 {
			want = 1
		}
		require.Equal(t, want, withdrawn[host+" shop.example.com A 203.0.113."+host[2:]], "%s has %d nodes", host, nodes)
	}

	// The only node's record is the last under the name: it stays, and that is downtime.
	m = newModel("hn1")
	m.settle(onHosts(one, web(1)))
	p = plan.Compute(withZone(input(named(onHosts(one, web(1, newImage))), m.observe()), aRecord(1)))
	require.Nil(t, p.Layers[0].Operations[0].DNS)
	require.True(t, p.Layers[0].Downtime)
}

func TestAZoneThatIsNotKnown(t *testing.T) {
	three := []string{"hn1", "hn2", "hn3"}
	m := newModel(three...)
	m.settle(onHosts(three, web(3)))
	in := input(named(onHosts(three, web(4, newImage))), m.observe())
	in.Zones = []plan.Zone{{Name: "public", Problem: "Cloudflare refuses the token"}}
	p := plan.Compute(in)
	require.Empty(t, p.DNS)
	require.False(t, p.Due)
	require.Equal(t, []string{"the zone example.com isn't known (Cloudflare refuses the token): its records stay as they are, and no serving node that it leads to is touched"}, p.Refused)
	require.Len(t, p.Layers[0].Operations, 1)
	require.Equal(t, plan.Create, p.Layers[0].Operations[0].Kind, "a node that comes is in nobody's way")
	require.Len(t, p.Layers[0].Waiting, 3)
	require.Contains(t, p.Layers[0].Waiting[0].Reason, "redeploy waits: the zone example.com isn't known, and it has to leave its names there first: Cloudflare refuses the token")

	free := func(l *spec.Layer) { l.Update.RemoveFromDNS = false }
	in = input(named(onHosts(three, web(3, newImage, free))), m.observe())
	in.Zones = []plan.Zone{{Name: "public", Problem: "Cloudflare refuses the token"}}
	require.Len(t, plan.Compute(in).Layers[0].Operations, 3, "who doesn't leave the names waits for none")
}

// Where the removal of nodes is refused, so is that of the names that led to them: an emptied repository takes
// neither away.
func TestNamesAreKeptWhereNodesAre(t *testing.T) {
	three := []string{"hn1", "hn2", "hn3"}
	m := newModel(three...)
	m.settle(onHosts(three, web(3)))
	s := named(onHosts(three, web(3)))
	s.Environments, s.Fleet.PruneMaxShare = nil, 50
	in := withZone(input(s, m.observe()), aRecord(1), aRecord(2), aRecord(3))
	p := plan.Compute(in)
	require.True(t, p.KeepNames)
	require.Empty(t, p.DNS)
	require.False(t, p.Due)

	s.Fleet.PruneMaxShare = 100
	p = plan.Compute(in)
	require.Len(t, p.DNS, 3)
	require.True(t, p.Due)
}

// A commit takes a name away and changes the nodes that it led to, and its zone can't be read: the name may lead to
// them still.
func TestANameThatIsTakenAwayFromAZoneThatIsNotKnown(t *testing.T) {
	three := []string{"hn1", "hn2", "hn3"}
	m := newModel(three...)
	m.settle(named(onHosts(three, web(3))))
	s := named(onHosts(three, web(3, newImage)))
	s.Environments[0].DNS = nil
	waiting := func(z plan.Zone) []plan.Waiting {
		in := input(s, m.observe())
		z.Name = "public"
		in.Zones = []plan.Zone{z}
		p := plan.Compute(in)
		require.Len(t, p.Layers, 1)
		require.Len(t, p.Layers[0].Operations, 3-len(p.Layers[0].Waiting))
		return p.Layers[0].Waiting
	}
	w := waiting(plan.Zone{Problem: "no answer"})
	require.Len(t, w, 3, "the keepers remember that names there led to the layer")
	require.Contains(t, w[0].Reason, "redeploy waits: the zone example.com isn't known, and it has to leave its names there first: no answer")
	w = waiting(plan.Zone{Problem: "no answer", Seen: true, Records: []fleet.DNSRecord{aRecord(2)}})
	require.Len(t, w, 1, "what was read is more than what is remembered")
	require.Empty(t, waiting(plan.Zone{Records: []fleet.DNSRecord{aRecord(2)}}), "in a zone that is known they go first")

	// Without a copy nothing is known of it; what publishes nothing, nothing leads to.
	published := func(ports ...fleet.Published) {
		for _, h := range m.hosts {
			h.keeper.Copy = fleet.Copy{}
			for i := range h.state.Instances {
				h.state.Instances[i].Published = ports
			}
		}
	}
	published()
	require.Empty(t, waiting(plan.Zone{Problem: "no answer"}))
	published(fleet.Published{Port: 80, HostPort: 80})
	require.Len(t, waiting(plan.Zone{Problem: "no answer"}), 3)
	m.tell(s, plan.Plan{})
	for _, h := range m.hosts {
		require.NotEmpty(t, h.keeper.Copy.Nodes)
	}
	require.Len(t, waiting(plan.Zone{Problem: "no answer"}), 3, "a copy made meanwhile doesn't know more")
}

// What a refused prune keeps it keeps whole: a node isn't touched while a name leads to it that may not be taken away.
func TestANodeOfANameThatIsKept(t *testing.T) {
	three := []string{"hn1", "hn2", "hn3"}
	m := newModel(three...)
	m.settle(named(onHosts(three, web(3), testLayer("api", 3))))
	s := named(onHosts(three, web(3, newImage)))
	s.Environments[0].DNS, s.Fleet.PruneMaxShare = nil, 10
	in := withZone(input(s, m.observe()), aRecord(1), aRecord(2))
	p := plan.Compute(in)
	require.True(t, p.KeepNames)
	require.Empty(t, p.DNS)
	l := p.Layers[len(p.Layers)-1]
	require.Equal(t, "web", l.Layer)
	require.Len(t, l.Operations, 1, "the third is under no name")
	require.Len(t, l.Waiting, 2)
	require.Equal(t, "redeploy waits: it can't leave shop.example.com, which no environment wants any more: "+
		"no name is taken away while the removal of nodes is refused", l.Waiting[0].Reason)

	s.Fleet.PruneMaxShare = 100
	p = plan.Compute(in)
	require.Len(t, p.DNS, 2)
	for _, l := range p.Layers {
		require.Empty(t, l.Waiting)
	}
}

// A name that another environment has by now, none of whose nodes serves, is left by the nodes that it led to.
func TestNodesLeaveANameThatHasMoved(t *testing.T) {
	three := []string{"hn1", "hn2", "hn3"}
	m := newModel(three...)
	m.settle(onHosts(three, web(3)))
	s := named(onHosts(three, web(3, newImage)))
	store := s.Environments[0]
	store.Name = "store"
	store.Layers = []spec.Layer{testLayer("web", 1)}
	s.Environments[0].DNS = nil
	s.Environments = append(s.Environments, store)
	p := plan.Compute(withZone(input(s, m.observe()), aRecord(2), aRecord(3)))
	require.False(t, p.Due)
	withdrawn := map[int][]string{}
	for _, op := range p.Layers[0].Operations {
		if op.DNS != nil {
			withdrawn[op.Node] = op.DNS.Withdraw
		}
	}
	require.Equal(t, map[int][]string{3: {"shop.example.com A 203.0.113.3"}}, withdrawn, "the last one stays")
	require.True(t, p.Layers[0].Downtime)
}
