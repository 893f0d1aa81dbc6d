package plan

import (
	"fmt"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// nanosPerMilli turns thousandths of a core into the engine's NanoCPUs.
const nanosPerMilli = 1_000_000

// limits are what the engine on a host is to hold the layer's nodes to. More CPU than the host has is
// clamped, since the engine refuses it, with a warning where one is asked for.
func (w *world) limits(l *layer, host string, warn bool) fleet.Limits {
	want := fleet.Limits{
		Memory:            l.spec.Limit.Memory,
		MemoryReservation: l.spec.Reservation.Memory,
		NanoCPUs:          int64(l.spec.Limit.CPU) * nanosPerMilli,
		CPUShares:         shares(l.spec.Reservation.CPU),
	}
	h := w.byHost[host]
	if !h.up() || h.state.Engine.CPUs <= 0 {
		return want
	}
	if all := int64(h.state.Engine.CPUs) * 1000 * nanosPerMilli; want.NanoCPUs > all {
		want.NanoCPUs = all
		if warn {
			w.warn(fmt.Sprintf("%s may use %s CPU, and %s has %d: its nodes there are limited to that", l.id, l.spec.Limit.CPU, host, h.state.Engine.CPUs))
		}
	}
	return want
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
