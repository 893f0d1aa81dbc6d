package hosts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// removeCgroup removes a control group and all below it from every hierarchy:
// the one of version 2, or the many of version 1, where runc also makes them
// in the "unified" one beside. The engines make them, as their
// --cgroup-parent says.
func removeCgroup(ctx context.Context, path string) error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.kind != "cgroup" && m.kind != "cgroup2" {
			continue
		}
		dir := filepath.Join(m.point, path)
		var failed error
		// The kernel may hold a control group for some milliseconds after its last process.
		err := waitFor(ctx, func() bool {
			failed = removeTree(dir)
			return failed == nil
		})
		if err != nil {
			return fmt.Errorf("removing control group %s: %w", dir, errors.Join(failed, err))
		}
	}
	return nil
}

// removeTree removes directories only: the files of a control group go with it.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
