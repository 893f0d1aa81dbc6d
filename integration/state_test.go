package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/wire"
	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// keeper reads what a host's keeper says of itself, with a session of the test's own.
func (s *site) keeper(h *hosts.Host) *fleet.KeeperState {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	keepers := s.observe(h).Keepers
	require.Len(s.t, keepers, 1)
	e := openEngine(s.t, s.entry(h), s.credentials)
	k, err := wire.DialKeeper(ctx, func(ctx context.Context) (net.Conn, error) {
		return e.Exec(ctx, keepers[0].ID, []string{"/evenkeel", "keeper", "connect"})
	})
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, k.Close()) }()
	st, err := k.State(ctx)
	require.NoError(s.t, err)
	return st
}

// shape is what a fleet looks like, without what two rollouts that went well may differ in: IDs, times and
// generations, and what tells the versions of a layer apart. Everything else has to be the same.
type shape map[string][]string

// shape reads it from every host: the containers, also those that nobody expects, what evenkeel sees of
// them, the networks and volumes, and what the keeper has on its disk.
func (s *site) shape() shape {
	s.t.Helper()
	all := shape{}
	for _, h := range s.hosts {
		st := s.observe(h)
		lines := []string{"containers: " + s.containers(h)}
		for i := range st.Instances {
			lines = append(lines, s.instance(&st.Instances[i]))
		}
		for _, n := range st.Networks {
			if n.Fleet == s.fleet {
				lines = append(lines, fmt.Sprintf("network %s %s %s %s %s", n.Name, n.Driver, n.Subnet, n.Gateway, n.IPRange))
			}
		}
		for _, v := range st.Volumes {
			lines = append(lines, "volume "+v.Name)
		}
		for _, k := range st.Keepers {
			lines = append(lines, fmt.Sprintf("keeper %s %s version %d %s on %v", k.ID, k.Name, k.Version, k.State, k.Networks))
		}
		for _, x := range st.Strangers {
			lines = append(lines, "stranger "+x.Name)
		}
		all[h.Name()] = append(lines, s.kept(h, &st)...)
	}
	return all
}

// containers are the names of all containers on a host that have the fleet's label or name.
func (s *site) containers(h *hosts.Host) string {
	s.t.Helper()
	var names []string
	listed := byHand(s.t, h, "ps", "-a", "--format", `{{.Names}} {{.State}} {{.Label "dev.evenkeel.fleet"}}`)
	for line := range strings.Lines(listed) {
		name, _, _ := strings.Cut(line, " ")
		if strings.HasSuffix(strings.TrimSpace(line), " "+s.fleet) || strings.HasPrefix(name, s.fleet+"_") {
			names = append(names, s.anyGeneration(strings.TrimSpace(line)))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// anyGeneration is a text with container names in it, without their generations.
func (s *site) anyGeneration(text string) string {
	var words []string
	for word := range strings.FieldsSeq(text) {
		if i := strings.LastIndex(word, "_g"); i >= 0 && strings.HasPrefix(word, s.fleet+"_") {
			word = word[:i]
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (s *site) instance(in *fleet.Instance) string {
	named := in.Name == fleet.ContainerName(s.fleet, in.NodeID, in.Generation) && in.Renamed == ""
	return fmt.Sprintf("%s named %t, %s %s, of %s, %+v, restart %s, on %s at %s and %v, ports %v, volumes %v",
		in.NodeID, named, in.State, in.Health, in.Image, in.Limits, in.RestartPolicy, in.Network, in.Address, in.OtherNetworks, in.Published, in.Volumes)
}

// kept is what a keeper has on its disk, and what of that doesn't fit the containers that there are.
func (s *site) kept(h *hosts.Host, st *fleet.HostState) (lines []string) {
	s.t.Helper()
	k := s.keeper(h)
	there := map[fleet.NodeID]*fleet.Instance{}
	for i := range st.Instances {
		there[st.Instances[i].NodeID] = &st.Instances[i]
	}
	for _, r := range k.Records {
		var current fleet.CurrentRecord
		var restart fleet.RestartRecord
		switch kind, _, _ := strings.Cut(r.Key, "/"); kind {
		case "current":
			require.NoError(s.t, json.Unmarshal(r.Value, &current))
			of := slices.IndexFunc(st.Instances, func(in fleet.Instance) bool { return fleet.CurrentKey(in.NodeID) == r.Key })
			lines = append(lines, fmt.Sprintf("%s fits %t", r.Key, of >= 0 && st.Instances[of].Generation == current.Generation))
		case "restart":
			require.NoError(s.t, json.Unmarshal(r.Value, &restart))
			lines = append(lines, fmt.Sprintf("%s %q", r.Key, restart.Text))
		case "applied": // by the hash of the version
			lines = append(lines, r.Key)
		default:
			lines = append(lines, r.Key+" "+string(r.Value))
		}
	}
	for _, n := range k.Zone.Nodes {
		in := there[n.NodeID]
		lines = append(lines, fmt.Sprintf("zone: %s at %s, fits %t, candidate %t, out %q",
			n.NodeID, n.Address, in != nil && in.ID == n.Instance && in.Generation == n.Generation, n.Candidate, n.Out))
	}
	for _, n := range k.Copy.Nodes {
		lines = append(lines, fmt.Sprintf("copy: %s on %s at %s", n.NodeID, n.Host, n.Address))
	}
	return append(lines, fmt.Sprintf("keeper is %s, %v, %v", k.Mode, k.Unbound, k.Problems))
}

// requireShape waits a little, since a helper that looked into a node's network when evenkeel was killed
// ends by itself.
func (s *site) requireShape(want shape, when string) {
	s.t.Helper()
	var have shape
	eventually(s.t, 10*time.Second, func() error {
		have = s.shape()
		for host, lines := range want {
			if !slices.Equal(lines, have[host]) {
				return fmt.Errorf("%s: %s differs:\nwant %s\nhave %s", when, host, strings.Join(lines, "\n     "), strings.Join(have[host], "\n     "))
			}
		}
		return nil
	})
}

// requireAtRest asks whether nothing is left to do and nothing has drifted.
func (s *site) requireAtRest(t *testing.T, when string) {
	t.Helper()
	o := s.evenkeel("plan", "--exit-code")
	require.Equal(t, 0, o.code, "%s: %s", when, o)
	r := s.drift()
	require.Empty(t, r.Drift, when)
	require.Empty(t, r.Unknown, when)
}
