package reconciler

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// What becomes of the source is said once: a history that was replaced, an end of trouble.
func TestWhatBecomesOfTheSourceIsSaid(t *testing.T) {
	r := newRepo("h1")
	c := controller(t, r, newEngine("h1"))
	var said []string
	c.opts.Notice = func(n Notice) { said = append(said, n.Level+": "+n.Message) }
	fetch := func(fails bool) []string {
		t.Helper()
		said = nil
		_, err := c.Fetch(t.Context())
		require.Equal(t, fails, err != nil, "%v", err)
		return said
	}
	require.Empty(t, fetch(false))
	r.broken = errors.New("its objects are damaged")
	require.Equal(t, []string{"error: its objects are damaged"}, fetch(true))
	require.Empty(t, fetch(true))
	r.broken = nil
	require.Equal(t, []string{"info: the repository can be read again"}, fetch(false))
	require.Empty(t, fetch(false))

	r.write("shop.yaml", "kind: Environment\n")
	require.Len(t, fetch(true), 1)
	r.write("shop.yaml", environment("shop", "app:1", "h1"))
	require.Equal(t, []string{"info: revision 3 is valid and in force"}, fetch(false))
	require.Empty(t, fetch(false))

	r.write("shop.yaml", environment("shop", "app:2", "h1"))
	r.rewound = true
	said = fetch(false)
	require.Len(t, said, 1)
	require.Contains(t, said[0], "warning: revision 4 isn't made upon the one before it: the branch was force-pushed")
	require.Empty(t, fetch(false), "said once")
	require.NoError(t, c.Close())
}

// A revision is written as in the plan and in history.
func TestARevisionIsWrittenTheSameEverywhere(t *testing.T) {
	require.EqualError(t, &InvalidError{Revision: "9b0464059ef4c0ffee", Problems: errors.New("a problem")}, "revision 9b046405 is invalid:\na problem")
	require.EqualError(t, &InvalidError{Revision: "dir-9b0464059ef4", Problems: errors.New("a problem")}, "revision dir-9b046405 is invalid:\na problem")
}
