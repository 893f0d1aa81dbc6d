package cloudflare_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/cloudflare"
	emulator "github.com/evenkeel/evenkeel/integration/lab/cloudflare"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// lost are the ways in which the answer to a call that was carried out doesn't arrive.
var lost = map[string]emulator.Fault{
	"cut":     {Times: 1, Done: true},
	"504":     {Times: 1, Done: true, Status: http.StatusGatewayTimeout},
	"silence": {Times: 1, Done: true, Hang: true},
}

func TestALostReplyToACreate(t *testing.T) {
	for name, fault := range lost {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
				add(s, fleet.DNSRecord{Type: fleet.TypeA, Name: "www", Content: "203.0.113.2"})
				fault.Method = http.MethodPost
				s.Inject(fault)
				require.NoError(t, z.Create(t.Context(), ours("203.0.113.1")))
				require.Equal(t, 1, s.Count(http.MethodPost), "it isn't made twice")
				require.Len(t, s.Records(zoneName), 2)
				require.Zero(t, s.Count(http.MethodPatch))
			})
		})
	}
}

func TestALostReplyToAnUpdateAndADelete(t *testing.T) {
	for name, fault := range lost {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
				add(s, ours("203.0.113.1"))
				was := read(t, z)[0]
				is := was
				is.TTL = time.Hour
				fault.Method = http.MethodPatch
				s.Inject(fault)
				require.NoError(t, z.Update(t.Context(), was, is))
				fault.Method = http.MethodDelete
				s.Inject(fault)
				require.NoError(t, z.Delete(t.Context(), is))
				require.Empty(t, s.Records(zoneName))
				require.Equal(t, 1, s.Count(http.MethodPatch))
				require.Equal(t, 1, s.Count(http.MethodDelete))
			})
		})
	}
}

// TestAWriteThatWasNotCarriedOutFails: it is for the next pass to try again.
func TestAWriteThatWasNotCarriedOutFails(t *testing.T) {
	for name, fault := range lost {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
				add(s, ours("203.0.113.1"))
				was := read(t, z)[0]
				is := was
				is.TTL = time.Hour
				fault.Done = false
				calls := map[string]func() error{
					http.MethodPost:   func() error { return z.Create(t.Context(), ours("203.0.113.2")) },
					http.MethodPatch:  func() error { return z.Update(t.Context(), was, is) },
					http.MethodDelete: func() error { return z.Delete(t.Context(), was) },
				}
				before := s.Records(zoneName)
				for method, call := range calls {
					fault.Method = method
					s.Inject(fault)
					require.ErrorIs(t, call(), fleet.ErrUnreachable, method)
					require.Equal(t, 1, s.Count(method))
					require.Equal(t, before, s.Records(zoneName))
				}
				for _, method := range []string{http.MethodPatch, http.MethodPost, http.MethodDelete} {
					require.NoError(t, calls[method](), method)
				}
			})
		})
	}
}

// TestADuplicateIsReadBack: between the plan and the create another pass made the record.
func TestADuplicateIsReadBack(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		add(s, ours("203.0.113.1"))
		require.NoError(t, z.Create(t.Context(), ours("203.0.113.1")))
		require.Len(t, s.Records(zoneName), 1)
		require.Zero(t, s.Count(http.MethodPatch), "it is as it should be")
	})
}

func TestReadsAreTriedAgain(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		add(s, ours("203.0.113.1"))
		for _, fault := range []emulator.Fault{{Times: 2, Status: http.StatusBadGateway}, {Times: 2}, {Times: 2, Hang: true}} {
			s.Inject(fault)
			require.Len(t, read(t, z), 1)
		}
		s.Inject(emulator.Fault{Status: http.StatusBadGateway})
		_, err := z.Records(t.Context())
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.EqualError(t, err, "reading the records in the zone example.com at Cloudflare: it answers 502 Bad Gateway; try again later")
	})
}

func TestTooManyCalls(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		read(t, z)
		for _, call := range []func() error{
			func() error { _, err := z.Records(t.Context()); return err },
			func() error { return z.Create(t.Context(), ours("203.0.113.1")) },
		} {
			s.Forget()
			s.Inject(emulator.Fault{Times: 1, Status: http.StatusTooManyRequests, RetryAfter: 42 * time.Second})
			began := time.Now()
			require.NoError(t, call())
			waited := time.Since(began)
			require.GreaterOrEqual(t, waited, 42*time.Second)
			require.Less(t, waited, 44*time.Second)
			require.Equal(t, 2, s.Count(""), "nothing was asked meanwhile")
		}
		require.Len(t, s.Records(zoneName), 1)
	})
}

// TestTooManyCallsHoldAllBack: the limit is the token's, not a call's.
func TestTooManyCallsHoldAllBack(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		read(t, z)
		s.Inject(emulator.Fault{Times: 1, Status: http.StatusTooManyRequests, RetryAfter: time.Minute})
		began := time.Now()
		first := make(chan error, 1)
		go func() { _, err := z.Records(t.Context()); first <- err }()
		time.Sleep(10 * time.Second)
		s.Forget()
		_, err := z.Records(t.Context())
		require.NoError(t, err)
		require.NoError(t, <-first)
		require.GreaterOrEqual(t, time.Since(began), time.Minute)
		require.Equal(t, 2, s.Count(""))
	})
}

func TestALimitThatOutlastsTheCall(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		read(t, z)
		s.Inject(emulator.Fault{Times: 1, Status: http.StatusTooManyRequests, RetryAfter: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		_, err := z.Records(ctx)
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.ErrorContains(t, err, "there were too many calls; it takes none until "+began.Add(time.Minute).UTC().Format("15:04"))
		require.Less(t, time.Since(began), time.Second, "what can't succeed isn't waited for")
	})
}

// TestWithoutRetryAfter it is left alone for longer each time, and given up in the end.
func TestWithoutRetryAfter(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		read(t, z)
		s.Forget()
		s.Inject(emulator.Fault{Status: http.StatusTooManyRequests})
		began := time.Now()
		require.ErrorIs(t, z.Create(t.Context(), ours("203.0.113.1")), fleet.ErrUnreachable)
		require.Equal(t, 3, s.Count(""))
		require.GreaterOrEqual(t, time.Since(began), 6*time.Second)
		s.Heal()
		require.Empty(t, s.Records(zoneName))
		require.NoError(t, z.Create(t.Context(), ours("203.0.113.1")))
	})
}

// TestItStaysBelowTheLimit: 1,200 calls in five minutes.
func TestItStaysBelowTheLimit(t *testing.T) {
	inTime(t, func(t *testing.T, s *emulator.Server, z *cloudflare.Zone) {
		s.SetLimit(1205, 5*time.Minute) // the windows needn't begin together
		for range 2500 {
			read(t, z)
		}
		for _, c := range s.Calls() {
			require.Equal(t, http.StatusOK, c.Status)
		}
	})
}
