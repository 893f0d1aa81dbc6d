package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/doctor"
	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

// How long an examination waits for what: each has its own, so that none hides the others.
const (
	fetchPatience   = time.Minute      // a repository elsewhere, and a first clone of it
	lookingPatience = 30 * time.Second // an engine's own deadlines are shorter, a provider's aren't
	checkPatience   = 15 * time.Second
	registryPatient = 15 * time.Second
	zonePatience    = 15 * time.Second
	listenPatience  = 2 * time.Second
)

// examinable is an engine that can say how it is.
type examinable interface {
	Checkup(ctx context.Context, fleetName string) (fleet.Checkup, error)
	Certificates() []fleet.Certificate
}

// checkable is a zone that can say whether it may be changed.
type checkable interface {
	Check(ctx context.Context) error
}

// roomy is a keeper that can say how much room there is.
type roomy interface {
	Room(ctx context.Context) (fleet.Room, error)
}

// remedied is an error that says what to do by itself.
type remedied interface {
	Remedied() (what, remedy string)
}

// Examine finds out whether all that the fleet rests on is well. It changes nothing.
func (c *Controller) Examine(ctx context.Context) (doctor.Report, error) {
	f := doctor.Facts{Now: time.Now(), KeeperVersion: c.opts.KeeperVersion}
	unopened := c.fetchFor(ctx, &f)
	if f.Desired == nil {
		return doctor.Examine(f), ctx.Err()
	}
	ctx, end := c.aside(ctx)
	defer end()
	c.lookPatiently(ctx)
	if len(f.Problems) == 0 {
		c.openGone(ctx)
	}
	f.Hosts = make([]doctor.Patient, len(f.Desired.Fleet.Hosts))
	var wg sync.WaitGroup
	for i := range f.Desired.Fleet.Hosts {
		wg.Go(func() { f.Hosts[i] = c.examineHost(ctx, f.Desired.Fleet.Hosts[i].Name, unopened) })
	}
	wg.Go(func() { f.Images = c.examineImages(ctx, f.Desired) })
	wg.Go(func() { f.Zones = c.examineZones(ctx, f.Desired) })
	if len(f.Problems) == 0 {
		wg.Go(func() { f.Plan = c.planPatiently(ctx) })
	}
	wg.Wait()
	f.Observed = c.observed()
	f.Listens = c.listening(ctx, f.Desired, doctor.ToTry(f.Desired, f.Hosts))
	return doctor.Examine(f), ctx.Err()
}

// lookPatiently reads hosts and zones, side by side.
func (c *Controller) lookPatiently(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookingPatience)
	defer cancel()
	c.lookAtAll(ctx)
}

// planPatiently plans with what is known of images by the time that registries have had to answer.
func (c *Controller) planPatiently(ctx context.Context) *plan.Plan {
	ctx, cancel := context.WithTimeout(ctx, registryPatient)
	defer cancel()
	p := c.computeWhole(ctx)
	return &p
}

// fetchFor takes the newest revision, or what of it can be used, and opens its hosts, each by itself. It
// returns why some could not be.
func (c *Controller) fetchFor(ctx context.Context, f *doctor.Facts) (unopened map[string]string) {
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	rev, err := c.opts.Source.Fetch(ctx)
	if err != nil {
		f.Repository = unreadable(err)
		return nil
	}
	f.Repository.Revision, f.Repository.Warnings = rev.ID, rev.Warnings
	desired, err := c.opts.Load(rev.Files)
	if err != nil {
		if !errors.As(err, &f.Problems) {
			f.Problems = spec.Problems{{Message: err.Error()}}
		}
		of := spec.LoadFleet(rev.Files)
		if of == nil {
			return nil
		}
		desired = &spec.Spec{Fleet: *of}
	}
	f.Desired = desired
	c.mu.Lock()
	defer c.mu.Unlock()
	unopened = map[string]string{}
	for _, h := range desired.Fleet.Hosts {
		if err := c.openHost(h); err != nil {
			unopened[h.Name] = strings.TrimPrefix(err.Error(), "host "+h.Name+": ")
			c.hosts[h.Name] = newHost(h, noEngine{name: h.Name, why: err.Error()})
		}
	}
	if err := c.openZones(desired); err != nil {
		c.outside = &outside{Names: external.New(external.Options{})} // which is found once more when they are examined
	}
	c.revision, c.desired = rev.ID, desired
	return unopened
}

// unreadable is a repository that gives no revision.
func unreadable(err error) doctor.Source {
	s := doctor.Source{Problem: err.Error()}
	var told remedied
	if errors.As(err, &told) {
		s.Problem, s.Remedy = told.Remedied()
	}
	return s
}

// ExamineNone is the report where the repository can't even be opened.
func ExamineNone(err error) doctor.Report {
	return doctor.Examine(doctor.Facts{Now: time.Now(), Repository: unreadable(err)})
}

// noEngine stands in for an engine that there is no way to.
type noEngine struct {
	Engine
	name, why string
}

func (e noEngine) Observe(context.Context, string) fleet.HostState {
	return fleet.HostState{Name: e.name, Problem: e.why}
}

func (noEngine) Close() error { return nil }

// examineHost asks one host how it is.
func (c *Controller) examineHost(ctx context.Context, name string, unopened map[string]string) doctor.Patient {
	p := doctor.Patient{Name: name, Unasked: unopened[name]}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	h := c.host(name)
	st := h.snapshot()
	asked, can := h.engine.(examinable)
	if can && st.Reachable {
		checkup, err := asked.Checkup(ctx, c.fleetName())
		if p.Checkup = &checkup; err != nil {
			p.Checkup, p.Problem = nil, err.Error()
		}
	}
	if can { // after the engine has shown its own
		p.Certificates = asked.Certificates()
	}
	if k, ok := h.keeper().(roomy); ok && st.Reachable {
		if room, err := k.Room(ctx); err == nil {
			p.Room = &room
		}
	}
	if st.Reachable && needsProgram(st, c.opts.KeeperVersion) && c.opts.KeeperImage != nil {
		image, err := c.opts.KeeperImage(st.Engine.Arch)
		if err != nil {
			p.NoProgram = err.Error()
		} else {
			_ = image.Close() // it was only tried
		}
	}
	return p
}

// needsProgram says whether a host has no keeper of the version that it is to have.
func needsProgram(st fleet.HostState, version int) bool {
	return !slices.ContainsFunc(st.Keepers, func(k fleet.KeeperContainer) bool { return k.Version >= version })
}

// examineImages asks the registries for all images, side by side.
func (c *Controller) examineImages(ctx context.Context, desired *spec.Spec) []doctor.Image {
	ctx, cancel := context.WithTimeout(ctx, registryPatient)
	defer cancel()
	var hosts []string
	for i := range desired.Fleet.Hosts {
		hosts = append(hosts, desired.Fleet.Hosts[i].Name)
	}
	wanted := map[string]spec.Pull{}
	for i := range desired.Environments {
		for j := range desired.Environments[i].Layers {
			l := &desired.Environments[i].Layers[j]
			if l.Pull != spec.PullNever && wanted[l.Image] != spec.PullAlways {
				wanted[l.Image] = l.Pull
			}
		}
	}
	images := make([]doctor.Image, 0, len(wanted))
	for ref, pull := range wanted {
		images = append(images, doctor.Image{Ref: ref, Pull: pull})
	}
	slices.SortFunc(images, func(a, b doctor.Image) int { return cmp.Compare(a.Ref, b.Ref) })
	var wg sync.WaitGroup
	for i := range images {
		wg.Go(func() { c.examineImage(ctx, &images[i], hosts) })
	}
	wg.Wait()
	return images
}

func (c *Controller) examineImage(ctx context.Context, m *doctor.Image, hosts []string) {
	r := plan.ImageRequest{Image: m.Ref, Pull: spec.PullAlways, Hosts: hosts} // always: what hosts have says nothing of registries
	there, _ := c.askHosts(ctx, r)
	for name := range there.IDs {
		m.On = append(m.On, name)
	}
	slices.Sort(m.On)
	digest, err := c.askAnybody(ctx, r)
	switch {
	case digest != "":
		return
	case err == nil:
		m.Problem = "none of the hosts is in reach to ask its registry"
	case ctx.Err() != nil:
		m.Problem = fmt.Sprintf("registry %s gave no answer within %s", fleet.Registry(m.Ref), registryPatient)
	default:
		m.Problem = err.Error()
	}
	m.Denied = errors.Is(err, fleet.ErrDenied) || err != nil && !c.hasCredentials(ctx, m.Ref)
	m.Absent = errors.Is(err, fleet.ErrNoImage) && settled(err) || errors.Is(err, fleet.ErrNowhere)
}

// askAnybody asks an image's registry by itself where no host is in reach to be asked too.
func (c *Controller) askAnybody(ctx context.Context, r plan.ImageRequest) (digest string, err error) {
	if digest, err = c.askRegistry(ctx, r, func([]string) {}); digest != "" || err != nil || c.opts.Registries == nil {
		return digest, err
	}
	as, err := c.credentials(ctx, r.Image)
	if err != nil {
		return "", err
	}
	return c.opts.Registries.Digest(ctx, r.Image, as, false)
}

// hasCredentials says whether those for an image could be read; none being asked for counts.
func (c *Controller) hasCredentials(ctx context.Context, ref string) bool {
	_, err := c.credentials(ctx, ref)
	return err == nil
}

// examineZones reads the zones at DNS providers, side by side, and asks whether they may be changed.
func (c *Controller) examineZones(ctx context.Context, desired *spec.Spec) []doctor.Zone {
	ctx, cancel := context.WithTimeout(ctx, zonePatience)
	defer cancel()
	var wg sync.WaitGroup
	zones := make([]doctor.Zone, len(desired.Fleet.External))
	denied := make([]error, len(zones))
	for i, z := range desired.Fleet.External {
		zones[i] = doctor.Zone{Name: z.Name, Zone: z.Zone}
		wg.Go(func() {
			zone, err := c.opts.OpenZone(z)
			if checked, can := zone.(checkable); err == nil && can {
				err = checked.Check(ctx)
			}
			denied[i] = err
		})
	}
	wg.Wait()
	views := c.external().Views()
	for i := range zones {
		z, err := &zones[i], denied[i]
		if at := slices.IndexFunc(views, func(v external.View) bool { return v.Provider == z.Name }); at >= 0 {
			z.Records, z.Read = views[at].Records, views[at].Problem == nil && !views[at].At.IsZero()
			err = cmp.Or(views[at].Problem, err) // which is the plan's word too
		}
		if err != nil {
			z.Problem, z.Denied, z.Unset = err.Error(), errors.Is(err, fleet.ErrDenied), errors.Is(err, fleet.ErrNoSecret)
		}
	}
	return zones
}

// listening are those of the ports on which something answers.
func (c *Controller) listening(ctx context.Context, desired *spec.Spec, ports []doctor.HostPort) []doctor.HostPort {
	ctx, cancel := context.WithTimeout(ctx, listenPatience)
	defer cancel()
	answers := make([]bool, len(ports))
	var wg sync.WaitGroup
	for i, p := range ports {
		wg.Go(func() {
			address := net.JoinHostPort(desired.Fleet.Host(p.Host).Address, strconv.Itoa(int(p.Port)))
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err == nil {
				answers[i] = true
				conn.Close()
			}
		})
	}
	wg.Wait()
	var list []doctor.HostPort
	for i, p := range ports {
		if answers[i] {
			list = append(list, p)
		}
	}
	return list
}
