package fleet

import "time"

// Checkup is what an engine says of itself beside what is on it. Nothing is decided by it: it is for people
// who want to know whether a host is well.
type Checkup struct {
	// Skew is how far the engine's clock is ahead of ours, give or take Within: the time that the answer was
	// under way isn't known more exactly.
	Skew, Within time.Duration

	RootDir           string // where the engine keeps its data
	BackingFilesystem string // of the storage driver; empty: it doesn't say
	LogDriver         string // the default one
	CgroupDriver      string
	Rootless          bool
	LiveRestore       bool // containers outlive a restart of the engine
	Forwarding        bool // of IPv4 packets, by the host's kernel
	// What the host's kernel can hold containers to.
	MemoryLimit, SwapLimit, CPUQuota, PidsLimit bool
	// Warnings are the engine's own, about itself.
	Warnings []string

	// Volumes are the names of all volumes with a fleet's label, by that fleet, sorted.
	Volumes map[string][]string
	// Containers are the names of all containers of other fleets, by that fleet, sorted.
	Containers map[string][]string
	// Occupants are what runs, whoever's it is.
	Occupants []Occupant
}

// Certificate is one of those with which a host is spoken to.
type Certificate struct {
	What     string // ours, the engine's, or the authority's
	File     string // empty: the engine showed it
	Subject  string
	From     time.Time
	Until    time.Time
	Problem  string // why it can't be read; empty: it was
	Insecure bool   // others than its owner can read its private key
}

// Room is the room of a file system, in bytes.
type Room struct {
	Free  uint64 `json:"free"`
	Total uint64 `json:"total"`
}
