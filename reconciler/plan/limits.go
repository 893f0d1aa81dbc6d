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

// WantedLimits are what an engine is to hold a layer's nodes to: no more CPU than it has, since it refuses that, and
// nothing that it can't.
func WantedLimits(l *spec.Layer, e fleet.Engine) fleet.Limits {
	return fleet.Limits{
		Memory:            l.Limit.Memory,
		MemoryReservation: l.Reservation.Memory,
		NanoCPUs:          int64(l.Limit.CPU) * nanosPerMilli,
		CPUShares:         shares(l.Reservation.CPU),
		PidsLimit:         pidsLimit,
	}.Within(e)
}

// LimitChanges are the limits of an instance that differ, those that an update can't lift first.
func LimitChanges(in *fleet.Instance, want fleet.Limits) (lift, resize []Cause) {
	return lifted(in, want), resized(in.Limits, want)
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
	lift bool // an update can take it away altogether
}

var limitFields = []limitField{
	{name: "limit.memory", get: func(l fleet.Limits) int64 { return int64(l.Memory) }, text: memoryText},
	{name: "limit.swap", get: func(l fleet.Limits) int64 { return int64(l.Swap) }, text: swapText, lift: true},
	{name: "limit.cpu", get: func(l fleet.Limits) int64 { return l.NanoCPUs }, text: cpuText},
	{name: "limit.pids", get: func(l fleet.Limits) int64 { return l.PidsLimit }, text: pidsText},
	{name: "reserved.memory", get: func(l fleet.Limits) int64 { return int64(l.MemoryReservation) }, text: memoryText},
	{name: "reserved.cpu", get: func(l fleet.Limits) int64 { return l.CPUShares }, text: sharesText},
}

func memoryText(n int64) string { return spec.Bytes(n).String() }
func cpuText(n int64) string    { return spec.MilliCPU(n / nanosPerMilli).String() }
func sharesText(n int64) string { return fmt.Sprintf("%d shares", n) }
func pidsText(n int64) string   { return fmt.Sprintf("%d processes", n) }

func swapText(n int64) string {
	if spec.Bytes(n) == fleet.AnySwap {
		return "any amount"
	}
	return memoryText(n)
}

// lifted are the limits that are there and aren't wanted at all: an update can't lift them. Those of a kind that
// nobody ever wants are lifted with the container too: most of them can be changed and not unset, and where a quota or
// a period is set the engine refuses a limit of ours.
func lifted(in *fleet.Instance, want fleet.Limits) []Cause {
	var causes []Cause
	for _, f := range limitFields {
		if have := f.get(in.Limits); have != 0 && f.get(want) == 0 && !f.lift {
			causes = append(causes, Cause{Field: f.name, From: f.text(have)})
		}
	}
	for _, i := range in.Imposed {
		causes = append(causes, Cause{Field: "limit." + i.Field, From: i.Value})
	}
	return causes
}

// resized are the limits that an update in place changes.
func resized(have, want fleet.Limits) []Cause {
	var causes []Cause
	for _, f := range limitFields {
		from, to := f.get(have), f.get(want)
		if to == 0 && !f.lift || from == to {
			continue
		}
		c := Cause{Field: f.name}
		if to != 0 {
			c.To = f.text(to)
		}
		if from != 0 {
			c.From = f.text(from)
		}
		causes = append(causes, c)
	}
	return causes
}
