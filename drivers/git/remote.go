package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"
	"golang.org/x/sys/unix"
)

// The bounds of one look at a server, and of one transfer. A transfer that goes on may take its time: one without
// progress is ended by the connection's own deadline (idle).
const (
	listTimeout  = 30 * time.Second
	fetchTimeout = 30 * time.Minute
	lockTimeout  = 30 * time.Second
	maxPacks     = 200
)

// remote is a git repository on a server. Its commits are kept in a bare clone below the cache directory, which holds
// nothing that can't be fetched anew: one that is damaged is thrown away.
type remote struct {
	address address
	auth    *credentials
	clone   string // the bare clone's directory
	path    string // what is read
	ref     string // as wanted
	limits  limits
}

func (r *remote) String() string {
	s := "git repository " + r.address.String()
	if r.ref != "" {
		s += ", ref " + r.ref
	}
	if r.path != "." {
		s += ", path " + r.path
	}
	return s
}

// watched: nothing tells of a push, so it is asked for.
func (r *remote) watched() ([]watchDir, error) { return nil, nil }

// fetch asks the server where its refs are, which is cheap, and transfers what is new.
func (r *remote) fetch(ctx context.Context, last *fetched) (*fetched, error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	refs, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	wanted, err := refs.choose(r.ref)
	if err != nil {
		return nil, err
	}
	if last != nil && wanted.same(last) {
		again := *last
		again.Rewound = false // said already
		return &again, nil
	}
	next, err := r.bring(ctx, wanted, last)
	if err != nil {
		return nil, err
	}
	next.tip, next.tipName = wanted.hash, wanted.name
	return next, nil
}

// bring transfers what the clone lacks and reads the commit from it. A clone that is in the way of that is made anew,
// beside the old one: what the old one has may be all there is, should the server be gone by then.
func (r *remote) bring(ctx context.Context, wanted remoteRef, last *fetched) (*fetched, error) {
	var err error
	if !crowded(r.clone) {
		var next *fetched
		next, err = r.transfer(ctx, r.clone, wanted, last)
		if err == nil || !r.clonesFault(ctx, err) {
			return next, err
		}
	}
	fresh := r.clone + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return nil, ioError("the old clone can't be removed", err)
	}
	next, again := r.transfer(ctx, fresh, wanted, last)
	if again != nil {
		_ = os.RemoveAll(fresh) // the next attempt removes it too
		return nil, again
	}
	if err := errors.Join(os.RemoveAll(r.clone), os.Rename(fresh, r.clone)); err != nil {
		return nil, ioError("the new clone can't be put in place", err)
	}
	if err != nil {
		next.Warnings = append(next.Warnings, "the local clone was damaged and has been made anew: "+err.Error())
	}
	return next, nil
}

// crowded says whether a clone has become slow: each fetch leaves a pack, and nothing here puts packs together.
func crowded(dir string) bool {
	packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	return err == nil && len(packs) > maxPacks
}

// clonesFault says whether a failure may be the local clone's: all that isn't the server's, the user's or the disk's.
func (r *remote) clonesFault(ctx context.Context, err error) bool {
	switch ReasonOf(err) {
	case Corrupt, "":
		return ctx.Err() == nil
	}
	return false
}

func (r *remote) transfer(ctx context.Context, dir string, wanted remoteRef, last *fetched) (*fetched, error) {
	if err := r.pull(ctx, dir, wanted); err != nil {
		return nil, err
	}
	local := &repository{top: dir, bare: true, prefix: ".", path: r.path, ref: wanted.name, limits: r.limits}
	if !wanted.hash.IsZero() {
		local.ref = wanted.hash.String()
	}
	next, err := local.fetch(ctx, last)
	if err != nil {
		return nil, err
	}
	// The clone is asked for the commit; people know it by the name that they asked for.
	if short := shortRef(wanted.name); short != "" {
		next.Ref = short
	}
	next.Warnings = append(slices.Clone(wanted.warnings), next.Warnings...)
	return next, nil
}

// pull brings the clone's refs to where the server's are.
func (r *remote) pull(ctx context.Context, dir string, wanted remoteRef) (err error) {
	defer func() {
		if p := recover(); p != nil { // go-git may panic on damaged packs
			err = corrupt("the local clone is damaged", fmt.Errorf("%v", p))
		}
	}()
	repo, err := openClone(dir)
	if err != nil {
		return err
	}
	opts := &gogit.FetchOptions{
		RefSpecs: []config.RefSpec{"+refs/heads/*:refs/heads/*"}, Tags: gogit.NoTags, Force: true, Prune: true,
	}
	if !strings.HasPrefix(wanted.name, "refs/heads/") {
		opts.RefSpecs = append(opts.RefSpecs, "+refs/tags/*:refs/tags/*")
	}
	if wanted.name != "" && !strings.HasPrefix(wanted.name, "refs/heads/") && !strings.HasPrefix(wanted.name, "refs/tags/") && !wanted.hash.IsZero() {
		opts.RefSpecs = append(opts.RefSpecs, config.RefSpec("+"+wanted.name+":"+wanted.name))
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return r.talk(ctx, "fetching from it", func(ctx context.Context, with talk) error {
		opts.Auth, opts.ProxyOptions = with.auth, with.proxy
		err := gogit.NewRemote(repo.Storer, remoteConfig(r.address)).FetchContext(ctx, opts)
		if errors.Is(err, gogit.NoErrAlreadyUpToDate) {
			return nil
		}
		return err
	})
}

func remoteConfig(a address) *config.RemoteConfig {
	return &config.RemoteConfig{Name: "origin", URLs: []string{a.url}}
}

func openClone(dir string) (*gogit.Repository, error) {
	repo, err := gogit.PlainOpen(dir)
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, ioError("no clone can be made", err)
		}
		repo, err = gogit.PlainInit(dir, true)
	}
	if err != nil {
		return nil, corrupt("the local clone can't be opened", err)
	}
	return repo, nil
}

// list asks the server for its refs.
func (r *remote) list(ctx context.Context) (remoteRefs, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var refs remoteRefs
	err := r.talk(ctx, "asking it for its refs", func(ctx context.Context, with talk) error {
		list, err := gogit.NewRemote(memory.NewStorage(), remoteConfig(r.address)).ListContext(ctx, &gogit.ListOptions{
			Auth: with.auth, ProxyOptions: with.proxy, PeelingOption: gogit.AppendPeeled,
		})
		if errors.Is(err, transport.ErrEmptyRemoteRepository) {
			return nil
		}
		refs = newRemoteRefs(list)
		return err
	})
	return refs, err
}

// lock keeps several programs that read the same repository from writing its clone at once.
func (r *remote) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(r.clone), 0o700); err != nil {
		return nil, ioError("there is no place for a clone", err)
	}
	f, err := os.OpenFile(r.clone+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, ioError("there is no place for a clone", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil // which unlocks it
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, ioError("its clone can't be locked", err)
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			f.Close()
			if ctx.Err() != nil && !errors.Is(err, context.Canceled) {
				return nil, &Error{Reason: Unreachable, What: "another evenkeel has been fetching into " + r.clone + " all the time",
					Remedy: "wait for it, or give this one another $XDG_CACHE_HOME"}
			}
			return nil, err
		}
	}
}
