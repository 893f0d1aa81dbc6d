package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// The demo's environment, as its repository has it.
const (
	environment = "shop"
	webLayer    = "web"
	clientLayer = "client"
	replicas    = 3
)

// repository is the git repository that the demo's fleet is described in.
type repository struct {
	dir string
	git *git.Repository
}

// newRepository makes an empty one in dir.
func newRepository(dir string) (*repository, error) {
	r, err := git.PlainInit(dir, false)
	if err != nil {
		return nil, fmt.Errorf("making the demo's repository in %s: %w", dir, err)
	}
	return &repository{dir: dir, git: r}, nil
}

// commit writes files and commits them, and returns the commit's hash.
func (r *repository) commit(message string, files map[string]string) (string, error) {
	tree, err := r.git.Worktree()
	if err != nil {
		return "", fmt.Errorf("committing to the demo's repository: %w", err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("writing the demo's specs: %w", err)
		}
		if _, err := tree.Add(name); err != nil {
			return "", fmt.Errorf("adding %s to the demo's repository: %w", name, err)
		}
	}
	who := &object.Signature{Name: "evenkeel demo", Email: "demo@evenkeel.invalid", When: time.Now()}
	hash, err := tree.Commit(message, &git.CommitOptions{Author: who})
	if err != nil {
		return "", fmt.Errorf("committing to the demo's repository: %w", err)
	}
	return hash.String(), nil
}

// fleetSpec is the demo's fleet: the local engine and nothing else.
func fleetSpec(name, endpoint string) string {
	insecure := ""
	if strings.HasPrefix(endpoint, "tcp://") {
		insecure = "\n      insecure: true"
	}
	return fmt.Sprintf(`apiVersion: evenkeel.dev/v1
kind: Fleet
metadata: {name: %s}
spec:
  hosts:
    - name: local
      endpoint: %q%s
`, name, endpoint, insecure)
}

// environmentSpec is the demo's environment: three web nodes that say greeting, and a client that asks them.
func environmentSpec(image, greeting string) string {
	return fmt.Sprintf(`apiVersion: evenkeel.dev/v1
kind: Environment
metadata: {name: %s}
spec:
  layers:
    - name: %s
      image: %s
      pull: never
      replicas: %d
      command: [demo-node]
      env: {GREETING: %q}
      ports: [{name: http, port: %d}]
      healthCheck: {http: {port: http, path: /healthz}, interval: 500ms, timeout: 1s, retries: 2}
      stop: {grace: 5s}
      updatePolicy:
        strategy: sequential
        delay: 2s
        minHealthy: 1s
    - name: %s
      image: %s
      pull: never
      replicas: 1
      command: [demo-client, %s.%s.internal]
      updatePolicy: {minHealthy: 1s}
`, environment, webLayer, image, replicas, greeting, NodePort, clientLayer, image, webLayer, environment)
}
