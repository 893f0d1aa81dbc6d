package git_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/git"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/conformance"
)

func TestSourceConformance(t *testing.T) {
	for name, site := range map[string]func(t *testing.T) conformance.Site{
		"directory": func(t *testing.T) conformance.Site {
			r := newDirectory(t)
			return conformance.Site{Source: source(t, r.options()), Commit: r.replace, Break: aside(t, r.dir)}
		},
		"repository": func(t *testing.T) conformance.Site {
			r := newRepo(t)
			return conformance.Site{
				Source: source(t, r.options()), Break: aside(t, r.dir),
				Commit: func(files map[string]string) {
					r.replace(files)
					r.git("add", "-A")
					r.git("commit", "-q", "--allow-empty", "-m", "x")
				},
				Reset: func(id string) { r.git("reset", "-q", "--hard", id) },
			}
		},
		"https": func(t *testing.T) conformance.Site {
			s := newServed(t)
			return s.site(t, s.overHTTPS(t), s.https.valve)
		},
		"ssh": func(t *testing.T) conformance.Site {
			s := newServed(t)
			return s.site(t, s.overSSH(t), s.ssh.valve)
		},
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T, test func(t *testing.T, s conformance.Site)) { test(t, site(t)) })
		})
	}
}

func (s served) site(t *testing.T, o git.Options, v *valve) conformance.Site {
	o.Interval = 50 * time.Millisecond // no commit elsewhere is seen otherwise
	return conformance.Site{
		Source: source(t, o), Break: aside(t, s.bare.dir),
		Commit: func(files map[string]string) {
			s.replace(files)
			s.publish()
		},
		Reset: func(id string) {
			s.git("reset", "-q", "--hard", id)
			s.push("--force", "main")
		},
		Hang: func() (resume func()) {
			v.shutAfter(0)
			return v.open
		},
	}
}

// replace has a directory hold these files and no others.
func (r *repo) replace(files map[string]string) {
	r.t.Helper()
	entries, err := os.ReadDir(r.dir)
	require.NoError(r.t, err)
	for _, e := range entries {
		if e.Name() != ".git" {
			require.NoError(r.t, os.RemoveAll(filepath.Join(r.dir, e.Name())))
		}
	}
	for name, content := range files {
		r.write(name, content)
	}
}

// aside has what is read not be where it was.
func aside(t *testing.T, dir string) func() (mend func()) {
	return func() func() {
		require.NoError(t, os.Rename(dir, dir+".aside"))
		return func() { require.NoError(t, os.Rename(dir+".aside", dir)) }
	}
}

// asSource is a source as the reconciler wants it.
type asSource struct{ *git.Source }

func source(t *testing.T, o git.Options) reconciler.Source { return asSource{open(t, o)} }

func (s asSource) Fetch(ctx context.Context) (reconciler.Revision, error) {
	r, err := s.Source.Fetch(ctx)
	return reconciler.Revision{ID: r.ID, Files: r.Files, Rewound: r.Rewound, Warnings: r.Warnings}, err
}
