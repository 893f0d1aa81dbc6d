package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// expiresSoon is how long before its end a certificate is told of: time to renew it, and a holiday.
const expiresSoon = 21 * 24 * time.Hour

// host finds what is wrong with one host of the spec.
func (e *examination) host(p *Patient) {
	want := e.Desired.Fleet.Host(p.Name)
	if want == nil {
		return
	}
	e.certificates(p)
	st := e.reached(p.Name)
	if st == nil {
		e.outOfReach(p, want)
		return
	}
	if p.Problem != "" {
		e.report.add(Finding{
			Severity: Warning, Area: Engine, Host: p.Name, What: "its engine answered only in part: " + p.Problem,
			Remedy: "try again; if it stays so, the engine's log on the host says more",
		})
	}
	e.engine(p, st)
	e.keeper(p, st)
	e.links(p, st)
	e.disk(p, st)
}

func (e *examination) outOfReach(p *Patient, want *spec.Host) {
	if p.Unasked != "" {
		e.report.add(Finding{
			Severity: Problem, Area: Host, Host: p.Name, What: "it can't be asked: " + p.Unasked,
			Remedy: "put the file there, or name the directory that holds it with --credentials-dir",
		})
		return
	}
	why := "no answer"
	if st := e.Observed.Host(p.Name); st != nil {
		why = cmp.Or(st.Problem, why)
	}
	e.report.add(Finding{
		Severity: Problem, Area: Host, Host: p.Name, What: "it is out of reach: " + why,
		Remedy: fmt.Sprintf("do what the reason says, or see that the host and its Docker Engine run and that `endpoint` in the Fleet is right: "+
			"`%s` must answer here. Nothing on the host is changed meanwhile", command(want.Endpoint)),
	})
}

// command is one that people can try, which asks an endpoint.
func command(endpoint string) string {
	host, ok := strings.CutPrefix(endpoint, "ssh://")
	if !ok {
		return "docker -H " + endpoint + " version"
	}
	host, _, _ = strings.Cut(host, "/")
	at := strings.LastIndex(host, "]") + 1 // of an IPv6 address
	name, port, own := strings.Cut(host[at:], ":")
	host = strings.NewReplacer("[", "", "]", "").Replace(host[:at]) + name
	if own {
		return "ssh -p " + port + " " + host + " docker version"
	}
	return "ssh " + host + " docker version"
}

func (e *examination) certificates(p *Patient) {
	for _, c := range p.Certificates {
		f := Finding{Severity: Problem, Area: Certificate, Host: p.Name, Subject: cmp.Or(c.File, c.Subject)}
		name := "the certificate " + c.What
		switch left := c.Until.Sub(e.Now); {
		case c.Problem != "":
			f.What, f.Remedy = name+" can't be read: "+c.Problem, "mend `tls` of the host in the Fleet, or put the file there"
		case left <= 0:
			f.What, f.Remedy = name+" has expired on "+day(c.Until), "renew it: files are read anew for each connection, nothing has to be started again"
		case e.Now.Before(c.From):
			f.What, f.Remedy = name+" isn't valid before "+c.From.UTC().Format(time.RFC3339), "see that the clock here is right, or make the certificate anew"
		case left < expiresSoon:
			f.Severity = Warning
			f.What, f.Remedy = fmt.Sprintf("%s expires on %s, in %s", name, day(c.Until), days(left)), "renew it: files are read anew for each connection, nothing has to be started again"
		case c.Insecure:
			f.Severity = Warning
			f.What, f.Remedy = "the key of the certificate "+c.What+" can be read by others on this machine", "let only its owner read it: chmod 600"
		default:
			continue
		}
		e.report.add(f)
	}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// days is a length of time in what people plan with.
func days(d time.Duration) string {
	n, unit := int(d/(24*time.Hour)), "day"
	if n == 0 {
		n, unit = int(d/time.Hour), "hour"
	}
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// sameEngines finds entries of the Fleet that are one engine: what is on it would be counted, and changed, twice.
func (e *examination) sameEngines() {
	hosts := map[string][]string{}
	for i := range e.Observed.Hosts {
		if st := &e.Observed.Hosts[i]; st.Reachable && st.Engine.ID != "" {
			hosts[st.Engine.ID] = append(hosts[st.Engine.ID], st.Name)
		}
	}
	for id, names := range hosts {
		if len(names) < 2 {
			continue
		}
		slices.Sort(names)
		e.report.add(Finding{
			Severity: Problem, Area: Host, Subject: id, What: fmt.Sprintf("%s are one engine, or engines with the same ID %s", strings.Join(names, " and "), id),
			Remedy: "take all but one of them out of the Fleet; on machines that were cloned remove /etc/docker/key.json and /var/lib/docker/engine-id and restart Docker",
		})
	}
}

// links finds what is wrong with what joins a host to the others.
func (e *examination) links(p *Patient, st *fleet.HostState) {
	if e.Desired == nil || e.Desired.Fleet.Network.Driver != spec.NetworkVXLAN || len(st.Instances) == 0 {
		return
	}
	var what string
	switch l := st.Links; {
	case l == nil:
		what = "what joins it to the other hosts isn't there"
	case !plan.LinksRun(l):
		what = fmt.Sprintf("what joins it to the other hosts, %s, is %s", l.Name, l.State)
	default:
		return
	}
	e.report.add(Finding{
		Severity: Problem, Area: Links, Host: p.Name, What: what + ": what changes between hosts doesn't come to its nodes",
		Remedy: "`evenkeel apply`, or a running `evenkeel run`, sees to it",
	})
}

// keeper finds what is wrong with a host's keeper.
func (e *examination) keeper(p *Patient, st *fleet.HostState) {
	add := func(s Severity, what, remedy string) {
		e.report.add(Finding{Severity: s, Area: Keeper, Host: p.Name, What: what, Remedy: remedy})
	}
	if p.NoProgram != "" {
		add(Problem, "no keeper can be made for it: "+p.NoProgram, "put evenkeel-linux-"+st.Engine.Arch+" beside this program, or name one with --keeper-image")
	}
	const apply = "`evenkeel apply`, or a running `evenkeel run`, sees to it"
	running := slices.IndexFunc(st.Keepers, func(k fleet.KeeperContainer) bool { return k.State == fleet.StateRunning })
	switch {
	case len(st.Keepers) == 0 && len(st.Instances) == 0:
		add(Advice, "nothing of the fleet is on it yet", "`evenkeel apply` puts there what it needs")
		return
	case len(st.Keepers) == 0:
		add(Problem, fmt.Sprintf("its keeper is gone: its %s find no names", counted(len(st.Instances), "container")), apply)
		return
	case running < 0:
		add(Problem, fmt.Sprintf("its keeper %s is %s: the nodes there find no names", st.Keepers[0].Name, st.Keepers[0].State), apply)
		return
	case st.Keeper == nil:
		add(Problem, cmp.Or(st.KeeperProblem, "its keeper doesn't answer"),
			fmt.Sprintf("`docker logs %s` on the host says more; `docker restart %[1]s` starts it anew without touching a node", st.Keepers[running].Name))
		return
	case len(st.Keepers) > 1:
		add(Warning, fmt.Sprintf("it has %d keepers: one was being replaced when evenkeel was ended", len(st.Keepers)), apply)
	}
	switch k := st.Keeper; {
	case k.Version > e.KeeperVersion:
		add(Warning, fmt.Sprintf("its keeper is of version %d, newer than this evenkeel's %d", k.Version, e.KeeperVersion), "use the evenkeel that put it there, or a newer one")
	case k.Version < e.KeeperVersion:
		add(Advice, fmt.Sprintf("its keeper is of version %d, this evenkeel's is %d", k.Version, e.KeeperVersion), apply+", without a lookup lost")
	}
	for _, text := range st.Keeper.Problems {
		add(Problem, "its keeper says: "+text, "see to the room and the health of the host's disk")
	}
	for _, text := range st.Keeper.Unbound {
		add(Warning, "its keeper can't answer on one of its addresses: "+text, apply)
	}
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
