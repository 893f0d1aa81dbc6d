package names

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// Led is where records lead to, by whose they are, whatever they are under.
type Led map[leading]bool

type leading struct {
	owner string
	Data
}

// LedBy is where records lead to.
func LedBy(records []fleet.DNSRecord) Led {
	l := Led{}
	for i := range records {
		r := &records[i]
		d := dataOf(*r)
		if r.Type == fleet.TypeSRV {
			d = Data{fleet.TypeCNAME, r.Content[strings.LastIndex(r.Content, " ")+1:]}
		}
		l[leading{r.Owner, d}] = true
	}
	return l
}

// To says whether a record of an owner leads to a host that is led to by some data.
func (l Led) To(owner string, host []Data) bool {
	for _, d := range host {
		if l[leading{owner, d}] {
			return true
		}
	}
	return false
}

// Stray are the records that lead to none of the nodes that their names are wanted for.
func Stray(records []fleet.DNSRecord, wanted []Name) []fleet.DNSRecord {
	type said struct {
		name string
		Data
	}
	meant := map[said]bool{}
	for i := range wanted {
		name := Canonical(wanted[i].Name)
		for _, t := range wanted[i].Targets {
			for _, d := range t.Data {
				meant[said{name, d.canonical()}] = true
			}
		}
	}
	var stray []fleet.DNSRecord
	for i := range records {
		if !meant[said{records[i].Name, dataOf(records[i])}] {
			stray = append(stray, records[i])
		}
	}
	return stray
}

// Kept is the first name that an owner's records lead to a host under, and that nothing wants; empty: there is none.
func Kept(records []fleet.DNSRecord, wanted []Name, owner string, host []Data) string {
	kept := ""
	for i := range records {
		r := &records[i]
		unwanted := !slices.ContainsFunc(wanted, func(n Name) bool { return Canonical(n.Name) == r.Name })
		if unwanted && LedBy(records[i:i+1]).To(owner, host) && (kept == "" || r.Name < kept) {
			kept = r.Name
		}
	}
	return kept
}

// HostLeads says what may lead to a host under any name: also to one that was taken out of the spec, as far as the
// keepers remember it.
func HostLeads(desired *spec.Spec, copied fleet.Copy) func(host string) []Data {
	return func(host string) []Data {
		addresses, hostname := leadsTo(desired, &copied, host)
		data := addressData(addresses)
		if hostname != "" {
			data = append(data, Data{fleet.TypeCNAME, hostname})
		}
		return data
	}
}

func leadsTo(desired *spec.Spec, copied *fleet.Copy, host string) (addresses []netip.Addr, hostname string) {
	if h := desired.Fleet.Host(host); h != nil {
		return h.PublicAddresses, h.Hostname()
	}
	for i := range copied.Hosts {
		if h := &copied.Hosts[i]; h.Name == host {
			return h.PublicAddresses, (&spec.Host{Address: h.Address}).Hostname()
		}
	}
	return nil, ""
}
