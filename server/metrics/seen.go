package metrics

import "github.com/prometheus/client_golang/prometheus"

// Seen is what a controller sees.
type Seen struct {
	Fleet, Revision string
	Converged       bool
	// Refused: the newest revision isn't in force. Leads: this controller acts on the fleet. Waits: another does.
	Refused, Leads, Waits bool
	Hosts                 []Host
	Layers                []Layer
	Drift                 []Drift
	// Unread is how much could not be read, in which there may be drift.
	Unread int
	Zones  []Zone
}

// Drift is how much of one kind isn't as the last revision left it, in one environment, or of none.
type Drift struct {
	Environment, What string
	Findings          int
}

// Zone is a zone at a DNS provider.
type Zone struct {
	Name  string
	Known bool
}

// Host is one host; amounts are in bytes and cores.
type Host struct {
	Name                           string
	Reachable, Keeper              bool
	KeeperVersion                  int
	Lease                          bool // this controller holds it
	Nodes                          int
	ReservedMemory, CapacityMemory float64
	ReservedCPU, CapacityCPU       float64
}

// Layer is one layer.
type Layer struct {
	Environment, Name string
	Wanted, Serving   int
	Paused            bool
}

// The metrics, in the order in which they are documented.
var (
	build     = define("gauge", "build_info", "Always 1; its label says which version runs.", "version")
	revision  = define("gauge", "revision_info", "Always 1; its labels say which revision of which fleet is in force.", "fleet", "revision")
	refused   = define("gauge", "revision_refused", "1 while the newest revision isn't in force: it is invalid, or the repository can't be read.")
	converged = define("gauge", "converged", "1 while nothing is left to do and everything could be read.")

	passes        = define("counter", "passes_total", "Passes: how often what was seen was compared with the revision, by whether there was something to do.", "changes")
	passTime      = define("histogram", "pass_duration_seconds", "How long it took to find out what to do. Carrying it out isn't in it.")
	operations    = define("counter", "operations_total", "Operations on nodes that have ended, by kind (create, start, restart, redeploy, resize, remove …) and outcome (done, failed, given up, overtaken).", "environment", "layer", "operation", "outcome")
	operationTime = define("histogram", "operation_duration_seconds", "How long operations on nodes took, from the beginning to the end of all that belongs to them, waits included.", "operation")
	changes       = define("counter", "host_operations_total", "Operations on hosts beside nodes that have ended: on keepers, networks, volumes, images, and on containers that were changed by hand.", "host", "operation", "what", "outcome")

	dnsCalls = define("counter", "dns_calls_total", "Calls to DNS providers that have ended, by the Fleet's name for the zone, the HTTP method (QUERY, AXFR, UPDATE or CONNECT with rfc2136) and what came of it: the status of the answer, timeout, or error.", "zone", "method", "outcome")
	dnsTime  = define("histogram", "dns_call_duration_seconds", "How long calls to DNS providers took.", "zone")
	dnsKnown = define("gauge", "dns_zone_known", "1 while the zone at the DNS provider could be read the last time.", "zone")

	leading = define("gauge", "leading", "1 while this controller acts on the fleet: it took the leases of the hosts in reach.")
	waiting = define("gauge", "waiting", "1 while another controller holds the fleet's lease and this one waits.")
	lease   = define("gauge", "host_lease_held", "1 while this controller holds the host's lease.", "host")

	reachable = define("gauge", "host_reachable", "1 while the host's engine answers.", "host")
	keeper    = define("gauge", "host_keeper_up", "1 while the host's keeper answers.", "host")
	version   = define("gauge", "host_keeper_version", "Version of the keeper that answers on the host; 0: none does.", "host")
	nodes     = define("gauge", "host_nodes", "Nodes on the host.", "host")
	memory    = define("gauge", "host_memory_bytes", "Memory for nodes: what they reserve, and the host's capacity.", "host", "kind")
	cpu       = define("gauge", "host_cpu_cores", "CPU for nodes: what they reserve, and the host's capacity.", "host", "kind")

	layerNodes  = define("gauge", "layer_nodes", "Nodes of the layer: how many are wanted, and how many serve.", "environment", "layer", "kind")
	layerPaused = define("gauge", "layer_paused", "1 while the layer's rollout is paused after a failure.", "environment", "layer")

	drifted = define("gauge", "drift", "What isn't as the last revision left it and no commit explains, by what it is of (node, keeper, network, volume, container, record); without an environment: the fleet's.", "environment", "what")
	unread  = define("gauge", "drift_unknown", "How much could not be read the last time: there may be drift in it.")
)

// seeing tells what a controller sees when it is asked.
type seeing struct {
	version string
	seen    func() Seen
}

// Describe tells nothing beforehand: hosts and layers come and go.
func (s *seeing) Describe(chan<- *prometheus.Desc) {}

// Collect tells what is seen now.
func (s *seeing) Collect(out chan<- prometheus.Metric) {
	v := s.seen()
	out <- build.gauge(1, s.version)
	if v.Revision != "" {
		out <- revision.gauge(1, v.Fleet, v.Revision)
	}
	out <- refused.gauge(one(v.Refused))
	out <- converged.gauge(one(v.Converged))
	out <- leading.gauge(one(v.Leads))
	out <- waiting.gauge(one(v.Waits))
	for _, z := range v.Zones {
		out <- dnsKnown.gauge(one(z.Known), z.Name)
	}
	for _, h := range v.Hosts {
		out <- lease.gauge(one(h.Lease), h.Name)
		out <- reachable.gauge(one(h.Reachable), h.Name)
		out <- keeper.gauge(one(h.Keeper), h.Name)
		out <- version.gauge(float64(h.KeeperVersion), h.Name)
		out <- nodes.gauge(float64(h.Nodes), h.Name)
		out <- memory.gauge(h.ReservedMemory, h.Name, "reserved")
		out <- memory.gauge(h.CapacityMemory, h.Name, "capacity")
		out <- cpu.gauge(h.ReservedCPU, h.Name, "reserved")
		out <- cpu.gauge(h.CapacityCPU, h.Name, "capacity")
	}
	for _, l := range v.Layers {
		out <- layerNodes.gauge(float64(l.Wanted), l.Environment, l.Name, "wanted")
		out <- layerNodes.gauge(float64(l.Serving), l.Environment, l.Name, "serving")
		out <- layerPaused.gauge(one(l.Paused), l.Environment, l.Name)
	}
	for _, d := range v.Drift {
		out <- drifted.gauge(float64(d.Findings), d.Environment, d.What)
	}
	out <- unread.gauge(float64(v.Unread))
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
