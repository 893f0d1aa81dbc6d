package hosts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are what a lab runs, with the Debian package of each.
var programs = []struct{ name, pkg string }{
	{"dockerd", "docker.io"},
	{"containerd", "containerd (comes with docker.io)"},
	{"docker-init", "docker.io"},
	{"ip", "iproute2"},
	{"iptables", "iptables"},
	{"nsenter", "util-linux"},
	{"setsid", "util-linux"},
	{"sleep", "coreutils"},
}

// checkMachine says all that is missing at once.
func checkMachine() error {
	if os.Geteuid() != 0 {
		return errors.New("Docker hosts need root: they are made of namespaces, mounts and network devices")
	}
	return checkPrograms(program)
}

func checkPrograms(lookPath func(string) (string, error)) error {
	var missing []string
	for _, p := range programs {
		if _, err := lookPath(p.name); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s)", p.name, p.pkg))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("Docker hosts need programs that are not here: %s: install them with apt-get install", strings.Join(missing, ", "))
	}
	return nil
}

// program finds a program also where the caller's PATH has no sbin directory.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range sbin {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

var sbin = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// environment is what the programs get: no proxy settings, which would have an
// engine look for registries outside, and nothing of the test's own.
func environment() []string {
	path := os.Getenv("PATH")
	for _, dir := range sbin {
		if !strings.Contains(":"+path+":", ":"+dir+":") {
			path += ":" + dir
		}
	}
	return []string{"PATH=" + strings.TrimPrefix(path, ":"), "HOME=/root", "LC_ALL=C"}
}

// newCommand is a program of this machine with a clean environment.
func newCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	if path, err := program(name); err == nil {
		name = path
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = environment()
	return cmd
}
