package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// fake is a machine that notes what is done to it.
type fake struct {
	programs map[string]bool
	root     bool
	installs map[string]bool // what `apt-get install` brings
	stale    bool            // apt's lists have to be updated first
	engine   bool
	did      []string
}

func (f *fake) machine() machine {
	return machine{
		has:  func(p string) bool { return f.programs[p] },
		root: f.root,
		run: func(_ context.Context, name string, args ...string) error {
			line := name + " " + strings.Join(args, " ")
			f.did = append(f.did, line)
			switch {
			case strings.HasPrefix(line, "apt-get update"):
				f.stale = false
			case strings.HasPrefix(line, "apt-get install"):
				if f.stale {
					return errors.New("unable to locate package")
				}
				for p := range f.installs {
					f.programs[p] = true
				}
			case line == "service docker start":
				f.engine = true
			}
			return nil
		},
		answers: func(context.Context) error {
			if f.engine {
				return nil
			}
			return errors.New("connection refused")
		},
		say: func(format string, args ...any) { f.did = append(f.did, "say: "+fmt.Sprintf(format, args...)) },
	}
}

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

func TestCheck(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	tests := []struct {
		name   string
		target string
		on     fake
		did    string // all that was done, in its order
		err    string
	}{
		{name: "all there", target: "demo", on: fake{programs: set("dockerd", "iptables"), engine: true}},
		{
			name: "only what is missing is installed", target: "demo",
			on:  fake{programs: set("iptables", "apt-get"), root: true, installs: set("dockerd"), engine: true},
			did: "say: missing on this machine: docker.io; installing through apt|apt-get install --yes --no-install-recommends docker.io",
		},
		{
			name: "a fresh machine's lists are updated", target: "demo",
			on: fake{programs: set("iptables", "apt-get"), root: true, installs: set("dockerd"), stale: true, engine: true},
			did: "say: missing on this machine: docker.io; installing through apt|apt-get install --yes --no-install-recommends docker.io|" +
				"say: not found as apt knows it; updating its lists first|apt-get update|apt-get install --yes --no-install-recommends docker.io",
		},
		{
			name: "nobody but root installs", target: "demo", on: fake{programs: set("apt-get", "iptables")},
			err: "only root may install them: install them, on Debian and Ubuntu with: apt-get install docker.io",
		},
		{
			name: "without apt it says what to install", target: "test", on: fake{programs: set("dockerd", "git", "gcc", "ip"), root: true},
			err: "apt-get install bind9 containerd curl docker.io iptables knot nftables openssh-client openssh-server util-linux",
		},
		{
			name: "an engine that doesn't run is started", target: "demo", on: fake{programs: set("dockerd", "iptables", "service"), root: true},
			did: "say: no Docker Engine answers; starting it: service docker start|service docker start",
		},
		{
			name: "an engine that can't be started is said", target: "demo", on: fake{programs: set("dockerd", "iptables"), root: true},
			err: "none could be started",
		},
		{name: "tests start engines of their own", target: "test", on: fake{
			programs: set("gcc", "git", "dockerd", "containerd", "docker-init", "ip", "iptables", "nft", "nsenter", "setsid", "sshd", "named", "knotd", "ssh", "ssh-keyscan", "curl"),
		}},
		{
			name: "servers are installed and not started", target: "test",
			on: fake{programs: set("gcc", "git", "dockerd", "containerd", "docker-init", "ip", "iptables", "nft", "nsenter", "setsid", "ssh", "ssh-keyscan", "curl", "apt-get", "systemctl"),
				root: true, installs: set("sshd", "named", "knotd")},
			did: "say: missing on this machine: bind9 knot openssh-server; installing through apt|systemctl mask named.service|" +
				"say: the service named.service stays masked; wanted otherwise: systemctl unmask named.service|systemctl mask knot.service|" +
				"say: the service knot.service stays masked; wanted otherwise: systemctl unmask knot.service|systemctl mask ssh.service|" +
				"say: the service ssh.service stays masked; wanted otherwise: systemctl unmask ssh.service|" +
				"apt-get install --yes --no-install-recommends bind9 knot openssh-server",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := check(t.Context(), tt.target, tt.on.machine())
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("got %v, want %q", err, tt.err)
			}
			if did := strings.Join(tt.on.did, "|"); tt.err == "" && did != tt.did {
				t.Fatalf("did %s\nwant %s", did, tt.did)
			}
		})
	}
}
