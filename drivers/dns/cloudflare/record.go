package cloudflare

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	api "github.com/cloudflare/cloudflare-go"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// automatic is the TTL that stands for Cloudflare's own choice.
const automatic = 1

// fromAPI is a record in the form in which records are compared.
func fromAPI(r api.DNSRecord) fleet.DNSRecord {
	is := fleet.DNSRecord{
		ID: r.ID, Name: plain(r.Name), Type: r.Type, Content: r.Content,
		Proxied: r.Proxied != nil && *r.Proxied, Owner: fleet.ParseDNSMark(r.Comment),
	}
	if r.TTL != automatic && !is.Proxied {
		is.TTL = time.Duration(r.TTL) * time.Second
	}
	switch r.Type {
	case fleet.TypeA, fleet.TypeAAAA:
		if a, err := netip.ParseAddr(r.Content); err == nil {
			is.Content = a.String()
		}
	case fleet.TypeCNAME:
		is.Content = plain(r.Content)
	case fleet.TypeSRV:
		if data, ok := r.Data.(map[string]any); ok {
			is.Content = fmt.Sprintf("%v %v %v %s", data["priority"], data["weight"], data["port"], plain(fmt.Sprint(data["target"])))
		}
	}
	return is
}

func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// written is what the API is told of a record.
type written struct {
	content string
	data    any
	ttl     int
}

func toAPI(r fleet.DNSRecord) (written, error) {
	w := written{content: r.Content, ttl: automatic}
	if r.TTL != 0 {
		w.ttl = int(r.TTL / time.Second)
	}
	if r.Type != fleet.TypeSRV {
		return w, nil
	}
	fields := strings.Fields(r.Content)
	if len(fields) != 4 {
		return w, fmt.Errorf("%q is no priority, weight, port and target", r.Content)
	}
	var numbers [3]uint64
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseUint(fields[i], 10, 16); err != nil {
			return w, fmt.Errorf("%q is no priority, weight, port and target", r.Content)
		}
	}
	w.content = ""
	w.data = map[string]any{"priority": numbers[0], "weight": numbers[1], "port": numbers[2], "target": fields[3]}
	return w, nil
}

// same says whether two records are the same one: whose it is, and what it says.
func same(a, b fleet.DNSRecord) bool {
	return a.Owner == b.Owner && a.Name == b.Name && a.Type == b.Type && a.Content == b.Content
}

// equal says whether two records are alike in all but the provider's ID.
func equal(a, b fleet.DNSRecord) bool {
	a.ID, b.ID = "", ""
	return a == b
}
