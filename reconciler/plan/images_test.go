package plan_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const webImage = "registry.example.com/shop/web:1"

func TestUnresolved(t *testing.T) {
	always := func(l *spec.Layer) { l.Pull = spec.PullAlways }
	cases := []struct {
		name  string
		after *spec.Spec
		want  []plan.ImageRequest
	}{
		{"in use already", onHosts(two, web(5)), []plan.ImageRequest{}},
		{"in use, resolved in each pass", onHosts(two, web(1, always)), []plan.ImageRequest{{Image: webImage, Pull: spec.PullAlways, Hosts: two}}},
		{"another tag", onHosts(two, web(1, newImage)), []plan.ImageRequest{{Image: "registry.example.com/shop/web:2", Pull: spec.PullMissing, Hosts: two}}},
		{"another redeploy text", onHosts(two, web(1, func(l *spec.Layer) { l.Redeploy = "x" })), []plan.ImageRequest{{Image: webImage, Pull: spec.PullMissing, Hosts: two}}},
		{"only where its nodes may be", labelledHost(onHosts(two, web(1, newImage, inZone("a"))), "hn2", "a"), []plan.ImageRequest{
			{Image: "registry.example.com/shop/web:2", Pull: spec.PullMissing, Hosts: two}, // its node is on hn1 still
		}},
		{"written with its digest", onHosts(two, web(1, func(l *spec.Layer) { l.Image = "web@sha256:aa" })), []plan.ImageRequest{}},
		{"of a layer without nodes", onHosts(two, web(0, newImage)), []plan.ImageRequest{}},
		{"the keenest counts", onHosts(two, web(1, newImage), testLayer("api", 1, newImage, always)), []plan.ImageRequest{
			{Image: "registry.example.com/shop/web:2", Pull: spec.PullAlways, Hosts: two},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newModel(two...)
			m.settle(onHosts(two, web(1)))
			require.Equal(t, c.want, plan.Unresolved(plan.Input{Desired: c.after, Observed: m.observe()}))
		})
	}
}

func TestATagThatMovedIsNoChange(t *testing.T) {
	m := newModel("hn1")
	m.settle(onHosts(one, web(1)))
	in := input(onHosts(one, web(2)), m.observe())
	in.Images = map[string]plan.Image{webImage: {Digest: "registry.example.com/shop/web@sha256:new"}}
	p := plan.Compute(in)
	require.Equal(t, []string{"create shop/web/2 on hn1; replicas 1>2"}, lines(p))
	require.Equal(t, digestOf(webImage), operation(p, 2).Container.Image, "the digest in use counts for new nodes too")
	require.Equal(t, digestOf(webImage), operation(p, 2).Pull)
}

// The same image has another ID in each kind of image store, and an engine may change its own: what counts is the digest
// that the registry gave.
func TestAnImagesIDInItsEngineSaysNothing(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, web(2))
	m.settle(s)
	o := m.observe()
	for i := range o.Hosts[0].Instances {
		o.Hosts[0].Instances[i].ImageID = "sha256:of-the-index"
	}
	require.Empty(t, lines(plan.Compute(input(s, o))))
	require.Empty(t, drift.Compute(drift.Input{Desired: s, Observed: o, Now: m.now}).Drift)
}

func TestATagThatIsFollowed(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, web(1, func(l *spec.Layer) { l.Pull = spec.PullAlways }))
	m.settle(s)
	in := input(s, m.observe())
	in.Images = map[string]plan.Image{webImage: {Digest: "web@sha256:new"}}
	require.Equal(t, []string{"redeploy shop/web/1 on hn1; image " + digestOf(webImage) + ">web@sha256:new"}, lines(plan.Compute(in)))
	in.Images = map[string]plan.Image{webImage: {Problem: "registry.example.com: 503"}}
	require.Empty(t, lines(plan.Compute(in)), "a registry that is down changes nothing")
}

func TestAnImageThatCannotBeResolved(t *testing.T) {
	m := newModel("hn1")
	m.settle(onHosts(one, web(2)))
	in := input(onHosts(one, web(2, newImage)), m.observe())
	in.Images = map[string]plan.Image{"registry.example.com/shop/web:2": {Problem: "no such image"}}
	require.Equal(t, []string{"shop/web/1 no such image", "shop/web/2 no such image"}, lines(plan.Compute(in)))
}

// TestARegistryThatIsDown: only a layer of which nothing is left is made from what was pulled for its image last.
func TestARegistryThatIsDown(t *testing.T) {
	const problem, before = "registry.example.com: connection refused", "registry.example.com/shop/web@sha256:before"
	s := onHosts(one, web(1))
	down := func(desired *spec.Spec, m *model) plan.Plan {
		in := input(desired, m.observe())
		in.Images = map[string]plan.Image{webImage: {Problem: problem, Before: before}}
		return plan.Compute(in)
	}
	m := newModel("hn1")
	m.pass(onHosts(one))
	p := down(s, m)
	require.Equal(t, before, operation(p, 1).Container.Image)
	require.Equal(t, before, operation(p, 1).Pull)
	require.Equal(t, webImage, operation(p, 1).Image)
	require.Contains(t, strings.Join(p.Warnings, "\n"), "shop/web is made from "+before+", which was pulled for it last and may not be what "+webImage+" stands for by now: "+problem)

	m.settle(s)
	p = down(onHosts(one, web(1, func(l *spec.Layer) { l.Redeploy = "x" })), m)
	require.Equal(t, []string{"shop/web/1 " + problem}, lines(p), "what is asked for is what the tag stands for now")
	require.Empty(t, p.Warnings)
}

func TestAnImageThatIsOnlyOnTheHosts(t *testing.T) {
	m := newModel(two...)
	s := onHosts(two, web(2))
	m.pass(onHosts(two))
	in := input(s, m.observe())
	in.Images = map[string]plan.Image{webImage: {IDs: map[string]string{"hn1": "sha256:a"}}}
	p := plan.Compute(in)
	require.Equal(t, "sha256:a", operation(p, 1).Container.Image)
	require.Empty(t, operation(p, 1).Pull)
	require.Equal(t, []plan.Waiting{{Node: 2, Reason: "image " + webImage + " is in no registry and not on hn2: load it there, or push it to a registry"}}, p.Layers[0].Waiting)

	in.Images[webImage].IDs["hn2"] = "sha256:b"
	m.apply(plan.Compute(in))
	in.Observed = m.observe()
	require.Empty(t, plan.Unresolved(in))
	in.Images = map[string]plan.Image{webImage: {IDs: map[string]string{"hn1": "sha256:c", "hn2": "sha256:c"}}}
	p = plan.Compute(in)
	require.NotContains(t, strings.Join(lines(p), ""), "redeploy", "what moved on a host is drift, no change")
}

func TestNodesOfDifferentDigestsStayAsTheyAre(t *testing.T) {
	m := newModel("hn1")
	s := onHosts(one, web(2))
	m.settle(s)
	m.node(2).Image = "registry.example.com/shop/web@sha256:other"
	require.Empty(t, lines(plan.Compute(input(s, m.observe()))))
}

func TestASequentialRolloutBeginsOnceAllItsNodesCanHaveTheirImage(t *testing.T) {
	const next = "registry.example.com/shop/web:2"
	m := newModel(two...)
	m.settle(onHosts(two, web(4)))
	compute := func(change func(*spec.Layer), on ...string) plan.Plan {
		in := input(onHosts(two, web(4, newImage, change)), m.observe())
		ids := map[string]string{}
		for _, h := range on {
			ids[h] = "sha256:b"
		}
		in.Images = map[string]plan.Image{next: {IDs: ids, Problem: "image " + next + " isn't on hn2"}}
		return plan.Compute(in)
	}
	sequential := func(*spec.Layer) {}
	p := compute(sequential, "hn1")
	require.Empty(t, p.Layers[0].Operations)
	waits := "redeploy waits until all nodes of the layer can have their image: hn2 has no " + next + " yet"
	reasons := map[string]int{}
	for _, w := range p.Layers[0].Waiting {
		reasons[w.Reason]++
	}
	require.Equal(t, map[string]int{waits: 2, "image " + next + " isn't on hn2": 2}, reasons)

	require.Len(t, compute(sequential, two...).Layers[0].Operations, 4)
	simultaneous := func(l *spec.Layer) { l.Update.Strategy = spec.Simultaneous }
	require.Len(t, compute(simultaneous, "hn1").Layers[0].Operations, 2, "no node waits for another")

	m.node(1).State = fleet.StateExited
	host := m.node(1).Host
	p = compute(sequential, host)
	require.Len(t, p.Layers[0].Operations, 1, "what doesn't serve has nothing to lose")
	require.Equal(t, 1, p.Layers[0].Operations[0].Node)
}
