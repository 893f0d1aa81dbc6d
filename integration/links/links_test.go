// Package links tries keeper/links on real devices, in network namespaces of its own.
package links

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/evenkeel/evenkeel/keeper/links"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// space is a network namespace.
type space struct {
	t    *testing.T
	name string
	ns   netns.NsHandle
}

// newSpace makes a namespace without a name: it is gone with the process, however that ends.
func newSpace(t *testing.T, name string) *space {
	t.Helper()
	s := &space{t: t, name: name}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ns, err := netns.New()
		s.ns = ns
		done <- err
	}()
	require.NoError(t, <-done)
	t.Cleanup(func() { _ = s.ns.Close() })
	s.run("ip link set lo up")
	return s
}

// in runs a function in the namespace.
func (s *space) in(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as above
		if err := netns.Set(s.ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// run runs a command in the namespace.
func (s *space) run(command string) string {
	s.t.Helper()
	var out []byte
	err := s.in(func() (err error) {
		out, err = exec.Command("/bin/sh", "-c", command).CombinedOutput() //nolint:gosec // of the tests
		return err
	})
	require.NoError(s.t, err, "%s in %s: %s", command, s.name, out)
	return string(out)
}

// wire joins two namespaces by a pair of devices, which are up.
func wire(t *testing.T, a *space, as string, b *space, bs string) {
	t.Helper()
	h, err := netlink.NewHandleAt(a.ns)
	require.NoError(t, err)
	defer h.Close()
	require.NoError(t, h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: as}, PeerName: bs, PeerNamespace: netlink.NsFd(b.ns)}))
	a.run("ip link set " + as + " up")
	b.run("ip link set " + bs + " up")
}

// machine is a host on a network with others, with a bridge for one environment, and a node on it.
type machine struct {
	*space
	address netip.Addr
	node    *space
	inner   netip.Addr // the node's
}

const bridge = "ekb-shop"

// machines are three hosts on one network.
func machines(t *testing.T) (all []*machine) {
	t.Helper()
	between := newSpace(t, "between")
	between.run("ip link add br0 type bridge && ip link set br0 up")
	for i := 1; i <= 3; i++ {
		m := &machine{
			space: newSpace(t, fmt.Sprintf("h%d", i)), node: newSpace(t, fmt.Sprintf("n%d", i)),
			address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), inner: netip.AddrFrom4([4]byte{10, 112, 2, byte(i)}),
		}
		wire(t, between, fmt.Sprintf("h%d", i), m.space, "eth0")
		between.run(fmt.Sprintf("ip link set h%d master br0", i))
		m.run(fmt.Sprintf("ip addr add %s/24 dev eth0", m.address))
		m.bridge()
		wire(t, m.space, "node", m.node, "eth0")
		m.run("ip link set node master " + bridge)
		m.node.run(fmt.Sprintf("ip link set eth0 mtu 1450 && ip addr add %s/22 dev eth0", m.inner))
		all = append(all, m)
	}
	return all
}

func (m *machine) bridge() {
	m.t.Helper()
	m.run("ip link add " + bridge + " type bridge && ip link set " + bridge + " mtu 1450 up")
}

// wanted is what a machine is to be joined to.
func (m *machine) wanted(to ...*machine) *fleet.Links {
	l := &fleet.Links{Fleet: "f", Local: m.address, Port: 4790, Networks: []fleet.Link{{
		Environment: "shop", Bridge: bridge, ID: fleet.VXLANID(netip.MustParsePrefix("10.112.0.0/22")), MTU: 1450,
	}}}
	for _, p := range to {
		l.Hosts = append(l.Hosts, p.address)
		l.Networks[0].Peers = append(l.Networks[0].Peers, p.address)
	}
	return l
}

// apply returns what was changed.
func (m *machine) apply(want *fleet.Links) []string {
	m.t.Helper()
	var changed []string
	require.NoError(m.t, m.in(func() (err error) {
		r, err := links.Apply(want)
		changed = r.Changed
		return err
	}))
	return changed
}

// sent says whether a text comes from one machine's node to another's.
func sent(from, to *machine, text []byte) error {
	from.node.run("ip neigh flush dev eth0") // a kernel remembers for a while that nobody answered
	var l net.Listener
	err := to.node.in(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(to.inner, 0).String())
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		all, _ := io.ReadAll(c)
		got <- all
	}()
	return from.node.in(func() error {
		c, err := net.DialTimeout("tcp4", l.Addr().String(), 2*time.Second)
		if err != nil {
			return err
		}
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		if _, err := c.Write(text); err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
		select {
		case all := <-got:
			if !bytes.Equal(all, text) {
				return fmt.Errorf("%d bytes came of %d", len(all), len(text))
			}
			return nil
		case <-time.After(10 * time.Second):
			return fmt.Errorf("they didn't come")
		}
	})
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func TestNodesOfTwoHostsReachEachOther(t *testing.T) {
	all := machines(t)
	h1, h2 := all[0], all[1]
	require.Error(t, sent(h1, h2, []byte("x")))
	require.NotEmpty(t, h1.apply(h1.wanted(h2)))
	require.NotEmpty(t, h2.apply(h2.wanted(h1)))
	require.NoError(t, sent(h1, h2, random(1<<20)))
	require.NoError(t, sent(h2, h1, random(1<<20)))
	require.Empty(t, h1.apply(h1.wanted(h2)), "there is nothing left to do")
	require.Empty(t, h2.apply(h2.wanted(h1)))
}

// TestPacketsOfAFullSizePass where a network was made before its hosts were joined: senders are told what passes, and send
// them in two pieces.
func TestPacketsOfAFullSizePass(t *testing.T) {
	all := machines(t)
	h1, h2 := all[0], all[1]
	for i, m := range []*machine{h1, h2} {
		m.run("ip link set node mtu 1500 && ip link set " + bridge + " mtu 1500")
		m.node.run("ip link set eth0 mtu 1500")
		wanted := m.wanted([]*machine{h2, h1}[i])
		wanted.Networks[0].MTU = 1500
		require.NotEmpty(t, m.apply(wanted))
	}
	require.NoError(t, sent(h1, h2, random(1<<20)))
	require.NoError(t, datagram(h1, h2, 1472))
	err := datagram(h2, h1, 1472)
	if errors.Is(err, os.ErrDeadlineExceeded) { // the first was lost: its sender was told what passes
		err = datagram(h2, h1, 1472)
	}
	require.NoError(t, err)
}

// datagram sends one packet to another machine's node.
func datagram(from, to *machine, size int) error {
	var l net.PacketConn
	err := to.node.in(func() (err error) {
		l, err = net.ListenPacket("udp4", netip.AddrPortFrom(to.inner, 0).String())
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	err = from.node.in(func() error {
		c, err := net.Dial("udp4", l.LocalAddr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(random(size))
		return err
	})
	if err != nil {
		return err
	}
	if err := l.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	n, _, err := l.ReadFrom(make([]byte, 2*size))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came of %d", n, size)
	}
	return err
}

// TestFramesOfOthersAreNotTaken: a machine that isn't the fleet's sends frames of its network.
func TestFramesOfOthersAreNotTaken(t *testing.T) {
	all := machines(t)
	h1, h2, intruder := all[0], all[1], all[2]
	h1.apply(h1.wanted(h2))
	h2.apply(h2.wanted(h1))
	intruder.apply(intruder.wanted(h1, h2))
	// h2 would answer it: it leads there, but for the frames that it doesn't take.
	h2.run(fmt.Sprintf("bridge fdb append 00:00:00:00:00:00 dev $(ip -o link show type vxlan | cut -d: -f2) dst %s self permanent", intruder.address))
	require.Error(t, sent(intruder, h2, []byte("let me in")))
	require.NoError(t, sent(h1, h2, random(1<<10)))

	h2.apply(h2.wanted(h1, intruder))
	require.NoError(t, sent(intruder, h2, random(1<<10)), "as soon as it is one of the fleet's it is let in")
	h2.apply(h2.wanted(h1))
	require.Error(t, sent(intruder, h2, []byte("let me in")), "and no longer once it isn't")
	require.NoError(t, sent(h1, h2, random(1<<10)))
}

// TestContainersOfHostsSendNoFrames: what leaves a host for one of its containers has the host's own address, but not yet
// where it is looked at.
func TestContainersOfHostsSendNoFrames(t *testing.T) {
	all := machines(t)
	h1, h2 := all[0], all[1]
	h2.apply(h2.wanted(h1))
	other := newSpace(t, "other")
	wire(t, h1.space, "other", other, "eth0")
	h1.run("ip addr add 10.9.9.1/24 dev other && sysctl -qw net.ipv4.ip_forward=1")
	h1.run("nft add table ip nat && nft 'add chain ip nat post { type nat hook postrouting priority 100; }' && nft add rule ip nat post ip saddr 10.9.9.0/24 masquerade")
	other.run("ip addr add 10.9.9.2/24 dev eth0 && ip route add default via 10.9.9.1")
	// It has a device of its own on the network, which leads to h2 through h1.
	other.run(fmt.Sprintf("ip link add forged type vxlan id %d dstport 4790 local 10.9.9.2 && ip link set forged up mtu 1400 && ip addr add 10.112.2.66/22 dev forged && "+
		"bridge fdb append 00:00:00:00:00:00 dev forged dst %s self permanent", h2.wanted(h1).Networks[0].ID, h2.address))
	mac := strings.TrimSpace(h2.node.run("ip -o link show eth0 | sed 's/.*ether //; s/ .*//'"))
	other.run(fmt.Sprintf("ip neigh replace %s lladdr %s dev forged", h2.inner, mac))
	forge := &machine{space: h1.space, node: other}
	require.NoError(t, datagram(forge, h2, 100), "without the rules on h1 it gets there")
	h1.apply(h1.wanted(h2))
	require.ErrorIs(t, datagram(forge, h2, 100), os.ErrDeadlineExceeded)
	require.NoError(t, sent(h1, h2, random(1<<10)))
}

// TestManyNetworks: as many as Check lets pass.
func TestManyNetworks(t *testing.T) {
	h1 := machines(t)[0]
	want := h1.wanted()
	want.Networks = nil
	for i := range 1024 {
		want.Networks = append(want.Networks, fleet.Link{Environment: fmt.Sprintf("e%d", i), Bridge: fmt.Sprintf("ekb%d", i), ID: uint32(i + 1), MTU: 1450})
	}
	require.NotEmpty(t, h1.apply(want))
	require.Empty(t, h1.apply(want))
	require.Equal(t, 2048, strings.Count(h1.run("nft list table ip evenkeel-f"), "drop"))
}

// TestWhatIsNotTheHostsOwnAddressIsSaid, since nothing would be sent from it.
func TestWhatIsNotTheHostsOwnAddressIsSaid(t *testing.T) {
	all := machines(t)
	want := all[0].wanted(all[1])
	want.Local = netip.MustParseAddr("203.0.113.7")
	err := all[0].in(func() error {
		_, err := links.Apply(want)
		return err
	})
	require.ErrorContains(t, err, "none of the host's devices has its address 203.0.113.7")
}

// TestWhatSomebodyTookApartIsPutTogether, each in its own way.
func TestWhatSomebodyTookApartIsPutTogether(t *testing.T) {
	all := machines(t)
	h1, h2 := all[0], all[1]
	h1.apply(h1.wanted(h2))
	h2.apply(h2.wanted(h1))
	const device = "$(ip -o link show type vxlan | cut -d: -f2)"
	for name, command := range map[string]string{
		"the device is gone":            "ip link del " + device,
		"it is down":                    "ip link set " + device + " down",
		"it is off the bridge":          "ip link set " + device + " nomaster",
		"its MTU is another":            "ip link set " + device + " mtu 1200",
		"it leads nowhere":              "bridge fdb del 00:00:00:00:00:00 dev " + device + " dst " + h2.address.String() + " self",
		"it leads elsewhere too":        "bridge fdb append 00:00:00:00:00:00 dev " + device + " dst 192.0.2.77 self permanent",
		"the bridge was made anew":      "ip link del " + bridge + " && ip link add " + bridge + " type bridge && ip link set " + bridge + " mtu 1450 up && ip link set node master " + bridge,
		"the rules are gone":            "nft delete table ip evenkeel-f",
		"a rule is gone":                "nft flush chain ip evenkeel-f frames",
		"another host may send":         "nft add element ip evenkeel-f hosts '{ 192.0.2.77 }'",
		"a host of the fleet may not":   "nft delete element ip evenkeel-f hosts '{ " + h2.address.String() + " }'",
		"it has another identifier now": "ip link del " + device + " && ip link add ekv$(printf 'evenkeel:f/shop' | sha256sum | cut -c1-10) type vxlan id 99 dstport 4790 local " + h1.address.String(),
	} {
		t.Run(name, func(t *testing.T) {
			h1.run(command)
			require.NotEmpty(t, h1.apply(h1.wanted(h2)))
			require.Empty(t, h1.apply(h1.wanted(h2)))
			require.NoError(t, sent(h1, h2, random(1<<10)))
		})
	}
}

func TestABridgeThatIsNotThereIsWaitedFor(t *testing.T) {
	all := machines(t)
	h1, h2 := all[0], all[1]
	h2.apply(h2.wanted(h1))
	h1.run("ip link del " + bridge)
	require.NoError(t, h1.in(func() error {
		r, err := links.Apply(h1.wanted(h2))
		require.Equal(t, []string{"shop"}, r.Waiting)
		require.Equal(t, 1500, r.MTU, "what its own link carries")
		return err
	}))
	h1.bridge()
	h1.run("ip link set node master " + bridge)
	require.NotEmpty(t, h1.apply(h1.wanted(h2)))
	require.NoError(t, sent(h1, h2, random(1<<10)))
}

// TestWhatIsNotOursStays: devices and rules of others, and of another fleet.
func TestWhatIsNotOursStays(t *testing.T) {
	all := machines(t)
	h1, h2 := all[0], all[1]
	h1.run("ip link add theirs type vxlan id 7 dstport 8472 local 192.0.2.1 && ip link add ekb-blog type bridge && nft add table ip theirs && nft add chain ip theirs c")
	other := h1.wanted(h2)
	other.Fleet, other.Networks[0].Bridge, other.Networks[0].ID = "g", "ekb-blog", 8
	h1.apply(other)
	before := h1.run("ip -o link show type vxlan | sort; nft list table ip theirs; nft list table ip evenkeel-g")
	h1.apply(h1.wanted(h2))
	none := h1.wanted(h2)
	none.Networks = nil
	require.Equal(t, []string{deviceOf(h1) + " is removed", "whose frames are taken"}, h1.apply(none))
	require.NotContains(t, h1.run("nft list tables"), "evenkeel-f", "nor are there rules left")
	require.Empty(t, h1.apply(none))
	require.Empty(t, h1.apply(&fleet.Links{Fleet: "f"}))
	require.Equal(t, before, h1.run("ip -o link show type vxlan | sort; nft list table ip theirs; nft list table ip evenkeel-g"))

	// One that has our identifier is no reason to touch it: it is said.
	h1.run("ip link set theirs down && ip link del theirs && ip link add theirs type vxlan id 165888 dstport 4790 local 192.0.2.1")
	wanted := h1.wanted(h2)
	require.Equal(t, uint32(10<<14|112<<6), wanted.Networks[0].ID)
	wanted.Networks[0].ID = 165888
	err := h1.in(func() error {
		_, err := links.Apply(wanted)
		return err
	})
	require.ErrorContains(t, err, "joining environment shop: another device of the host has VXLAN identifier 165888 on UDP port 4790")
	require.Contains(t, h1.run("ip -d link show theirs"), "id 165888")
}

// deviceOf is the name of the device of fleet f.
func deviceOf(m *machine) string {
	m.t.Helper()
	for line := range strings.Lines(m.run("ip -o link show type vxlan")) {
		if strings.Contains(line, "evenkeel:f/") {
			return strings.TrimSpace(strings.Split(line, ":")[1])
		}
	}
	require.Fail(m.t, "there is none")
	return ""
}

// TestServeHasTheLinksBack, when somebody takes them apart and when the host was off, without having been told anew.
func TestServeHasTheLinksBack(t *testing.T) {
	all := machines(t)
	h1, h2 := all[0], all[1]
	h2.apply(h2.wanted(h1))
	dir := t.TempDir()
	serve := func() (end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- h1.in(func() error { return links.Serve(ctx, dir, slog.New(slog.DiscardHandler)) })
		}()
		return func() {
			cancel()
			require.NoError(t, <-ended)
		}
	}
	back := func(why string) {
		t.Helper()
		require.Eventually(t, func() bool { return sent(h1, h2, random(1<<10)) == nil }, 20*time.Second, 100*time.Millisecond, why)
	}
	end := serve()
	require.NoError(t, h1.in(func() error {
		r, err := links.Set(dir, h1.wanted(h2))
		require.Empty(t, r.Problem)
		require.NotEmpty(t, r.Changed)
		return err
	}))
	require.NoError(t, sent(h1, h2, random(1<<10)), "it is joined at once")
	h1.run("ip link del " + deviceOf(h1))
	back("it is seen to")
	end()

	// As after a power cut: nothing is left but what is on the disk, and bridges come later.
	h1.run("ip link del " + deviceOf(h1) + " && ip link del " + bridge + " && nft delete table ip evenkeel-f")
	end = serve()
	defer end()
	h1.bridge()
	h1.run("ip link set node master " + bridge)
	back("it is there again")

	bad := h1.wanted(h2)
	bad.Networks[0].MTU = 0
	_, err := links.Set(dir, bad)
	require.ErrorContains(t, err, "an MTU of 0")
	kept, err := links.Wanted(dir)
	require.NoError(t, err)
	require.Equal(t, h1.wanted(h2), kept, "what is refused changes nothing")
}
