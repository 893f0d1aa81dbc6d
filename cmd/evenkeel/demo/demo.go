// Package demo tells the whole story once, on the engine of this machine: three nodes are rolled out, a
// commit changes them one by one under load, one is killed and healed, and nothing is left behind. It
// uses what everybody uses: a git repository, a controller, the keeper's names.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// How long the demo waits for what should happen, before it says what didn't.
const (
	patience     = 2 * time.Minute
	poll         = 50 * time.Millisecond
	cleanupTime  = time.Minute
	warmUp       = 2 * time.Second
	minimumRate  = 50 // requests a second that the client must reach for the numbers to count
	greetingOne  = "hello from the first commit"
	greetingTwo  = "hello from the second commit"
	killedBySelf = "SIGKILL"
)

// Controller is what the demo asks of the fleet's controller.
type Controller interface {
	Run(ctx context.Context, stop <-chan struct{}) error
	Current() reconciler.Status
	Uninstall(ctx context.Context, volumes bool) (reconciler.Uninstalled, error)
}

// Engine is what the demo asks of the local engine beside the controller.
type Engine interface {
	Observe(ctx context.Context, fleetName string) fleet.HostState
	Image(ctx context.Context, ref string) (fleet.ImageInfo, error)
	LoadImage(ctx context.Context, tar io.Reader) error
	RemoveImage(ctx context.Context, id string) error
	Kill(ctx context.Context, id, signal string) error
	Exec(ctx context.Context, container string, argv []string) (net.Conn, error)
}

// Options wire a demo.
type Options struct {
	Program  string // how people call this program
	Endpoint string // of the local engine
	Engine   Engine
	// Binary gives the static program for an architecture.
	Binary func(arch string) (path string, err error)
	// Open makes a controller for a repository, and what closes it.
	Open func(repo string) (Controller, io.Closer, error)
	Say  func(text string)
	// Footer shows a line that changes, where there is a place for it.
	Footer func(text string)
	Keep   bool
}

// Result is what the demo measured.
type Result struct {
	Requests int           // from before the commit to the rollout's end
	Failed   int           // of them
	Rate     float64       // requests a second
	Error    string        // why the last one failed
	Rollout  time.Duration // from the commit to its end
	OutAfter time.Duration // from the kill to the names
	Healed   time.Duration // from the kill until the node served again
	MetDead  int           // requests that met the killed node before it was out
}

// demo is one telling.
type demo struct {
	Options
	fleet  string
	image  string
	dir    string
	repo   *repository
	engine fleet.HostState
	client *client

	controller Controller
	closer     io.Closer
	stop       chan struct{}
	ended      chan error // of the run
	made       bool       // something may be on the engine
}

// Run tells the story and cleans up, whatever happens; ctx's end ends the story, not the cleaning up.
func Run(ctx context.Context, o Options) (result Result, err error) {
	d := &demo{Options: o, stop: make(chan struct{}), ended: make(chan error, 1)}
	defer func() {
		err = errors.Join(err, d.finish(context.WithoutCancel(ctx)))
	}()
	if err := d.prepare(ctx); err != nil {
		return result, err
	}
	err = d.tell(ctx, &result)
	return result, err
}

// prepare makes the repository, the image and the controller.
func (d *demo) prepare(ctx context.Context) error {
	d.engine = d.Engine.Observe(ctx, "demo")
	if !d.engine.Reachable {
		return fmt.Errorf("the Docker Engine at %s doesn't answer: %s; start it (systemctl start docker), or name another with DOCKER_HOST",
			d.Endpoint, d.engine.Problem)
	}
	suffix := make([]byte, 3)
	_, _ = rand.Read(suffix) // never fails
	d.fleet = "demo-" + hex.EncodeToString(suffix)
	d.image = "evenkeel-demo:" + hex.EncodeToString(suffix)
	dir, err := os.MkdirTemp("", "evenkeel-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the demo's repository: %w", err)
	}
	d.dir = dir
	if err := d.loadImage(ctx); err != nil {
		return err
	}
	repo := filepath.Join(dir, "repo")
	if d.repo, err = newRepository(repo); err != nil {
		return err
	}
	_, err = d.repo.commit("Three nodes and a client", map[string]string{
		"fleet.yaml": fleetSpec(d.fleet, d.Endpoint), "shop.yaml": environmentSpec(d.image, greetingOne),
	})
	if err != nil {
		return err
	}
	d.controller, d.closer, err = d.Open(repo)
	return err
}

// loadImage makes an image of this program and loads it: nothing is pulled.
func (d *demo) loadImage(ctx context.Context) error {
	path, err := d.Binary(d.engine.Engine.Arch)
	if err != nil {
		return err
	}
	d.made = true
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeImage(w, path, d.engine.Engine.Arch, d.image)) }() // ends with r
	defer r.Close()
	if err := d.Engine.LoadImage(ctx, r); err != nil {
		return fmt.Errorf("loading the demo's image: %w", err)
	}
	return nil
}

// tell is the story.
func (d *demo) tell(ctx context.Context, r *Result) error {
	d.Say(fmt.Sprintf("fleet %s on Docker %s, its repository in %s", d.fleet, d.engine.Engine.Version, d.repo.dir))
	d.Say("1. the first commit: three web nodes and a client")
	go func() { d.ended <- d.controller.Run(ctx, d.stop) }()
	if err := d.until(ctx, "the three nodes serve", d.settled); err != nil {
		return err
	}
	client, err := d.follow(ctx)
	if err != nil {
		return err
	}
	d.client = client
	if err := d.until(ctx, "the client gets answers", func(reconciler.Status) bool { return d.client.last().Requests > 0 }); err != nil {
		return err
	}
	if err := d.rollOut(ctx, r); err != nil {
		return err
	}
	return d.killOne(ctx, r)
}

// rollOut commits a change and counts the client's requests from before the commit to the rollout's end.
func (d *demo) rollOut(ctx context.Context, r *Result) error {
	before, began := d.client.last(), time.Now()
	if err := pause(ctx, warmUp); err != nil {
		return err
	}
	d.Say("2. the second commit: the nodes change one by one, and the client keeps asking")
	committed := time.Now()
	revision, err := d.repo.commit("Greet otherwise", map[string]string{"shop.yaml": environmentSpec(d.image, greetingTwo)})
	if err != nil {
		return err
	}
	changed := func(s reconciler.Status) bool { return s.Revision == revision && d.settled(s) }
	if err := d.until(ctx, "the rollout has ended", changed); err != nil {
		return err
	}
	r.Rollout = time.Since(committed)
	// What is under way at the end counts too.
	if err := pause(ctx, clientTimeout); err != nil {
		return err
	}
	after := d.client.last()
	r.Requests, r.Failed, r.Error = after.Requests-before.Requests, after.Failed-before.Failed, after.Error
	r.Rate = float64(r.Requests) / time.Since(began).Seconds()
	d.Say(fmt.Sprintf("the rollout took %s: %d requests, %d failed (%.0f a second)", seconds(r.Rollout), r.Requests, r.Failed, r.Rate))
	if after.Greetings[greetingTwo] == 0 {
		return errors.New("the client never met the second commit's greeting: the rollout didn't change what it asked")
	}
	return nil
}

// killOne kills a node behind evenkeel's back and waits until it is healed.
func (d *demo) killOne(ctx context.Context, r *Result) error {
	victim, err := d.victim()
	if err != nil {
		return err
	}
	name := fleet.ContainerName(d.fleet, fleet.NodeID{Environment: environment, Layer: webLayer, Node: victim.Node}, victim.Generation)
	d.Say(fmt.Sprintf("3. docker kill %s: nobody tells evenkeel", name))
	before, killed := d.client.last(), time.Now()
	if err := d.Engine.Kill(ctx, name, killedBySelf); err != nil {
		return err
	}
	out, err := d.client.until(ctx, func(p Report) bool { return !contains(p.Addresses, victim.Address) })
	if err != nil {
		return fmt.Errorf("waiting until the killed node is out of the names: %w", err)
	}
	r.OutAfter = out.Sub(killed)
	d.Say(fmt.Sprintf("node %d was out of the names after %s", victim.Node, seconds(r.OutAfter)))
	healed, err := d.client.until(ctx, func(p Report) bool { return len(p.Addresses) == replicas })
	if err != nil {
		return fmt.Errorf("waiting until the killed node is healed: %w", err)
	}
	r.Healed = healed.Sub(killed)
	if err := d.until(ctx, "all nodes serve again", d.settled); err != nil {
		return err
	}
	r.MetDead = d.client.last().Failed - before.Failed
	d.Say(fmt.Sprintf("it was healed and back in the names after %s", seconds(r.Healed)))
	return nil
}

// victim is the node with the lowest ordinal.
func (d *demo) victim() (reconciler.NodeStatus, error) {
	if l := layerOf(d.controller.Current(), webLayer); l != nil && len(l.Nodes) > 0 && l.Nodes[0].Address != "" {
		return l.Nodes[0], nil
	}
	return reconciler.NodeStatus{}, errors.New("there is no web node to kill")
}

// settled says whether all is as the revision in force says.
func (d *demo) settled(s reconciler.Status) bool {
	web, client := layerOf(s, webLayer), layerOf(s, clientLayer)
	return s.Converged && whole(web, replicas) && whole(client, 1)
}

func whole(l *reconciler.LayerStatus, n int) bool {
	if l == nil || l.Serving != n || len(l.Nodes) != n {
		return false
	}
	for _, node := range l.Nodes {
		if !node.UpToDate || !node.Serving {
			return false
		}
	}
	return true
}

func layerOf(s reconciler.Status, name string) *reconciler.LayerStatus {
	for _, e := range s.Environments {
		for i := range e.Layers {
			if e.Name == environment && e.Layers[i].Name == name {
				return &e.Layers[i]
			}
		}
	}
	return nil
}

// until waits for a condition of the fleet's status.
func (d *demo) until(ctx context.Context, what string, holds func(reconciler.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		status := d.controller.Current()
		if holds(status) {
			return nil
		}
		select {
		case err := <-d.ended:
			d.ended <- err
			return fmt.Errorf("the controller ended before %s: %w", what, errors.Join(err, context.Cause(ctx)))
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("waiting until %s: not within %s: %s", what, patience, state(status))
			}
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// state says in a line how the fleet is.
func state(s reconciler.Status) string {
	parts := append([]string{}, s.Problems...)
	for _, p := range []string{s.Refused, s.Waiting} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	for _, e := range s.Environments {
		for _, l := range e.Layers {
			parts = append(parts, fmt.Sprintf("%s/%s: %d of %d serve", e.Name, l.Name, l.Serving, l.Wanted))
		}
	}
	return strings.Join(parts, "; ")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func contains(list []string, one string) bool {
	for _, s := range list {
		if s == one {
			return true
		}
	}
	return false
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
