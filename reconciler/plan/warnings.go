package plan

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/spec"
)

// warnAboutHosts says which hosts are out of reach, and what is on hosts that isn't ours.
func (w *world) warnAboutHosts() {
	for _, h := range w.hosts {
		if h.spec != nil && !h.up() {
			w.refuse(OutOfReach(h.name, h.problem()))
		}
		if !h.up() {
			continue
		}
		var others []string
		for name := range h.state.OtherFleets {
			others = append(others, name)
		}
		slices.Sort(others)
		for _, name := range others {
			w.warn(Carries(h.name, h.state.OtherFleets[name], name))
		}
	}
	if w.fleet.Network.Driver == spec.NetworkBridge && len(w.fleet.Hosts) > 1 {
		w.warnAboutBridge()
	}
}

// OutOfReach is what a plan says of a host that doesn't answer.
func OutOfReach(host, why string) string {
	return fmt.Sprintf("%s doesn't answer (%s): what is on it stays as it is; start its engine or mend the way to it (evenkeel doctor looks closer), or take it out of the Fleet if it is gone for good", host, why)
}

// KeeperSilent is what a plan says of a keeper that runs and doesn't answer.
func KeeperSilent(host, why string) string {
	return fmt.Sprintf("the keeper of %s doesn't answer: %s", host, why)
}

// Carries is what a plan says of a host that has containers of another fleet.
func Carries(host string, containers int, other string) string {
	return fmt.Sprintf("%s carries %d containers of fleet %q: they are left alone (a renamed fleet looks like this: name it back)", host, containers, other)
}

// warnAboutBridge names the layers over several hosts: with the bridge driver each keeper answers with the
// nodes of its own host only.
func (w *world) warnAboutBridge() {
	for _, l := range w.layers {
		hosts := map[string]bool{}
		for _, n := range l.nodes {
			if n.wanted && n.place.Host != "" {
				hosts[n.place.Host] = true
			}
		}
		if len(hosts) > 1 {
			w.warn(fmt.Sprintf("%s is on %d hosts: with network.driver bridge, nodes find and reach only those on their own host", l.id, len(hosts)))
		}
	}
}
