package reconciler

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"testing/fstest"
)

// repo is a repository in memory.
type repo struct {
	mu    sync.Mutex
	n     int
	files fstest.MapFS
	hints chan struct{}
	// rewound and broken are what the next fetches say.
	rewound bool
	broken  error
}

func (r *repo) Fetch(context.Context) (Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return Revision{}, r.broken
	}
	files := fstest.MapFS{}
	for k, v := range r.files {
		files[k] = v
	}
	return Revision{ID: fmt.Sprint(r.n), Files: fs.FS(files), Rewound: r.rewound}, nil
}
func (r *repo) Watch(context.Context) <-chan struct{} { return r.hints }

func (r *repo) write(name, text string) {
	r.mu.Lock()
	r.n++
	r.files[name] = &fstest.MapFile{Data: []byte(text)}
	r.mu.Unlock()
	select {
	case r.hints <- struct{}{}:
	default:
	}
}

// commit changes several files at once.
func (r *repo) commit(change func(files fstest.MapFS)) {
	r.mu.Lock()
	change(r.files)
	r.mu.Unlock()
	r.write("README.md", "")
}

func newRepo(hosts ...string) *repo {
	r := &repo{files: fstest.MapFS{}, hints: make(chan struct{}, 1)}
	text := "apiVersion: evenkeel.dev/v1\nkind: Fleet\nmetadata: {name: f}\nspec:\n  hosts:\n"
	for i, h := range hosts {
		text += fmt.Sprintf("    - {name: %s, endpoint: \"tcp://127.0.0.%d:2375\", insecure: true, labels: {is: %s}, capacity: {memory: 64Gi, cpu: \"64\"}}\n", h, i+1, h)
	}
	r.write("fleet.yaml", text+"  network: {driver: bridge, pool: 10.99.0.0/20}\n  prune: {maxShare: 100%}\n")
	return r
}

func environment(name, image, host string) string {
	return fmt.Sprintf(`apiVersion: evenkeel.dev/v1
kind: Environment
metadata: {name: %s}
spec:
  layers:
    - name: web
      image: %s
      replicas: 1
      placement: {hosts: {is: %s}}
      updatePolicy: {strategy: simultaneous, minHealthy: 0s, delay: 0s}
`, name, image, host)
}
