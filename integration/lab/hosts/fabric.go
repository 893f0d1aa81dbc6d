package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// createFabric makes the bridge in a network namespace of its own, so that
// neither the FORWARD policy that the machine's own engine sets nor
// bridge-nf-call-iptables reaches its traffic, and joins this process to it.
// The namespace has no name, only a mount point on the lab's disk.
func (s site) createFabric(ctx context.Context) error {
	if err := newNetwork(s.fabric()); err != nil {
		return fmt.Errorf("making the fabric: %w", err)
	}
	err := inNetwork(s.fabric(), func() error {
		for _, name := range []string{"/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/ipv6/conf/all/disable_ipv6"} {
			value := "0"
			if strings.HasSuffix(name, "disable_ipv6") {
				value = "1"
			}
			// Neither file exists on every kernel, and then there is nothing to set.
			if err := os.WriteFile(name, []byte(value), 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return ipBatch(ctx,
			"link set lo up",
			"link add br0 type bridge forward_delay 0 mcast_snooping 0",
			"link set br0 up",
			fmt.Sprintf("link add root type veth peer name %s netns %d", s.link(), os.Getpid()),
			"link set root master br0 up")
	})
	if err != nil {
		return fmt.Errorf("making the fabric: %w", err)
	}
	err = ipBatch(ctx,
		fmt.Sprintf("addr add %s dev %s", prefixed(s.manager()), s.link()),
		fmt.Sprintf("link set %s up", s.link()))
	if err != nil {
		return fmt.Errorf("joining the fabric: %w", err)
	}
	return nil
}

func (s site) removeFabric(ctx context.Context) error {
	if err := deleteLink(ctx, s.link()); err != nil {
		return fmt.Errorf("leaving the fabric: %w", err)
	}
	err := unix.Unmount(s.fabric(), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing the fabric: %w", err)
	}
	return nil
}

// plug connects the namespace of a host's first process to the fabric.
//
// The MAC address is the same each time: with a new one after a power cycle
// all neighbours would hold a stale ARP entry, which is seconds of silence.
// The unreachable route keeps everything inside the lab and makes a pull from
// elsewhere fail at once.
func (s site) plug(ctx context.Context, i, pid int) error {
	err := inNetwork(s.fabric(), func() error {
		return ipBatch(ctx,
			fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %d", hostName(i), s.mac(i), pid),
			fmt.Sprintf("link set %s master br0 up", hostName(i)))
	})
	if err != nil {
		return fmt.Errorf("plugging the cable in: %w", err)
	}
	err = inNetwork(netPath(pid), func() error {
		return ipBatch(ctx,
			"link set lo up",
			"link set eth0 up",
			fmt.Sprintf("addr add %s dev eth0", prefixed(s.host(i))),
			"route add unreachable default")
	})
	if err != nil {
		return fmt.Errorf("giving the host its address: %w", err)
	}
	return nil
}

// unplug removes the cable's end on the fabric, and so both of its ends. Where
// there is none (a host half made, a fabric that is gone), that is fine.
func (s site) unplug(ctx context.Context, i int) error {
	err := inNetwork(s.fabric(), func() error { return deleteLink(ctx, hostName(i)) })
	if err != nil && !errors.Is(err, errNoNetwork) {
		return fmt.Errorf("pulling the cable out: %w", err)
	}
	return nil
}

// deleteLink deletes a link of the present network. That it is gone is fine,
// also when it goes at this very moment, with the namespace of its other end.
func deleteLink(ctx context.Context, name string) error {
	if !linkExists(name) {
		return nil
	}
	err := ipBatch(ctx, "link del "+name)
	if !linkExists(name) {
		return nil
	}
	return err
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// setLink pulls the cable at the fabric's end ("down") or puts it back ("up").
func (s site) setLink(ctx context.Context, i int, state string) error {
	return inNetwork(s.fabric(), func() error {
		return ipBatch(ctx, fmt.Sprintf("link set %s %s", hostName(i), state))
	})
}

// ipBatch runs several commands of ip(8) in one process.
func ipBatch(ctx context.Context, commands ...string) error {
	return run(ctx, strings.Join(commands, "\n")+"\n", "ip", "-batch", "-")
}

// run runs a program of this machine; the error holds what it said.
func run(ctx context.Context, input, name string, args ...string) error {
	cmd := newCommand(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		what := strings.TrimSpace(strings.ReplaceAll(input, "\n", "; "))
		return fmt.Errorf("%s (%s): %w: %s", strings.Join(cmd.Args, " "), what, err, strings.TrimSpace(out.String()))
	}
	return nil
}
