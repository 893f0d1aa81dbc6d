package docker

import (
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Engines have said the same in several ways.
func TestLimitsAreReadAsTheyAreMeant(t *testing.T) {
	pids := func(n int64) *int64 { return &n }
	tests := []struct {
		name    string
		has     container.Resources
		want    fleet.Limits
		imposed []fleet.Imposed
	}{
		{name: "as they are asked for", has: resources(fleet.Limits{Memory: 64, MemoryReservation: 32, NanoCPUs: 5, CPUShares: 6, PidsLimit: 7}),
			want: fleet.Limits{Memory: 64, MemoryReservation: 32, NanoCPUs: 5, CPUShares: 6, PidsLimit: 7}},
		{name: "none asked for", has: resources(fleet.Limits{})},
		{name: "swap", has: container.Resources{Memory: 64, MemorySwap: 100}, want: fleet.Limits{Memory: 64, Swap: 36}},
		{name: "any swap", has: container.Resources{Memory: 64, MemorySwap: -1}, want: fleet.Limits{Memory: 64, Swap: fleet.AnySwap}},
		{name: "swap that isn't told", has: container.Resources{Memory: 64}, want: fleet.Limits{Memory: 64}},
		{name: "swap without a limit of memory", has: container.Resources{MemorySwap: -1}},
		{name: "0 processes are any number", has: container.Resources{PidsLimit: pids(0)}},
		{name: "-1 processes are any number", has: container.Resources{PidsLimit: pids(-1)}},
		{name: "a quota", has: container.Resources{CPUQuota: 50_000, CPUPeriod: 100_000},
			imposed: []fleet.Imposed{{Field: "cpu-period", Value: "100000"}, {Field: "cpu-quota", Value: "50000"}}},
		{name: "a quota without end", has: container.Resources{CPUQuota: -1}},
		{name: "CPUs as a quota besides", has: container.Resources{NanoCPUs: 5e8, CPUQuota: 50_000, CPUPeriod: 100_000}, want: fleet.Limits{NanoCPUs: 5e8}},
		{name: "the rest", has: container.Resources{BlkioWeight: 10, CpusetCpus: "0-1", CpusetMems: "0"},
			imposed: []fleet.Imposed{{Field: "blkio-weight", Value: "10"}, {Field: "cpuset-cpus", Value: "0-1"}, {Field: "cpuset-mems", Value: "0"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, limits(&tt.has))
			require.Equal(t, tt.imposed, imposed(&tt.has))
		})
	}
}

func TestWhatAnEngineCantLimitIsntReadFromIt(t *testing.T) {
	l := fleet.Limits{Memory: 64, Swap: fleet.AnySwap, PidsLimit: 7}
	require.Equal(t, l, l.Held(fleet.Engine{}))
	require.Equal(t, fleet.Limits{Memory: 64, PidsLimit: 7}, l.Held(fleet.Engine{NoSwapLimit: true}))
	require.Equal(t, fleet.Limits{Memory: 64, Swap: fleet.AnySwap}, l.Held(fleet.Engine{NoPidsLimit: true}))
}
