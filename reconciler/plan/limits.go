package plan

import (
	"fmt"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// nanosPerMilli turns thousandths of a core into the engine's NanoCPUs.
const nanosPerMilli = 1_000_000

// limits are what the engine on a host is to hold the layer's nodes to. More CPU than the host has is
// clamped, with a warning where one is asked for.
func (w *world) limits(l *layer, host string, warn bool) fleet.Limits {
	h := w.byHost[host]
	var e fleet.Engine
	if h.up() {
		e = h.state.Engine
	}
	want := WantedLimits(l.spec, e)
	if warn && want.NanoCPUs < int64(l.spec.Limit.CPU)*nanosPerMilli {
		w.warn(fmt.Sprintf("%s may use %s CPU, and %s has %d: its nodes there are limited to that", l.id, l.spec.Limit.CPU, host, e.CPUs))
	}
	return want
}

// WantedLimits are what an engine is to hold a layer's nodes to: no more CPU than it has, since it refuses that.
func WantedLimits(l *spec.Layer, e fleet.Engine) fleet.Limits {
	return fleet.Limits{
		Memory:            l.Limit.Memory,
		MemoryReservation: l.Reservation.Memory,
		NanoCPUs:          int64(l.Limit.CPU) * nanosPerMilli,
		CPUShares:         shares(l.Reservation.CPU),
	}.Within(e)
}

// LimitChanges are the limits that differ, those that an update can't lift first.
func LimitChanges(have, want fleet.Limits) []Cause {
	return append(lifted(have, want), resized(have, want)...)
}

// shares turns a reserved CPU into the engine's relative weight: 1024 for a core, and never less than 2,
// which is the least that the kernel knows.
func shares(c spec.MilliCPU) int64 {
	if c == 0 {
		return 0
	}
	return max(2, int64(c)*1024/1000)
}

// limitField is one field of the limits, and how people are shown it.
type limitField struct {
	name string
	get  func(fleet.Limits) int64
	text func(int64) string
}

var limitFields = []limitField{
	{"limit.memory", func(l fleet.Limits) int64 { return int64(l.Memory) }, memoryText},
	{"limit.cpu", func(l fleet.Limits) int64 { return l.NanoCPUs }, cpuText},
	{"reserved.memory", func(l fleet.Limits) int64 { return int64(l.MemoryReservation) }, memoryText},
	{"reserved.cpu", func(l fleet.Limits) int64 { return l.CPUShares }, sharesText},
}

func memoryText(n int64) string { return spec.Bytes(n).String() }
func cpuText(n int64) string    { return spec.MilliCPU(n / nanosPerMilli).String() }
func sharesText(n int64) string { return fmt.Sprintf("%d shares", n) }

// lifted are the limits that are there and aren't wanted at all: an update can't lift them.
func lifted(have, want fleet.Limits) []Cause {
	var causes []Cause
	for _, f := range limitFields {
		if f.get(have) != 0 && f.get(want) == 0 {
			causes = append(causes, Cause{Field: f.name, From: f.text(f.get(have))})
		}
	}
	return causes
}

// resized are the limits that an update in place changes.
func resized(have, want fleet.Limits) []Cause {
	var causes []Cause
	for _, f := range limitFields {
		from, to := f.get(have), f.get(want)
		if to == 0 || from == to {
			continue
		}
		c := Cause{Field: f.name, To: f.text(to)}
		if from != 0 {
			c.From = f.text(from)
		}
		causes = append(causes, c)
	}
	return causes
}
