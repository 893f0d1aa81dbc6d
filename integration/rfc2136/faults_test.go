package rfc2136_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/rfc2136"
	"github.com/evenkeel/evenkeel/integration/lab/nameserver"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// through runs a test at a server of each kind that is reached by a proxy.
func through(t *testing.T, test func(t *testing.T, s *nameserver.Server, p *nameserver.Proxy, z *rfc2136.Zone)) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		p := nameserver.NewProxy(t, s)
		test(t, s, p, zoneAt(s, nameserver.Full, p.Address))
	})
}

// writes has the first write have another fate than all other messages, after something was done.
func writes(fate nameserver.Fate, before func()) func(m *dns.Msg) nameserver.Fate {
	var once sync.Once
	return func(m *dns.Msg) nameserver.Fate {
		is := nameserver.Passes
		if nameserver.IsWrite(m) {
			once.Do(func() {
				is = fate
				before()
			})
		}
		return is
	}
}

func nothing() {}

func TestAServerThatIsDown(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		z := newZone(s, nameserver.Full)
		require.NoError(t, z.Create(t.Context(), ours("203.0.113.1")))
		s.Stop()
		for call, err := range calls(t.Context(), z) {
			require.ErrorIs(t, err, fleet.ErrUnreachable, call)
			require.ErrorContains(t, err, "nobody answers there (connection refused)", call)
		}
		s.Resume()
		require.Len(t, read(t, z), 1)
	})
}

func TestAServerThatHangs(t *testing.T) {
	t.Parallel()
	through(t, func(t *testing.T, s *nameserver.Server, p *nameserver.Proxy, z *rfc2136.Zone) {
		t.Parallel()
		p.Decide(func(*dns.Msg) nameserver.Fate { return nameserver.Hangs })
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := z.Records(ctx)
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, stop)
		require.ErrorIs(t, z.Create(ctx, ours("203.0.113.1")), context.Canceled)
		require.Less(t, time.Since(begun), 5*time.Second)
		begun = time.Now()
		_, err = z.Records(t.Context())
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.EqualError(t, err, "reading the records in the zone corp.example at "+p.Address+": no answer within 10s")
		require.Less(t, time.Since(begun), 15*time.Second)
		require.Len(t, s.Records(zoneName), 1, "its NS")
	})
}

// TestATransferThatIsCut is no shorter list, wherever it is.
func TestATransferThatIsCut(t *testing.T) {
	through(t, func(t *testing.T, s *nameserver.Server, p *nameserver.Proxy, z *rfc2136.Zone) {
		var lines []string
		for i := range 3000 {
			lines = append(lines, fmt.Sprintf("host%d 60 IN TXT %q", i, fmt.Sprintf("%064d", i)))
			if len(lines) == 300 {
				s.Change(zoneName, lines...)
				lines = nil
			}
		}
		require.Len(t, read(t, z), 3000)
		size := 0
		for at := 0; ; at = at*2 + 1000 {
			p.Decide(func(*dns.Msg) nameserver.Fate { return nameserver.Fate{Answer: at} })
			records, err := z.Records(t.Context())
			if err == nil {
				require.Len(t, records, 3000)
				break
			}
			size = at
			require.ErrorIs(t, err, fleet.ErrUnreachable, at)
			require.Empty(t, records)
		}
		require.Greater(t, size, 1<<16, "it takes several messages")
	})
}

// TestLostReplies: what was carried out is found out, and done once.
func TestLostReplies(t *testing.T) {
	through(t, func(t *testing.T, s *nameserver.Server, p *nameserver.Proxy, z *rfc2136.Zone) {
		s.Change(zoneName, "www 60 IN A 203.0.113.2")
		was, is := ours("203.0.113.1"), ours("203.0.113.1")
		is.Owner = "production/blog"
		for _, step := range []struct {
			name string
			call func() error
			left int
		}{
			{"create", func() error { return z.Create(t.Context(), was) }, 2},
			{"update", func() error { return z.Update(t.Context(), was, is) }, 2},
			{"delete", func() error { return z.Delete(t.Context(), is) }, 1},
		} {
			before := s.Records(zoneName)
			p.Decide(writes(nameserver.Drops, nothing))
			err := step.call()
			require.ErrorIs(t, err, fleet.ErrUnreachable, step.name)
			require.ErrorContains(t, err, "hung up without an answer")
			require.Equal(t, 1, p.Writes(), "it isn't sent again")
			require.Equal(t, before, s.Records(zoneName))

			p.Decide(writes(nameserver.Lost, nothing))
			require.NoError(t, step.call(), step.name)
			require.Equal(t, 1, p.Writes())
			require.Len(t, read(t, z), step.left)
		}
		require.Len(t, s.Records(zoneName), 2, "others' record and the zone's NS")

		p.Decide(writes(nameserver.Lost, func() {
			p.Decide(func(*dns.Msg) nameserver.Fate { return nameserver.Drops })
		}))
		err := z.Create(t.Context(), was)
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.ErrorContains(t, err, "what became of it isn't known")
	})
}

// TestOthersComeBetween: what was read isn't there any more when the update arrives.
func TestOthersComeBetween(t *testing.T) {
	through(t, func(t *testing.T, s *nameserver.Server, p *nameserver.Proxy, z *rfc2136.Zone) {
		p.Decide(writes(nameserver.Passes, func() { s.Change(zoneName, "www 3600 IN A 203.0.113.9") }))
		require.ErrorIs(t, z.Create(t.Context(), ours("203.0.113.1")), fleet.ErrAltered, "theirs keeps its TTL")
		require.Equal(t, 2, p.Writes())
		require.Contains(t, s.Records(zoneName), "www.corp.example. 3600 IN A 203.0.113.9")
		require.Contains(t, s.Records(zoneName), "www.corp.example. 3600 IN A 203.0.113.1")

		p.Decide(writes(nameserver.Passes, func() {
			s.Change(zoneName, `-_evenkeel.www TXT "evenkeel:production/shop" "A 203.0.113.1"`, `_evenkeel.www 300 TXT "evenkeel:other/shop" "A 203.0.113.1"`)
		}))
		require.ErrorIs(t, z.Delete(t.Context(), ours("203.0.113.1")), fleet.ErrConflict, "it is theirs now")
		require.Equal(t, 1, p.Writes())
		require.Contains(t, s.Records(zoneName), "www.corp.example. 3600 IN A 203.0.113.1")

		r := ours("203.0.113.1")
		r.Name = "alias." + zoneName
		p.Decide(writes(nameserver.Passes, func() { s.Change(zoneName, "alias CNAME elsewhere.example.net.") }))
		require.ErrorIs(t, z.Create(t.Context(), r), fleet.ErrConflict)
		r.Name, r.Type, r.Content = "plain."+zoneName, fleet.TypeCNAME, "hn1.example.net"
		p.Decide(writes(nameserver.Passes, func() { s.Change(zoneName, "plain MX 10 mail.example.net.") }))
		require.ErrorIs(t, z.Create(t.Context(), r), fleet.ErrConflict)

		// What a mark without a record stood for comes back while it is cleared away.
		six := ours("2001:db8::1")
		six.Name, six.Type, r.Name = "six."+zoneName, fleet.TypeAAAA, "six."+zoneName
		r.Type, r.Content = fleet.TypeA, "203.0.113.1"
		require.NoError(t, z.Create(t.Context(), six))
		s.Change(zoneName, "-six AAAA 2001:db8::1")
		p.Decide(writes(nameserver.Passes, func() { s.Change(zoneName, "six 60 IN AAAA 2001:db8::1") }))
		require.NoError(t, z.Create(t.Context(), r))
		require.Equal(t, 2, p.Writes())
		require.NoError(t, z.Delete(t.Context(), six), "it is ours")

		n := 0
		p.Decide(func(m *dns.Msg) nameserver.Fate {
			if nameserver.IsWrite(m) {
				n++
				s.Change(zoneName, fmt.Sprintf("busy A 198.51.100.%d", n))
			}
			return nameserver.Passes
		})
		r = ours("203.0.113.1")
		r.Name = "busy." + zoneName
		err := z.Create(t.Context(), r)
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.ErrorContains(t, err, "somebody else changes the name at the same time")
		require.Equal(t, 5, n)
		for _, line := range s.Records(zoneName) {
			require.NotContains(t, line, "busy.corp.example. 60")
		}
	})
}

func TestManyAtATime(t *testing.T) {
	on(t, func(t *testing.T, s *nameserver.Server) {
		z := newZone(s, nameserver.Full)
		var all sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			all.Go(func() { errs[i] = z.Create(t.Context(), ours(fmt.Sprintf("203.0.113.%d", i))) })
		}
		all.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.Len(t, read(t, z), len(errs))
	})
}
