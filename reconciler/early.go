package reconciler

import (
	"context"
	"net"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// earlySession is one that was begun with a host's keeper by its name, beside the look at what is there: a command that
// only reads, and ends, has no session yet, and needs not know more of the keeper than what it says.
type earlySession struct {
	h    *host
	name string
	done chan struct{}
	k    Keeper // nil: it could not be had
	used bool
}

func (h *host) dialEarly(ctx context.Context, c *Controller, fleetName string) *earlySession {
	e := &earlySession{h: h, name: fleet.KeeperName(fleetName), done: make(chan struct{})}
	go func() {
		defer close(e.done)
		k, err := c.opts.DialKeeper(ctx, func(ctx context.Context) (net.Conn, error) {
			return h.engine.Exec(ctx, e.name, connectArgs)
		})
		if err == nil {
			e.k = k
		}
	}()
	return e
}

// taken returns the session, where the keeper of that name is the only one; nil: dial as ever, which also says why
// there is none.
func (e *earlySession) taken(keepers []fleet.KeeperContainer) Keeper {
	if e == nil || len(keepers) != 1 || keepers[0].Name != e.name || keepers[0].State != fleet.StateRunning {
		return nil
	}
	<-e.done
	if e.k == nil {
		return nil
	}
	h := e.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != nil {
		return h.session
	}
	e.used = true
	h.session, h.with, h.leased, h.told = e.k, keepers[0].ID, false, nil
	h.state.KeeperProblem, h.muted = "", ""
	return e.k
}

// drop ends a session that was of no use.
func (e *earlySession) drop() {
	<-e.done
	if !e.used {
		hangUp(e.k)
	}
}
