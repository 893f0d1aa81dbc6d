package integration

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/image"
	"github.com/evenkeel/evenkeel/reconciler"
)

const oneFrom = `
    - {name: web, image: %q, replicas: %d, ports: [{name: http, port: 8080}], updatePolicy: {minHealthy: 0s, delay: 0s, drainTimeout: 0s}}
`

// secret is in everything that a registry asks for in these tests, right or wrong.
const secret = "hunter2"

// tellsNoSecret requires that nothing that evenkeel said or keeps holds the secret.
func (s *site) tellsNoSecret(outcomes ...outcome) {
	s.t.Helper()
	for _, o := range outcomes {
		require.NotContains(s.t, o.String(), secret)
	}
	require.NoError(s.t, filepath.WalkDir(s.state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		require.NotContains(s.t, string(b), secret, path)
		return err
	}))
	for _, h := range s.hosts {
		for _, in := range s.observe(h).Instances {
			require.NotContains(s.t, byHand(s.t, h, "inspect", in.ID), secret)
		}
	}
}

// fleetRegistry has the Fleet name a registry.
func (s *site) fleetRegistry(r *image.Registry, from string) {
	s.extra = fmt.Sprintf("  registries: [{server: %q, username: ci, passwordFrom: %s}]\n", r.Address(), from)
	s.writeFleet()
	s.commit()
}

func TestARegistryWithCredentials(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Host(1), lab.Host(2))
	r, push := startRegistry(t)
	r.Require("ci", secret+"-right", false)
	ref, _ := push("private/web:1", s.fleet)
	s.environment("shop", fmt.Sprintf(oneFrom, ref, 2))
	s.environment("blog", fmt.Sprintf(oneWeb, 1))

	none := s.evenkeel("apply")
	requireSays(t, none, "shop/web", ref, "registry "+r.Address()+" gives it to nobody without credentials", "`registries` of the Fleet", "docker login "+r.Address())
	require.Equal(t, 1, layer(t, s.status(), "blog", "web").Serving, "the others go on: %s", none)

	s.fleetRegistry(r, "{env: LAB_REGISTRY_PASSWORD}")
	unset := s.evenkeel("apply")
	requireSays(t, unset, "shop/web", "the password for registry "+r.Address()+": the environment variable LAB_REGISTRY_PASSWORD isn't set or is empty: set it")

	s.env = []string{"LAB_REGISTRY_PASSWORD=" + secret + "-wrong"}
	wrong := s.evenkeel("apply", "-v")
	requireSays(t, wrong, "shop/web", "registry "+r.Address()+" refused user ci with the password from $LAB_REGISTRY_PASSWORD: correct that")
	plan := s.evenkeel("plan", "-o", "json")
	require.Contains(t, plan.stdout, "refused user ci with the password from $LAB_REGISTRY_PASSWORD")

	s.env = []string{"LAB_REGISTRY_PASSWORD=" + secret + "-right"}
	before := len(r.Requests())
	require.Contains(t, s.evenkeel("plan").stdout, "shop/web")
	asked := strings.Join(r.Requests()[before:], "\n")
	require.Contains(t, asked, "HEAD /v2/private/web/manifests/1")
	require.NotRegexp(t, `GET \S*/manifests/`, asked, "a GET of a manifest counts as a pull")
	right := s.apply()
	require.Equal(t, 2, layer(t, s.status(), "shop", "web").Serving)
	s.tellsNoSecret(none, unset, wrong, plan, right, s.evenkeel("history", "--all"), s.evenkeel("status", "-o", "json"), s.evenkeel("plan", "-v"))

	before = len(r.Requests())
	s.apply()
	require.Len(t, r.Requests(), before, "a second pass asks no registry")
}

// TestCredentialsAreRereadForEachPull changes a registry's password under a loop at work.
func TestCredentialsAreRereadForEachPull(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]func(t *testing.T, s *site, r *image.Registry) (set func(password string)){
		"a file of the Fleet": func(t *testing.T, s *site, r *image.Registry) func(string) {
			s.credentials = t.TempDir()
			s.fleetRegistry(r, "{file: registry/password}")
			require.NoError(t, os.Mkdir(filepath.Join(s.credentials, "registry"), 0o700))
			return func(password string) {
				require.NoError(t, os.WriteFile(filepath.Join(s.credentials, "registry/password"), []byte(password+"\n"), 0o600))
			}
		},
		"a helper that Docker's config names": func(t *testing.T, s *site, r *image.Registry) func(string) {
			dir, helpers := t.TempDir(), t.TempDir()
			s.env = []string{"DOCKER_CONFIG=" + dir, "PATH=" + helpers + ":" + os.Getenv("PATH")}
			config := fmt.Sprintf(`{"credHelpers": {%q: "lab"}}`, r.Address())
			require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600))
			return func(password string) {
				script := fmt.Sprintf("#!/bin/sh\necho '{\"Username\": \"ci\", \"Secret\": %q}'\n", password)
				next := filepath.Join(helpers, "next")
				require.NoError(t, os.WriteFile(next, []byte(script), 0o700)) //nolint:gosec // a program
				require.NoError(t, os.Rename(next, filepath.Join(helpers, "docker-credential-lab")))
			}
		},
		"Docker's config": func(t *testing.T, s *site, r *image.Registry) func(string) {
			dir := t.TempDir()
			s.env = []string{"DOCKER_CONFIG=" + dir}
			return func(password string) {
				auth := base64.StdEncoding.EncodeToString([]byte("ci:" + password))
				config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Address(), auth)
				require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, lab.Host(3))
			r, push := startRegistry(t)
			set := way(t, s, r)
			change := func(password string) {
				r.Require("ci", password, true)
				set(password)
			}
			change(secret + "-1")
			ref, _ := push("private/web:1", s.fleet+"-1")
			s.environment("shop", fmt.Sprintf(oneFrom, ref, 1))
			l := s.run()
			l.converged()

			change(secret + "-2")
			ref, digested := push("private/web:2", s.fleet+"-2")
			s.environment("shop", fmt.Sprintf(oneFrom, ref, 1))
			l.until(patience, func(st reconciler.Status) error {
				web := layer(t, st, "shop", "web")
				return unless(st.Converged && web.Serving == 1 && web.Nodes[0].Image == digested, "the new image isn't there: "+fmt.Sprint(web))
			})
			s.tellsNoSecret(outcome{stdout: l.stdout.String(), stderr: l.stderr.String()})
		})
	}
}

// TestARegistryThatIsDown hinders nothing that needs no pull.
func TestARegistryThatIsDown(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	r, push := startRegistry(t)
	ref, _ := push("shop/web:1", s.fleet)
	s.environment("shop", fmt.Sprintf(oneFrom, ref, 2))
	s.environment("news", strings.Replace(fmt.Sprintf(oneFrom, ref, 1), "name: web", "name: fresh, pull: always", 1))
	s.apply()

	require.NoError(t, r.Close())
	byHand(t, h, "rm", "-f", s.node(h, "web", 2).ID)
	byHand(t, h, "kill", s.node(h, "web", 1).ID)
	byHand(t, h, "kill", s.node(h, "fresh", 1).ID)
	s.environment("shop", fmt.Sprintf(oneFrom, ref, 3))
	s.environment("blog", fmt.Sprintf(oneFrom, r.Address()+"/shop/blog:1", 1))
	o := s.evenkeel("apply")
	requireSays(t, o, "blog/web", r.Address()+"/shop/blog:1", "connection refused")
	st := s.status()
	require.Equal(t, 3, layer(t, st, "shop", "web").Serving, "healed and scaled: %s", o)
	require.Equal(t, 1, layer(t, st, "news", "fresh").Serving, "healed: %s", o)
}

// TestARegistryThatRefuses says what it was asked for, what it answered and what would help, whichever of the two asks
// it for: what a tag stands for, or the image. Once it does as it should everything goes on.
func TestARegistryThatRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t, lab.Host(1))
	r, push := startRegistry(t)
	ref, _ := push("shop/web:1", s.fleet)
	s.environment("shop", fmt.Sprintf(oneFrom, ref, 1))
	blobs := func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/blobs/") }
	all := func(*http.Request) bool { return true }
	for _, refusal := range []struct {
		status int
		of     func(*http.Request) bool
		says   []string
	}{
		{http.StatusForbidden, all, []string{"403", "registry " + r.Address() + " gives it to nobody without credentials", "docker login " + r.Address()}},
		{http.StatusTooManyRequests, all, []string{"has been asked too often for now", "log in there for a higher limit, or wait"}},
		{http.StatusForbidden, blobs, []string{"gives it to nobody without credentials", "docker login " + r.Address()}},
		{http.StatusTooManyRequests, blobs, []string{"has been asked too often for now", "log in there for a higher limit, or wait"}},
	} {
		r.Answer(func(req *http.Request) int {
			if refusal.of(req) {
				return refusal.status
			}
			return 0
		})
		o := s.evenkeel("apply")
		require.Equal(t, 1, o.code, "%s", o)
		for _, text := range append(refusal.says, "shop/web", r.Address()+"/shop/web") {
			require.Contains(t, o.stdout+o.stderr, text, "%d: %s", refusal.status, o)
		}
	}
	r.Answer(nil)
	s.apply()
}

// TestWhatHostsHaveNeedsNoRegistry: with `pull: missing` a node is made from what was pulled for it last, with a warning,
// where no instance is left to tell the digest and the registry is down; one whose host hasn't it waits and says why.
func TestWhatHostsHaveNeedsNoRegistry(t *testing.T) {
	t.Parallel()
	with, without := lab.Host(2), lab.Host(3)
	s := newSite(t, with)
	r, push := startRegistry(t)
	ref, digested := push("shop/web:1", s.fleet)
	s.environment("shop", fmt.Sprintf(oneFrom, ref, 1))
	s.apply()
	require.NoError(t, r.Close())
	byHand(t, with, "rm", "-f", s.node(with, "web", 1).ID)
	warning := "shop/web is made from " + digested + ", which was pulled for it last and may not be what " + ref + " stands for by now"
	require.Contains(t, s.evenkeel("plan").stdout, warning)
	require.Contains(t, s.apply().stderr, "what has no instance left is made from "+digested)
	require.Equal(t, digested, layer(t, s.status(), "shop", "web").Nodes[0].Image)

	byHand(t, with, "rm", "-f", s.node(with, "web", 1).ID)
	s.hosts = append(s.hosts, without)
	s.writeFleet()
	s.environment("shop", strings.Replace(fmt.Sprintf(oneFrom, ref, 2), "name: web", "name: web, placement: {antiAffinity: required}", 1))
	o := s.evenkeel("apply")
	requireSays(t, o, "shop/web/2", without.Name(), r.Address(), "connection refused")
	require.Equal(t, 1, layer(t, s.status(), "shop", "web").Serving, "%s", o)

	s.environment("shop", strings.Replace(fmt.Sprintf(oneFrom, ref, 1), "name: web", "name: web, redeploy: again", 1))
	before := s.node(with, "web", 1)
	o = s.evenkeel("apply")
	requireSays(t, o, "shop/web/1", "connection refused")
	require.Equal(t, before.ID, s.node(with, "web", 1).ID, "a node that is asked to become what the tag stands for now waits for that")
}
