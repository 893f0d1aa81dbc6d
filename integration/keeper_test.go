package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/wire"
	"github.com/evenkeel/evenkeel/drivers/docker"
	"github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/keeper/image"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
	"github.com/evenkeel/evenkeel/spec"
)

// source reads a site's repository in this process.
type source struct{ *git.Source }

func (s source) Fetch(ctx context.Context) (reconciler.Revision, error) {
	r, err := s.Source.Fetch(ctx)
	return reconciler.Revision{ID: r.ID, Files: r.Files, Warnings: r.Warnings}, err
}

// controller is evenkeel in this process, with a keeper of the given version.
func (s *site) controller(version int, change func(*reconciler.Options)) *reconciler.Controller {
	s.t.Helper()
	src, err := git.Open(git.Options{Repo: s.dir})
	require.NoError(s.t, err)
	o := reconciler.Options{
		Source:     source{src},
		Open:       func(h spec.Host) (reconciler.Engine, error) { return docker.Open(h, docker.Options{}) },
		DialKeeper: wire.DialKeeper,
		KeeperImage: func(arch string) (reconciler.KeeperImage, error) {
			return image.Build(program, arch, version)
		},
		KeeperVersion: version, Holder: "the test",
		Notice: func(n reconciler.Notice) { s.t.Logf("%s %s: %s", n.Level, n.Host, n.Message) },
		Report: func(p rollout.Progress) { s.t.Logf("%s/%d %s %s %s", p.Layer, p.Node, p.Operation, p.Phase, p.Error) },
	}
	if change != nil {
		change(&o)
	}
	c := reconciler.New(o)
	s.t.Cleanup(func() { require.NoError(s.t, c.Close()) })
	return c
}

func TestANewerKeeperTakesOverWithoutALostLookup(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	for _, env := range []string{"billing", "shop"} {
		s.environment(env, `
    - name: web
      image: node:1
      replicas: 2
      updatePolicy: {minHealthy: 0s}
    - name: client
      image: load:1
      ports: [{name: http, port: 8080}]
      command: ["dns://web", "250"]
      updatePolicy: {minHealthy: 0s}
`)
	}
	s.apply()
	old := s.observe(h).Keepers
	require.Len(t, old, 1)
	asked := func() (requests, failed int, errors []string) {
		for _, in := range s.nodesOf(h, "client") {
			r := s.askedOf(h, in)
			requests, failed, errors = requests+r.Requests, failed+r.Failed, append(errors, r.Errors...)
		}
		return requests, failed, errors
	}
	before, lostBefore, _ := asked() // the clients were there before the nodes
	c := s.controller(keeper.Version+1, nil)
	r, err := c.Apply(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, r.Converged, "%+v", r)
	replaced := s.observe(h).Keepers
	require.Len(t, replaced, 1)
	require.NotEqual(t, old[0].ID, replaced[0].ID)
	require.Equal(t, old[0].Name, replaced[0].Name)
	require.Equal(t, keeper.Version+1, replaced[0].Version)
	require.Equal(t, old[0].Networks[s.network("shop")], replaced[0].Networks[s.network("shop")], "with its address")
	eventually(t, patience, func() error {
		now, _, _ := asked()
		return enough(now-before, 2000)
	})
	requests, failed, errors := asked()
	t.Logf("%d lookups, %d lost", requests-before, failed-lostBefore)
	require.Equal(t, lostBefore, failed, "%v", errors)
	second, err := s.controller(keeper.Version+1, nil).Apply(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, second.Plan.HasChanges, "%+v", second.Plan)
}

func TestImagesAreClearedAway(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	push := registry(t)
	layer := func(ref string) string {
		return "    - {name: web, image: \"" + ref + "\", replicas: 1, updatePolicy: {minHealthy: 0s, delay: 0s}}\n"
	}
	e := engine(t, h)
	var refs []string
	for _, v := range []string{"1", "2", "3"} {
		ref, digest := push("web:"+v, v)
		refs = append(refs, digest)
		s.environment("shop", layer(ref))
		r, err := s.controller(keeper.Version, func(o *reconciler.Options) { o.KeepImages = time.Nanosecond }).Apply(t.Context(), nil)
		require.NoError(t, err)
		require.True(t, r.Converged, "%+v", r)
	}
	// The first pass after the third notes that the second is out of use; the next one may remove.
	for range 2 {
		_, err := s.controller(keeper.Version, func(o *reconciler.Options) { o.KeepImages = time.Nanosecond }).Apply(t.Context(), nil)
		require.NoError(t, err)
	}
	has := func(ref string) bool {
		_, err := e.Image(t.Context(), ref)
		return err == nil
	}
	require.True(t, has(refs[2]), "the present one")
	require.True(t, has(refs[1]), "the one before it, which going back needs")
	require.False(t, has(refs[0]), "an older one")
}
