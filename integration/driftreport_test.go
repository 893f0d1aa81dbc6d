package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
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
		{[]string{"update", "--restart", "no", id}, []string{node + "restart policy: unless-stopped > no"}},
		{[]string{"network", "connect", "bridge", id}, []string{node + "other network:  > bridge"}},
		{[]string{"network", "disconnect", s.network("shop"), id}, []string{node + "network: " + s.network("shop") + " > not on it"}},
		{[]string{"network", "disconnect", s.network("shop"), keeper}, []string{"keeper " + keeper + " network: " + s.network("shop") + " > not on it"}},
		{[]string{"kill", keeper}, []string{"keeper " + keeper + " state: running > exited"}},
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
	begun := time.Now()
	byHand(t, h, "rm", "-f", id)
	tell(doneByHand{[]string{"rm"}, []string{"shop/web/1 state: running > missing"}}, begun)
	require.Empty(t, s.drift().Drift)
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
		case hand.args[len(hand.args)-1] == keeper: // brought back in any case
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
	require.Len(t, want, 6)
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
	push := registry(t)
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
}

// everyKey has every key that a layer may have.
const everyKey = `
    - name: web
      image: node:1
      pull: never
      replicas: 2
      cloudlets: {reserved: 1, limit: 2}
      placement: {antiAffinity: preferred, hosts: {}}
      dependsOn: [db]
      command: []
      entrypoint: [/program]
      workingDir: /tmp
      user: "1000:1000"
      init: true
      env: {LOG_LEVEL: info}
      labels: {com.example/team: shop}
      logging: {driver: json-file, options: {max-size: 10m}}
      tmpfs: ["/run/app:size=1m"]
      ulimits: {nofile: {soft: 1024, hard: 4096}}
      files: [{path: /etc/app.conf, content: "a = 1", mode: "0600"}]
      volumes: [{name: uploads, path: /srv/uploads, onRemove: delete}]
      ports: [{name: http, port: 8080, publish: 0}, {name: dns, port: 53, protocol: udp}]
      security: {privileged: true, capabilities: [NET_ADMIN], hostPaths: [{source: /etc, target: /host/etc, readOnly: true}]}
      healthCheck: {http: {port: http, path: /healthz}, interval: 200ms, startPeriod: 1s, restartAfter: 1m}
      stop: {signal: SIGINT, grace: 5s}
      restart: first
      redeploy: first
      updatePolicy: {strategy: sequential, minHealthy: 0s, delay: 0s, healthTimeout: 20s}
    - name: db
      image: node:1
      resources: {memory: 64Mi, cpu: "64", memoryReservation: 32Mi}
      security: {readOnly: true}
      healthCheck: {exec: [/program, get, "http://127.0.0.1:8080/healthz"], interval: 200ms}
      updatePolicy: {healthTimeout: 20s}
`

func TestAFleetAsItWasMadeHasNoDrift(t *testing.T) {
	t.Parallel()
	var schema struct {
		Defs struct {
			Layer struct {
				Properties map[string]any `json:"properties"`
			} `json:"layer"`
		} `json:"$defs"`
	}
	l := ownLab(t, 2)
	s := newSite(t, l.Hosts()...)
	require.NoError(t, json.Unmarshal([]byte(s.evenkeel("schema", "environment").stdout), &schema))
	require.NotEmpty(t, schema.Defs.Layer.Properties)
	for key := range schema.Defs.Layer.Properties {
		require.Contains(t, strings.ReplaceAll(everyKey, "- name:", "  name:"), "\n      "+key+":", "this test is to use every key: add it to everyKey")
	}
	s.extra = "  policy: {allow: {privileged: [shop], hostPaths: [shop], capabilities: [shop]}}\n"
	s.writeFleet()
	s.environment("shop", everyKey)
	s.apply()
	none := func(when string) {
		t.Helper()
		r := s.drift()
		require.Empty(t, r.Drift, when)
		require.Empty(t, r.Unknown, when)
	}
	none("once it was applied")
	for _, h := range l.Hosts() {
		faulty(t, h.StopEngine)
		faulty(t, func(ctx context.Context) error { return h.StartEngine(ctx) })
	}
	s.settled(l.Hosts()...)
	none("after every engine was restarted")
	for _, h := range l.Hosts() {
		faulty(t, h.PowerOff)
		faulty(t, h.PowerOn)
	}
	s.settled(l.Hosts()...)
	none("after a power cut")
}

// settled waits until the engines have brought everything back by themselves.
func (s *site) settled(on ...*hosts.Host) {
	s.t.Helper()
	for _, h := range on {
		e := openEngine(s.t, s.entry(h), s.credentials)
		eventually(s.t, patience, func() error {
			st := e.Observe(s.t.Context(), s.fleet)
			if !st.Reachable {
				return fmt.Errorf("%s: %s", h.Name(), st.Problem)
			}
			for _, in := range st.Instances {
				if in.State != fleet.StateRunning {
					return fmt.Errorf("%s is %s", in.Name, in.State)
				}
			}
			return unless(len(st.Keepers) == 1 && st.Keepers[0].State == fleet.StateRunning, "the keeper isn't back")
		})
	}
}
