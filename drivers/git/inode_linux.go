package git

import (
	"io/fs"
	"syscall"
	"time"
)

// inodeOf returns when the inode changed last, and its number.
func inodeOf(info fs.FileInfo) (time.Time, uint64) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(int64(st.Ctim.Sec), int64(st.Ctim.Nsec)), st.Ino //nolint:unconvert // 32-bit systems
	}
	return time.Time{}, 0
}
