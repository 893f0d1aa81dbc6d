package reconciler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const aDigest = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

// registries are image registries in memory.
type registries struct {
	mu      sync.Mutex
	entries []*spec.Registry // that credentials were read for
	trusted []bool           // how digests were asked for
	as      fleet.Credentials
	err     error // of reading credentials
	digest  func(ctx context.Context) (string, error)
}

func (r *registries) Credentials(_ context.Context, entry *spec.Registry, _ string) (fleet.Credentials, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, entry)
	return r.as, r.err
}

func (r *registries) Digest(ctx context.Context, _ string, as fleet.Credentials, trusted bool) (string, error) {
	r.mu.Lock()
	r.trusted = append(r.trusted, trusted)
	r.mu.Unlock()
	if as != r.as {
		return "", errors.New("with other credentials")
	}
	return r.digest(ctx)
}

// asked resolves an image of registry r.lan that no host has, and says which engines were asked.
func asked(t *testing.T, reg *registries, ref string, engines ...*engine) (img plan.Image, by []string) {
	t.Helper()
	names := make([]string, len(engines))
	var mu sync.Mutex
	for i, e := range engines {
		names[i] = e.name
		e.resolve = func(context.Context, string) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			by = append(by, e.name)
			return aDigest, nil
		}
	}
	r := newRepo(names...)
	fleetFile := string(r.files["fleet.yaml"].Data)
	r.write("fleet.yaml", fleetFile+"  registries: [{server: r.lan, username: ci, passwordFrom: {env: A}}]\n")
	c := controller(t, r, engines...)
	c.opts.Registries = reg
	_, err := c.Fetch(t.Context())
	require.NoError(t, err)
	ctx, end := c.aside(t.Context())
	t.Cleanup(func() { end(); require.NoError(t, c.Close()) })
	c.observeAll(ctx)
	img = c.resolveOne(ctx, plan.ImageRequest{Image: ref, Pull: spec.PullMissing, Hosts: names}, func([]string) {})
	return img, by
}

func TestARegistryIsAskedWithoutFetchingFirst(t *testing.T) {
	reg := &registries{as: fleet.Credentials{Username: "ci", Password: "p"}, digest: func(context.Context) (string, error) { return aDigest, nil }}
	img, by := asked(t, reg, "r.lan/web:1", newEngine("h1"), newEngine("h2"))
	require.Equal(t, plan.Image{Digest: "r.lan/web@" + aDigest}, img)
	require.Empty(t, by)
	require.Len(t, reg.entries, 1)
	require.Equal(t, "ci", reg.entries[0].Username)
	_, _ = asked(t, reg, "other.lan/web:1", newEngine("h1"))
	require.Nil(t, reg.entries[1], "the Fleet has none for it")
}

func TestARegistryIsAskedInPlainTextOnlyWhereAllHostsTrustIt(t *testing.T) {
	for _, trusts := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
		hosts := []*engine{newEngine("h1"), newEngine("h2")}
		for i, h := range hosts {
			if trusts[i] {
				h.state.Engine.Unproven = []string{"r.lan"}
			}
		}
		reg := &registries{digest: func(context.Context) (string, error) { return aDigest, nil }}
		_, _ = asked(t, reg, "r.lan/web:1", hosts...)
		require.Equal(t, []bool{trusts[0] && trusts[1]}, reg.trusted, "%v", trusts)
	}
}

func TestHostsAreAskedWhereTheRegistryCannotBe(t *testing.T) {
	for name, test := range map[string]struct {
		ref    string
		err    error // what the registry says when asked directly
		mirror bool  // h1 has a mirror
		by     []string
		says   string
	}{
		"no way there":            {ref: "r.lan/web:1", err: errors.New("no route to host"), by: []string{"h1"}},
		"no such image":           {ref: "r.lan/web:1", err: fmt.Errorf("not there: %w", fleet.ErrNoImage), says: "not there"},
		"denied":                  {ref: "r.lan/web:1", err: fmt.Errorf("refused user ci: %w", fleet.ErrDenied), says: "refused user ci"},
		"a mirror of Docker Hub":  {ref: "web:1", err: fmt.Errorf("refused: %w", fleet.ErrDenied), mirror: true, by: []string{"h1"}},
		"a mirror of another one": {ref: "r.lan/web:1", err: fmt.Errorf("refused user ci: %w", fleet.ErrDenied), mirror: true, says: "refused user ci"},
	} {
		t.Run(name, func(t *testing.T) {
			h1, h2 := newEngine("h1"), newEngine("h2")
			h1.state.Engine.Mirrored = test.mirror
			img, by := asked(t, &registries{digest: func(context.Context) (string, error) { return "", test.err }}, test.ref, h1, h2)
			require.Equal(t, test.by, by)
			if test.says == "" {
				require.Equal(t, strings.TrimSuffix(test.ref, ":1")+"@"+aDigest, img.Digest)
				return
			}
			require.Contains(t, img.Problem, test.says)
		})
	}
}

// What localhost is differs from machine to machine.
func TestARegistryOfEachHostIsAskedThroughHosts(t *testing.T) {
	reg := &registries{digest: func(context.Context) (string, error) { return "", errors.New("asked directly") }}
	_, by := asked(t, reg, "localhost:5000/web:1", newEngine("h1"))
	require.Equal(t, []string{"h1"}, by)
	require.Empty(t, reg.trusted)
}

func TestARegistryThatIsSilentIsAskedThroughAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &registries{digest: func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }}
		img, by := asked(t, silent, "r.lan/web:1", newEngine("h1"), newEngine("h2"))
		require.Equal(t, []string{"h1"}, by)
		require.Equal(t, "r.lan/web@"+aDigest, img.Digest)
	})
}

func TestCredentialsThatCannotBeReadAreSaid(t *testing.T) {
	img, by := asked(t, &registries{err: errors.New("the environment variable A isn't set")}, "r.lan/web:1", newEngine("h1"))
	require.Empty(t, by)
	require.Contains(t, img.Problem, "the environment variable A isn't set")
}

// What needs no registry needs no credentials.
func TestAnImageThatIsThereNeedsNoCredentials(t *testing.T) {
	reg := &registries{err: errors.New("the environment variable A isn't set")}
	img, _ := asked(t, reg, "app:1", newEngine("h1"))
	require.Empty(t, img.Problem)
	require.Empty(t, reg.entries)
}

// What was refused is asked for again as soon as the Fleet names other credentials.
func TestOtherCredentialsAreTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := &registries{}
		reg.digest = func(context.Context) (string, error) {
			reg.mu.Lock()
			defer reg.mu.Unlock()
			if reg.entries[len(reg.entries)-1] == nil {
				return "", fleet.ErrDenied
			}
			return aDigest, nil
		}
		r, h1 := newRepo("h1"), newEngine("h1")
		r.write("shop.yaml", environment("shop", "r.lan/web:1", "h1"))
		c := controller(t, r, h1)
		c.opts.Registries = reg
		defer loop(t, c)()
		within(t, c, time.Second, "it is denied", func() bool { return strings.Contains(string(raw(c.CurrentPlan())), "denied") })
		r.write("fleet.yaml", string(r.files["fleet.yaml"].Data)+"  registries: [{server: r.lan, username: ci, passwordFrom: {env: A}}]\n")
		within(t, c, 2*time.Second, "it serves", func() bool { return c.Current().Converged })
	})
}
