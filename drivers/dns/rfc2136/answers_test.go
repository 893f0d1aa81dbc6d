package rfc2136_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/rfc2136"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const (
	zoneName = "corp.example"
	keyName  = "evenkeel."
	secret   = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISE="
	other    = "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI="
)

// serve runs a server that answers with what a function makes of each message: several answers, each signed as its last
// additional record says.
func serve(t *testing.T, answers func(m *dns.Msg) []*dns.Msg) *rfc2136.Zone {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &dns.Server{
		Listener: l, Net: "tcp", TsigSecret: map[string]string{keyName: secret, "other.": other},
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
			for i, answer := range answers(m) {
				w.TsigTimersOnly(i > 0)
				_ = w.WriteMsg(answer) // who is asked may have hung up
			}
		}),
	}
	ended := make(chan error, 1)
	go func() { ended <- s.ActivateAndServe() }()
	t.Cleanup(func() {
		require.NoError(t, s.Shutdown())
		require.NoError(t, <-ended)
	})
	return rfc2136.New(rfc2136.Config{
		Zone: zoneName, Server: l.Addr().String(),
		Key: rfc2136.Key{Name: "evenkeel", Algorithm: "hmac-sha256", Secret: func() (string, error) { return secret, nil }},
	})
}

// reply is a signed answer.
func reply(m *dns.Msg, records ...dns.RR) *dns.Msg { return signed(unsigned(m, records...), keyName) }

func unsigned(m *dns.Msg, records ...dns.RR) *dns.Msg {
	answer := new(dns.Msg).SetReply(m)
	answer.Authoritative, answer.Answer = true, records
	return answer
}

func signed(m *dns.Msg, key string) *dns.Msg {
	return m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
}

func rr(t *testing.T, line string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(line)
	require.NoError(t, err)
	return r
}

func ours(content string) fleet.DNSRecord {
	return fleet.DNSRecord{Name: "www." + zoneName, Type: fleet.TypeA, Content: content, TTL: time.Minute, Owner: "production/shop"}
}

// TestTransfersThatAreNotWhole are no list.
func TestTransfersThatAreNotWhole(t *testing.T) {
	soa, later := rr(t, "corp.example. 60 SOA ns. a. 1 1 1 1 1"), rr(t, "corp.example. 60 SOA ns. a. 2 1 1 1 1")
	a, b := rr(t, "a.corp.example. 60 A 203.0.113.1"), rr(t, "b.corp.example. 60 A 203.0.113.2")
	for _, tt := range []struct {
		name    string
		answers func(m *dns.Msg) []*dns.Msg
		says    string // empty: it is whole
	}{
		{"one message", func(m *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(m, soa, a, b, soa)} }, ""},
		{"several messages", func(m *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(m, soa), reply(m, a), reply(m, b, soa)} }, ""},
		{"nothing", func(m *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(m)} }, "what it sends isn't the zone"},
		{"no beginning", func(m *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(m, a, b, soa)} }, "what it sends isn't the zone"},
		{"another zone", func(m *dns.Msg) []*dns.Msg {
			return []*dns.Msg{reply(m, rr(t, "x.example. 60 SOA ns. a. 1 1 1 1 1"), a)}
		}, "what it sends isn't the zone"},
		{"another version", func(m *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(m, soa, a), reply(m, b, later)} }, "begins and ends with different versions"},
		{"more than the zone", func(m *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(m, soa, a, soa, b)} }, "sends more than the zone"},
		{"a part that isn't signed", func(m *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(m, soa), unsigned(m, a, b), reply(m, soa)} }, "isn't signed with the key evenkeel"},
		{"an end that somebody else signed", func(m *dns.Msg) []*dns.Msg {
			return []*dns.Msg{reply(m, soa, a, b), signed(unsigned(m, soa), "other.")}
		}, "isn't signed with the key evenkeel"},
		{"a refusal in the middle", func(m *dns.Msg) []*dns.Msg {
			end := unsigned(m)
			end.Rcode = dns.RcodeServerFailure
			return []*dns.Msg{reply(m, soa, a), signed(end, keyName)}
		}, "SERVFAIL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records, err := serve(t, tt.answers).Records(t.Context())
			if tt.says == "" {
				require.NoError(t, err)
				require.Len(t, records, 2)
				return
			}
			require.ErrorIs(t, err, fleet.ErrUnreachable)
			require.ErrorContains(t, err, tt.says)
			require.Nil(t, records)
		})
	}
}

// TestAnswersThatCannotBeTrusted are none.
func TestAnswersThatCannotBeTrusted(t *testing.T) {
	made := []dns.RR{rr(t, "www.corp.example. 60 A 203.0.113.1")}
	for name, answer := range map[string]func(m *dns.Msg) *dns.Msg{
		"unsigned":                func(m *dns.Msg) *dns.Msg { return unsigned(m, made...) },
		"signed by somebody else": func(m *dns.Msg) *dns.Msg { return signed(unsigned(m, made...), "other.") },
		"signed long ago": func(m *dns.Msg) *dns.Msg {
			return unsigned(m, made...).SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix()-3600)
		},
		"with another algorithm": func(m *dns.Msg) *dns.Msg {
			return unsigned(m, made...).SetTsig(keyName, dns.HmacSHA512, 300, time.Now().Unix())
		},
		"to another question":      func(m *dns.Msg) *dns.Msg { a := unsigned(m, made...); a.Id++; return signed(a, keyName) },
		"that is a question":       func(m *dns.Msg) *dns.Msg { a := reply(m, made...); a.Response = false; return a },
		"to another kind of thing": func(m *dns.Msg) *dns.Msg { a := reply(m, made...); a.Opcode = dns.OpcodeNotify; return a },
	} {
		t.Run(name, func(t *testing.T) {
			z := serve(t, func(m *dns.Msg) []*dns.Msg { return []*dns.Msg{answer(m)} })
			_, err := z.Records(t.Context())
			require.ErrorIs(t, err, fleet.ErrUnreachable)
			require.ErrorIs(t, z.Create(t.Context(), ours("203.0.113.1")), fleet.ErrUnreachable)
			require.ErrorIs(t, z.Check(t.Context()), fleet.ErrUnreachable)
		})
	}
}

// TestAnswersToUpdates: what can't be told from an answer is looked up, and what is said to be done is read back.
func TestAnswersToUpdates(t *testing.T) {
	const mark = `_evenkeel.www.corp.example. 300 TXT "evenkeel:production/shop" "A 203.0.113.1"`
	for _, tt := range []struct {
		name   string
		answer func(m *dns.Msg) *dns.Msg // to the update
		left   []string                  // what is there afterwards
		is     error
		says   string // empty: nothing is wrong
	}{
		{name: "done", answer: func(m *dns.Msg) *dns.Msg { return reply(m) }, left: []string{"www.corp.example. 60 A 203.0.113.1", mark}},
		{
			name: "unsigned, and done", answer: func(m *dns.Msg) *dns.Msg { return unsigned(m) },
			left: []string{"www.corp.example. 60 A 203.0.113.1", mark},
		},
		{name: "unsigned, and not done", answer: func(m *dns.Msg) *dns.Msg { return unsigned(m) }, is: fleet.ErrUnreachable, says: "isn't signed with the key"},
		{name: "a lie", answer: func(m *dns.Msg) *dns.Msg { return reply(m) }, says: "the server says that it has done it, and hasn't"},
		{name: "without the mark", answer: func(m *dns.Msg) *dns.Msg { return reply(m) }, left: []string{"www.corp.example. 60 A 203.0.113.1"}, is: fleet.ErrAltered, says: `owner ""`},
		{
			name: "with another ttl", answer: func(m *dns.Msg) *dns.Msg { return reply(m) }, left: []string{"www.corp.example. 300 A 203.0.113.1", mark},
			is: fleet.ErrAltered, says: "the server has made something else of it: www.corp.example A 203.0.113.1 with ttl 5m0s",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var there []dns.RR
			writes := 0
			z := serve(t, func(m *dns.Msg) []*dns.Msg {
				if m.Opcode == dns.OpcodeUpdate {
					if len(m.Ns) == 0 {
						return []*dns.Msg{reply(m)} // the name is in use
					}
					writes++
					for _, line := range tt.left {
						there = append(there, rr(t, line))
					}
					return []*dns.Msg{tt.answer(m)}
				}
				return []*dns.Msg{reply(m, slices.DeleteFunc(slices.Clone(there), func(r dns.RR) bool { return r.Header().Name != m.Question[0].Name })...)}
			})
			err := z.Create(t.Context(), ours("203.0.113.1"))
			require.Equal(t, 1, writes)
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
		})
	}
}

// TestCodes are said in words, with what to do.
func TestCodes(t *testing.T) {
	for code, want := range map[int]struct {
		is   error
		says string
	}{
		dns.RcodeServerFailure:  {fleet.ErrUnreachable, "it couldn't answer (SERVFAIL): its log says why; try again later"},
		dns.RcodeNotImplemented: {fleet.ErrDenied, "it takes no AXFR (NOTIMP): name the zone's primary server"},
		dns.RcodeRefused:        {fleet.ErrDenied, "it refuses that to the TSIG key evenkeel (hmac-sha256) (REFUSED): give the key the right to transfer the zone"},
		dns.RcodeNotAuth:        {fleet.ErrNotFound, "the server isn't one of the zone's"},
		dns.RcodeNotZone:        {fleet.ErrNotFound, "the name lies in another zone there (NOTZONE)"},
		dns.RcodeFormatError:    {nil, "it answers FORMERR"},
	} {
		for _, signs := range []bool{true, false} {
			z := serve(t, func(m *dns.Msg) []*dns.Msg {
				answer := unsigned(m)
				answer.Rcode = code
				if signs {
					signed(answer, keyName)
				}
				return []*dns.Msg{answer}
			})
			_, err := z.Records(t.Context())
			require.ErrorContains(t, err, want.says)
			if want.is != nil {
				require.ErrorIs(t, err, want.is)
			}
		}
	}
}

// TestCalls are told of, for metrics.
func TestCalls(t *testing.T) {
	var told []string
	soa := rr(t, "corp.example. 60 SOA ns. a. 1 1 1 1 1")
	z := serve(t, func(m *dns.Msg) []*dns.Msg {
		if m.Opcode == dns.OpcodeUpdate {
			answer := unsigned(m)
			answer.Rcode = dns.RcodeRefused
			return []*dns.Msg{signed(answer, keyName)}
		}
		return []*dns.Msg{reply(m, soa, soa)}
	})
	rfc2136.Tell(z, func(method, outcome string, _ time.Duration) { told = append(told, method+" "+outcome) })
	require.ErrorIs(t, z.Check(t.Context()), fleet.ErrDenied)
	require.Equal(t, []string{"AXFR NOERROR", "UPDATE REFUSED"}, told)
}

func TestWhereTheServerIs(t *testing.T) {
	for written, want := range map[string]string{
		"10.0.0.2": "10.0.0.2:53", "10.0.0.2:5353": "10.0.0.2:5353", "[::1]": "[::1]:53", "::1": "[::1]:53", "[::1]:5353": "[::1]:5353", "ns1.corp.example": "ns1.corp.example:53",
	} {
		require.Equal(t, want, rfc2136.ServerOf(rfc2136.New(rfc2136.Config{Server: written})))
	}
}
