package integration

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/spec"
)

// withFiles is a layer with files of its own and in a volume, and one that is read-only but for that.
const withFiles = `
    - name: web
      image: node:1
      replicas: %d
      ports: [{name: http, port: 8080}]
      volumes: [{name: data, path: /data, onRemove: delete}]
      files:
        - {path: /etc/app/app.conf, content: "a = 1", mode: "0640"}
        - {path: /data/seed, content: seed}
        - {path: /etc/hosts, content: "127.0.0.1 localhost"}
      updatePolicy: {strategy: sequential, minHealthy: 0s, delay: 0s, drainTimeout: 0s}
    - name: db
      image: node:1
      security: {readOnly: true}
      volumes: [{name: data, path: /data, onRemove: delete}]
      files: [{path: /data/seed, content: "", mode: "0400"}]
      updatePolicy: {minHealthy: 0s, delay: 0s, drainTimeout: 0s}
`

// within runs a shell command in a running container's directory tree, as somebody in it would.
func within(t *testing.T, h *hosts.Host, id, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pid := byHand(t, h, "inspect", "-f", "{{.State.Pid}}", id)
	out, err := h.Exec(ctx, "sh", "-c", fmt.Sprintf("cd /proc/%s/root && %s", pid, command))
	require.NoError(t, err, "%s", out)
	return string(out)
}

// file is the finding of a changed file; mode is what follows each digest.
func (s *site) changedFile(layer, path, content, found string) string {
	digest := spec.FileDigest(s.fleet, "shop", layer, path, []byte(content))
	if found != "removed" && found[0] == '=' {
		found = spec.FileDigest(s.fleet, "shop", layer, path, []byte(found[1:]))
	}
	return fmt.Sprintf("shop/%s/1 file %s: %s > %s", layer, path, digest, found)
}

func TestRunPutsBackFilesThatWereChangedInANode(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.environment("shop", fmt.Sprintf(withFiles, 2))
	l := s.run("--interval", "1s")
	l.converged()
	other := s.node(h, "web", 2)
	for _, c := range []struct{ layer, command, want string }{
		{"web", "echo -n 'a = 2' > etc/app/app.conf", s.changedFile("web", "/etc/app/app.conf", "a = 1", "=a = 2")},
		{"web", "rm data/seed", s.changedFile("web", "/data/seed", "seed", "removed")},
		{"db", "echo -n x > data/seed", s.changedFile("db", "/data/seed", "", "=x")},
	} {
		before := s.node(h, c.layer, 1)
		within(t, h, before.ID, c.command)
		l.until(patience, func(st reconciler.Status) error {
			r, err := l.drift()
			if err != nil {
				return err
			}
			over := len(r.Drift) == 0 && len(r.Ended) > 0 && findings(r.Ended[:1])[0] == c.want && r.Ended[0].Host == h.Name()
			return unless(st.Converged && over, fmt.Sprintf("not seen, or not over: %v, over %v", findings(r.Drift), findings(r.Ended)))
		})
		after := s.node(h, c.layer, 1)
		require.Equal(t, before.Generation+1, after.Generation)
		require.Equal(t, before.Address, after.Address)
	}
	require.Equal(t, "a = 1seed", within(t, h, s.node(h, "web", 1).ID, "cat etc/app/app.conf data/seed"))
	eventually(t, 0, func() error { return s.asMade(other, s.node(h, "web", 2)) })
}

func TestFilesThatWereChangedAreOnlyReported(t *testing.T) {
	t.Parallel()
	h := lab.Host(3)
	s := newSite(t, h)
	s.extra = "  drift: {selfHeal: false}\n"
	s.writeFleet()
	s.environment("shop", fmt.Sprintf(withFiles, 1))
	s.apply()
	require.Empty(t, s.drift().Drift)
	web := s.node(h, "web", 1)
	db := s.node(h, "db", 1)
	conf := func(found string) []string {
		return []string{s.changedFile("web", "/etc/app/app.conf", "a = 1", found)}
	}
	digest := spec.FileDigest(s.fleet, "shop", "web", "/etc/app/app.conf", []byte("a = 1"))
	for _, c := range []struct {
		name, command string
		want          []string
	}{
		{"touched, and the same", "touch etc/app/app.conf", nil},
		{"another mode", "chmod 666 etc/app/app.conf", []string{"shop/web/1 file /etc/app/app.conf: " + digest + " mode 0640 > " + digest + " mode 0666"}},
		{"another owner is nobody's concern", "chmod 640 etc/app/app.conf && chown 7 etc/app/app.conf", nil},
		{"of the same length", "echo -n 'a = 2' > etc/app/app.conf", conf("=a = 2")},
		{"another file in its place", "rm etc/app/app.conf && echo > etc/app/app.conf && chmod 640 etc/app/app.conf", conf("=\n")},
		{"a link in its place", "ln -sf /data/seed etc/app/app.conf", conf("a link to /data/seed")},
		{"a directory in its place", "rm etc/app/app.conf && mkdir etc/app/app.conf", conf("a directory")},
		{"a pipe in its place", "rm -r etc/app/app.conf && mkfifo etc/app/app.conf", conf("no regular file")},
		{"too long to be read", "rm etc/app/app.conf && truncate -s 5G etc/app/app.conf && chmod 640 etc/app/app.conf", conf("5368709120 bytes")},
		{"its directory removed", "rm -r etc/app", conf("removed")},
	} {
		within(t, h, web.ID, c.command)
		r := s.drift()
		require.Equal(t, c.want, findings(r.Drift), c.name)
		for _, f := range r.Drift {
			require.Equal(t, drift.Finding{
				Host: h.Name(), What: drift.Node, Node: "shop/web/1", Name: web.Name, Field: "file /etc/app/app.conf",
				Wanted: f.Wanted, Found: f.Found, Since: f.Since, Remedy: "only reported, since drift.selfHeal is false",
			}, f)
		}
	}
	within(t, h, db.ID, "echo -n x > data/seed")
	require.Len(t, s.drift().Drift, 2)
	s.evenkeel("apply")
	require.Equal(t, web, s.node(h, "web", 1), "apply touches nothing")
	byHand(t, h, "stop", "-t", "5", db.ID)
	require.ElementsMatch(t, append(conf("removed"), "shop/db/1 state: running > exited (exit code 0)"), findings(s.drift().Drift),
		"what a stopped node has is unknown, and no drift")
	byHand(t, h, "start", db.ID)

	s.extra = ""
	s.writeFleet()
	s.commit()
	o := s.evenkeel("plan", "-o", "json")
	require.Contains(t, o.stdout, `"field": "file /etc/app/app.conf"`)
	s.apply()
	require.Empty(t, s.drift().Drift)
	require.Equal(t, web.Generation+1, s.node(h, "web", 1).Generation)
	require.Equal(t, "a = 1", within(t, h, s.node(h, "web", 1).ID, "cat etc/app/app.conf"))
	require.Contains(t, s.evenkeel("history").stdout, "file /etc/app/app.conf")
}

// A program that changes its own file does so in each node that is made for it: that ends.
func TestAProgramThatChangesItsOwnFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := lab.Host(1)
	s := newSite(t, h)
	s.environment("shop", `
    - name: web
      image: node:1
      env: {APPEND_TO: /etc/app.conf}
      files: [{path: /etc/app.conf, content: "a = 1\n"}]
      updatePolicy: {minHealthy: 0s, delay: 0s, drainTimeout: 0s}
`)
	s.apply()
	generation := func() int { return s.node(h, "web", 1).Generation }
	for i := 1; i <= 3; i++ {
		s.apply()
		require.Equal(t, i+1, generation())
	}
	s.apply()
	require.Equal(t, 4, generation())
	o := s.evenkeel("plan")
	require.Contains(t, o.stdout, "shop/web/1: /etc/app.conf was changed again", "%s", o)
	r := s.drift()
	require.Equal(t, []string{s.changedFile("web", "/etc/app.conf", "a = 1\n", "=a = 1\n# changed by its program\n")}, findings(r.Drift))
	require.Contains(t, r.Drift[0].Remedy, "left as it is")
}
