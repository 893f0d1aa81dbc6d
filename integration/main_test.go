// Package integration tests evenkeel as people use it: its own binary, from the command line, against real
// Docker hosts and real git repositories. Nothing in it is skipped.
package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
)

// What all tests share: the hosts, and the program under test.
var (
	lab     *hosts.Lab
	program string // the path of evenkeel's binary
	nodes   []byte // the binary of integration/lab/node
	loads   []byte // the binary of integration/load
)

const module = "github.com/evenkeel/evenkeel/"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "evenkeel-integration-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if err := prepare(ctx, dir); err != nil {
			fmt.Fprintln(os.Stderr, "preparing the integration tests:", err)
			return 1
		}
		defer lab.Close()
		return m.Run()
	}())
}

// prepare builds what is tested and starts three hosts, side by side.
func prepare(ctx context.Context, dir string) error {
	program = filepath.Join(dir, "evenkeel")
	var g errgroup.Group
	g.Go(func() error { return image.Build(ctx, module+"cmd/evenkeel", program) })
	g.Go(func() (err error) {
		nodes, err = image.Compile(ctx, module+"integration/lab/node")
		return err
	})
	g.Go(func() (err error) {
		loads, err = image.Compile(ctx, module+"integration/load")
		return err
	})
	g.Go(func() (err error) {
		lab, err = hosts.New(ctx, 3)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return loadImages(ctx, lab)
}

// loadImages puts the tests' images onto all hosts of a lab. node:1 and node:2 differ in nothing but a label.
func loadImages(ctx context.Context, l *hosts.Lab) error {
	one, err := image.New("node:1", nodes, image.Config{Labels: map[string]string{"version": "1"}})
	if err != nil {
		return err
	}
	two, err := image.New("node:2", nodes, image.Config{Labels: map[string]string{"version": "2"}})
	if err != nil {
		return err
	}
	load, err := image.New("load:1", loads, image.Config{})
	if err != nil {
		return err
	}
	return l.Load(ctx, one, two, load)
}
