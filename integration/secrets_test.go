package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/cloudflare"
)

// TestSecretsAreToldNowhere has a repository, a registry and a provider that each want a secret of their own, right and
// wrong. None of them is in what evenkeel prints, serves, keeps, or puts onto a host.
func TestSecretsAreToldNowhere(t *testing.T) {
	t.Parallel()
	p := overHTTPS(t)
	env := p.env
	_, external := provide(p.site)
	r, push := startRegistry(t)
	r.Require("ci", secret+"-registry", false)
	ref, _ := push("private/web:1", p.fleet)
	p.extra = fmt.Sprintf("  registries: [{server: %q, username: ci, passwordFrom: {env: LAB_REGISTRY_PASSWORD}}]\n  dns:\n%s", r.Address(), external)
	p.writeFleet()
	p.environment("shop", fmt.Sprintf(oneFrom, ref, 2)+"  dns: [{name: shop.example.com, layer: web, proxied: true}]\n")
	p.write("shop.yaml", strings.Replace(p.read("shop.yaml"), "port: 8080}", "port: 8080, publish: 0}", 1))
	p.commit()
	p.push()
	args := []string{p.args[0], p.args[1], "--git-username", "robot"}
	ask := func(gitToken, suffix string, command ...string) outcome {
		p.env = append([]string{"EVENKEEL_GIT_TOKEN=" + gitToken, "LAB_REGISTRY_PASSWORD=" + secret + suffix, "CLOUDFLARE_API_TOKEN=" + cloudflare.Token}, env...)
		return p.evenkeel(append(command, args...)...)
	}

	locked := ask(secret+"-old", "-registry", "plan", "-v")
	requireSays(t, locked, "can't be read with these credentials", "EVENKEEL_GIT_TOKEN")
	refused := ask(secret, "-wrong", "apply", "-v")
	requireSays(t, refused, "refused user ci with the password from $LAB_REGISTRY_PASSWORD")
	applied := ask(secret, "-registry", "apply", "-v", "-o", "json")
	require.Equal(t, 0, applied.code, "%s", applied)
	told := []string{locked.String(), refused.String(), applied.String()}
	for _, command := range [][]string{
		{"plan", "-v"}, {"plan", "-o", "json"}, {"status", "-v"}, {"status", "-o", "json"}, {"drift", "-v"}, {"hosts"}, {"history", "--all", "-n", "0"}, {"doctor", "-v"}, {"doctor", "-o", "json"},
	} {
		o := ask(secret, "-registry", command...)
		require.Equal(t, 0, o.code, "%s", o)
		told = append(told, o.String())
	}
	l := p.run(append(args, "-v", "--interval", "1s")...)
	l.converged()
	for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/api/v1/plan", "/api/v1/drift"} {
		_, body := l.get(path)
		told = append(told, body)
	}
	l.end()
	told = append(told, l.stderr.String()+l.stdout.String(), p.knownToHosts(), p.written(p.state), p.written(filepath.Join(filepath.Dir(p.bare), "cache")))
	for _, text := range told {
		require.NotEmpty(t, text)
		require.NotContains(t, text, secret)
		require.NotContains(t, text, cloudflare.Token)
	}
}

// written is all that is in the files of a directory.
func (s *site) written(dir string) string {
	s.t.Helper()
	var all strings.Builder
	require.NoError(s.t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	}))
	return all.String()
}

// knownToHosts is all that the engines know of the fleet's containers, networks and volumes, what its containers wrote, and
// what is in its volumes.
func (s *site) knownToHosts() string {
	s.t.Helper()
	var all strings.Builder
	for _, h := range s.hosts {
		all.WriteString(byHand(s.t, h, "images", "--no-trunc", "--digests"))
		for _, what := range []string{"container", "network", "volume"} {
			list := []string{what, "ls", "-q", "--filter", "label=dev.evenkeel.fleet=" + s.fleet}
			if what == "container" {
				list = append(list, "-a")
			}
			ids := strings.Fields(byHand(s.t, h, list...))
			require.NotEmpty(s.t, ids, what)
			all.WriteString(byHand(s.t, h, append([]string{what, "inspect"}, ids...)...))
			for _, id := range ids {
				switch what {
				case "container":
					all.WriteString(byHand(s.t, h, "logs", id))
				case "volume":
					files, err := h.Exec(s.t.Context(), "sh", "-c", `find "$0" -type f -exec cat {} +`, byHand(s.t, h, "volume", "inspect", "-f", "{{.Mountpoint}}", id))
					require.NoError(s.t, err)
					all.Write(files)
				}
			}
		}
	}
	return all.String()
}
