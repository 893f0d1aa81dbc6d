package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// stateDir is short, because the path of a Unix socket has at most 107 bytes.
const stateDir = "/run/evenkeel-lab"

const (
	maxSites     = 251 // 10.232.0.0/24 to 10.232.250.0/24
	configFile   = "lab.json"
	detachedFile = "detached"
)

// A site is the place of a lab on this machine: its number, and all names and
// addresses that follow from it. What a lab leaves behind can be found and
// removed by the number alone.
type site int

func (s site) dir() string           { return filepath.Join(stateDir, strconv.Itoa(int(s))) }
func (s site) lockPath() string      { return s.dir() + ".lock" }
func (s site) fabric() string        { return filepath.Join(s.dir(), "fabric") }
func (s site) link() string          { return fmt.Sprintf("eklab%d", int(s)) }
func (s site) cgroup() string        { return fmt.Sprintf("/evenkeel-lab%d", int(s)) }
func (s site) hostDir(i int) string  { return filepath.Join(s.dir(), hostName(i)) }
func (s site) hostName(i int) string { return fmt.Sprintf("lab%d-%s", int(s), hostName(i)) }

func (s site) address(last int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 232, byte(s), byte(last)})
}
func (s site) manager() netip.Addr     { return s.address(1) }
func (s site) network() netip.Prefix   { return netip.PrefixFrom(s.address(0), 24) }
func (s site) host(i int) netip.Addr   { return s.address(10 + i) }
func (s site) mac(i int) string        { return fmt.Sprintf("02:0e:e8:%02x:00:%02x", int(s), i) }
func hostName(i int) string            { return fmt.Sprintf("h%d", i) }
func prefixed(a netip.Addr) string     { return netip.PrefixFrom(a, 24).String() }
func siteOf(name string) (site, error) { n, err := strconv.Atoi(name); return site(n), err }

// tryLock returns nil where another process holds the site.
func (s site) tryLock() (*os.File, error) {
	for {
		// The directory goes with the last lab, perhaps just now.
		if err := os.MkdirAll(stateDir, 0o755); err != nil {
			return nil, fmt.Errorf("making the labs' directory: %w", err)
		}
		f, err := os.OpenFile(s.lockPath(), os.O_CREATE|os.O_RDWR, 0o644)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("locking lab %d: %w", s, err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(f, s.lockPath()) {
			return f, nil
		}
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("locking lab %d: %w", s, err)
		}
	}
}

// sameFile is false when another process removed the lock file between our
// opening it and our locking it: then the lock is worth nothing.
func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// unlock gives the site back. The file goes first, while it is still locked.
func (s site) unlock(lock *os.File) error {
	err := os.Remove(s.lockPath())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, lock.Close())
	_ = os.Remove(stateDir) // fails, rightly, where other labs are
	return err
}

// claimSite locks the first free site, whose lock file says so to others.
func claimSite(ctx context.Context) (site, *os.File, error) {
	for s := site(0); s < maxSites && ctx.Err() == nil; s++ {
		if s.inUse() {
			continue
		}
		lock, err := s.tryLock()
		if err != nil {
			return 0, nil, err
		}
		if lock == nil {
			continue
		}
		if !s.inUse() { // it may have been detached since
			return s, lock, nil
		}
		if err := s.unlock(lock); err != nil {
			return 0, nil, err
		}
	}
	return 0, nil, errors.Join(fmt.Errorf("no free place for a lab in 10.232.0.0/16: see %s", stateDir), ctx.Err())
}

// inUse reports a detached lab, or an interface of this machine in the subnet.
func (s site) inUse() bool {
	if s.detached() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Overlaps(s.network())
	})
}

func (s site) detached() bool {
	_, err := os.Stat(filepath.Join(s.dir(), detachedFile))
	return err == nil
}

// removeStale removes the labs that nobody holds.
func removeStale(ctx context.Context) error {
	sites, err := allSites()
	if err != nil {
		return err
	}
	for _, s := range sites {
		if s.detached() {
			continue
		}
		lock, err := s.tryLock()
		if err != nil {
			return err
		}
		if lock == nil {
			continue
		}
		if s.detached() {
			lock.Close()
			continue
		}
		if err := errors.Join(s.remove(ctx), s.unlock(lock)); err != nil {
			return fmt.Errorf("removing lab %d, whose owner is dead: %w", s, err)
		}
	}
	return nil
}

// allSites lists the sites that have a directory or a lock file.
func allSites() ([]site, error) {
	entries, err := os.ReadDir(stateDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing labs: %w", err)
	}
	var sites []site
	for _, e := range entries {
		if s, err := siteOf(strings.TrimSuffix(e.Name(), ".lock")); err == nil {
			sites = append(sites, s)
		}
	}
	slices.Sort(sites)
	return slices.Compact(sites), nil
}

// List returns the numbers of all labs on this machine.
func List() ([]int, error) {
	sites, err := allSites()
	if err != nil {
		return nil, err
	}
	var ids []int
	for _, s := range sites {
		if _, err := s.readConfig(); err == nil {
			ids = append(ids, int(s))
		}
	}
	return ids, nil
}

// create makes what all hosts share: the disk and the fabric.
func (s site) create(ctx context.Context, c config) error {
	if err := os.MkdirAll(s.dir(), 0o755); err != nil {
		return fmt.Errorf("making the lab's directory: %w", err)
	}
	if err := unix.Mount("evenkeel-lab", s.dir(), "tmpfs", 0, "size=8g,mode=755"); err != nil {
		return fmt.Errorf("mounting the lab's disk on %s: %w", s.dir(), err)
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the lab's options: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.dir(), configFile), data, 0o644); err != nil {
		return fmt.Errorf("keeping the lab's options: %w", err)
	}
	return s.createFabric(ctx)
}

func (s site) readConfig() (config, error) {
	var c config
	data, err := os.ReadFile(filepath.Join(s.dir(), configFile))
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(data, &c)
}

func (s site) hostIndexes() ([]int, error) {
	entries, err := os.ReadDir(s.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the lab's hosts: %w", err)
	}
	var indexes []int
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), "h")
		if i, err := strconv.Atoi(name); ok && err == nil {
			indexes = append(indexes, i)
		}
	}
	slices.Sort(indexes)
	return indexes, nil
}

// remove ends everything of the site that there is, complete or not, and
// whoever made it.
func (s site) remove(ctx context.Context) error {
	indexes, err := s.hostIndexes()
	errs := []error{err}
	var group errgroup.Group
	for _, i := range indexes {
		h := &Host{site: s, index: i}
		group.Go(func() error { return h.PowerOff(ctx) })
	}
	errs = append(errs, group.Wait(), s.removeFabric(ctx), s.removeDisk(), removeCgroup(ctx, s.cgroup()))
	return errors.Join(errs...)
}

func (s site) removeDisk() error {
	for {
		err := unix.Unmount(s.dir(), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // not, or no longer, a mount point
		}
		if err != nil {
			return fmt.Errorf("unmounting %s: %w", s.dir(), err)
		}
	}
	if err := os.RemoveAll(s.dir()); err != nil {
		return fmt.Errorf("removing the lab's directory: %w", err)
	}
	return nil
}
