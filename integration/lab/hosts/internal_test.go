package hosts

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMissingProgramsAreNamedWithTheirPackages(t *testing.T) {
	missing := func(names ...string) func(string) (string, error) {
		return func(name string) (string, error) {
			for _, n := range names {
				if n == name {
					return "", exec.ErrNotFound
				}
			}
			return "/usr/bin/" + name, nil
		}
	}
	for _, test := range []struct {
		name    string
		missing []string
		want    []string
	}{
		{"an engine", []string{"dockerd", "docker-init"}, []string{"dockerd (Debian package docker.io)", "docker-init (Debian package docker.io)"}},
		{"the network's", []string{"ip", "iptables"}, []string{"ip (Debian package iproute2)", "iptables (Debian package iptables)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := checkPrograms(missing(test.missing...))
			require.Error(t, err)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	require.NoError(t, checkPrograms(missing()))
}

func TestProgramsAreFoundWithoutSbinInPath(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	path, err := program("dockerd")
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(path, "/dockerd"))
	require.Contains(t, environment()[0], "/usr/sbin")
}

func TestEnvironmentHasNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:3128")
	require.NotContains(t, strings.Join(environment(), " "), "3128")
}

func TestParseMounts(t *testing.T) {
	text := `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
41 31 0:38 / /sys/fs/cgroup/unified rw shared:4 master:1 - cgroup2 cgroup2 rw
50 27 0:4 net:[4026532001] /run/a\040b rw - nsfs nsfs rw
nonsense
`
	require.Equal(t, []mount{
		{"/sys/fs/cgroup", "tmpfs"},
		{"/sys/fs/cgroup/unified", "cgroup2"},
		{"/run/a b", "nsfs"},
	}, parseMounts(text))
}

func TestProcessIsNotALaterOneWithItsNumber(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	p, err := findProcess(cmd.Process.Pid)
	require.NoError(t, err)
	require.True(t, p.alive())

	earlier := process{pid: p.pid, start: p.start - 1}
	require.False(t, earlier.alive())
	require.NoError(t, earlier.end(t.Context(), 9))
	require.True(t, p.alive(), "it was not meant")

	parsed, err := parseProcess(p.String())
	require.NoError(t, err)
	require.Equal(t, p, parsed)
	require.NoError(t, p.end(t.Context(), 9))
	require.False(t, p.alive())
}

// The process's own network must never change, whatever fn does.
func TestNetworkIsEnteredByOneThreadOnly(t *testing.T) {
	own, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	var there string
	err = onThread(func() error {
		there, err = os.Readlink(ownNet)
		return err
	})
	require.NoError(t, err)
	require.Equal(t, own, there)

	failure := errors.New("failure")
	require.ErrorIs(t, onThread(func() error { return failure }), failure)
	require.ErrorIs(t, inNetwork("/proc/0/ns/net", nil), errNoNetwork)
	now, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	require.Equal(t, own, now)
}
