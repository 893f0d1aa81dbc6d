package rfc2136

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// TestMarksAreReadBack as they were written, through the wire.
func TestMarksAreReadBack(t *testing.T) {
	label := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`)
	name := func(t *rapid.T, at string) string {
		return strings.Join(rapid.SliceOfN(label, 1, 8).Draw(t, at), ".") + ".example"
	}
	rapid.Check(t, func(t *rapid.T) {
		r := fleet.DNSRecord{Name: name(t, "name"), TTL: time.Minute, Owner: fleet.DNSOwner(label.Draw(t, "fleet"), label.Draw(t, "environment"))}
		switch r.Type = rapid.SampledFrom(kinds).Draw(t, "type"); r.Type {
		case fleet.TypeA:
			r.Content = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))).String()
		case fleet.TypeAAAA:
			r.Content = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))).String()
		case fleet.TypeCNAME:
			r.Content = name(t, "target")
		case fleet.TypeSRV:
			r.Content = "1 65535 8080 " + name(t, "target")
		}
		made, err := toRR(r, 60)
		require.NoError(t, err)
		want := r
		want.ID, want.Owner = fromRR(made).ID, ""
		require.Equal(t, want, fromRR(throughTheWire(t, made)))
		m, ok := parseMark(throughTheWire(t, newMark(r, 300)))
		require.True(t, ok)
		require.True(t, m.is(r.Type, r.Content))
		require.Equal(t, []string{r.Name, r.Owner}, []string{m.name, m.owner})
	})
}

func throughTheWire(t require.TestingT, rr dns.RR) dns.RR {
	packed := make([]byte, 1<<12)
	n, err := dns.PackRR(rr, packed, 0, nil, false)
	require.NoError(t, err)
	got, _, err := dns.UnpackRR(packed[:n], 0)
	require.NoError(t, err)
	return got
}

func TestWhatIsNoMark(t *testing.T) {
	for _, line := range []string{
		`_evenkeel.www.example. 60 TXT "evenkeel:production/shop"`,
		`_evenkeel.www.example. 60 TXT "evenkeel:production/shop A 203.0.113.1"`,
		`_evenkeel.www.example. 60 TXT "evenkeel:production" "A 203.0.113.1"`,
		`_evenkeel.www.example. 60 TXT "evenkeel:production/shop!" "A 203.0.113.1"`,
		`_evenkeel.www.example. 60 TXT "evenkeel:production/shop" "TXT x"`,
		`_evenkeel.www.example. 60 TXT "evenkeel:production/shop" "A"`,
		`www.example. 60 TXT "evenkeel:production/shop" "A 203.0.113.1"`,
		`_evenkeel.www.example. 60 SPF "evenkeel:production/shop" "A 203.0.113.1"`,
	} {
		rr, err := dns.NewRR(line)
		require.NoError(t, err)
		_, ok := parseMark(rr)
		require.False(t, ok, line)
	}
}

// FuzzPackets: whatever a server sends is read, or is an error.
func FuzzPackets(f *testing.F) {
	for _, line := range []string{`_evenkeel.www.example. 60 TXT "evenkeel:production/shop" "A 203.0.113.1"`, "www.example. 60 SRV 1 2 3 .", "example. 60 SOA ns. a. 1 1 1 1 1"} {
		rr, err := dns.NewRR(line)
		require.NoError(f, err)
		m := &dns.Msg{Answer: []dns.RR{rr}}
		packed, err := m.Pack()
		require.NoError(f, err)
		f.Add(packed)
	}
	z := New(Config{Zone: "example", Server: "127.0.0.1"})
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(dns.Msg)
		if m.Unpack(packet) != nil {
			return
		}
		var sent transferred
		_ = sent.take("example", m.Answer) // it may be wrong
		for _, r := range z.listed(m.Answer) {
			require.NotEmpty(t, r.ID)
			_, _ = toRR(r, 60) // nor can all be written
		}
	})
}
