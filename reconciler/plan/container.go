package plan

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// pidsLimit is the most processes that a node may have. Of an instance it is the one of the version in its `.spec`,
// should another version ever have another.
const pidsLimit = 4096

// defaultCapabilities are what a node may do without asking for more.
var defaultCapabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"}

// ContainerInput is what the container of an instance follows from.
type ContainerInput struct {
	Fleet      string
	Zone       string // the internal zone, without a trailing dot
	Revision   string
	Node       fleet.NodeID
	Layer      *spec.Layer
	Generation int
	Host       string
	// Image is the digest, or the ID of an image that is only on the host.
	Image   string
	Network EnvironmentNetwork
	Address netip.Addr
	Limits  fleet.Limits
	Mended  int // see fleet.Instance
}

// Container is what an engine is asked to create for an instance: what is written for the layer, and the
// safe default where nothing is.
func Container(in ContainerInput) fleet.Container {
	l := in.Layer
	c := fleet.Container{
		NodeID: in.Node, Generation: in.Generation, Host: in.Host,
		Name: fleet.ContainerName(in.Fleet, in.Node, in.Generation), Image: in.Image, Labels: labels(in),
		Command: l.Command, Entrypoint: l.Entrypoint, WorkingDir: l.WorkingDir, User: l.User, Init: l.Init,
		Env: environment(l.Env), Hostname: fleet.Hostname(in.Node), Domainname: fleet.LayerDomain(in.Node.LayerID(), in.Zone),
		Network: fleet.NetworkName(in.Fleet, in.Node.Environment), Address: in.Address,
		// Never an ndots option: with one, Docker answers single labels itself, with nothing.
		DNS: []netip.Addr{in.Network.Keeper}, DNSOpts: []string{"timeout:1", "attempts:5"}, Search: []string{"."},
		Logging: l.Logging, Tmpfs: l.Tmpfs, Ulimits: l.Ulimits, Volumes: mounts(in), HostPaths: l.Security.HostPaths,
		Privileged: l.Security.Privileged, Capabilities: capabilities(l.Security.Capabilities), ReadOnly: l.Security.ReadOnly,
		Limits:     in.Limits,
		StopSignal: l.Stop.Signal, StopGrace: l.Stop.Grace,
		Restart: RestartPolicy,
		Files:   l.Files,
	}
	for i := range l.Ports {
		p := fleet.Published{Port: l.Ports[i].Port, Protocol: l.Ports[i].Protocol}
		if l.Ports[i].Publish == nil {
			c.Exposed = append(c.Exposed, p)
			continue
		}
		p.HostPort = *l.Ports[i].Publish
		c.Ports = append(c.Ports, p)
	}
	if h := l.HealthCheck; h != nil {
		c.NoHealthCheck = h.Exec == nil
		if h.Exec != nil {
			c.Exec = h
		}
	}
	return c
}

// labels are the user's and ours; ours win.
func labels(in ContainerInput) map[string]string {
	m := make(map[string]string, len(in.Layer.Labels)+9)
	for k, v := range in.Layer.Labels {
		m[k] = v
	}
	m[fleet.LabelFleet] = in.Fleet
	m[fleet.LabelEnvironment] = in.Node.Environment
	m[fleet.LabelLayer] = in.Node.Layer
	m[fleet.LabelNode] = strconv.Itoa(in.Node.Node)
	m[fleet.LabelGeneration] = strconv.Itoa(in.Generation)
	m[fleet.LabelWritten] = in.Layer.Written
	m[fleet.LabelSpec] = in.Layer.Hash
	m[fleet.LabelImage] = in.Image
	m[fleet.LabelRevision] = in.Revision
	if in.Mended > 0 {
		m[fleet.LabelMended] = strconv.Itoa(in.Mended)
	}
	return m
}

func environment(env map[string]string) []string {
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

func mounts(in ContainerInput) []fleet.Mount {
	var m []fleet.Mount
	for i := range in.Layer.Volumes {
		v := &in.Layer.Volumes[i]
		of := map[string]string{
			fleet.LabelFleet:       in.Fleet,
			fleet.LabelEnvironment: in.Node.Environment,
			fleet.LabelLayer:       in.Node.Layer,
			fleet.LabelNode:        strconv.Itoa(in.Node.Node),
		}
		if v.OnRemove == spec.OnRemoveDelete {
			of[fleet.LabelOnRemove] = string(v.OnRemove)
		}
		m = append(m, fleet.Mount{Name: fleet.VolumeName(in.Fleet, in.Node, v.Name), Target: v.Path, Labels: of})
	}
	return m
}

func capabilities(more []string) []string {
	all := append(slices.Clone(defaultCapabilities), more...)
	slices.Sort(all)
	return slices.Compact(all)
}

// buildContainers fills in what the layer's creates and redeploys make.
func (w *world) buildContainers(l *layer) {
	kept := l.out.Operations[:0]
	for _, op := range l.out.Operations {
		if op.Kind != Create && op.Kind != Redeploy || op.Candidate != nil {
			kept = append(kept, op)
			continue
		}
		addr, ok := w.address(l, &op)
		if !ok {
			l.wait(w.find(op.ID), "no address is free in "+w.subnets[l.id.Environment].prefix.String())
			continue
		}
		c := Container(ContainerInput{
			Fleet: w.fleet.Name, Zone: w.fleet.Internal.Zone, Revision: w.in.Revision, Node: op.ID, Layer: l.spec,
			Generation: w.generation(w.find(op.ID)), Host: op.Host, Image: l.image.on(op.Host),
			Network: *w.network(l.id.Environment, op.Host), Address: addr, Limits: w.limits(l, op.Host, true),
			Mended: w.mended(l, &op),
		})
		op.Container = &c
		if l.spec.Pull != spec.PullNever && pinned(c.Image) {
			op.Pull, op.Image = c.Image, l.spec.Image
		}
		kept = append(kept, op)
	}
	l.out.Operations = kept
}

// address is the current instance's for a redeploy, since the one stops before the other starts, and else
// the lowest free one.
func (w *world) address(l *layer, op *Operation) (netip.Addr, bool) {
	s := w.subnets[l.id.Environment]
	if op.Kind == Redeploy && s.ofNodes(op.Instance.Address) && !w.clashes(op.Instance) {
		return op.Instance.Address, true
	}
	return s.allocate()
}

// ofNodes says whether an address is in the nodes' part of the subnet.
func (s *subnet) ofNodes(a netip.Addr) bool {
	o := s.offset(a)
	return o >= nodeBase && o < dockersBase
}
