package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	zonemem "github.com/evenkeel/evenkeel/reconciler/names/memory"
	"github.com/evenkeel/evenkeel/spec"
)

// provider is a DNS provider in memory, whose calls take as long as real ones do.
type provider struct {
	mu    sync.Mutex
	zones map[string]*zonemem.Zone
	calls []string // read, create, update, delete
	fails func(call string) error
}

func newProvider(zones ...string) *provider {
	p := &provider{zones: map[string]*zonemem.Zone{}}
	for _, name := range zones {
		z := zonemem.New(name)
		z.Fail(p.called)
		p.zones[name] = z
	}
	return p
}

func (p *provider) called(call string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call)
	if p.fails == nil {
		return nil
	}
	return p.fails(call)
}

// count is how many calls of a kind were made.
func (p *provider) count(call string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.calls {
		if c == call {
			n++
		}
	}
	return n
}

// failing has calls fail from now on.
func (p *provider) failing(fails func(call string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = fails
}

func (p *provider) open(z spec.ExternalZone) (external.Zone, error) {
	return lagging{p.zones[z.Zone]}, nil
}

// said is what all zones say, sorted.
func (p *provider) said() []string {
	p.mu.Lock()
	fails := p.fails
	p.fails = nil
	p.mu.Unlock()
	defer p.failing(fails)
	var lines []string
	for _, z := range p.zones {
		records, _ := z.Records(context.Background())
		for _, r := range records {
			lines = append(lines, r.Name+" "+r.Content)
		}
	}
	slices.Sort(lines)
	return lines
}

// lagging is a zone whose calls take a while.
type lagging struct{ external.Zone }

const callTime = 250 * time.Millisecond

func (z lagging) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	time.Sleep(callTime)
	return z.Zone.Records(ctx)
}

func (z lagging) Create(ctx context.Context, r fleet.DNSRecord) error {
	time.Sleep(callTime)
	return z.Zone.Create(ctx, r)
}

func (z lagging) Delete(ctx context.Context, r fleet.DNSRecord) error {
	time.Sleep(callTime)
	return z.Zone.Delete(ctx, r)
}

// named are a fleet's documents with zones, as they are written.
func (r *repo) zones(zones ...string) {
	text := string(r.files["fleet.yaml"].Data)
	if before, _, ok := strings.Cut(text, "  dns:\n"); ok {
		text = before
	} else {
		for n := 1; n <= 9; n++ {
			text = strings.Replace(text, fmt.Sprintf("127.0.0.%d:2375\", insecure: true", n),
				fmt.Sprintf("127.0.0.%d:2375\", insecure: true, publicAddresses: [203.0.113.%d]", n, n), 1)
		}
	}
	text += "  dns:\n    external:\n"
	for _, z := range zones {
		text += "      - " + z + "\n"
	}
	r.write("fleet.yaml", text)
}

func zoneEntry(name, zone, ttl string) string {
	return fmt.Sprintf("{name: %s, provider: cloudflare, zone: %s, ttl: %s, credentials: {tokenFrom: {env: TOKEN}}}", name, zone, ttl)
}

// publishing is an environment with nodes on hosts of their own and a name in a zone.
func publishing(name string, replicas, version int, dns ...string) string {
	text := fmt.Sprintf(`apiVersion: evenkeel.dev/v1
kind: Environment
metadata: {name: %s}
spec:
  layers:
    - name: web
      image: app:1
      replicas: %d
      env: {VERSION: "%d"}
      placement: {antiAffinity: required}
      ports: [{name: http, port: 80, publish: 0}]
      updatePolicy: {minHealthy: 0s, delay: 0s}
`, name, replicas, version)
	if len(dns) > 0 {
		text += "  dns:\n"
	}
	for _, d := range dns {
		text += fmt.Sprintf("    - {name: %s, layer: web}\n", d)
	}
	return text
}

// atProvider is a fleet of hosts whose zones are at a provider.
func atProvider(t *testing.T, p *provider, r *repo, engines ...*engine) *Controller {
	c := controller(t, r, engines...)
	c.opts.OpenZone = p.open
	return c
}

// apply makes a pass with a controller of its own.
func apply(t *testing.T, c *Controller) Result {
	t.Helper()
	res, err := c.Apply(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	return res
}

// What is due to records of other environments is none of a controller's that may only touch one: it would be due to
// them for ever.
func TestRecordsOfOtherEnvironmentsAreNotDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		r.write("blog.yaml", publishing("blog", 1, 1, "blog.example.com"))
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)
		p.zones["example.com"].Take(func(r fleet.DNSRecord) bool { return r.Name == "blog.example.com" })

		c := atProvider(t, p, r, h1, h2)
		c.opts.Only = "shop"
		defer loop(t, c)()
		r.write("shop.yaml", publishing("shop", 2, 2, "shop.example.com"))
		within(t, c, time.Minute, "a node leaves its name", func() bool { return p.count("delete") > 0 })
		within(t, c, 5*time.Minute, "shop is changed", func() bool { return c.Current().Converged })
		before := p.count("read")
		time.Sleep(5 * time.Minute)
		require.LessOrEqual(t, p.count("read")-before, 12, "one each interval")
		require.Equal(t, []string{"shop.example.com 203.0.113.1", "shop.example.com 203.0.113.2"}, p.said())
	})
}

// TestTroubleThatIsOverIsForgotten: what could not be changed was changed in another way since, or isn't wanted any more.
func TestTroubleThatIsOverIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)
		c := atProvider(t, p, r, h1, h2)
		defer loop(t, c)()
		p.failing(func(call string) error {
			if call == "create" {
				return errors.New("it is down")
			}
			return nil
		})
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com", "www.example.com"))
		within(t, c, time.Minute, "it is told", func() bool { return slices.Contains(c.Current().Problems, "it is down") })
		require.False(t, c.Current().Converged)
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		within(t, c, time.Minute, "it is over", func() bool { return c.Current().Converged })
	})
}

// Records that an uninstall could not remove are removed by the next one, though no keeper grants a lease by then.
func TestUninstallRemovesRecordsThatItCouldNotRemoveBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)
		p.failing(func(string) error { return errors.New("it is down") })
		uninstall := func() (Uninstalled, error) {
			c := atProvider(t, p, r, h1, h2)
			defer func() { require.NoError(t, c.Close()) }()
			return c.Uninstall(t.Context(), false)
		}
		u, err := uninstall()
		require.ErrorContains(t, err, "external records: it is down")
		require.Equal(t, 2, u.Keepers)
		p.failing(nil)
		h1.keeper.hush()
		h2.keeper.hush()
		_, err = uninstall()
		require.ErrorIs(t, err, fleet.ErrUnreachable, "a keeper that doesn't answer may have granted somebody else a lease")
		require.Len(t, p.said(), 2)

		h1.state.Keepers, h2.state.Keepers = nil, nil
		u, err = uninstall()
		require.NoError(t, err)
		require.Equal(t, 2, u.Records)
		require.Empty(t, p.said())
	})
}

// A zone that a revision brings is read at once.
func TestARevisionThatBringsAZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com", "corp.example")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		c := atProvider(t, p, r, h1, h2)
		c.opts.Interval = time.Hour
		defer loop(t, c)()
		within(t, c, 10*time.Second, "it is found", func() bool { return c.Current().Converged && len(p.said()) == 2 })
		r.zones(zoneEntry("public", "example.com", "60s"), zoneEntry("corp", "corp.example", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com", "shop.corp.example"))
		within(t, c, 10*time.Second, "it is found there, too", func() bool { return c.Current().Converged && len(p.said()) == 4 })
	})
}

// Nobody tells of what others do to records: within a minute it is seen, however seldom whole passes are made.
func TestARecordThatSomebodyRemovesIsMissedWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		c := atProvider(t, p, r, newEngine("h1"), newEngine("h2"))
		c.opts.Interval = time.Hour
		defer loop(t, c)()
		within(t, c, 10*time.Second, "it is found", func() bool { return c.Current().Converged && len(p.said()) == 2 })
		records, err := p.zones["example.com"].Records(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.zones["example.com"].Delete(t.Context(), records[0]))
		within(t, c, time.Minute, "it is told of", func() bool {
			d := c.CurrentDrift()
			return slices.ContainsFunc(append(d.Drift, d.Ended...), func(f drift.Finding) bool { return f.What == drift.Record })
		})
		within(t, c, 5*time.Second, "it is back", func() bool { return len(p.said()) == 2 })
	})
}

// What is known of a zone goes on being known when a revision changes how it is spoken to.
func TestARevisionThatChangesAZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := newRepo("h1"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		c := atProvider(t, p, r, newEngine("h1"))
		_, err := c.Fetch(t.Context())
		require.NoError(t, err)
		before := c.external()
		require.NoError(t, before.Read(t.Context()))
		r.zones(zoneEntry("public", "example.com", "90s"))
		_, err = c.Fetch(t.Context())
		require.NoError(t, err)
		require.NotSame(t, before, c.external())
		require.NotZero(t, c.external().Views()[0].At)
		require.NoError(t, c.Close())
	})
}

// Many records are many calls, which a provider takes slowly: evenkeel doesn't stay for them when it is asked to stop.
func TestSettlingEndsWhenAskedToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		r, p := newRepo("h1"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 1, 1))
		require.True(t, apply(t, atProvider(t, p, r, h1)).Converged)
		var many []string
		for i := range 200 {
			many = append(many, fmt.Sprintf("n%d.example.com", i))
		}
		r.write("shop.yaml", publishing("shop", 1, 1, many...))

		for name, do := range map[string]func(c *Controller, stop chan struct{}) error{
			"apply": func(c *Controller, stop chan struct{}) error { _, err := c.Apply(t.Context(), stop); return err },
			"run":   func(c *Controller, stop chan struct{}) error { return c.Run(t.Context(), stop) },
		} {
			c, stop, made := atProvider(t, p, r, h1), make(chan struct{}), p.count("create")
			time.AfterFunc(5*time.Second, func() { close(stop) })
			begun := time.Now()
			require.NoError(t, do(c, stop), name)
			require.Less(t, time.Since(begun), 10*time.Second, name)
			require.Greater(t, p.count("create"), made, name)
			require.NoError(t, c.Close())
		}
	})
}

// A commit takes a name away and changes its nodes while its zone can't be read, which an evenkeel that was started
// since never could: they aren't touched, those of an environment without external names are.
func TestANameThatIsTakenAwayWhileItsZoneIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		r.write("blog.yaml", publishing("blog", 1, 1))
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)
		require.Len(t, p.said(), 2)

		r.write("shop.yaml", publishing("shop", 2, 2))
		r.write("blog.yaml", publishing("blog", 1, 2))
		p.failing(func(string) error { return fmt.Errorf("%w: it is down", fleet.ErrUnreachable) })
		for range 2 { // the first has handed out a copy of its own
			res := apply(t, atProvider(t, p, r, h1, h2))
			require.False(t, res.Converged)
			require.Equal(t, []string{"VERSION=1", "VERSION=1"}, versions("shop", h1, h2))
			require.Equal(t, []string{"VERSION=2"}, versions("blog", h1, h2))
		}
		require.Len(t, p.said(), 2)

		p.failing(nil)
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)
		require.Equal(t, []string{"VERSION=2", "VERSION=2"}, versions("shop", h1, h2))
		require.Empty(t, p.said())
	})
}

// versions are what the running nodes of an environment were made for, sorted.
func versions(environment string, engines ...*engine) []string {
	var all []string
	for _, e := range engines {
		for _, in := range e.Observe(context.Background(), "f").Instances {
			if in.Environment == environment && in.Running() {
				_, version, _ := strings.Cut(in.Written, `"VERSION":"`)
				all = append(all, "VERSION="+version[:1])
			}
		}
	}
	slices.Sort(all)
	return all
}

// A commit gives a name to another environment, none of whose nodes serves, and changes the nodes that it led to: they
// leave it all the same, but for the last, and it is the other's once one of its nodes serves.
func TestANameThatIsGivenToAnotherEnvironment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)

		r.write("shop.yaml", publishing("shop", 2, 2))
		store := publishing("store", 1, 1, "shop.example.com")
		r.write("store.yaml", strings.Replace(store, "app:1", "missing:1", 1))
		begun := time.Now()
		res := apply(t, atProvider(t, p, r, h1, h2))
		require.False(t, res.Converged)
		require.Equal(t, []string{"VERSION=2", "VERSION=2"}, versions("shop", h1, h2))
		require.Equal(t, []string{"shop.example.com 203.0.113.1"}, p.said(), "the second has left it, and isn't to be found there any more")
		require.GreaterOrEqual(t, time.Since(begun), time.Minute, "caches were waited for")

		r.write("store.yaml", store)
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)
		records, err := p.zones["example.com"].Records(t.Context())
		require.NoError(t, err)
		require.Len(t, records, 1)
		require.Equal(t, fleet.DNSOwner("f", "store"), records[0].Owner)
	})
}

// A node whose health comes and goes is out of its external names at once, and back in them only once it has stayed
// healthy for a while: each change is a call that a provider counts.
func TestANodeWhoseHealthComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", strings.Replace(publishing("shop", 2, 1, "shop.example.com"),
			"      updatePolicy", "      healthCheck: {http: {port: http, path: /}}\n      updatePolicy", 1))
		h2.keeper.news = make(chan struct{})
		c := atProvider(t, p, r, h1, h2)
		defer loop(t, c)()
		within(t, c, 10*time.Second, "it is found", func() bool { return c.Current().Converged && len(p.said()) == 2 })

		begun, flips := time.Now(), 10*time.Minute
		h2.keeper.mu.Lock()
		h2.keeper.judge = func(fleet.ZoneNode) (fleet.ProbeResult, bool) {
			since := time.Since(begun)
			return fleet.ProbeResult{Healthy: since > flips || since%(20*time.Second) >= 10*time.Second, For: time.Second}, true
		}
		h2.keeper.mu.Unlock()
		before := p.count("create")
		for time.Since(begun) < flips {
			h2.keeper.news <- struct{}{}
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, 1, p.count("create")-before, "the first time it was back at once")
		require.Equal(t, 2, p.count("delete"))
		require.Equal(t, []string{"shop.example.com 203.0.113.1"}, p.said())
		within(t, c, 5*time.Minute, "it is found again", func() bool { return len(p.said()) == 2 })
		require.LessOrEqual(t, p.count("create")-before, 2)
	})
}

// What an uninstall has removed it counts by what was removed, also where it could read nothing at first.
func TestUninstallCountsRecordsThatItHadNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)
		reads := 0
		p.failing(func(call string) error {
			if call == "read" {
				if reads++; reads == 1 {
					return fmt.Errorf("%w: it is down", fleet.ErrUnreachable)
				}
			}
			return nil
		})
		c := atProvider(t, p, r, h1, h2)
		u, err := c.Uninstall(t.Context(), false)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.Equal(t, 2, u.Records)
		require.Empty(t, p.said())
	})
}

// A controller that may only touch one environment warns of zones and names of others, and does its own.
func TestProblemsOfOtherEnvironmentsAreWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com", "corp.example")
		r.zones(zoneEntry("public", "example.com", "60s"), zoneEntry("corp", "corp.example", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com", "www.example.com"))
		r.write("blog.yaml", publishing("blog", 1, 1, "blog.corp.example"))
		require.NoError(t, p.zones["example.com"].Put(fleet.DNSRecord{Name: "www.example.com", Type: fleet.TypeCNAME, Content: "elsewhere.example.net", TTL: time.Minute}))
		res := apply(t, atProvider(t, p, r, h1, h2))
		require.Len(t, res.Problems, 1, "the conflict")

		blog := func() Result {
			c := atProvider(t, p, r, h1, h2)
			c.opts.Only = "blog"
			return apply(t, c)
		}
		res = blog()
		require.True(t, res.Converged, res.Problems)
		require.Contains(t, strings.Join(res.Plan.Warnings, "\n"), "www.example.com of shop in the zone example.com: CNAME elsewhere.example.net")

		p.zones["example.com"].Fail(func(string) error { return fmt.Errorf("%w: it is down", fleet.ErrUnreachable) })
		p.zones["corp.example"].Take(func(fleet.DNSRecord) bool { return true })
		res = blog()
		require.True(t, res.Converged, res.Problems)
		require.Contains(t, strings.Join(res.Plan.Warnings, "\n"), "the zone example.com isn't known")
		records, err := p.zones["corp.example"].Records(t.Context())
		require.NoError(t, err)
		require.Len(t, records, 1)

		p.zones["corp.example"].Fail(func(string) error { return fmt.Errorf("%w: it is down", fleet.ErrUnreachable) })
		require.Len(t, blog().Problems, 1, "its own")
	})
}

// A provider that hangs holds up only those who have names there; the pass isn't over before it is known how they are.
func TestAProviderThatHangsHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1, h2 := newEngine("h1"), newEngine("h2")
		r, p := newRepo("h1", "h2"), newProvider("example.com")
		r.zones(zoneEntry("public", "example.com", "60s"))
		r.write("shop.yaml", publishing("shop", 2, 1, "shop.example.com"))
		r.write("blog.yaml", publishing("blog", 1, 1))
		require.True(t, apply(t, atProvider(t, p, r, h1, h2)).Converged)
		r.write("shop.yaml", publishing("shop", 2, 2, "shop.example.com"))
		r.write("blog.yaml", publishing("blog", 1, 2))
		stalling := func() *Controller {
			c := atProvider(t, p, r, h1, h2)
			c.opts.OpenZone = func(z spec.ExternalZone) (external.Zone, error) { return &stalled{Zone: p.zones[z.Zone]}, nil }
			return c
		}
		done := make(chan Result)
		c := stalling()
		begun := time.Now()
		go func() {
			res, _ := c.Apply(t.Context(), nil)
			done <- res
		}()
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{"VERSION=2"}, versions("blog", h1, h2))
		require.Equal(t, []string{"VERSION=1", "VERSION=1"}, versions("shop", h1, h2))
		res := <-done
		require.True(t, res.Converged, res.Problems)
		require.Equal(t, []string{"VERSION=2", "VERSION=2"}, versions("shop", h1, h2))
		require.Greater(t, time.Since(begun), 33*time.Second)
		require.NoError(t, c.Close())

		r.write("blog.yaml", publishing("blog", 1, 3))
		c = stalling()
		c.opts.Only = "blog"
		begun = time.Now()
		require.True(t, apply(t, c).Converged)
		require.Less(t, time.Since(begun), 33*time.Second, "an environment without external names waits for none")
	})
}

// stalled is a zone that takes half a minute for the first answer.
type stalled struct {
	external.Zone
	answered bool
}

func (z *stalled) Records(ctx context.Context) ([]fleet.DNSRecord, error) {
	if !z.answered {
		select {
		case <-time.After(33 * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	z.answered = true
	return z.Zone.Records(ctx)
}
