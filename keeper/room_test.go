package keeper

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A keeper tells the room of the disk that its folder is on.
func TestRoom(t *testing.T) {
	k := start(t, Options{})
	r, err := k.client(t).Room(t.Context())
	require.NoError(t, err)
	var s unix.Statfs_t
	require.NoError(t, unix.Statfs(k.dir, &s))
	require.Equal(t, s.Blocks*uint64(s.Bsize), r.Total)
	require.NotZero(t, r.Free)
	require.Less(t, r.Free, r.Total)
}
