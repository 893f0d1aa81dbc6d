package cloudflare

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxRecords is how many records a zone on the free plan may have.
const maxRecords = 1000

const sameName = " For more details, refer to <https://developers.cloudflare.com/dns/manage-dns-records/troubleshooting/records-with-same-name/>."

// put puts a record into the zone, in place of the one with an ID, as the zone keeps it; or says why not.
func (z *zone) put(r Record, id string, tags int) (Record, []apiError) {
	z.normalise(&r)
	found := append(check(r, tags), z.clashes(r, id)...)
	if id == "" && len(z.records) >= maxRecords {
		found = append(found, apiError{81045, "Record quota exceeded."})
	}
	if len(found) > 0 {
		return Record{}, found
	}
	if z.alter != nil {
		z.alter(&r)
	}
	r.ModifiedOn = time.Now().UTC()
	if id != "" {
		z.records[z.index(id)] = r
		return r, nil
	}
	r.ID, r.CreatedOn = newID(), r.ModifiedOn
	z.records = append(z.records, r)
	return r, nil
}

// normalise is what the API makes of what it is given.
func (z *zone) normalise(r *Record) {
	r.Type = strings.ToUpper(r.Type)
	switch r.Name = canonicalName(r.Name); {
	case r.Name == "@" || r.Name == "":
		r.Name = z.name
	case r.Name != z.name && !strings.HasSuffix(r.Name, "."+z.name):
		r.Name += "." + z.name
	}
	r.Proxiable = slices.Contains([]string{"A", "AAAA", "CNAME"}, r.Type)
	if r.Proxied {
		r.TTL = 1
	}
	if r.Comment != nil && *r.Comment == "" {
		r.Comment = nil
	}
	if r.Tags == nil {
		r.Tags = []string{}
	}
	switch r.Type {
	case "A", "AAAA":
		if a, err := netip.ParseAddr(r.Content); err == nil {
			r.Content = a.String()
		}
	case "CNAME", "MX", "NS":
		r.Content = canonicalName(r.Content)
	case "SRV":
		if r.Data != nil {
			data := *r.Data
			data.Target = canonicalName(data.Target)
			r.Data, r.Priority = &data, &data.Priority
			r.Content = fmt.Sprintf("%d %d %s", data.Weight, data.Port, data.Target)
		}
	}
	if r.Type != "SRV" {
		r.Data = nil
	}
}

var lookup = idna.New(idna.MapForLookup(), idna.StrictDomainName(false))

func canonicalName(name string) string {
	name = strings.TrimSuffix(name, ".")
	if ascii, err := lookup.ToASCII(name); err == nil {
		return ascii
	}
	return strings.ToLower(name)
}

// problems are what is wrong with a record.
type problems []apiError

func (p *problems) add(wrong bool, code int, message string, args ...any) {
	if wrong {
		*p = append(*p, apiError{code, fmt.Sprintf(message, args...)})
	}
}

// check says what is wrong with a record by itself.
func check(r Record, tags int) []apiError {
	var p problems
	p.add(!isName(r.Name), 9000, "DNS name is invalid.")
	p.content(r)
	p.add(r.TTL != 1 && (r.TTL < 60 || r.TTL > 86400), 9021, "TTL must be between 60 and 86400 seconds, or 1 for Automatic.")
	p.add(r.Comment != nil && utf8.RuneCountInString(*r.Comment) > 100, 9313, "DNS record comment exceeds the maximum length of 100 characters.")
	p.add(len(r.Tags) > tags, 9300, "DNS record has %d tags, exceeding the quota of %d.", len(r.Tags), tags)
	p.add(r.Proxied && !r.Proxiable, 9004, "This record type cannot be proxied.")
	address, err := netip.ParseAddr(r.Content)
	p.add(r.Proxied && err == nil && (address.IsPrivate() || address.IsLoopback()), 9003, "Target %s is not allowed for a proxied record.", r.Content)
	return p
}

func (p *problems) content(r Record) {
	address, err := netip.ParseAddr(r.Content)
	switch r.Type {
	case "A":
		p.add(err != nil || !address.Is4(), 9005, "Content for A record must be a valid IPv4 address.")
	case "AAAA":
		p.add(err != nil || !address.Is6() || address.Zone() != "", 9006, "Content for AAAA record must be a valid IPv6 address.")
	case "CNAME":
		p.add(!isName(r.Content), 9007, "Content for CNAME record is invalid.")
		p.add(r.Content == r.Name, 9039, "A CNAME record cannot reference itself.")
	case "MX", "NS":
		p.add(!isName(r.Content) || r.Type == "MX" && r.Priority == nil, 1004, "DNS Validation Error")
	case "SRV":
		p.add(!r.Data.valid() || !strings.HasPrefix(r.Name, "_"), 1004, "DNS Validation Error")
	case "TXT":
		p.add(r.Content == "" || len(r.Content) > 2048, 1004, "DNS Validation Error")
	default:
		p.add(true, 1004, "DNS Validation Error")
	}
}

func (d *SRV) valid() bool {
	inRange := func(n int) bool { return n >= 0 && n <= 65535 }
	return d != nil && inRange(d.Priority) && inRange(d.Weight) && inRange(d.Port) && isName(d.Target)
}

func isName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for i, label := range strings.Split(name, ".") {
		if label == "*" && i == 0 {
			continue
		}
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// clashes says which other records leave no room for one.
func (z *zone) clashes(r Record, id string) []apiError {
	address := func(kind string) bool { return kind == "A" || kind == "AAAA" }
	for _, o := range z.records {
		if o.ID == id || o.Name != r.Name {
			continue
		}
		switch {
		case o.Type == r.Type && o.Content == r.Content && samePriority(o, r):
			return []apiError{{81058, "An identical record already exists."}}
		case r.Type == "CNAME" && (address(o.Type) || o.Type == "CNAME"):
			return []apiError{{81053, "An A, AAAA, or CNAME record with that host already exists." + sameName}}
		case address(r.Type) && o.Type == "CNAME":
			return []apiError{{81054, "A CNAME record with that host already exists." + sameName}}
		case (o.Type == "NS") != (r.Type == "NS") && r.Name != z.name:
			return []apiError{{81056, "NS records with that host already exist." + sameName}}
		}
	}
	return nil
}

func samePriority(a, b Record) bool {
	return a.Priority == nil && b.Priority == nil || a.Priority != nil && b.Priority != nil && *a.Priority == *b.Priority
}

func asError[T error](err error, to *T) bool { return errors.As(err, to) }
