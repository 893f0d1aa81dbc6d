package reconciler

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// spoken is a session, and says when it is ended.
type spoken struct {
	*keeper
	ended func()
}

func (s spoken) Close() error { s.ended(); return nil }

// named is an engine that tells which containers something is run in.
type named struct {
	*engine
	mu sync.Mutex
	in []string
}

func (n *named) Exec(_ context.Context, container string, _ []string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.in = append(n.in, container)
	return fakeConn{host: n.name}, nil
}

// A look that writes nothing asks the keeper by its name, beside the rest; where that isn't the one, it is asked as ever.
func TestALookBeginsWithTheKeeperByItsName(t *testing.T) {
	name := fleet.KeeperName("f")
	tests := []struct {
		name    string
		keepers []fleet.KeeperContainer
		silent  bool
		in      []string // containers
		left    int      // sessions
	}{
		{"it is the one", []fleet.KeeperContainer{{ID: "k", Name: name, State: fleet.StateRunning}}, false, []string{name}, 1},
		{"renamed", []fleet.KeeperContainer{{ID: "k", Name: "mine", State: fleet.StateRunning}}, false, []string{name, "k"}, 1},
		{"stopped", []fleet.KeeperContainer{{ID: "k", Name: name, State: fleet.StateExited}}, false, []string{name}, 0},
		{"there is none", nil, false, []string{name}, 0},
		{"silent", []fleet.KeeperContainer{{ID: "k", Name: name, State: fleet.StateRunning}}, true, []string{name, "k"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &named{engine: newEngine("h1")}
			e.state.Keepers = test.keepers
			r := newRepo("h1")
			c := controller(t, r, e.engine)
			var mu sync.Mutex
			open := 0
			c.opts.DialKeeper = func(ctx context.Context, dial func(context.Context) (net.Conn, error)) (Keeper, error) {
				_, err := dial(ctx)
				if test.silent {
					err = errors.New("no hello")
				}
				if err != nil {
					return nil, err
				}
				mu.Lock()
				defer mu.Unlock()
				open++
				return spoken{e.keeper, func() { mu.Lock(); open--; mu.Unlock() }}, nil
			}
			_, err := c.Fetch(t.Context())
			require.NoError(t, err)
			c.host("h1").engine = e
			d, err := c.Drift(t.Context())
			require.NoError(t, err)
			require.ElementsMatch(t, test.in, e.in)
			require.Equal(t, test.left, open)
			require.Equal(t, test.silent, len(d.Unknown) == 1 && d.Unknown[0] == "the keeper on h1 doesn't answer: no hello", "%v", d.Unknown)
			require.Equal(t, test.left == 1, c.host("h1").snapshot().Keeper != nil)
			require.NoError(t, c.Close())
			require.Zero(t, open)
		})
	}
}
