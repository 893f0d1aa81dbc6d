package docker

import (
	"strconv"

	"github.com/docker/docker/api/types/container"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// resources always names swap with memory: the engine would grant as much swap again.
func resources(l fleet.Limits) container.Resources {
	r := container.Resources{
		Memory: int64(l.Memory), MemorySwap: int64(l.Memory), MemoryReservation: int64(l.MemoryReservation),
		NanoCPUs: l.NanoCPUs, CPUShares: l.CPUShares,
	}
	if l.PidsLimit > 0 {
		r.PidsLimit = &l.PidsLimit
	}
	return r
}

// limits reads what resources says, also where it was changed since. What no limit is has several spellings: an
// engine may leave the number of processes out, or have 0 or -1 there.
func limits(r *container.Resources) fleet.Limits {
	l := fleet.Limits{
		Memory: spec.Bytes(r.Memory), Swap: swap(r), MemoryReservation: spec.Bytes(r.MemoryReservation),
		NanoCPUs: r.NanoCPUs, CPUShares: r.CPUShares,
	}
	if r.PidsLimit != nil && *r.PidsLimit > 0 {
		l.PidsLimit = *r.PidsLimit
	}
	return l
}

// swap is what a container may use beyond its memory; without a limit of that, swap has none that was put onto it.
// An engine that doesn't hold swap to anything has nothing or -1 there.
func swap(r *container.Resources) spec.Bytes {
	switch {
	case r.Memory <= 0 || r.MemorySwap == 0:
		return 0
	case r.MemorySwap < 0:
		return fleet.AnySwap
	}
	return spec.Bytes(max(0, r.MemorySwap-r.Memory))
}

// imposed are the limits that evenkeel never asks for. A quota and a period beside whole CPUs are the engine's own
// way to say those: it refuses to set both.
func imposed(r *container.Resources) []fleet.Imposed {
	var list []fleet.Imposed
	add := func(field, value string) {
		if value != "" {
			list = append(list, fleet.Imposed{Field: field, Value: value})
		}
	}
	add("blkio-weight", positive(int64(r.BlkioWeight)))
	if r.NanoCPUs == 0 {
		add("cpu-period", positive(r.CPUPeriod))
		add("cpu-quota", positive(r.CPUQuota))
	}
	add("cpu-rt-period", positive(r.CPURealtimePeriod))
	add("cpu-rt-runtime", positive(r.CPURealtimeRuntime))
	add("cpuset-cpus", r.CpusetCpus)
	add("cpuset-mems", r.CpusetMems)
	return list
}

// positive is a number that limits anything; empty: it doesn't.
func positive(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func lifts(has, want fleet.Limits) bool {
	return has.Memory > 0 && want.Memory == 0 || has.MemoryReservation > 0 && want.MemoryReservation == 0 ||
		has.NanoCPUs > 0 && want.NanoCPUs == 0 || has.CPUShares > 0 && want.CPUShares == 0 || has.PidsLimit > 0 && want.PidsLimit == 0
}
