package drain

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// kernel is what the kernel would show, in this machine's byte order.
type kernel struct{ tcp, tcp6 string }

const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func (k kernel) open(name string) (fs.File, error) {
	files := fstest.MapFS{"proc/net/tcp": {Data: []byte(header + k.tcp)}}
	if k.tcp6 != "" {
		files["proc/net/tcp6"] = &fstest.MapFile{Data: []byte(header + k.tcp6)}
	}
	return files.Open(strings.TrimPrefix(name, "/"))
}

func line(local, remote string, state int) string {
	return fmt.Sprintf("   0: %s %s %02X 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100\n", shown(local), shown(remote), state)
}

func shown(text string) string {
	ap := netip.MustParseAddrPort(text)
	raw := ap.Addr().AsSlice()
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	return fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(raw)), ap.Port())
}

func TestCount(t *testing.T) {
	k := kernel{
		tcp: line("0.0.0.0:8080", "0.0.0.0:0", stateListen) +
			line("10.112.2.1:8080", "10.112.2.3:40000", stateEstablished) +
			line("10.112.2.1:8080", "10.112.0.2:40001", stateEstablished) + // the keeper
			line("10.112.2.1:8080", "10.112.2.4:40000", 6) + // TIME_WAIT
			line("127.0.0.1:8080", "127.0.0.1:40002", stateEstablished) +
			line("10.112.2.1:9090", "10.112.2.3:40003", stateEstablished) + // nothing listens there
			line("10.112.2.1:50000", "10.112.2.20:5432", stateEstablished), // its own
		tcp6: line("[::]:9000", "[::]:0", stateListen) +
			line("[::ffff:10.112.2.1]:8080", "[::ffff:10.112.2.5]:40000", stateEstablished) +
			line("[::ffff:10.112.2.1]:8080", "[::ffff:10.112.0.2]:40000", stateEstablished) +
			line("[::1]:9000", "[::1]:40000", stateEstablished) +
			line("[2001:db8::1]:9000", "[2001:db8::2]:40000", stateEstablished),
	}
	for name, c := range map[string]struct {
		ports   []uint16
		exclude string
		want    int
	}{
		"one port":        {[]uint16{8080}, "10.112.0.2", 2},
		"nobody excluded": {[]uint16{8080}, "192.0.2.1", 4},
		"two ports":       {[]uint16{8080, 9090}, "10.112.0.2", 3},
		"all listening":   {nil, "10.112.0.2", 3},
		"none of them":    {[]uint16{1}, "10.112.0.2", 0},
	} {
		t.Run(name, func(t *testing.T) {
			counter := Counter{Ports: c.ports, Exclude: []netip.Addr{netip.MustParseAddr(c.exclude)}, open: k.open}
			n, err := counter.Count()
			require.NoError(t, err)
			require.Equal(t, c.want, n)
		})
	}
}

func TestAPortThatWasListenedOnStillCounts(t *testing.T) {
	established := line("10.112.2.1:8080", "10.112.2.3:40000", stateEstablished)
	k := kernel{tcp: line("0.0.0.0:8080", "0.0.0.0:0", stateListen) + established}
	c := Counter{open: func(name string) (fs.File, error) { return k.open(name) }}
	n, err := c.Count()
	require.NoError(t, err)
	require.Equal(t, 1, n)
	k.tcp = established
	n, err = c.Count()
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestWhatCannotBeReadIsNoZero(t *testing.T) {
	for _, bad := range []string{"x\n", "0: 0100007F:0050\n", "0: 0100007F 0:0 01 x\n", "0: 0100007F:10050 0100007F:0 01\n"} {
		c := Counter{open: kernel{tcp: bad}.open}
		_, err := c.Count()
		require.ErrorContains(t, err, "/proc/net/tcp: line 2", bad)
	}
	c := Counter{open: func(string) (fs.File, error) { return nil, fs.ErrNotExist }}
	_, err := c.Count()
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// The kernel's own table, in a network namespace with addresses that aren't loopback's.
func TestRealConnections(t *testing.T) {
	if os.Getenv("IN_NAMESPACE") == "" {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRealConnections$", "-test.count=1", "-test.v")
		c.Env = append(os.Environ(), "IN_NAMESPACE=1")
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestRealConnections")
		return
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"},
		{"address", "add", "10.112.2.1/32", "dev", "lo"}, {"address", "add", "10.112.2.3/32", "dev", "lo"}} {
		out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	l, err := net.Listen("tcp", ":8080") // both families: connections show up in tcp6
	require.NoError(t, err)
	defer l.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 112, 2, 3)}}
	client, err := d.DialContext(t.Context(), "tcp", "10.112.2.1:8080")
	require.NoError(t, err)
	server, err := l.Accept()
	require.NoError(t, err)
	count := func(exclude ...netip.Addr) int {
		n, err := (&Counter{Exclude: exclude}).Count()
		require.NoError(t, err)
		return n
	}
	require.Equal(t, 1, count())
	require.Zero(t, count(netip.MustParseAddr("10.112.2.3")))
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
	require.Zero(t, count())
}

func FuzzParse(f *testing.F) {
	f.Add(header + line("10.112.2.1:8080", "10.112.2.3:40000", 1))
	f.Add(line("[2001:db8::1]:9000", "[::ffff:10.0.0.1]:40000", 10))
	f.Fuzz(func(t *testing.T, text string) {
		seen := 0
		err := Parse(strings.NewReader(text), func(s Socket) {
			seen++
			require.True(t, s.Local.IsValid())
		})
		if err == nil {
			require.LessOrEqual(t, seen, strings.Count(text, "\n")+1)
		}
	})
}
