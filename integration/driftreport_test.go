package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// drift reads what no commit explains; the exit status says whether there is any.
func (s *site) drift() drift.Report {
	s.t.Helper()
	o := s.evenkeel("drift", "-o", "json", "--exit-code")
	var r drift.Report
	require.NoError(s.t, json.Unmarshal([]byte(o.stdout), &r), "%s", o)
	require.Equal(s.t, len(r.Drift) > 0, o.code == 2, "%s", o)
	require.Equal(s.t, len(r.Drift) == 0 && len(r.Unknown) == 0, o.code == 0, "%s", o)
	return r
}

func (l *loop) drift() (drift.Report, error) {
	l.t.Helper()
	var r drift.Report
	code, body := l.get("/api/v1/drift")
	if code != http.StatusOK {
		return r, fmt.Errorf("status %d: %s", code, body)
	}
	require.NoError(l.t, json.Unmarshal([]byte(body), &r))
	return r, nil
}

// byHands are what people do to web's node 1 and to the keeper, each with the findings that it makes.
type doneByHand struct {
	args []string
	want []string
}

func byHands(s *site, id string, keeper string) []doneByHand {
	const node = "shop/web/1 "
	return []doneByHand{
		{[]string{"kill", id}, []string{node + "state: running > exited (exit code 137)"}},
		{[]string{"stop", "-t", "5", id}, []string{node + "state: running > exited (exit code 0)"}},
		{[]string{"pause", id}, []string{node + "state: running > paused"}},
		{[]string{"rename", id, s.fleet + "-mine"}, []string{node + "name: " + fleet.ContainerName(s.fleet, fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}, 1) + " > " + s.fleet + "-mine"}},
		{[]string{"update", "--memory", "96m", "--memory-swap", "96m", id}, []string{node + "limit.memory: 64Mi > 96Mi"}},
		{[]string{"update", "--memory-swap", "-1", id}, []string{node + "limit.swap: none > any amount"}},
		{[]string{"update", "--pids-limit", "-1", id}, []string{node + "limit.pids: 4096 processes > none"}},
		{[]string{"update", "--restart", "no", id}, []string{node + "restart policy: unless-stopped > no"}},
		{[]string{"network", "connect", "bridge", id}, []string{node + "other network:  > bridge"}},
		{[]string{"network", "disconnect", s.network("shop"), id}, []string{node + "network: " + s.network("shop") + " > not on it"}},
		{[]string{"network", "disconnect", s.network("shop"), keeper}, []string{"keeper " + keeper + " network: " + s.network("shop") + " > not on it"}},
		{[]string{"update", "--restart", "no", keeper}, []string{"keeper " + keeper + " restart policy: always > no"}},
		{[]string{"kill", keeper}, []string{"keeper " + keeper + " state: running > exited"}},
		{[]string{"rename", keeper, s.fleet + "-keeper"}, []string{"keeper " + keeper + " name: " + keeper + " > " + s.fleet + "-keeper"}},
		{[]string{"rm", "-f", keeper}, []string{"keeper " + keeper + " state: running > missing"}},
	}
}

// findings are what was found, as one reads it.
func findings(found []drift.Finding) []string {
	var all []string
	for _, f := range found {
		subject := f.Node
		if f.What != drift.Node {
			subject = f.What + " " + f.Name
		}
		all = append(all, subject+" "+f.Field+": "+f.Wanted+" > "+f.Found)
	}
	return all
}

const limited = `
    - name: web
      image: node:1
      replicas: 2
      resources: {memory: 64Mi}
      ports: [{name: http, port: 8080}]
      updatePolicy: {minHealthy: 0s, delay: 0s, drainTimeout: 0s}
`

func TestRunTellsOfDriftAndHealsIt(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", limited)
	l := s.run("--interval", "10m") // what is seen, is seen by events
	l.converged()
	r, err := l.drift()
	require.NoError(t, err)
	require.Empty(t, r.Drift)
	require.Empty(t, r.Ended, "what a rollout does is no drift")

	told := map[string]bool{}
	tell := func(hand doneByHand, begun time.Time) {
		eventually(t, patience, func() error {
			r, err := l.drift()
			if err != nil {
				return err
			}
			for _, f := range append(r.Drift, r.Ended...) {
				line := findings([]drift.Finding{f})[0]
				key := line + f.Since.String()
				if !told[key] && slices.Contains(hand.want, line) && f.Host == h.Name() {
					told[key] = true
					return nil
				}
			}
			return fmt.Errorf("not seen: %v in %v, over %v", hand.want, findings(r.Drift), findings(r.Ended))
		})
		t.Logf("docker %v: told of %s after the command was given", hand.args, time.Since(begun))
		l.until(patience, func(st reconciler.Status) error {
			r, err := l.drift()
			if err != nil {
				return err
			}
			return unless(st.Converged && len(r.Drift) == 0, fmt.Sprintf("not healed: %v", findings(r.Drift)))
		})
	}
	id := s.node(h, "web", 1).ID
	for _, hand := range byHands(s, id, fleet.KeeperName(s.fleet)) {
		begun := time.Now()
		byHand(t, h, hand.args...)
		tell(hand, begun)
		require.Equal(t, id, s.node(h, "web", 1).ID)
	}
	keeper := fleet.KeeperName(s.fleet)
	for network, on := range map[string][]string{
		s.network("shop"):         {id, s.node(h, "web", 2).ID, keeper},
		fleet.UplinkName(s.fleet): {keeper},
	} {
		begun := time.Now()
		l.signal(syscall.SIGSTOP) // it would be faster than two commands
		for _, c := range on {
			byHand(t, h, "network", "disconnect", "-f", network, c)
		}
		byHand(t, h, "network", "rm", network)
		l.signal(syscall.SIGCONT)
		tell(doneByHand{[]string{"network", "rm", network}, []string{"network " + network + " network: there > missing"}}, begun)
		require.Equal(t, id, s.node(h, "web", 1).ID)
	}
	begun := time.Now()
	byHand(t, h, "rm", "-f", id)
	tell(doneByHand{[]string{"rm"}, []string{"shop/web/1 state: running > missing"}}, begun)
	require.Empty(t, s.drift().Drift)
}

// manyNodes is a layer whose nodes are each harmed in another way.
const manyNodes = `
    - name: web
      image: node:1
      replicas: 14
      resources: {memory: 64Mi}
      volumes: [{name: data, path: /data, onRemove: delete}]
      updatePolicy: {strategy: simultaneous, minHealthy: 0s, drainTimeout: 0s}
`

func TestRunTellsOfDriftThatItLeavesUntilItMayHeal(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.extra = "  drift: {selfHeal: false}\n"
	s.writeFleet()
	s.environment("shop", manyNodes)
	l := s.run("--interval", "10m") // what is seen, is seen by events
	l.converged()
	id := func(node int) fleet.NodeID { return fleet.NodeID{Environment: "shop", Layer: "web", Node: node} }
	name := func(node int) string { return fleet.ContainerName(s.fleet, id(node), 1) }
	volume, copied, mine := fleet.VolumeName(s.fleet, id(14), "data"), s.fleet+"-copy", s.fleet+"-mine"
	want := []string{"container " + copied + " container:  > running"}
	byHand(t, h, "run", "-d", "--name", copied, "--label", fleet.LabelFleet+"="+s.fleet, "node:1")
	t.Cleanup(func() { byHand(t, h, "rm", "-f", copied) })
	before := map[int]string{}
	for i, hand := range []struct {
		do   string
		want []string
	}{
		{"kill %s", []string{"state: running > exited (exit code 137)"}},
		{"stop -t 5 %s", []string{"state: running > exited (exit code 0)"}},
		{"pause %s", []string{"state: running > paused"}},
		{"rename %s " + mine, []string{"name: " + name(4) + " > " + mine}},
		{"update --memory 96m --memory-swap 96m %s", []string{"limit.memory: 64Mi > 96Mi"}},
		{"update --cpus 0.5 %s", []string{"limit.cpu: none > 500m"}},
		{"update --cpu-quota 50000 %s", []string{"limit.cpu-quota: none > 50000"}},
		{"update --cpuset-cpus 0 %s", []string{"limit.cpuset-cpus: none > 0"}},
		{"update --memory-swap 96m %s", []string{"limit.swap: none > 32Mi"}},
		{"update --pids-limit 100 %s", []string{"limit.pids: 4096 processes > 100 processes"}},
		{"update --restart no %s", []string{"restart policy: unless-stopped > no"}},
		{"network connect bridge %s", []string{"other network:  > bridge"}},
		{"network disconnect " + s.network("shop") + " %s", []string{"network: " + s.network("shop") + " > not on it"}},
		{"rm -f %s", []string{"state: running > missing"}},
	} {
		before[i+1] = s.node(h, "web", i+1).ID
		byHand(t, h, strings.Fields(fmt.Sprintf(hand.do, before[i+1]))...)
		for _, w := range hand.want {
			want = append(want, fmt.Sprintf("shop/web/%d %s", i+1, w))
		}
	}
	byHand(t, h, "volume", "rm", volume)
	want = append(want, "volume "+volume+" volume: there > missing")
	told := func(want []string) {
		t.Helper()
		slices.Sort(want)
		eventually(t, patience, func() error {
			r, err := l.drift()
			if err != nil {
				return err
			}
			found := findings(r.Drift)
			slices.Sort(found)
			for _, f := range r.Drift {
				if f.Host != h.Name() || f.Since == nil || f.Remedy == "" {
					return fmt.Errorf("%+v", f)
				}
			}
			return unless(slices.Equal(found, want), fmt.Sprintf("%q, wanted %q", found, want))
		})
	}
	told(want)
	alone := s.drift()
	require.ElementsMatch(t, want, findings(alone.Drift), "a single look finds the same")

	s.extra = ""
	s.writeFleet()
	s.commit()
	told(want[:1])
	l.converged()
	for node, was := range before {
		anew := slices.Contains([]int{6, 7, 8, 14}, node) // a limit can't be lifted in place, and a node that is gone is gone
		require.Equal(t, anew, s.node(h, "web", node).ID != was, "node %d", node)
	}
	require.Equal(t, "true", byHand(t, h, "inspect", "-f", "{{.State.Running}}", copied), "that one is nobody's to touch")
	byHand(t, h, "rm", "-f", copied)
	told(nil)
}

func TestDriftIsOnlyReported(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.extra = "  drift: {selfHeal: false}\n"
	s.writeFleet()
	s.environment("shop", limited)
	s.apply()
	require.Empty(t, s.drift().Drift)
	id, keeper := s.node(h, "web", 1).ID, fleet.KeeperName(s.fleet)
	var want []string
	for _, hand := range byHands(s, id, keeper) {
		switch {
		case slices.Contains(hand.args, keeper): // brought back in any case
		case hand.args[0] == "stop" || hand.args[0] == "kill": // one state is enough
		default:
			byHand(t, h, hand.args...)
			want = append(want, hand.want...)
			slices.Sort(want)
			found := findings(s.drift().Drift)
			slices.Sort(found)
			require.Equal(t, want, found)
		}
	}
	require.Len(t, want, 8)
	before := s.observe(h).Instances
	s.evenkeel("apply")
	r := s.drift()
	require.ElementsMatch(t, want, findings(r.Drift), "apply touches nothing")
	require.Equal(t, before, s.observe(h).Instances)
	for _, f := range r.Drift {
		require.Equal(t, "only reported, since drift.selfHeal is false", f.Remedy)
	}

	s.extra = ""
	s.writeFleet()
	s.commit()
	s.apply()
	require.Empty(t, s.drift().Drift)
	require.Equal(t, id, s.node(h, "web", 1).ID)
}

func TestATagThatMovedIsToldOf(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	r, push := startRegistry(t)
	tagged, was := push("moving:1", "1")
	own := s.fleet + "-own:1"
	byHand(t, h, "tag", "node:1", own)
	t.Cleanup(func() { byHand(t, h, "rmi", own) })
	s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 1), "node:1", tagged, 1)+
		strings.NewReplacer("name: web", "name: own", "node:1", own).Replace(fmt.Sprintf(oneWeb, 1)))
	s.apply()
	require.Empty(t, s.drift().Drift)

	_, is := push("moving:1", "2")
	require.Equal(t, []string{"shop/web/1 image: " + is + " > " + was}, findings(s.drift().Drift))
	byHand(t, h, "tag", "node:2", own)
	require.Len(t, s.drift().Drift, 2)
	before := s.observe(h).Instances
	s.apply()
	require.Equal(t, before, s.observe(h).Instances, "that is told of, and changes nothing")
	asked := len(r.Requests())
	require.Contains(t, s.evenkeel("plan").stdout, "shop/web: "+tagged+" stands for "+is+" by now")
	require.NotRegexp(t, `GET \S*/manifests/`, strings.Join(r.Requests()[asked:], "\n"), "a GET of a manifest counts as a pull")

	l := s.run("--interval", "1s") // it asks for tags once in ten of them
	moved := func() (found drift.Report) {
		eventually(t, patience, func() (err error) {
			if found, err = l.drift(); err != nil {
				return err
			}
			return unless(len(found.Drift) == 2, fmt.Sprint(findings(found.Drift)))
		})
		return found
	}
	moved()
	require.NoError(t, r.Close())
	eventually(t, patience, func() error {
		found := moved()
		return unless(len(found.Unknown) == 1 && strings.Contains(found.Unknown[0], "whether its tag has moved: image "+tagged), fmt.Sprint(found.Unknown))
	})
	alone := s.drift()
	require.Equal(t, []string{"shop/own/1"}, []string{alone.Drift[0].Node}, "who never had an answer says nothing of the other")
	require.Len(t, alone.Drift, 1)
	require.Len(t, alone.Unknown, 1)
	l.converged()
	require.Equal(t, before, s.observe(h).Instances)
}
