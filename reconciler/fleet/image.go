package fleet

import (
	"net/netip"
	"strings"

	"github.com/distribution/reference"
)

// Registry is the registry that an image's reference names, as people know it: docker.io where it names none.
func Registry(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.Domain(named)
}

// Loopback says whether a registry is another one on each machine.
func Loopback(server string) bool {
	host := server
	if i := strings.LastIndex(server, ":"); i > strings.LastIndex(server, "]") {
		host = server[:i]
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && address.Unmap().IsLoopback()
}
