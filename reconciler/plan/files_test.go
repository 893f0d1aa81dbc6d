package plan_test

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const confPath = "/etc/app.conf"

func withConf(l *spec.Layer) {
	l.Files = []spec.File{{Path: confPath, Mode: 0o640, Content: []byte("a = 1")}, {Path: "/etc/hosts", Mode: 0o644, Content: []byte("x")}}
}

// changeFile has a file in an instance be found otherwise than it was put there.
func (m *model) changeFile(in *fleet.Instance, f fleet.File) {
	f.Path = confPath
	h := m.hosts[in.Host]
	if h.state.Files == nil {
		h.state.Files = map[string]fleet.Files{}
	}
	h.state.Files[in.ID] = fleet.Files{At: m.now, Files: []fleet.File{f, {Path: "/etc/hosts", Missing: true}}}
}

func TestAChangedFileIsPutBackByARedeploy(t *testing.T) {
	digest := func(content string) string {
		return spec.FileDigest("production", "shop", "web", confPath, []byte(content))
	}
	wanted := digest("a = 1")
	conf := fleet.File{Mode: 0o640, Size: 5, Digest: wanted}
	tests := []struct {
		name     string
		change   func(f *fleet.File)
		from, to string // the same: there is nothing to do
	}{
		{"as it was put there", func(f *fleet.File) { f.Digest, f.AsPut = "", true }, "", ""},
		{"written once more", func(*fleet.File) {}, "", ""},
		{"other content", func(f *fleet.File) { f.Digest = digest("a = 2") }, digest("a = 2"), wanted},
		{"another mode", func(f *fleet.File) { f.Digest, f.AsPut, f.Mode = "", true, 0o666 }, wanted + " mode 0666", wanted + " mode 0640"},
		{"both", func(f *fleet.File) { f.Digest, f.Mode = "sha256:0", 0o600 }, "sha256:0 mode 0600", wanted + " mode 0640"},
		{"too long to be read", func(f *fleet.File) { f.Digest, f.Size = "", 5e9 }, "5000000000 bytes", wanted},
		{"removed", func(f *fleet.File) { *f = fleet.File{Missing: true} }, "removed", wanted},
		{"a link", func(f *fleet.File) { f.Mode, f.Target = fs.ModeSymlink|0o777, "/x" }, "a link to /x", wanted},
		{"a directory", func(f *fleet.File) { f.Mode = fs.ModeDir | 0o755 }, "a directory", wanted},
		{"a socket", func(f *fleet.File) { f.Mode = fs.ModeSocket | 0o755 }, "no regular file", wanted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, s := newModel("hn1"), onHosts(one, web(1, withConf))
			m.settle(s)
			f := conf
			tt.change(&f)
			m.changeFile(m.node(1), f)
			var want, found []string
			if tt.from != tt.to {
				want = []string{"redeploy shop/web/1 on hn1; file " + confPath + " " + tt.from + ">" + tt.to}
				found = []string{"shop/web/1 file " + confPath + ": " + tt.to + " > " + tt.from}
			}
			require.Equal(t, want, lines(plan.Compute(input(s, m.observe()))))
			var drift []string
			for _, d := range m.drift(s).Drift {
				drift = append(drift, d.Node+" "+d.Field+": "+d.Wanted+" > "+d.Found)
			}
			require.Equal(t, found, drift)
			m.settle(s)
			require.Empty(t, m.drift(s).Drift)
			require.Empty(t, lines(plan.Compute(input(s, m.observe()))))
		})
	}
}

func TestAChangedFileIsNotToBePutBack(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *model)
		spec   *spec.Spec
		want   string // the plan's
	}{
		{"only reported", func(*model) {}, reportOnly(onHosts(one, web(1, withConf))), "shop/web/1 drift, only reported since drift.selfHeal is false: redeploy would set it right (file " + confPath},
		{"made for another spec", func(*model) {}, onHosts(one, web(1, withConf, func(l *spec.Layer) { l.Redeploy = "anew" })), "redeploy shop/web/1 on hn1; redeploy"},
		{"not read yet", func(m *model) { m.hosts["hn1"].state.Files = nil }, onHosts(one, web(1, withConf)), ""},
		{"never read", func(m *model) {
			m.hosts["hn1"].state.Files = map[string]fleet.Files{m.node(1).ID: {Problem: "no answer"}}
		}, onHosts(one, web(1, withConf)), ""},
		{"never healthy", func(m *model) { delete(m.hosts["hn1"].records, fleet.CurrentKey(m.node(1).NodeID)) }, onHosts(one, web(1, withConf)), "create shop/web/1 on hn1; node never healthy>running"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel("hn1")
			m.settle(onHosts(one, web(1, withConf)))
			m.changeFile(m.node(1), fleet.File{Missing: true})
			tt.change(m)
			got := strings.Join(lines(plan.Compute(input(tt.spec, m.observe()))), "\n")
			if tt.want == "" {
				require.Empty(t, got)
			} else {
				require.True(t, strings.HasPrefix(got, tt.want), got)
				require.Equal(t, tt.name == "only reported", strings.Contains(got, confPath), got)
			}
		})
	}
}

// A program that changes its own file would do so in the next node too.
func TestANodeIsNotMadeAnewForAFileWithoutEnd(t *testing.T) {
	m, s := newModel("hn1"), onHosts(one, web(1, withConf))
	m.settle(s)
	changed := func(after time.Duration) []string {
		in := m.node(1)
		m.now = in.StartedAt.Add(after)
		m.changeFile(in, fleet.File{Mode: 0o640, Size: 5, Digest: "sha256:0", ModTime: m.now})
		return lines(plan.Compute(input(s, m.observe())))
	}
	for i := range plan.MostMended {
		require.Len(t, changed(time.Second), 1)
		m.settle(s)
		require.Equal(t, i+1, m.node(1).Mended)
	}
	require.Empty(t, changed(time.Second))
	p := plan.Compute(input(s, m.observe()))
	require.Len(t, p.Warnings, 1)
	require.Contains(t, p.Warnings[0], "shop/web/1: "+confPath+" was changed again, soon after the node was made anew for that, 3 times in a row")
	d := m.drift(s).Drift
	require.Len(t, d, 1, "it is told of")
	require.Equal(t, "left as it is: it was changed again each time the node was made anew, by a program in it", d[0].Remedy)
	require.Equal(t, m.now, *d[0].Since)

	require.Len(t, changed(plan.MendedSoon), 1, "somebody did that")
	m.settle(s)
	require.Equal(t, 1, m.node(1).Mended)
	m.settle(onHosts(one, web(1, withConf, func(l *spec.Layer) { l.Redeploy = "anew" })))
	require.Zero(t, m.node(1).Mended, "a commit made it")
}
