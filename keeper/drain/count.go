package drain

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
)

// Counter counts the connections to a node's ports.
type Counter struct {
	Ports   []uint16     // empty: every port that something listens on, or did at an earlier look
	Exclude []netip.Addr // peers that don't count: the keeper's own probes

	// open, in tests, stands in for the kernel.
	open     func(name string) (fs.File, error)
	listened map[uint16]bool
}

// Count looks once. Connections from the node to itself don't count.
func (c *Counter) Count() (int, error) {
	var sockets []Socket
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		err := c.read(name, func(s Socket) {
			if s.State == stateEstablished || s.State == stateListen {
				sockets = append(sockets, s)
			}
		})
		if errors.Is(err, fs.ErrNotExist) && name == "/proc/net/tcp6" {
			continue // without IPv6
		}
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	return c.count(sockets), nil
}

func (c *Counter) read(name string, each func(Socket)) error {
	open := c.open
	if open == nil {
		open = func(name string) (fs.File, error) { return os.Open(name) }
	}
	f, err := open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return Parse(f, each)
}

func (c *Counter) count(sockets []Socket) int {
	ports := c.ports(sockets)
	excluded := make(map[netip.Addr]bool, len(c.Exclude))
	for _, a := range c.Exclude {
		excluded[a.Unmap()] = true
	}
	n := 0
	for _, s := range sockets {
		peer := s.Remote.Addr()
		if s.State == stateEstablished && ports[s.Local.Port()] && !peer.IsLoopback() && !excluded[peer] {
			n++
		}
	}
	return n
}

// ports are those that count: a program that is being drained may have stopped listening already.
func (c *Counter) ports(sockets []Socket) map[uint16]bool {
	if c.listened == nil {
		c.listened = make(map[uint16]bool)
		for _, p := range c.Ports {
			c.listened[p] = true
		}
	}
	if len(c.Ports) == 0 {
		for _, s := range sockets {
			if s.State == stateListen {
				c.listened[s.Local.Port()] = true
			}
		}
	}
	return c.listened
}
