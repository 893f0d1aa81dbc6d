package links

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/keeper/store"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

const (
	// every is how often the host is looked at: bridges come with the engine, and people take devices apart.
	every = 2 * time.Second
	// lockPatience is how long somebody else's change is waited for: less than who sets them waits for an answer.
	lockPatience = 8 * time.Second
	// fileName is where what is wanted is, in the folder.
	fileName = "links.json"
	// fileLimit is more than all that Check lets pass needs.
	fileLimit = 64 << 20
)

// Set writes down what is wanted, and joins it. What is written down stays in force, also after the host was off; an
// error says that it isn't. Of two at once, one waits for the other.
func Set(dir string, want *fleet.Links) (fleet.LinksResult, error) {
	if err := Check(want); err != nil {
		return fleet.LinksResult{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fleet.LinksResult{}, fmt.Errorf("keeping the links: %w", err)
	}
	lock, err := store.TakeLock(dir, lockPatience)
	if err != nil {
		return fleet.LinksResult{}, fmt.Errorf("keeping the links: %w", err)
	}
	defer lock.Release()
	if err := store.Save(dir, fileName, want); err != nil {
		return fleet.LinksResult{}, fmt.Errorf("keeping the links: %w", err)
	}
	return applied(want), nil
}

// Wanted is what was set last; nil: nothing was.
func Wanted(dir string) (*fleet.Links, error) {
	var text json.RawMessage
	if err := store.Load(dir, fileName, fileLimit, &text); err != nil || text == nil {
		return nil, err
	}
	var l fleet.Links
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, err
	}
	return &l, nil
}

func applied(want *fleet.Links) fleet.LinksResult {
	r, err := Apply(want)
	if err != nil {
		r.Problem = err.Error()
	}
	return r
}

// Serve keeps the host as was set last, until its context ends. It says what it changes, and a problem when it comes
// and when it is over.
func Serve(ctx context.Context, dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keeping the links: %w", err)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := ""
	for {
		r := once(dir)
		if len(r.Changed) > 0 {
			log.Info("changed", "what", strings.Join(r.Changed, ", "))
		}
		if r.Problem != said {
			said = r.Problem
			if said == "" {
				log.Info("the problem is over")
			} else {
				log.Error("it can't be kept", "why", said)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func once(dir string) fleet.LinksResult {
	lock, err := store.TakeLock(dir, lockPatience)
	if err != nil {
		return fleet.LinksResult{Problem: err.Error()}
	}
	defer lock.Release()
	want, err := Wanted(dir)
	switch {
	case err != nil:
		return fleet.LinksResult{Problem: fmt.Sprintf("what is wanted can't be read: %s (the controller writes it anew)", err)}
	case want == nil:
		return fleet.LinksResult{}
	}
	return applied(want)
}
