package hosts

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

type mount struct {
	point string
	kind  string // file system type
}

// readMounts returns this process's mounts, oldest first.
func readMounts() ([]mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	return parseMounts(string(data)), nil
}

// parseMounts reads the format of proc_pid_mountinfo(5).
func parseMounts(text string) []mount {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var mounts []mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(rest) < 1 {
			continue
		}
		mounts = append(mounts, mount{point: unescape.Replace(fields[4]), kind: rest[0]})
	}
	return mounts
}

// detachBelow unmounts all that is mounted below dir, but not on it, in this
// process's mount namespace.
func detachBelow(dir string) error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if !strings.HasPrefix(m.point, dir+"/") {
			continue
		}
		err := unix.Unmount(m.point, unix.MNT_DETACH)
		// Gone already, or hidden below a later mount: neither is in our way.
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmounting %s: %w", m.point, err)
		}
	}
	return nil
}
