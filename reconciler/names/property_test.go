package names_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
)

// provider is a zone that refuses what every DNS provider refuses.
type provider struct {
	records []fleet.DNSRecord
	made    int
}

func (p *provider) at(name string) []fleet.DNSRecord {
	return slices.DeleteFunc(slices.Clone(p.records), func(r fleet.DNSRecord) bool { return r.Name != name })
}

// room says why a record can't be had beside others, as it is at Cloudflare.
func room(r fleet.DNSRecord, others []fleet.DNSRecord) string {
	for _, o := range others {
		alias := o.Type == fleet.TypeCNAME || r.Type == fleet.TypeCNAME
		delegated := (o.Type == "NS" || r.Type == "NS") && r.Name != "example.com"
		switch {
		case o.Type == r.Type && o.Content == r.Content:
			return fmt.Sprintf("%s is there already", r)
		case delegated, alias && !text(o) && !text(r):
			return fmt.Sprintf("%s excludes %s", o, r)
		}
	}
	return ""
}

// text says whether a record is of a kind that may be beside an alias.
func text(r fleet.DNSRecord) bool { return r.Type == "TXT" || r.Type == "NS" }

func (p *provider) apply(t require.TestingT, c names.Change) {
	if c.Operation == names.Create {
		require.Empty(t, room(c.Record, p.at(c.Record.Name)))
		p.made++
		c.Record.ID = fmt.Sprintf("made %d", p.made)
		p.records = append(p.records, c.Record)
		return
	}
	i := slices.Index(p.records, c.Was)
	require.GreaterOrEqual(t, i, 0, "%s: there is no %s", c.Operation, c.Was)
	p.records = slices.Delete(p.records, i, i+1)
	if c.Operation == names.Update {
		require.Empty(t, room(c.Record, p.at(c.Record.Name)))
		p.records = append(p.records, c.Record)
	}
}

// world draws what is wanted of a few names, and a zone in which any of it may be, of whomever.
func world(t *rapid.T) ([]names.Name, []fleet.DNSRecord) {
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
	var found []fleet.DNSRecord
	data := rapid.SampledFrom([]names.Data{host1, host2, host6, alias("hn3.example.net"), {Type: "TXT", Content: "x"}, {Type: "NS", Content: "ns"}})
	for i := range rapid.IntRange(0, 8).Draw(t, "records") {
		d := data.Draw(t, "data")
		r := fleet.DNSRecord{ID: fmt.Sprint(i), Name: pick.Draw(t, "name"), Type: d.Type, Content: d.Content,
			TTL:   rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "ttl"),
			Owner: rapid.SampledFrom([]string{"", "other/shop", "production/shop", "production/gone"}).Draw(t, "owner")}
		if text(r) {
			r.Owner = ""
		} else {
			r.Proxied = rapid.Bool().Draw(t, "proxied")
		}
		if room(r, slices.DeleteFunc(slices.Clone(found), func(o fleet.DNSRecord) bool { return o.Name != r.Name })) == "" {
			found = append(found, r)
		}
	}
	return wanted, found
}

func isOurs(r fleet.DNSRecord) bool { return fleet.DNSOwnerFleet(r.Owner) == fleetName }

func TestPermutingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, found := world(t)
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
		wanted, found := world(t)
		p := &provider{records: slices.Clone(found)}
		before := compute(found, wanted...)
		for _, c := range before.Changes {
			p.apply(t, c)
		}
		after := compute(p.records, wanted...)
		require.Empty(t, after.Changes)
		require.Equal(t, before.Held, after.Held)
		require.Equal(t, before.Conflicts, after.Conflicts)
	})
}

func TestNothingForeignIsTouched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, found := world(t)
		for _, c := range compute(found, wanted...).Changes {
			require.True(t, isOurs(c.Record), "%v", c)
			require.True(t, c.Operation == names.Create || isOurs(c.Was), "%v", c)
			require.False(t, c.Operation == names.Create && c.Was != (fleet.DNSRecord{}))
		}
	})
}

func TestANameIsNeverWithoutARecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, found := world(t)
		p := &provider{records: slices.Clone(found)}
		r := compute(found, wanted...)
		for i, c := range r.Changes {
			p.apply(t, c)
			if !slices.ContainsFunc(wanted, func(n names.Name) bool { return n.Name == c.Record.Name }) {
				continue
			}
			turns := c.Operation == names.Delete && slices.ContainsFunc(r.Changes[i+1:], func(next names.Change) bool {
				return next.Operation == names.Create && next.Record.Name == c.Record.Name &&
					(next.Record.Type == fleet.TypeCNAME) != (c.Record.Type == fleet.TypeCNAME)
			})
			require.True(t, turns || len(p.at(c.Record.Name)) > 0, "after %v", c)
		}
	})
}

// TestARecordIsThereForTheNodesThatServe: what nothing is in the way of leads to every node that is in, and to no
// host of which all are out while any other is in.
func TestARecordIsThereForTheNodesThatServe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted, _ := world(t)
		p := &provider{}
		if len(wanted) == 0 {
			return
		}
		wanted = wanted[:1]
		for i := range wanted[0].Targets { // first all of them serve, so that each has had its record
			wanted[0].Targets[i].Out = false
		}
		for range 2 {
			r := compute(p.records, wanted...)
			require.Empty(t, r.Conflicts)
			for _, c := range r.Changes {
				p.apply(t, c)
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
			for _, r := range p.records {
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
