package keeper

import (
	"fmt"
	"syscall"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func roomOf(dir string) (fleet.Room, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fleet.Room{}, fmt.Errorf("asking for the room of %s: %w", dir, err)
	}
	block := uint64(s.Bsize) //nolint:gosec // no block has a negative size
	return fleet.Room{Free: s.Bavail * block, Total: s.Blocks * block}, nil
}
