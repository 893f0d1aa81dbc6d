package names_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/names/memory"
)

// apply makes a change as it is told to, and nothing may be in its way.
func apply(t require.TestingT, z *memory.Zone, c names.Change) {
	ctx := context.Background()
	switch c.Operation {
	case names.Create:
		before := records(t, z)
		require.NoError(t, z.Create(ctx, c.Record))
		require.Len(t, records(t, z), len(before)+1)
	case names.Update:
		require.NoError(t, z.Update(ctx, c.Was, c.Record))
	case names.Delete:
		require.Contains(t, records(t, z), c.Was)
		require.NoError(t, z.Delete(ctx, c.Was))
	}
}

func records(t require.TestingT, z *memory.Zone) []fleet.DNSRecord {
	all, err := z.Records(context.Background())
	require.NoError(t, err)
	return all
}

func at(t require.TestingT, z *memory.Zone, name string) []fleet.DNSRecord {
	return slices.DeleteFunc(records(t, z), func(r fleet.DNSRecord) bool { return r.Name != name })
}

// world draws what is wanted of a few names, and a zone in which any of it may be, of whomever.
func world(t *rapid.T) ([]names.Name, *memory.Zone) {
	hosts := [][]names.Data{{host1}, {host2, host6}, {host6}}
	if rapid.Bool().Draw(t, "aliases") {
		hosts[2] = []names.Data{alias("hn3.example.net")}
	}
	pick := rapid.SampledFrom([]string{shop, "www.example.com", "example.com"})
	var wanted []names.Name
	for range rapid.IntRange(0, 3).Draw(t, "names") {
		n := names.Name{
			Environment: rapid.SampledFrom([]string{"shop", "blog"}).Draw(t, "environment"), Name: pick.Draw(t, "name"),
			TTL: rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "ttl"), Proxied: rapid.Bool().Draw(t, "proxied"),
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "targets") {
			n.Targets = append(n.Targets, target(i+1, rapid.Bool().Draw(t, "out"), rapid.SampledFrom(hosts).Draw(t, "host")...))
		}
		wanted = append(wanted, n)
	}
	z := memory.New("example.com")
	data := rapid.SampledFrom([]names.Data{host1, host2, host6, alias("hn3.example.net"), {Type: "TXT", Content: "x"}, {Type: "NS", Content: "ns"}})
	for range rapid.IntRange(0, 8).Draw(t, "records") {
		d := data.Draw(t, "data")
		r := fleet.DNSRecord{Name: pick.Draw(t, "name"), Type: d.Type, Content: d.Content,
			TTL:   rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "ttl"),
			Owner: rapid.SampledFrom([]string{"", "other/shop", "production/shop", "production/gone"}).Draw(t, "owner")}
		if d.Type == "TXT" || d.Type == "NS" {
			r.Owner = ""
		} else {
			r.Proxied = rapid.Bool().Draw(t, "proxied")
		}
		_ = z.Put(r) // not where there is no room for it
	}
	return wanted, z
}

func isOurs(r fleet.DNSRecord) bool { return fleet.DNSOwnerFleet(r.Owner) == fleetName }

func TestPermutingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, z := world(t)
		found := records(t, z)
		want := compute(found, wanted...)
		other := rapid.Permutation(wanted).Draw(t, "wanted")
		for i := range other {
			other[i].Targets = rapid.Permutation(other[i].Targets).Draw(t, "targets")
			for j := range other[i].Targets {
				other[i].Targets[j].Data = rapid.Permutation(other[i].Targets[j].Data).Draw(t, "data")
			}
		}
		require.Equal(t, want, compute(rapid.Permutation(found).Draw(t, "records"), other...))
	})
}

func TestApplyingLeavesNothingToDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, z := world(t)
		before := compute(records(t, z), wanted...)
		for _, c := range before.Changes {
			apply(t, z, c)
		}
		after := compute(records(t, z), wanted...)
		require.Empty(t, after.Changes)
		require.Equal(t, before.Held, after.Held)
		require.Equal(t, before.Conflicts, after.Conflicts)
	})
}

func TestNothingForeignIsTouched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, z := world(t)
		for _, c := range compute(records(t, z), wanted...).Changes {
			require.True(t, isOurs(c.Record), "%v", c)
			require.True(t, c.Operation == names.Create || isOurs(c.Was), "%v", c)
			require.False(t, c.Operation == names.Create && c.Was != (fleet.DNSRecord{}))
		}
	})
}

func TestANameIsNeverWithoutARecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, z := world(t)
		r := compute(records(t, z), wanted...)
		for i, c := range r.Changes {
			apply(t, z, c)
			if !slices.ContainsFunc(wanted, func(n names.Name) bool { return n.Name == c.Record.Name }) {
				continue
			}
			turns := c.Operation == names.Delete && slices.ContainsFunc(r.Changes[i+1:], func(next names.Change) bool {
				return next.Operation == names.Create && next.Record.Name == c.Record.Name &&
					(next.Record.Type == fleet.TypeCNAME) != (c.Record.Type == fleet.TypeCNAME)
			})
			require.True(t, turns || len(at(t, z, c.Record.Name)) > 0, "after %v", c)
		}
	})
}

// TestARecordIsThereForTheNodesThatServe: what nothing is in the way of leads to every node that is in, and to no
// host of which all are out while any other is in.
func TestARecordIsThereForTheNodesThatServe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, _ := world(t)
		z := memory.New("example.com")
		if len(wanted) == 0 {
			return
		}
		wanted = wanted[:1]
		for i := range wanted[0].Targets { // first all of them serve, so that each has had its record
			wanted[0].Targets[i].Out = false
		}
		for range 2 {
			r := compute(records(t, z), wanted...)
			require.Empty(t, r.Conflicts)
			for _, c := range r.Changes {
				apply(t, z, c)
			}
			in, out := map[names.Data]bool{}, map[names.Data]bool{}
			for _, target := range wanted[0].Targets {
				for _, d := range target.Data {
					if target.Out {
						out[d] = true
					} else {
						in[d] = true
					}
				}
			}
			if in[alias("hn3.example.net")] {
				in = map[names.Data]bool{alias("hn3.example.net"): true} // excludes the addresses
			}
			there := map[names.Data]bool{}
			for _, r := range records(t, z) {
				there[names.Data{Type: r.Type, Content: r.Content}] = true
			}
			if len(in) > 0 {
				require.Equal(t, in, there)
			} else {
				require.Equal(t, len(out) > 0, len(there) > 0)
			}
			for i := range wanted[0].Targets {
				wanted[0].Targets[i].Out = rapid.Bool().Draw(t, "out later")
			}
		}
	})
}

// TestANodeThatLeavesIsFoundNoMore: once a node is out and what follows from it is done, its records are gone but for
// those that are held, shared or others', and what was foretold is what has happened.
func TestANodeThatLeavesIsFoundNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, z := world(t)
		first := compute(records(t, z), wanted...)
		for _, c := range first.Changes {
			apply(t, z, c)
		}
		node := fleet.NodeID{Environment: "shop", Layer: "web", Node: 1}
		zone := func() names.Zone {
			return names.Zone{Fleet: fleetName, Name: "example.com", Records: records(t, z)}
		}
		before := zone()
		foretold := names.Leaving(before, wanted, node)
		for i := range wanted {
			for j := range wanted[i].Targets {
				if wanted[i].Targets[j].Node == node {
					wanted[i].Targets[j].Out = true
				}
			}
		}
		r := names.Compute(before, wanted)
		if len(first.Conflicts)+len(r.Conflicts) > 0 {
			return // nothing is done there
		}
		for _, c := range r.Changes {
			apply(t, z, c)
		}
		after := names.Leaving(zone(), wanted, node)
		require.True(t, after.Gone(), "%v", after.Records)
		require.Equal(t, foretold.Held, after.Held)
		require.Len(t, after.Records, len(foretold.Records))
		require.GreaterOrEqual(t, foretold.Lasts, after.Lasts)
		for _, gone := range before.Records {
			leads := slices.ContainsFunc(foretold.Records, func(r fleet.DNSRecord) bool { return r.ID == gone.ID })
			deleted := slices.ContainsFunc(r.Changes, func(c names.Change) bool { return c.Operation == names.Delete && c.Was.ID == gone.ID })
			require.Equal(t, deleted, leads, "%v", gone)
		}
	})
}
