package keeper

import (
	"encoding/json"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestZoneIsInEffectWhenAcknowledged(t *testing.T) {
	port := freePort(t)
	k := start(t, Options{Port: port})
	c := k.holder(t)

	serial, err := c.SetZone(t.Context(), zone(node(1)))
	require.NoError(t, err)
	require.EqualValues(t, 1, serial)
	r := lookup(t, port, "web.shop.internal.", dns.TypeA)
	require.Len(t, r.Answer, 1)
	require.Equal(t, "127.0.2.1", r.Answer[0].(*dns.A).A.String())

	again, err := c.SetZone(t.Context(), zone(node(1)))
	require.NoError(t, err)
	require.EqualValues(t, 1, again, "the same zone changes nothing")

	serial, err = c.SetZone(t.Context(), zone())
	require.NoError(t, err)
	require.EqualValues(t, 2, serial)
	require.Equal(t, dns.RcodeNameError, lookup(t, port, "web.shop.internal.", dns.TypeA).Rcode)
}

func TestStateComesBackAfterARestart(t *testing.T) {
	k := start(t, Options{})
	c := k.holder(t)
	_, err := c.SetZone(t.Context(), zone(node(1)))
	require.NoError(t, err)
	require.NoError(t, c.PutRecord(t.Context(), "current/shop/web/1", json.RawMessage(`{"text": "<b>"}`)))
	require.NoError(t, c.SetCopy(t.Context(), &fleet.Copy{Serial: 7}))
	token := c.Token()
	k.stop()
	<-c.Done()

	port := freePort(t)
	k = start(t, Options{Dir: k.dir, Port: port})
	c = k.client(t)
	require.Len(t, lookup(t, port, "web.", dns.TypeA).Answer, 1)
	s, err := c.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, []fleet.Record{{Key: "current/shop/web/1", Value: json.RawMessage(`{"text":"<b>"}`)}}, s.Records)
	require.EqualValues(t, 7, s.Copy.Serial)
	require.Equal(t, *zone(node(1)), s.Zone)
	require.Equal(t, "hn1", s.Host)
	require.NoError(t, c.Acquire(t.Context(), t.Name()), "its own lease, taken back at once")
	require.Equal(t, token+1, c.Token())
}
