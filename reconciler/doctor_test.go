package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/doctor"
	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// patient is an engine that says how it is.
type patient struct {
	*engine
	checkup fleet.Checkup
	err     error
}

func (p *patient) Checkup(context.Context, string) (fleet.Checkup, error) { return p.checkup, p.err }
func (p *patient) Certificates() []fleet.Certificate                      { return nil }

func fine() fleet.Checkup {
	return fleet.Checkup{LiveRestore: true, Forwarding: true, MemoryLimit: true, SwapLimit: true, CPUQuota: true, PidsLimit: true}
}

// mended is an error that says what to do.
type mended struct{}

func (mended) Error() string                   { return "no commits; commit something" }
func (mended) Remedied() (what, remedy string) { return "no commits", "commit something" }

func examine(t *testing.T, c *Controller) doctor.Report {
	t.Helper()
	r, err := c.Examine(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Close())
	return r
}

// find is the finding of an area on a host.
func find(t *testing.T, r doctor.Report, area doctor.Area, host string) doctor.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Area == area && f.Host == host {
			return f
		}
	}
	require.Failf(t, "no such finding", "%s %s in %+v", area, host, r.Findings)
	return doctor.Finding{}
}

// Hosts that can't be asked, that don't answer and that aren't well are told of side by side.
func TestEachHostIsExaminedByItself(t *testing.T) {
	r := newRepo("h1", "h2", "h3", "h4")
	r.write("shop.yaml", environment("shop", "app:1", "h1"))
	h1, h3 := &patient{newEngine("h1"), fine(), nil}, &patient{newEngine("h3"), fine(), nil}
	h1.checkup.Skew = time.Hour
	h3.err = errors.New("listing volumes on h3: broken")
	h4 := newEngine("h4")
	h4.state = fleet.HostState{Name: "h4", Problem: "no route to host"}
	c := controller(t, r, h1.engine, newEngine("h2"), h3.engine, h4)
	open := c.opts.Open
	c.opts.Open = func(h spec.Host) (Engine, error) {
		switch h.Name {
		case "h1":
			return h1, nil
		case "h2":
			return nil, errors.New("host h2: ssh.key: id is a file of the credentials directory")
		case "h3":
			return h3, nil
		}
		return open(h)
	}
	report := examine(t, c)
	require.False(t, report.Well)
	require.Equal(t, "f", report.Fleet)
	require.Equal(t, doctor.Checked{Hosts: 4, Reached: 2, Keepers: 2, Environments: 1, Images: 1}, report.Checked)
	require.Contains(t, find(t, report, doctor.Clock, "h1").What, "1h0m0s ahead")
	require.Equal(t, "it can't be asked: ssh.key: id is a file of the credentials directory", find(t, report, doctor.Host, "h2").What)
	require.Contains(t, find(t, report, doctor.Engine, "h3").What, "listing volumes on h3: broken")
	require.Contains(t, find(t, report, doctor.Host, "h4").What, "no route to host")
}

func TestWhatIsWrongWithTheSourceIsAFinding(t *testing.T) {
	r := newRepo("h1")
	r.broken = mended{}
	report := examine(t, controller(t, r, newEngine("h1")))
	f := find(t, report, doctor.Repository, "")
	require.Equal(t, "no commits", f.What)
	require.Contains(t, f.Remedy, "commit something; ")
	require.Len(t, report.Findings, 1)
}

// An environment that isn't valid doesn't keep the hosts from being examined, and no plan is made without it.
func TestAnInvalidEnvironmentHidesNoHost(t *testing.T) {
	r := newRepo("h1")
	r.write("shop.yaml", "apiVersion: evenkeel.dev/v1\nkind: Environment\nmetadata: {name: shop}\nspec: {layers: [{name: web, prots: []}]}\n")
	r.files["fleet.yaml"].Data = bytes.ReplaceAll(r.files["fleet.yaml"].Data, []byte("100%"), []byte("0%"))
	h1 := &patient{newEngine("h1"), fine(), nil}
	h1.checkup.Forwarding = false
	h1.state.Instances = []fleet.Instance{{
		NodeID: fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, Host: "h1", ID: "a", Generation: 1,
		State: fleet.StateRunning, StartedAt: time.Now(),
	}}
	c := controller(t, r, h1.engine)
	c.opts.Open = func(spec.Host) (Engine, error) { return h1, nil }
	report := examine(t, c)
	require.Contains(t, find(t, report, doctor.Spec, "").What, "shop.yaml:4:")
	require.Contains(t, find(t, report, doctor.Engine, "h1").What, "forwards no IPv4")
	for _, f := range report.Findings {
		require.NotEqual(t, doctor.Node, f.Area, "%+v", f)
	}

	r.commit(func(files fstest.MapFS) { delete(files, "fleet.yaml") })
	report = examine(t, controller(t, r, h1.engine))
	require.Empty(t, report.Fleet)
	require.False(t, report.Well)
}

// A zone that can't even be opened hides nothing of the others, nor of the hosts.
func TestAZoneThatCantBeOpenedIsAFinding(t *testing.T) {
	r := newRepo("h1")
	const zone = "\n      - {name: %s, provider: cloudflare, zone: %s, credentials: {tokenFrom: {env: T}}}"
	r.write("fleet.yaml", string(r.files["fleet.yaml"].Data)+"  dns:\n    external:"+fmt.Sprintf(zone, "bad", "example.org")+fmt.Sprintf(zone, "good", "example.com")+"\n")
	h1 := &patient{newEngine("h1"), fine(), nil}
	h1.checkup.Forwarding = false
	c := controller(t, r, h1.engine)
	c.opts.Open = func(spec.Host) (Engine, error) { return h1, nil }
	c.opts.OpenZone = func(z spec.ExternalZone) (external.Zone, error) {
		if z.Name == "bad" {
			return nil, errors.New("no such provider")
		}
		return refusing{}, nil
	}
	report := examine(t, c)
	require.Equal(t, 2, report.Checked.Zones)
	require.Contains(t, find(t, report, doctor.Engine, "h1").What, "forwards no IPv4")
	said := map[string]string{}
	for _, f := range report.Findings {
		if f.Area == doctor.DNS {
			said[f.Subject] = f.What
		}
	}
	require.Equal(t, map[string]string{"example.org": "no such provider", "example.com": "the token may not edit"}, said)
}

// refusing is a zone whose token may read and not edit.
type refusing struct{ external.Zone }

func (refusing) Records(context.Context) ([]fleet.DNSRecord, error) { return nil, nil }
func (refusing) Check(context.Context) error                        { return errors.New("the token may not edit") }

// A port that no container has may be a process's: it is tried.
func TestAPortThatAProcessHasIsFound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	closed := uint16(1)
	c := &Controller{}
	desired := &spec.Spec{Fleet: spec.Fleet{Hosts: []spec.Host{{Name: "h1", Address: "127.0.0.1"}}}}
	there := doctor.HostPort{Host: "h1", Port: port}
	require.Equal(t, []doctor.HostPort{there}, c.listening(t.Context(), desired, []doctor.HostPort{{Host: "h1", Port: closed}, there}))
}
