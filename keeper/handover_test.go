package keeper

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func mode(t *testing.T, c *Client) fleet.KeeperMode {
	t.Helper()
	s, err := c.State(t.Context())
	require.NoError(t, err)
	return s.Mode
}

func TestASuccessorTakesOver(t *testing.T) {
	old := start(t, Options{})
	was := old.holder(t)
	_, err := was.SetZone(t.Context(), zone(node(1)))
	require.NoError(t, err)

	port := freePort(t)
	successor := start(t, Options{Dir: old.dir, Port: port})
	is := successor.client(t)
	require.Equal(t, fleet.KeeperStandby, is.Hello().Mode)
	require.ErrorIs(t, is.Acquire(t.Context(), t.Name()), fleet.ErrFenced)
	require.Len(t, lookup(t, port, "web.", dns.TypeA).Answer, 1, "on standby it answers from the disk")

	_, err = was.SetZone(t.Context(), zone(node(1), node(2)))
	require.NoError(t, err)
	require.NoError(t, was.Retire(t.Context()))
	require.NoError(t, is.Acquire(t.Context(), t.Name()), "waits until the volume is its own")
	require.EqualValues(t, 2, is.Token(), "the number goes on from the disk")
	s, err := is.State(t.Context())
	require.NoError(t, err)
	require.Len(t, s.Zone.Nodes, 2, "read again")
	require.Len(t, lookup(t, port, "web.", dns.TypeA).Answer, 2)

	require.Equal(t, fleet.KeeperRetired, mode(t, was))
	require.Zero(t, was.LeaseLeft())
	require.ErrorIs(t, was.Acquire(t.Context(), t.Name()), fleet.ErrFenced)
	was.token = 1
	require.ErrorIs(t, was.PutRecord(t.Context(), "a", []byte(`1`)), fleet.ErrFenced)
}

func TestARetiredKeeperWithoutASuccessorComesBack(t *testing.T) {
	k := start(t, Options{})
	c := k.holder(t)
	require.NoError(t, c.Retire(t.Context()))
	require.Equal(t, fleet.KeeperRetired, mode(t, c))
	require.NoError(t, c.Acquire(t.Context(), t.Name()))
	require.Equal(t, fleet.KeeperActive, mode(t, c))
	require.NoError(t, c.PutRecord(t.Context(), "a", []byte(`1`)))
}

func TestTheSuccessorOfAKilledKeeperIsActive(t *testing.T) {
	old := start(t, Options{})
	successor := start(t, Options{Dir: old.dir})
	c := successor.client(t)
	require.Equal(t, fleet.KeeperStandby, c.Hello().Mode)
	old.stop()
	require.NoError(t, c.Acquire(t.Context(), t.Name()))
}
