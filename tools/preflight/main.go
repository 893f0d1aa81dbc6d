// Command preflight sees to it that this machine has what `make demo` and `make test` need: programs,
// and for the demo an engine that runs. What is missing it installs through apt, and says so; where it
// can't, it says exactly what to install. It needs nothing but Go.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// requirement is a program and the Debian package that has it.
type requirement struct{ program, debian string }

// requirements are what each make target needs, beside Go and make.
var requirements = map[string][]requirement{
	"demo": {{"dockerd", "docker.io"}, {"iptables", "iptables"}},
	"test": {
		{"gcc", "gcc libc6-dev"}, // the race detector
		{"git", "git"},
		{"dockerd", "docker.io"}, {"containerd", "containerd"}, {"docker-init", "docker.io"},
		{"ip", "iproute2"}, {"iptables", "iptables"}, {"nft", "nftables"}, {"nsenter", "util-linux"}, {"setsid", "util-linux"},
		{"sshd", "openssh-server"},            // for hosts of the lab
		{"named", "bind9"}, {"knotd", "knot"}, // real name servers
		// What docs/getting-started.md has people type.
		{"ssh", "openssh-client"}, {"ssh-keyscan", "openssh-client"}, {"curl", "curl"},
	},
}

// machine is what preflight asks of and does to a machine.
type machine struct {
	has     func(program string) bool
	root    bool
	run     func(ctx context.Context, name string, args ...string) error
	answers func(ctx context.Context) error // the engine's
	say     func(format string, args ...any)
	pause   time.Duration
}

func main() {
	if len(os.Args) != 2 || requirements[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: preflight demo|test")
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	if err := check(ctx, os.Args[1], thisMachine()); err != nil {
		fmt.Fprintln(os.Stderr, "preflight: "+err.Error())
		cancel()
		os.Exit(1)
	}
}

func check(ctx context.Context, target string, m machine) error {
	if packages := missing(target, m.has); len(packages) > 0 {
		if err := install(ctx, packages, m); err != nil {
			return err
		}
		if still := missing(target, m.has); len(still) > 0 {
			return fmt.Errorf("apt has installed %s, and yet something of it is missing", strings.Join(still, " "))
		}
	}
	if target == "demo" {
		return startEngine(ctx, m)
	}
	return nil
}

// missing returns the packages whose program is missing.
func missing(target string, has func(string) bool) []string {
	var packages []string
	for _, r := range requirements[target] {
		if !has(r.program) {
			packages = append(packages, strings.Fields(r.debian)...)
		}
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

func install(ctx context.Context, packages []string, m machine) error {
	list := strings.Join(packages, " ")
	byHand := fmt.Sprintf("install them, on Debian and Ubuntu with: apt-get install %s", list)
	switch {
	case !m.has("apt-get"):
		return fmt.Errorf("missing on this machine: %s (as Debian calls them), and there is no apt-get: %s", list, byHand)
	case !m.root:
		return fmt.Errorf("missing on this machine: %s, and only root may install them: %s", list, byHand)
	}
	m.say("missing on this machine: %s; installing through apt", list)
	mask(ctx, packages, m)
	arguments := append([]string{"install", "--yes", "--no-install-recommends"}, packages...)
	if err := m.run(ctx, "apt-get", arguments...); err == nil {
		return nil
	}
	m.say("not found as apt knows it; updating its lists first")
	if err := m.run(ctx, "apt-get", "update"); err != nil {
		return fmt.Errorf("updating apt's lists: %w; %s", err, byHand)
	}
	if err := m.run(ctx, "apt-get", arguments...); err != nil {
		return fmt.Errorf("installing %s: %w; %s", list, err, byHand)
	}
	return nil
}

// services are those of packages of which only the programs are wanted: this machine is not to be opened to logins, nor
// to answer for names.
var services = map[string]string{"openssh-server": "ssh.service", "bind9": "named.service", "knot": "knot.service"}

// mask keeps the services of packages from being started.
func mask(ctx context.Context, packages []string, m machine) {
	for _, p := range packages {
		unit := services[p]
		if unit == "" || !m.has("systemctl") {
			continue
		}
		if err := m.run(ctx, "systemctl", "mask", unit); err == nil {
			m.say("the service %s stays masked; wanted otherwise: systemctl unmask %s", unit, unit)
		}
	}
}

// startEngine starts the local engine where none answers. An engine elsewhere (DOCKER_HOST) is its owner's.
func startEngine(ctx context.Context, m machine) error {
	problem := m.answers(ctx)
	if problem == nil {
		return nil
	}
	if os.Getenv("DOCKER_HOST") != "" {
		return fmt.Errorf("no Docker Engine answers at DOCKER_HOST=%s: %w; start it, or unset DOCKER_HOST", os.Getenv("DOCKER_HOST"), problem)
	}
	if !m.root {
		return fmt.Errorf("no Docker Engine answers: %w; start it (sudo systemctl start docker), and be root or in the group docker", problem)
	}
	for _, way := range [][]string{{"systemctl", "start", "docker"}, {"service", "docker", "start"}} {
		if !m.has(way[0]) {
			continue
		}
		m.say("no Docker Engine answers; starting it: %s", strings.Join(way, " "))
		if err := m.run(ctx, way[0], way[1:]...); err == nil && awaitEngine(ctx, m) {
			return nil
		}
	}
	return fmt.Errorf("no Docker Engine answers (%w), and none could be started; start one, for example: dockerd &", m.answers(ctx))
}

func awaitEngine(ctx context.Context, m machine) bool {
	for range 50 {
		if m.answers(ctx) == nil {
			return true
		}
		time.Sleep(m.pause)
	}
	return false
}

func thisMachine() machine {
	return machine{
		has:  func(program string) bool { return find(program) != "" },
		root: os.Geteuid() == 0,
		run: func(ctx context.Context, name string, args ...string) error {
			c := exec.CommandContext(ctx, find(name), args...)
			c.Stdout, c.Stderr = os.Stderr, os.Stderr
			c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1") // at which services aren't started
			return c.Run()
		},
		answers: ping,
		say:     func(format string, args ...any) { fmt.Fprintf(os.Stderr, "preflight: "+format+"\n", args...) },
		pause:   200 * time.Millisecond,
	}
}

// find looks for a program, also where only root's PATH does.
func find(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	return ""
}

// ping asks the local engine whether it is there.
func ping(ctx context.Context) error {
	network, address := "unix", "/var/run/docker.sock"
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		var ok bool
		if network, address, ok = strings.Cut(host, "://"); !ok || network != "unix" && network != "tcp" {
			return errors.New("the demo can use unix:// and tcp:// only")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", response.Status)
	}
	return nil
}
