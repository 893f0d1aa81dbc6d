package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/keeper/lease"
	"github.com/evenkeel/evenkeel/keeper/store"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// maxBody is the largest request that is read.
const maxBody = store.MaxRecordsAll + 1<<20

// handler serves the sessions. Reads need no lease; what changes anything carries the lease's number.
func (h *host) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/hello", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.hello()) })
	mux.HandleFunc("GET /v1/state", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.state()) })
	mux.HandleFunc("GET /v1/room", h.handleRoom)
	mux.HandleFunc("GET /v1/watch", h.watch)
	mux.HandleFunc("POST /v1/lease", h.handleAcquire)
	mux.HandleFunc("DELETE /v1/lease", h.handleChange(func(*http.Request) (change, error) {
		return func() (any, error) { return struct{}{}, h.release() }, nil
	}))
	mux.HandleFunc("POST /v1/retire", h.handleChange(func(*http.Request) (change, error) {
		return func() (any, error) { return struct{}{}, h.retire() }, nil
	}))
	mux.HandleFunc("PUT /v1/zone", h.handleChange(func(r *http.Request) (change, error) {
		z, err := decode[fleet.Zone](r)
		return func() (any, error) {
			serial, err := h.setZone(z)
			return zoneReply{serial}, err
		}, err
	}))
	mux.HandleFunc("POST /v1/records", h.handleChange(func(r *http.Request) (change, error) {
		q, err := decode[recordsRequest](r)
		return func() (any, error) { return struct{}{}, h.store.Change(q.Put, q.Delete) }, err
	}))
	mux.HandleFunc("PUT /v1/copy", h.handleChange(func(r *http.Request) (change, error) {
		c, err := decode[fleet.Copy](r)
		return func() (any, error) { return struct{}{}, h.setCopy(c) }, err
	}))
	return mux
}

// change is what is done under the lease.
type change func() (any, error)

func (h *host) handleChange(read func(*http.Request) (change, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		do, err := read(r)
		if err != nil {
			refuse(w, err)
			return
		}
		token, err := strconv.ParseUint(r.Header.Get(tokenHeader), 10, 64)
		if err != nil {
			refuse(w, invalid("a change needs the lease's number in the header %s", tokenHeader))
			return
		}
		var reply any
		err = h.change(token, sessionOf(r.Context()), func() (err error) {
			reply, err = do()
			return err
		})
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, reply)
	}
}

// handleAcquire grants the lease. A keeper on standby is given a moment to take its predecessor's place.
func (h *host) handleAcquire(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	q, err := decode[acquireRequest](r)
	if err == nil && (q.Holder == "" || len(q.Holder) > 256 || len(q.Client) > 256) {
		err = invalid("holder %q: the lease needs one to be known by, of at most 256 bytes", q.Holder)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	until := time.Now().Add(20 * StandbyPoll)
	for {
		token, err := h.acquire(q.Holder, q.Client, sessionOf(r.Context()))
		if err == nil {
			answer(w, acquireReply{token})
			return
		}
		var mode *modeError
		if !errors.As(err, &mode) || mode.mode != fleet.KeeperStandby || time.Now().After(until) || r.Context().Err() != nil {
			refuse(w, err)
			return
		}
		wait(r.Context(), StandbyPoll/2)
	}
}

func decode[T any](r *http.Request) (*T, error) {
	v := new(T)
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		return nil, invalid("reading %s %s: %v", r.Method, r.URL.Path, err)
	}
	return v, nil
}

func answer(w http.ResponseWriter, v any) {
	b, err := marshal(v)
	if err != nil {
		refuse(w, fmt.Errorf("writing the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // a client that is gone has no use for an error
}

func refuse(w http.ResponseWriter, err error) {
	status, body := http.StatusInternalServerError, refusal{Kind: kindFailed, Message: err.Error()}
	var bad *store.InvalidError
	var fenced *lease.FencedError
	var held *lease.HeldError
	var mode *modeError
	switch {
	case errors.As(err, &bad):
		status, body.Kind = http.StatusBadRequest, kindInvalid
	case errors.As(err, &fenced):
		status, body.Kind, body.Holder, body.Token = http.StatusConflict, kindFenced, fenced.Holder, fenced.Current
	case errors.As(err, &held):
		status, body.Kind, body.Holder, body.Token = http.StatusConflict, kindHeld, held.Holder, held.Token
	case errors.As(err, &mode):
		status, body.Kind, body.Mode = http.StatusConflict, kindMode, mode.mode
	case errors.Is(err, store.ErrStale):
		status, body.Kind = http.StatusConflict, kindStale
	}
	b, err := json.Marshal(body)
	if err != nil {
		b = nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// watch streams health as it changes, a line an event, and a sign of life in between.
func (h *host) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	beat := time.NewTicker(HeartbeatInterval)
	defer beat.Stop()
	var seen uint64
	for first := true; ; first = false {
		results, seq, changed := h.prober.Since(seen)
		seen = seq
		if first || len(results) > 0 {
			if lines.Encode(Event{Health: results, Serial: h.serial()}) != nil || control.Flush() != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-beat.C:
			if lines.Encode(Event{Serial: h.serial()}) != nil || control.Flush() != nil {
				return
			}
		}
	}
}
