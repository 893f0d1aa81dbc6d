package lease

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Whatever happens in whatever order: numbers only grow, also over a loss of the process, nobody is refused
// under the number in force, and nobody gets through under another.
func TestOneHolderAtATime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		var disk Grant
		l := New(disk, now)
		tokens := map[uint64]uint64{} // by session: the number that it was granted last
		over := map[uint64]time.Time{}
		var last uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(t, "ms")) * time.Millisecond)
			session := rapid.Uint64Range(1, 4).Draw(t, "session")
			_, ended := over[session]
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0:
				if ended {
					continue
				}
				held := l.State(now)
				g, fresh, err := l.Prepare("holder", string(rune('a'+session)), session, now)
				if err != nil {
					require.NotNil(t, held, "refused, so somebody holds it")
					continue
				}
				if fresh {
					require.Greater(t, g.Token, last)
					disk, last = g, g.Token
					l.Commit(g, session, now)
					tokens[session] = g.Token
				}
			case 1:
				l.EndSession(session, now)
				if !ended {
					over[session] = now
				}
			case 2:
				if l.Check(tokens[session], session, now) == nil {
					disk = l.Release()
				}
			case 3:
				l = New(disk, now)
				clear(tokens)
				clear(over)
			}
			through := 0
			for s, token := range tokens {
				if l.Check(token, s, now) == nil {
					through++
					require.Equal(t, last, token)
					if at, gone := over[s]; gone {
						require.Less(t, now.Sub(at), Grace)
					}
				}
			}
			require.LessOrEqual(t, through, 1)
		}
	})
}

func TestRestartLeavesTheOldHolderItsGrace(t *testing.T) {
	now := time.Unix(100, 0)
	l := New(Grant{Token: 4, Holder: "first", Client: "x"}, now)
	_, _, err := l.Prepare("second", "y", 1, now.Add(Grace-1))
	var held *HeldError
	require.ErrorAs(t, err, &held)
	require.Equal(t, HeldError{Holder: "first", Token: 4}, *held)
	g, _, err := l.Prepare("second", "y", 1, now.Add(Grace))
	require.NoError(t, err)
	require.EqualValues(t, 5, g.Token)

	l = New(Grant{Token: 4, Holder: "first", Released: true}, now)
	_, _, err = l.Prepare("second", "y", 1, now)
	require.NoError(t, err)
	require.ErrorIs(t, l.Check(4, 1, now), fleet.ErrFenced)
	require.EqualError(t, l.Check(4, 1, now), "lease 4 has ended (the last was 4); acquire it anew")
}
