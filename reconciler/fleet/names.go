package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The labels that everything evenkeel makes carries. Others build on them: they never change their meaning.
const (
	LabelFleet       = "dev.evenkeel.fleet"
	LabelEnvironment = "dev.evenkeel.environment"
	LabelLayer       = "dev.evenkeel.layer"
	LabelNode        = "dev.evenkeel.node"
	LabelGeneration  = "dev.evenkeel.generation"
	LabelWritten     = "dev.evenkeel.written"
	LabelSpec        = "dev.evenkeel.spec"
	LabelImage       = "dev.evenkeel.image"
	LabelRevision    = "dev.evenkeel.revision"
	// LabelMended is on a container that was made since files in the one before it had been changed: how often
	// in a row.
	LabelMended = "dev.evenkeel.mended"
	// LabelOnRemove is on a node's volume: what becomes of it when its node is removed for good, as it was
	// wished when the volume was made. Without the label it is kept.
	LabelOnRemove = "dev.evenkeel.on-remove"
	// LabelRole is on evenkeel's own containers, networks and volumes: RoleKeeper and its like.
	LabelRole = "dev.evenkeel.role"
	// LabelVersion is the keeper's version number, on its container and image.
	LabelVersion = "dev.evenkeel.version"
)

// The roles of evenkeel's own containers.
const (
	RoleKeeper = "keeper"
	RoleLinks  = "links"
	RoleHelper = "helper" // a short look inside a node's network; removed when it ends
)

// NodeID names a node of a fleet, for its life.
type NodeID struct {
	Environment string
	Layer       string
	Node        int // the ordinal, from 1
}

// String is how people are shown a node: shop/web/3.
func (n NodeID) String() string {
	return n.Environment + "/" + n.Layer + "/" + strconv.Itoa(n.Node)
}

// LayerID returns the node's layer.
func (n NodeID) LayerID() LayerID { return LayerID{n.Environment, n.Layer} }

// Compare orders nodes by environment, layer and ordinal.
func (n NodeID) Compare(m NodeID) int {
	if c := n.LayerID().Compare(m.LayerID()); c != 0 {
		return c
	}
	return n.Node - m.Node
}

// LayerID names a layer of a fleet.
type LayerID struct {
	Environment string
	Layer       string
}

// String is how people are shown a layer: shop/web.
func (l LayerID) String() string { return l.Environment + "/" + l.Layer }

// MarshalText writes the layer as people are shown it.
func (l LayerID) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *LayerID) UnmarshalText(text []byte) error {
	environment, layer, ok := strings.Cut(string(text), "/")
	if !ok {
		return fmt.Errorf("%q is no layer: want environment/layer", text)
	}
	*l = LayerID{environment, layer}
	return nil
}

// Compare orders layers by environment, then by name.
func (l LayerID) Compare(m LayerID) int {
	if c := strings.Compare(l.Environment, m.Environment); c != 0 {
		return c
	}
	return strings.Compare(l.Layer, m.Layer)
}

// ContainerName is the name of one instance's container. The underscore is in no DNS label, so a
// container's name can't be mistaken for a node's.
func ContainerName(fleet string, n NodeID, generation int) string {
	return fmt.Sprintf("%s_%s_%s_%d_g%d", fleet, n.Environment, n.Layer, n.Node, generation)
}

// NetworkName is the name of an environment's network on each of its hosts.
func NetworkName(fleet, environment string) string { return "evenkeel_" + fleet + "_" + environment }

// VolumeName is the name of a node's volume.
func VolumeName(fleet string, n NodeID, volume string) string {
	return fmt.Sprintf("%s_%s_%s_%d_%s", fleet, n.Environment, n.Layer, n.Node, volume)
}

// KeeperName is the name of the keeper's container.
func KeeperName(fleet string) string { return "evenkeel-keeper-" + fleet }

// SuccessorName is the name of a keeper that is about to take the place of the one with that name.
func SuccessorName(keeper string) string { return keeper + "-next" }

// KeeperVolume is the name of the volume on which a keeper keeps its zone and records.
func KeeperVolume(fleet string) string { return "evenkeel-keeper-" + fleet }

// LinksName is the name of the container that joins a host's networks to those of other hosts, and of its volume.
func LinksName(fleet string) string { return "evenkeel-links-" + fleet }

// BridgeName is the device that an environment's network is on its hosts. It is short enough for one.
func BridgeName(fleet, environment string) string {
	sum := sha256.Sum256([]byte(fleet + "/" + environment))
	return "ekb" + hex.EncodeToString(sum[:5])
}

// UplinkName is the name of the network that a keeper forwards through. Its first byte sorts it before
// all others, since Docker takes the default route from the first network by name.
func UplinkName(fleet string) string { return "0-evenkeel-" + fleet }

// Hostname is what a node calls itself.
func Hostname(n NodeID) string { return "node" + strconv.Itoa(n.Node) }

// LayerDomain is the layer's name in the internal zone, without a trailing dot: web.shop.internal.
func LayerDomain(l LayerID, zone string) string { return l.Layer + "." + l.Environment + "." + zone }

// NodeDomain is the node's name in the internal zone, without a trailing dot: node3.web.shop.internal.
func NodeDomain(n NodeID, zone string) string {
	return Hostname(n) + "." + LayerDomain(n.LayerID(), zone)
}

// Short is a revision as people write it: enough of a commit's hash, or of a directory's.
func Short(revision string) string {
	n := 8
	if strings.HasPrefix(revision, "dir-") {
		n += len("dir-")
	}
	return revision[:min(n, len(revision))]
}
