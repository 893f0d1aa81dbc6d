package drift

import (
	"maps"
	"slices"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// host is what isn't a node's.
func (f *finder) host(h *fleet.HostState) {
	if f.in.Desired.Fleet.Host(h.Name) == nil {
		return // it was taken out of the spec
	}
	if !h.Reachable {
		f.report.Unknown = append(f.report.Unknown, "host "+h.Name+" is out of reach: "+h.Problem)
		return
	}
	if h.Keeper == nil && h.KeeperProblem != "" && slices.ContainsFunc(h.Keepers, running) {
		f.report.Unknown = append(f.report.Unknown, h.KeeperProblem)
	}
	for i := range h.Strangers {
		s := &h.Strangers[i]
		one := Finding{
			Host: h.Name, What: Container, Name: s.Name, Field: "container", Found: string(s.State),
			Remedy: "it has evenkeel's labels and isn't evenkeel's: it is left alone; remove it, or make it without them",
		}
		if !s.CreatedAt.IsZero() {
			at := s.CreatedAt
			one.Since = &at
		}
		f.add(one)
	}
	f.networks(h)
	f.keeper(h)
	f.links(h)
}

// links are looked at where hosts are joined and anything of ours is there. They are evenkeel's own, as keepers are.
func (f *finder) links(h *fleet.HostState) {
	if f.in.Desired.Fleet.Network.Driver != spec.NetworkVXLAN || len(h.Instances) == 0 {
		return
	}
	add := func(field, wanted, found, remedy string) {
		name := fleet.LinksName(f.in.Desired.Fleet.Name)
		f.add(Finding{Host: h.Name, What: Links, Name: name, Field: field, Wanted: wanted, Found: found, Remedy: "evenkeel " + remedy})
	}
	switch l := h.Links; {
	case l == nil:
		add("state", string(fleet.StateRunning), "missing", "makes them anew")
	case !plan.LinksRun(l):
		add("state", string(fleet.StateRunning), string(l.State), "starts them")
	case l.RestartPolicy != plan.KeeperRestartPolicy:
		add("restart policy", plan.KeeperRestartPolicy, l.RestartPolicy, "sets it back")
	}
}

// networks are those that the nodes there were made on.
func (f *finder) networks(h *fleet.HostState) {
	environments := map[string]bool{}
	for i := range h.Instances {
		environments[h.Instances[i].Environment] = true
	}
	for _, e := range slices.Sorted(maps.Keys(environments)) {
		f.network(h, fleet.NetworkName(f.in.Desired.Fleet.Name, e), e)
	}
	if len(h.Keepers) > 0 {
		f.network(h, fleet.UplinkName(f.in.Desired.Fleet.Name), "")
	}
}

func (f *finder) network(h *fleet.HostState, name, environment string) {
	if networkOf(h, name) == nil {
		f.add(Finding{
			Host: h.Name, What: Network, Name: name, Environment: environment,
			Field: "network", Wanted: "there", Found: "missing", Remedy: "evenkeel makes it anew",
		})
	}
}

func running(k fleet.KeeperContainer) bool { return k.State == fleet.StateRunning }

// keeper is looked at where there is one, or where anything of ours says that there was. Two are a
// hand-over. Keepers are evenkeel's own: they are healed in any case, but for the networks of others.
func (f *finder) keeper(h *fleet.HostState) {
	name := fleet.KeeperName(f.in.Desired.Fleet.Name)
	add := func(field, wanted, found, remedy string) {
		f.add(Finding{Host: h.Name, What: Keeper, Name: name, Field: field, Wanted: wanted, Found: found, Remedy: remedy})
	}
	const always = "evenkeel "
	switch {
	case len(h.Keepers) > 1:
		return
	case len(h.Keepers) == 0:
		if len(h.Instances) > 0 || networkOf(h, fleet.UplinkName(f.in.Desired.Fleet.Name)) != nil {
			add("state", string(fleet.StateRunning), "missing", always+"makes it anew")
		}
		return
	}
	k := &h.Keepers[0]
	if k.Name != name {
		add("name", name, k.Name, always+"names it back")
		return
	}
	if k.State != fleet.StateRunning && k.State != fleet.StateRestarting {
		add("state", string(fleet.StateRunning), string(k.State), always+"starts it")
	}
	if k.RestartPolicy != plan.KeeperRestartPolicy {
		add("restart policy", plan.KeeperRestartPolicy, k.RestartPolicy, always+"sets it back")
	}
	for _, want := range f.keeperNetworks(h) {
		if _, on := k.Networks[want]; !on {
			add("network", want, "not on it", always+"puts it back onto it")
		}
	}
	for _, on := range slices.Sorted(maps.Keys(k.Networks)) {
		if there := networkOf(h, on); there != nil && there.Fleet != f.in.Desired.Fleet.Name {
			add("other network", "", on, f.healed("takes it off"))
		}
	}
}

// keeperNetworks are those that a host's keeper has to be on: its way out, and those with nodes of ours.
func (f *finder) keeperNetworks(h *fleet.HostState) []string {
	names := []string{fleet.UplinkName(f.in.Desired.Fleet.Name)}
	for i := range h.Instances {
		if n := h.Instances[i].Network; n != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
