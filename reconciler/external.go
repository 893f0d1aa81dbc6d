package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/names"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

const (
	// readZones is how often, at least, a run reads the zones at providers: they tell nobody of changes.
	readZones = 45 * time.Second
	// externalPatience is how long a node waits for zones that can't be asked now, and externalRetry how often they are.
	externalPatience = 20 * time.Second
	externalRetry    = 2 * time.Second
)

// outside is what a controller has of zones at DNS providers. The zero value has none.
type outside struct {
	*external.Names
	fleet    string
	zones    []spec.ExternalZone
	unread   atomic.Bool // they are new
	reading  errand
	settling errand

	mu       sync.Mutex
	settled  int       // the number of the newest input when the last settling ended
	notUntil time.Time // before which nothing is tried again
	trouble  string    // why records could not be changed the last time
}

// openZones opens the zones of a revision, where they are others than before. c.mu is held.
func (c *Controller) openZones(desired *spec.Spec) error {
	if c.outside.fleet == desired.Fleet.Name && slices.Equal(c.outside.zones, desired.Fleet.External) {
		return nil
	}
	o := &outside{fleet: desired.Fleet.Name, zones: desired.Fleet.External}
	var providers []external.Provider
	for _, z := range o.zones {
		records, err := c.opts.OpenZone(z)
		if err != nil {
			return fmt.Errorf("the zone %s: %w", z.Zone, err)
		}
		providers = append(providers, external.Provider{Name: z.Name, Zone: z.Zone, Records: records})
	}
	o.Names = external.New(external.Options{
		Fleet: desired.Fleet.Name, Only: c.opts.Only, Providers: providers,
		Wanted: c.wantedNames, Before: c.unsay, Leads: c.leads, MayLead: c.mayLead, May: c.mayWriteOutside, Ending: c.isEnding, Changed: c.recordChanged,
	})
	o.Succeed(c.outside.Names)
	o.unread.Store(true)
	c.outside = o
	return nil
}

func (c *Controller) external() *outside {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outside
}

// wantedNames is what is wanted of a zone now.
func (c *Controller) wantedNames(provider string) external.Wanted {
	w, keep := c.wishes()
	if w.Desired == nil {
		return external.Wanted{Keep: keep}
	}
	c.mu.Lock()
	said := c.said.of(provider)
	c.mu.Unlock()
	return external.Wanted{Names: names.Desired(w)[provider], Keep: keep, Said: said, ReportOnly: !w.Desired.Fleet.SelfHeal}
}

// wishes is what external names are worked out from now. Before a plan of the revision in force has been made it
// isn't known whether the names that it doesn't have may go.
func (c *Controller) wishes() (w names.Wishes, keep bool) {
	observed := c.observed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nothing {
		return names.Wishes{}, false
	}
	return names.Wishes{Desired: c.desired, Observed: observed, Out: c.outNow()},
		c.desired == nil || c.plan.Revision != c.revision || c.plan.KeepNames
}

// outNow says which nodes are kept out of their external names at this moment. c.mu is held.
func (c *Controller) outNow() func(fleet.NodeID) bool {
	now, damping := time.Now(), c.damping.Clone()
	out := make(map[fleet.NodeID]bool, len(c.out))
	for n := range c.out {
		out[n] = true
	}
	return func(n fleet.NodeID) bool { return out[n] || damping.Out(now, n) }
}

// noteHealth takes in how nodes are that external names lead to.
func (c *Controller) noteHealth(observed fleet.Observed) {
	c.mu.Lock()
	var news []string
	if named := c.named(); len(named) > 0 {
		nodes := fleet.Nodes(observed)
		for i := range nodes {
			n := &nodes[i]
			in := n.CurrentInstance()
			if !named[n.LayerID()] || in == nil || n.Unproven || c.out[n.NodeID] != "" {
				continue // what is worked on is out anyway
			}
			if proof := c.damping.See(time.Now(), n.NodeID, n.Unfit(in) != "" || fleet.Unhealthy(observed, n)); proof > 0 {
				news = append(news, fmt.Sprintf("the health of %s comes and goes: external names lead to it again once it has stayed healthy for %s", n.NodeID, proof))
			}
		}
	}
	c.mu.Unlock()
	for _, text := range news {
		c.notice("warning", "", text)
	}
}

// named are the layers that external names lead to. c.mu is held.
func (c *Controller) named() map[fleet.LayerID]bool {
	named := map[fleet.LayerID]bool{}
	for i := range c.desired.Environments {
		for _, x := range c.desired.Environments[i].DNS {
			named[fleet.LayerID{Environment: c.desired.Environments[i].Name, Layer: x.Layer}] = true
		}
	}
	return named
}

func (c *Controller) leads(node fleet.NodeID) []names.Data {
	w, _ := c.wishes()
	if w.Desired == nil {
		return nil
	}
	return names.Leads(w.Desired, w.Observed, node)
}

// mayLead says whether a zone of which nothing is known may lead to a node.
func (c *Controller) mayLead(provider string, node fleet.NodeID) bool {
	observed := c.observed()
	c.mu.Lock()
	defer c.mu.Unlock()
	z := c.desired.Fleet.ExternalZone(provider)
	if z == nil {
		return false
	}
	publishes := false
	for i := range observed.Hosts {
		publishes = publishes || slices.ContainsFunc(observed.Hosts[i].Instances, func(in fleet.Instance) bool {
			return in.NodeID == node && len(in.Published) > 0
		})
	}
	return fleet.NewestCopy(observed).MayLead(z.Zone, node.LayerID(), publishes)
}

// mayWriteOutside says whether the lease is ours: a provider can't be fenced.
func (c *Controller) mayWriteOutside() error {
	if held := c.yield.Load(); held != nil {
		return held
	}
	err := fmt.Errorf("%w: no host is in reach", fleet.ErrFenced)
	var read, keepers int // hosts, and what on them could grant a lease
	for _, h := range c.wantedHosts() {
		if _, err = h.writable(); err == nil {
			return nil
		}
		if st := h.snapshot(); st.Reachable {
			read, keepers = read+1, keepers+len(st.Keepers)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nothing && read > 0 && keepers == 0 {
		return nil // an earlier uninstall has removed them, and could not remove the records
	}
	return err
}

// recordChanged tells of a change of an external record.
func (c *Controller) recordChanged(p external.Provider, change names.Change, err error) {
	c.mu.Lock()
	if c.nothing && change.Operation == names.Delete {
		c.cleared[p.Name+" "+change.Was.ID] = err == nil
	}
	c.mu.Unlock()
	_, environment, _ := strings.Cut(change.Record.Owner, "/")
	s := HostStep{
		Time: time.Now(), Revision: c.currentRevision(), Operation: string(change.Operation), What: "record",
		Name: change.Record.String(), Node: fleet.NodeID{Environment: environment}, Cause: change.Why,
	}
	if err != nil {
		s.Error = err.Error() // which whoever asked for it says
	} else {
		c.notice("info", "", s.String())
	}
	c.stepped(s)
}

// lookAtAll reads all hosts and zones, side by side.
func (c *Controller) lookAtAll(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.external().Read(ctx) }) // what went wrong is in the views
	c.observeAll(ctx)
	wg.Wait()
}

// zonesPatience is how long a pass waits for zones before it begins with what needs none of them.
const zonesPatience = 2 * time.Second

// lookBeside reads all hosts, and zones for as long as those take and a little longer: one that takes its time is
// taken in when it answers, and a pass isn't over before.
func (c *Controller) lookBeside(ctx, beside context.Context, stop <-chan struct{}) {
	var read <-chan struct{}
	if o := c.external(); len(o.zones) > 0 {
		read, _ = o.reading.start(&c.choring, func() {
			o.reading.begin()
			ctx, cancel := context.WithCancel(beside)
			defer cancel()
			c.besides.Go(func() {
				select {
				case <-stop:
					cancel()
				case <-ctx.Done():
				}
			})
			_ = o.Read(ctx) // what went wrong is in the views
			c.kick()
		})
	}
	patience := time.NewTimer(zonesPatience)
	defer patience.Stop()
	c.observeAll(ctx)
	if read == nil {
		return
	}
	select {
	case <-read:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// awaitsZones says whether zones are being read that this controller has anything to do with.
func (c *Controller) awaitsZones() bool {
	o := c.external()
	if !o.reading.underway() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.desired.Environments, func(e spec.Environment) bool {
		return len(e.DNS) > 0 && (c.opts.Only == "" || c.opts.Only == e.Name)
	})
}

// readOutside has the zones read aside.
func (c *Controller) readOutside(ctx context.Context) {
	o := c.external()
	if len(o.zones) == 0 {
		return
	}
	o.reading.start(&c.besides, func() {
		o.reading.begin()
		_ = o.Read(ctx) // what went wrong is in the views
		c.kick()
	})
}

// readNewZones has zones read that a revision has brought: nothing else asks for it, and nodes wait for it.
func (c *Controller) readNewZones(ctx context.Context) {
	if c.external().unread.Swap(false) {
		c.readOutside(ctx)
	}
}

// zonesSeen are the zones as a plan is given them. c.mu is held.
func (c *Controller) zonesSeen() []plan.Zone {
	var zones []plan.Zone
	for _, v := range c.outside.Views() {
		z := plan.Zone{Name: v.Provider, Records: v.Records, Altered: v.Altered, Seen: !v.At.IsZero()}
		switch {
		case v.Problem != nil:
			z.Problem = v.Problem.Error()
		case v.At.IsZero():
			z.Problem = "it has not been read yet"
		}
		zones = append(zones, z)
	}
	return zones
}

// settleOutside begins what the plan of that number has to be changed at providers, unless that is under way, failed a
// moment ago, or has ended since the plan's input was gathered.
func (c *Controller) settleOutside(ctx context.Context, p plan.Plan, number int) {
	o := c.external()
	if !p.Due {
		o.calm(number)
	}
	if !p.Due || !c.leading.Load() || c.isEnding() || o.settling.underway() || !o.due(number) {
		return
	}
	o.settling.start(&c.choring, func() {
		o.settling.begin()
		err := o.Settle(ctx)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		newest := c.inputs
		c.mu.Unlock()
		if o.ended(newest, err) {
			c.notice("error", "", err.Error()+" (it is tried again)")
		}
		c.kick()
	})
}

func (o *outside) due(number int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return number > o.settled && !time.Now().Before(o.notUntil)
}

// calm forgets the trouble of a settling that has nothing left to do by what has been seen since, in zones that can
// be read: what could not be changed then was changed with a node, or isn't wanted any more.
func (o *outside) calm(number int) {
	if slices.ContainsFunc(o.Views(), func(v external.View) bool { return v.Problem != nil || v.At.IsZero() }) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if number > o.settled {
		o.trouble, o.notUntil = "", time.Time{}
	}
}

// ended notes how a settling ended, and says whether that is news of trouble.
func (o *outside) ended(newest int, err error) (news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.settled, o.notUntil = newest, time.Time{}
	before := o.trouble
	o.trouble = ""
	if err != nil {
		o.trouble, o.notUntil = err.Error(), time.Now().Add(choreRetry)
	}
	return err != nil && o.trouble != before
}

// problems are why records could not be changed the last time.
func (o *outside) problems() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.trouble == "" {
		return nil
	}
	return strings.Split(o.trouble, "\n")
}

// patiently tries something at a provider again for a while where it can't be asked now.
func patiently(ctx context.Context, try func() error) error {
	for begun := time.Now(); ; {
		err := try()
		final := errors.Is(err, fleet.ErrDenied) || errors.Is(err, fleet.ErrConflict) || errors.Is(err, fleet.ErrFenced)
		if err == nil || final || time.Since(begun) >= externalPatience {
			return err
		}
		select {
		case <-time.After(externalRetry):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave takes a node out of its external names, and says what becomes of them.
func (o *outside) leave(ctx context.Context, id fleet.NodeID) (l names.Leave, err error) {
	if len(o.zones) == 0 {
		return names.Leave{}, nil
	}
	err = patiently(ctx, func() error {
		l, err = o.Withdraw(ctx, id)
		return err
	})
	return l, err
}

// comeBack puts a node back into its external names.
func (o *outside) comeBack(ctx context.Context, id fleet.NodeID) error {
	if len(o.zones) == 0 {
		return nil
	}
	return patiently(ctx, func() error { return o.Restore(ctx, id) })
}

// clearOutside removes all of the fleet's records, and says how many.
func (c *Controller) clearOutside(ctx context.Context) (removed int, err error) {
	o := c.external()
	c.mu.Lock()
	c.nothing = true
	c.mu.Unlock()
	if err = o.Settle(ctx); err != nil {
		err = fmt.Errorf("external records: %w (what is left of them goes when uninstall is run again)", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range o.Views() { // an answer may have been lost of what was done
		for i := range v.Records {
			if v.Problem == nil {
				delete(c.cleared, v.Provider+" "+v.Records[i].ID)
			}
		}
		if v.Problem != nil {
			maps.DeleteFunc(c.cleared, func(key string, done bool) bool { return !done && strings.HasPrefix(key, v.Provider+" ") })
		}
	}
	return len(c.cleared), err
}

// status says what is known of the zones.
func (o *outside) status(fleetName string) []ZoneStatus {
	var all []ZoneStatus
	for i, v := range o.Views() {
		s := ZoneStatus{Name: v.Provider, Zone: o.zones[i].Zone, Read: v.At}
		if v.Problem != nil {
			s.Problem = v.Problem.Error()
		}
		for j := range v.Records {
			if fleet.DNSOwnerFleet(v.Records[j].Owner) == fleetName {
				s.Records++
			}
		}
		all = append(all, s)
	}
	return all
}
