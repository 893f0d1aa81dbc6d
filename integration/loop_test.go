package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// seen is how soon what is done by hand has to be noticed.
const seen = time.Second

// loop is a running `evenkeel run`.
type loop struct {
	*process
	site *site
	url  string
}

// run starts the loop and waits for nothing.
func (s *site) run(args ...string) *loop {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	address := l.Addr().String()
	require.NoError(s.t, l.Close())
	args = append([]string{"run", "-o", "json", "--listen", address}, args...)
	loop := &loop{process: s.command(context.Background(), args...), site: s, url: "http://" + address}
	s.t.Cleanup(loop.end)
	return loop
}

// end has the loop give its leases back.
func (l *loop) end() {
	l.signal(syscall.SIGTERM)
	select {
	case <-l.done:
	case <-time.After(patience):
		l.kill()
		l.t.Errorf("the loop didn't end: %s", l.wait())
	}
}

// requireMetrics waits until the loop's metrics have these lines.
func (l *loop) requireMetrics(lines ...string) {
	l.t.Helper()
	eventually(l.t, patience, func() error {
		status, body := l.get("/metrics")
		for _, line := range lines {
			if !strings.Contains(body, line+"\n") {
				return fmt.Errorf("%s isn't in (%d)\n%s", line, status, body)
			}
		}
		return nil
	})
}

// get asks the loop's HTTP server; status 0: it doesn't answer.
func (l *loop) get(path string) (status int, body string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+path, http.NoBody)
	require.NoError(l.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	return resp.StatusCode, string(b)
}

func (l *loop) status() (reconciler.Status, error) {
	l.t.Helper()
	var st reconciler.Status
	code, body := l.get("/api/v1/status")
	if code != http.StatusOK {
		return st, fmt.Errorf("status %d: %s", code, body)
	}
	require.NoError(l.t, json.Unmarshal([]byte(body), &st))
	return st, nil
}

// until waits for a status.
func (l *loop) until(within time.Duration, f func(reconciler.Status) error) reconciler.Status {
	l.t.Helper()
	var st reconciler.Status
	eventually(l.t, within, func() (err error) {
		l.alive()
		if st, err = l.status(); err != nil {
			return err
		}
		if err := f(st); err != nil {
			_, p := l.get("/api/v1/plan")
			return fmt.Errorf("%w\n%+v\n%s\n%s", err, st, p, l.stderr.String())
		}
		return nil
	})
	return st
}

func (l *loop) alive() {
	l.t.Helper()
	select {
	case <-l.done:
		require.Fail(l.t, "the loop ended", "%s", l.wait())
	default:
	}
}

// converged waits until all is as the newest commit says.
func (l *loop) converged() reconciler.Status {
	l.t.Helper()
	head := l.site.head()
	return l.until(patience, func(st reconciler.Status) error {
		if st.Revision != head {
			return fmt.Errorf("at revision %s, not %s", st.Revision, head)
		}
		return unless(st.Converged, "not converged")
	})
}

func unless(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// step is a step of an operation as it is told in JSON.
type step struct {
	Type      string        `json:"type"`
	Time      time.Time     `json:"time"`
	Revision  string        `json:"revision"`
	Layer     string        `json:"layer"`
	Node      int           `json:"node"`
	Host      string        `json:"host"`
	Operation plan.Kind     `json:"operation"`
	Phase     rollout.Phase `json:"phase"`
	Message   string        `json:"message"`
	Error     string        `json:"error"`
}

// steps are the steps of operations that the loop has told so far.
func (p *process) steps() []step {
	p.t.Helper()
	var list []step
	for line := range strings.Lines(p.stderr.String()) {
		var s step
		if json.Unmarshal([]byte(line), &s) == nil && s.Type == "progress" {
			list = append(list, s)
		}
	}
	return list
}

// firstStep waits for the first step of a node's operation after a moment.
func (l *loop) firstStep(node int, after time.Time) step {
	l.t.Helper()
	var first step
	eventually(l.t, patience, func() error {
		for _, p := range l.steps() {
			if p.Node == node && p.Layer == "web" && p.Time.After(after) {
				first = p
				return nil
			}
		}
		return fmt.Errorf("nothing was begun for node %d\n%s", node, l.stderr.String())
	})
	return first
}

// node finds a node's running instance on a host.
func (s *site) node(h *hosts.Host, layer string, n int) fleet.Instance {
	s.t.Helper()
	for _, in := range s.nodesOf(h, layer) {
		if in.Node == n {
			return in
		}
	}
	require.Failf(s.t, "no such node", "%s/%d on %s", layer, n, h.Name())
	return fleet.Instance{}
}

// docker does something by hand on a host.
func byHand(t *testing.T, h *hosts.Host, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := h.Exec(ctx, "docker", args...)
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// answered waits until the client has been answered anew by as many nodes as there are, without a failure
// since it began to be.
func (s *site) answered(h *hosts.Host, nodes int) {
	s.t.Helper()
	before := s.asked(h)
	eventually(s.t, patience, func() error {
		r := s.asked(h)
		answering := 0
		for name, n := range r.Answers {
			if n > before.Answers[name]+3 {
				answering++
			}
		}
		if r.Failed > before.Failed {
			before = r
		}
		return unless(answering == nodes, fmt.Sprintf("%d of %d answer: %+v", answering, nodes, r))
	})
}
