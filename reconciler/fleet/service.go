package fleet

import "net/netip"

// Service is one of evenkeel's own containers: a keeper, the links, or a helper that looks inside a node's network.
type Service struct {
	Name    string
	Image   string
	Command []string // arguments of the image's entrypoint
	Labels  map[string]string
	// Network is the network that it is created on; with InNetworkOf it shares that container's instead.
	Network     string
	Address     netip.Addr // on Network; invalid: the engine chooses
	InNetworkOf string
	HostNetwork bool // it has the host's own network instead
	Sysctls     map[string]string
	// Volumes are its named volumes.
	Volumes      []Mount
	Capabilities []string // all that it has; every other is dropped
	Restart      string   // the engine's restart policy; empty: none
	LogMaxSize   string   // with log driver `local`; empty: no log is kept
	AutoRemove   bool
}
