package fleet

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DNSRecord is a record in a zone of a DNS provider. A driver hands it out in this form whatever the
// provider makes of names, addresses and times, so that two of them can be compared by their fields.
type DNSRecord struct {
	ID      string        // the provider's own; of every record that is there, and of none that is only wanted
	Name    string        // lower case, Punycode, no dot at its end
	Type    string        // A, AAAA, CNAME, SRV; others' records may have any other
	Content string        // an address, a name in the form of Name, or for SRV "priority weight port target"
	TTL     time.Duration // 0: automatic, the provider's own choice; proxied ones have no other
	Proxied bool          // resolvers get the provider's own addresses
	Owner   string        // DNSOwner's text; empty: it isn't evenkeel's
}

// String is how people are shown a record.
func (r DNSRecord) String() string { return r.Name + " " + r.Type + " " + r.Content }

// The types of records that evenkeel makes.
const (
	TypeA     = "A"
	TypeAAAA  = "AAAA"
	TypeCNAME = "CNAME"
	TypeSRV   = "SRV"
)

// SaidKey is a name's key in Copy.Said; zone is the Fleet's name for its zone.
func SaidKey(zone, name string) string { return zone + " " + name }

// SaidDigest is what records of one name say: their order and IDs don't matter.
func SaidDigest(records []DNSRecord) string {
	lines := make([]string, len(records))
	for i := range records {
		r := &records[i]
		lines[i] = fmt.Sprintf("%s %s %s %t %s", r.Type, r.Content, r.TTL, r.Proxied, r.Owner)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}

const (
	dnsMark = "evenkeel:"
	// maxDNSMark is how long a record's comment may be at Cloudflare.
	maxDNSMark = 100
)

// DNSOwner is who a record belongs to: <fleet>/<environment>. An environment whose name makes the mark too long is
// replaced by a hash that no name can be mistaken for; the fleet's, at most 40 characters, stays readable, so that
// records are known for the fleet's also when their environment is gone.
func DNSOwner(fleetName, environment string) string {
	owner := fleetName + "/" + environment
	if len(dnsMark)+len(owner) <= maxDNSMark {
		return owner
	}
	sum := sha256.Sum256([]byte(owner))
	return fleetName + "/~" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:26])
}

// DNSOwnerFleet is the fleet of an owner.
func DNSOwnerFleet(owner string) string {
	name, _, _ := strings.Cut(owner, "/")
	return name
}

// DNSMark is the comment or text that says whose a record is.
func DNSMark(owner string) string { return dnsMark + owner }

// ParseDNSMark returns the owner that a comment or text names; empty where it is none of DNSMark's, or has been
// added to: such a record is somebody else's.
func ParseDNSMark(mark string) string {
	owner, ok := strings.CutPrefix(mark, dnsMark)
	name, environment, both := strings.Cut(owner, "/")
	if !ok || !both || !isName(name) || !isName(strings.TrimPrefix(environment, "~")) {
		return ""
	}
	return owner
}

func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
