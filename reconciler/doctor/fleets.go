package doctor

import (
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// traces are what a host carries of another fleet.
type traces struct {
	containers, networks, volumes, keepers int
	environments                           []string
}

func (t traces) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		noun string
	}{{t.containers, "container"}, {t.keepers, "keeper"}, {t.networks, "network"}, {t.volumes, "volume"}} {
		if p.n > 0 {
			parts = append(parts, counted(p.n, p.noun))
		}
	}
	return strings.Join(parts, ", ")
}

// otherFleets finds what hosts carry of fleets with another name.
func (e *examination) otherFleets() {
	fresh := !e.known()
	for i := range e.Hosts {
		p := &e.Hosts[i]
		st := e.reached(p.Name)
		if st == nil {
			continue
		}
		of := e.tracesOn(p, st)
		for _, name := range sortedKeys(of) {
			f := Finding{Severity: Warning, Area: Fleet, Host: p.Name, Subject: name}
			f.What = fmt.Sprintf("it carries %s of fleet %q, which evenkeel leaves alone", of[name], name)
			f.Remedy = fmt.Sprintf("nothing, where two fleets share the host on purpose (neither counts the other's nodes); what is left of an old one goes with `evenkeel uninstall` on its repository; "+
				"if %[1]q was renamed to %[2]q, name it back", name, e.Desired.Fleet.Name)
			if env := e.shared(of[name]); fresh && env != "" {
				f.Severity = Problem
				f.What += fmt.Sprintf("; it has an environment %s as well, and of %q there is nothing anywhere", env, e.Desired.Fleet.Name)
				f.Remedy = fmt.Sprintf("if the fleet was renamed, name it back to %q: under another name evenkeel makes everything a second time", name)
			}
			e.report.add(f)
		}
	}
}

// known says whether anything of the fleet is on any host.
func (e *examination) known() bool {
	for i := range e.Observed.Hosts {
		st := &e.Observed.Hosts[i]
		if len(st.Instances)+len(st.Keepers)+len(st.Volumes) > 0 {
			return true
		}
	}
	return false
}

func (e *examination) tracesOn(p *Patient, st *fleet.HostState) map[string]traces {
	of := map[string]traces{}
	change := func(name string, do func(t *traces)) {
		if name == "" || name == e.Desired.Fleet.Name {
			return
		}
		t := of[name]
		do(&t)
		of[name] = t
	}
	for name, n := range st.OtherFleets {
		change(name, func(t *traces) { t.containers = n })
	}
	for i := range st.Networks {
		n := &st.Networks[i]
		change(n.Fleet, func(t *traces) {
			t.networks++
			if n.Environment != "" {
				t.environments = append(t.environments, n.Environment)
			}
		})
	}
	if p.Checkup != nil {
		for name, volumes := range p.Checkup.Volumes {
			change(name, func(t *traces) { t.volumes = len(volumes) })
		}
		for name, containers := range p.Checkup.Containers {
			change(name, func(t *traces) {
				for _, c := range containers {
					if strings.HasPrefix(c, fleet.KeeperName(name)) && t.containers > 0 {
						t.keepers, t.containers = t.keepers+1, t.containers-1
					}
				}
			})
		}
	}
	return of
}

// shared is an environment that another fleet has too, or empty.
func (e *examination) shared(t traces) string {
	for _, name := range t.environments {
		if e.Desired.Environment(name) != nil {
			return name
		}
	}
	return ""
}
