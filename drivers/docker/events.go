package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// The synthetic events of Events, with Kind KindHost. Both mean that what is known of the host may be
// stale; their label "reason" says why, for people.
const (
	KindHost        = "host"
	ActionConnected = "connected" // from now on nothing is missed: list anew
	ActionLost      = "lost"
)

// KindAttachment is an event of a container, known by its ID, that was connected to or disconnected from a
// network that isn't the fleet's. Whose container it is the engine doesn't say.
const KindAttachment = "attachment"

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// maxQueued events wait for a slow consumer; beyond that a listing tells more for less.
	maxQueued = 1024
)

// watched are the events that may tell of a change.
var watched = []events.Action{
	events.ActionCreate, events.ActionStart, events.ActionRestart, events.ActionStop, events.ActionPause, events.ActionUnPause,
	events.ActionUpdate, events.ActionRename, events.ActionKill, events.ActionDie, events.ActionOOM, events.ActionDestroy,
	events.ActionHealthStatus, events.ActionConnect, events.ActionDisconnect, events.ActionRemove,
}

// Events tells what happens to a fleet's containers, networks and volumes on the host until ctx ends, then
// closes the channel. It comes back by itself after each break. Since the engine remembers no more than its
// last 256 events, it does not tell what was missed: after each KindHost event the host has to be listed.
func (h *Host) Events(ctx context.Context, fleetName string) <-chan fleet.Event {
	out := make(chan fleet.Event)
	in := make(chan fleet.Event)
	go h.queue(ctx, in, out)
	go h.watch(ctx, fleetName, in)
	return out
}

// queue keeps the stream flowing: the engine drops events of a client that doesn't read.
func (h *Host) queue(ctx context.Context, in <-chan fleet.Event, out chan<- fleet.Event) {
	defer close(out)
	var waiting []fleet.Event
	for {
		var send chan<- fleet.Event
		var next fleet.Event
		if len(waiting) > 0 {
			send, next = out, waiting[0]
		}
		select {
		case <-ctx.Done():
			return
		case send <- next:
			waiting = waiting[1:]
		case e := <-in:
			waiting = append(waiting, e)
			if len(waiting) > maxQueued {
				waiting = []fleet.Event{h.hostEvent(ActionConnected, errors.New("more events than were read"))}
			}
		}
	}
}

// watch reads one stream after the other.
func (h *Host) watch(ctx context.Context, fleetName string, in chan<- fleet.Event) {
	tell := func(e fleet.Event) {
		select {
		case in <- e:
		case <-ctx.Done():
		}
	}
	backoff, lost := firstBackoff, false
	for ctx.Err() == nil {
		err := h.stream(ctx, fleetName, tell, func() { backoff, lost = firstBackoff, false })
		if ctx.Err() != nil {
			return
		}
		if !lost {
			tell(h.hostEvent(ActionLost, err))
			lost = true
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// stream reads one stream until it breaks. It can break without a sign, so the engine is pinged beside it.
func (h *Host) stream(ctx context.Context, fleetName string, tell func(fleet.Event), connected func()) error {
	s, err := call(ctx, h, operation{doing: "connecting for events"}, func(ctx context.Context, s *session) (*session, error) {
		_, err := s.Ping(ctx)
		return s, err
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.heartbeat(ctx, s) })
	g.Go(func() error {
		messages, failed := s.Events(ctx, events.ListOptions{Filters: eventFilter()})
		select {
		case err := <-failed:
			return fmt.Errorf("the stream of events did not start: %w", err)
		default:
		}
		connected()
		tell(h.hostEvent(ActionConnected, nil))
		for {
			select {
			case m := <-messages:
				if e, ok := h.event(m, fleetName); ok {
					tell(e)
				}
			case err := <-failed:
				return fmt.Errorf("the stream of events broke: %w", err)
			}
		}
	})
	err = g.Wait()
	h.forget(s)
	return err
}

// heartbeat fails when the engine stops answering.
func (h *Host) heartbeat(ctx context.Context, s *session) error {
	ticker := time.NewTicker(h.opts.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		bounded, cancel := context.WithTimeout(ctx, h.opts.HeartbeatTimeout)
		_, err := s.Ping(bounded)
		cancel()
		if err != nil {
			return h.fail(ctx, err, operation{doing: "pinging the engine"}, h.opts.HeartbeatTimeout)
		}
	}
}

func eventFilter() filters.Args {
	f := filters.NewArgs()
	for _, t := range []events.Type{events.ContainerEventType, events.NetworkEventType, events.VolumeEventType} {
		f.Add("type", string(t))
	}
	for _, a := range watched {
		f.Add("event", string(a))
	}
	return f
}

// event translates what is the fleet's. Only containers' events carry labels: networks and volumes are
// known by their names.
func (h *Host) event(m events.Message, fleetName string) (fleet.Event, bool) {
	a := m.Actor.Attributes
	e := fleet.Event{
		Host: h.name, Kind: string(m.Type), Action: string(m.Action), ID: m.Actor.ID, Name: a["name"],
		Time: time.Unix(0, m.TimeNano), ExitCode: a["exitCode"],
	}
	switch m.Type {
	case events.ContainerEventType:
		if a[fleet.LabelFleet] != fleetName {
			return fleet.Event{}, false
		}
		e.Labels = map[string]string{}
		for k, v := range a {
			if strings.HasPrefix(k, "dev.evenkeel.") {
				e.Labels[k] = v
			}
		}
	case events.NetworkEventType:
		c := a["container"]
		own := e.Name == fleet.UplinkName(fleetName) || strings.HasPrefix(e.Name, fleet.NetworkName(fleetName, ""))
		switch {
		case !own && c != "":
			e.Kind, e.ID = KindAttachment, c
		case !own:
			return fleet.Event{}, false
		case c != "":
			e.Labels = map[string]string{"container": c}
		}
	case events.VolumeEventType:
		e.Name = e.ID
		if e.Name != fleet.KeeperVolume(fleetName) && e.Name != fleet.LinksName(fleetName) && !strings.HasPrefix(e.Name, fleetName+"_") {
			return fleet.Event{}, false
		}
	default:
		return fleet.Event{}, false
	}
	return e, true
}

func (h *Host) hostEvent(action string, reason error) fleet.Event {
	e := fleet.Event{Host: h.name, Kind: KindHost, Action: action, Name: h.name, Time: time.Now()}
	if reason != nil {
		e.Labels = map[string]string{"reason": reason.Error()}
	}
	return e
}
