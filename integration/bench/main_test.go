// Package bench measures evenkeel against the bare calls to the engine that its work comes down to, on a
// real engine, in turns within one run, so that what a figure says doesn't depend on the machine. It
// judges nothing: the table says whether a goal is met, the exit status doesn't.
package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
)

var (
	lab     *hosts.Lab
	program string // the path of evenkeel's binary, for keepers
	nodes   string // the path of integration/lab/node's
	node    *image.Image
)

const module = "github.com/evenkeel/evenkeel/"

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		os.Exit(m.Run()) // without benchmarks there is nothing to prepare
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "evenkeel-bench-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if err := prepare(ctx, dir); err != nil {
			fmt.Fprintln(os.Stderr, "preparing the benchmarks:", err)
			return 1
		}
		defer lab.Close()
		code := m.Run()
		printTable(os.Stdout)
		return code
	}())
}

// engineArgs has the engine keep its data on a real disk where the flag names one.
func engineArgs() []hosts.Option {
	if *dataRoot == "" {
		return nil
	}
	return []hosts.Option{hosts.WithEngineArgs("--data-root", *dataRoot)}
}

// prepare builds evenkeel and starts the host, side by side.
func prepare(ctx context.Context, dir string) error {
	program, nodes = filepath.Join(dir, "evenkeel"), filepath.Join(dir, "node")
	var binary []byte
	var g errgroup.Group
	g.Go(func() error { return image.Build(ctx, module+"cmd/evenkeel", program) })
	g.Go(func() (err error) {
		binary, err = image.Compile(ctx, module+"integration/lab/node")
		return err
	})
	g.Go(func() (err error) {
		lab, err = hosts.New(ctx, 1, engineArgs()...)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := os.WriteFile(nodes, binary, 0o700); err != nil {
		return err
	}
	var err error
	if node, err = image.New("node:1", binary, image.Config{}); err != nil {
		return err
	}
	return lab.Load(ctx, node)
}
