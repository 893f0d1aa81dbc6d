package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/spec"
)

// CurrentRecord says which generation of a node was last found healthy. Key: current/<env>/<layer>/<n>.
type CurrentRecord struct {
	Generation int `json:"generation"`
}

// RestartRecord says which restart text a node has had, and how long its process had been running when
// the restart for it was asked for. It is done when StartedAt is later. Key: restart/<env>/<layer>/<n>.
type RestartRecord struct {
	Text      string    `json:"text"`
	StartedAt time.Time `json:"startedAt"`
}

// PauseRecord holds a layer's intrusive operations back. Key: pause/<env>/<layer>.
type PauseRecord struct {
	// Hash is spec.Layer.LayerHash at the time; another one voids the pause.
	Hash string `json:"hash"`
	// Node is the one that failed; its serving voids the pause.
	Node  int       `json:"node"`
	Cause string    `json:"cause"`
	Time  time.Time `json:"time"`
}

// AppliedRecord is what a layer was last brought to. Key: applied/<env>/<layer>.
type AppliedRecord struct {
	Hash string `json:"hash"` // spec.Layer.LayerHash
	// Limits are those that the hash doesn't tell: what is written in cloudlets follows from the Fleet.
	Limits string `json:"limits"`
}

// AppliedOf is the record of a layer that was brought to its spec.
func AppliedOf(l *spec.Layer) AppliedRecord {
	return AppliedRecord{Hash: l.LayerHash, Limits: fmt.Sprintf("%d %d %d %d", l.Limit.Memory, l.Limit.CPU, l.Reservation.Memory, l.Reservation.CPU)}
}

const appliedPrefix = "applied/"

// AppliedKey is the key of a layer's AppliedRecord.
func AppliedKey(l LayerID) string { return appliedPrefix + l.Environment + "/" + l.Layer }

// Applied is an AppliedRecord with its layer.
type Applied struct {
	Layer LayerID
	AppliedRecord
}

// Applied are the specs that layers with nodes on the keeper's host were last brought to, sorted by layer.
func (k *KeeperState) Applied() []Applied { return k.AppliedRead(Read[AppliedRecord]{}) }

// AppliedRead is Applied, with what was read of other keepers' records already.
func (k *KeeperState) AppliedRead(read Read[AppliedRecord]) []Applied {
	var all []Applied
	for _, r := range k.withPrefix(appliedPrefix) {
		environment, layer, ok := strings.Cut(strings.TrimPrefix(r.Key, appliedPrefix), "/")
		if !ok {
			continue
		}
		if a := read.Value(r.Value); a != nil {
			all = append(all, Applied{LayerID{environment, layer}, *a})
		}
	}
	return all
}

// Read are the values of records of one kind that have been read already, by their texts: in a large fleet most
// records of a kind say the same as others, and each text is parsed once.
type Read[T any] map[string]*T

// Value returns what a record's text says, for all records that say the same; nil: it can't be read.
func (r Read[T]) Value(text json.RawMessage) *T {
	v, known := r[string(text)]
	if !known {
		v = new(T)
		if json.Unmarshal(text, v) != nil {
			v = nil
		}
		r[string(text)] = v
	}
	return v
}

// Record is [KeeperState.Record] of such a record.
func (r Read[T]) Record(k *KeeperState, key string) (T, bool) {
	if text := k.text(key); text != nil {
		if v := r.Value(text); v != nil {
			return *v, true
		}
	}
	return *new(T), false
}

// Paused are the nodes whose failure paused their layers, as far as the keeper knows, by the layer's hash.
func (k *KeeperState) Paused() map[NodeID]string {
	var all map[NodeID]string
	for _, r := range k.withPrefix(PausePrefix) {
		environment, layer, ok := strings.Cut(strings.TrimPrefix(r.Key, PausePrefix), "/")
		var p PauseRecord
		if !ok || json.Unmarshal(r.Value, &p) != nil {
			continue
		}
		if all == nil {
			all = map[NodeID]string{}
		}
		all[NodeID{environment, layer, p.Node}] = p.Hash
	}
	return all
}

// withPrefix are the records whose keys begin so.
func (k *KeeperState) withPrefix(prefix string) []Record {
	if k == nil {
		return nil
	}
	compare := func(r Record, key string) int { return strings.Compare(r.Key, key) }
	first, _ := slices.BinarySearchFunc(k.Records, prefix, compare)
	last := first
	for last < len(k.Records) && strings.HasPrefix(k.Records[last].Key, prefix) {
		last++
	}
	return k.Records[first:last]
}

// ImageRecord is an image that evenkeel pulled onto a host, so that it may be removed again. Key:
// image/<its ID>.
type ImageRecord struct {
	ID          string    `json:"id"`
	Ref         string    `json:"ref"` // as it was pulled
	Environment string    `json:"environment"`
	Layer       string    `json:"layer"`
	UnusedSince time.Time `json:"unusedSince"` // zero: an instance is made of it
	// Written is the image as the layer named it, and Pulled when it was pulled for that.
	Written string    `json:"written,omitempty"`
	Pulled  time.Time `json:"pulled,omitzero"`
}

// ImageKey is the key of an ImageRecord.
func ImageKey(id string) string { return imagePrefix + strings.TrimPrefix(id, "sha256:") }

const imagePrefix = "image/"

// Images are the images that evenkeel pulled onto the keeper's host.
func (k *KeeperState) Images() []ImageRecord {
	if k == nil {
		return nil
	}
	var images []ImageRecord
	for _, r := range k.Records {
		var i ImageRecord
		if strings.HasPrefix(r.Key, imagePrefix) && json.Unmarshal(r.Value, &i) == nil {
			images = append(images, i)
		}
	}
	return images
}

// LastPulled is the image that was pulled last for an image as written, on any host in reach; false: none was.
func LastPulled(o Observed, written string) (last ImageRecord, found bool) {
	for i := range o.Hosts {
		for _, r := range o.Hosts[i].Keeper.Images() {
			if r.Written == written && (!found || r.Pulled.After(last.Pulled)) {
				last, found = r, true
			}
		}
	}
	return last, found
}

// What the keys of the records of nodes begin with.
const (
	currentPrefix = "current/"
	restartPrefix = "restart/"
)

// CurrentKey is the key of a node's CurrentRecord.
func CurrentKey(n NodeID) string { return nodeKey(currentPrefix, n) }

// RestartKey is the key of a node's RestartRecord.
func RestartKey(n NodeID) string { return nodeKey(restartPrefix, n) }

// PausePrefix is what the keys of all PauseRecords begin with.
const PausePrefix = "pause/"

// PauseKey is the key of a layer's PauseRecord.
func PauseKey(l LayerID) string { return PausePrefix + l.Environment + "/" + l.Layer }

// RecordedNode is the node that a CurrentRecord or a RestartRecord is of; false: the key is of another record.
func RecordedNode(key string) (n NodeID, ok bool) {
	if n, ok := RestartedNode(key); ok {
		return n, true
	}
	return nodeOf(currentPrefix, key)
}

// RestartedNode is the node that a RestartRecord is of; false: the key is of another record.
func RestartedNode(key string) (n NodeID, ok bool) { return nodeOf(restartPrefix, key) }

func nodeKey(prefix string, n NodeID) string {
	return prefix + n.Environment + "/" + n.Layer + "/" + strconv.Itoa(n.Node)
}

// nodeOf reads the node out of what nodeKey made.
func nodeOf(prefix, key string) (NodeID, bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return NodeID{}, false
	}
	environment, rest, _ := strings.Cut(rest, "/")
	layer, ordinal, _ := strings.Cut(rest, "/")
	node, err := strconv.Atoi(ordinal)
	return NodeID{environment, layer, node}, err == nil
}

// Record finds a record by its key and decodes it; false: there is none that can be read.
func (k *KeeperState) Record(key string, into any) bool {
	text := k.text(key)
	return text != nil && json.Unmarshal(text, into) == nil
}

// text is a record's value; nil: there is none.
func (k *KeeperState) text(key string) json.RawMessage {
	if k == nil {
		return nil
	}
	i, ok := sort.Find(len(k.Records), func(i int) int { return strings.Compare(key, k.Records[i].Key) })
	if !ok {
		return nil
	}
	return k.Records[i].Value
}

// ProbeResult finds what the probes say of an instance; false: the keeper doesn't know it.
func (k *KeeperState) ProbeResult(instance string) (ProbeResult, bool) {
	if k == nil {
		return ProbeResult{}, false
	}
	i, found := sort.Find(len(k.Health), func(i int) int { return strings.Compare(instance, k.Health[i].Instance) }) // as keepers sort them
	if !found {
		i = slices.IndexFunc(k.Health, func(r ProbeResult) bool { return r.Instance == instance })
	}
	if i < 0 {
		return ProbeResult{}, false
	}
	return k.Health[i], true
}

// WithRecord returns the records with one put in its place; without a value it is taken out. The slice
// that is given stays as it is.
func WithRecord(records []Record, r Record) []Record {
	i, found := slices.BinarySearchFunc(records, r.Key, func(r Record, key string) int { return strings.Compare(r.Key, key) })
	next := slices.Clone(records)
	switch {
	case found && r.Value == nil:
		return slices.Delete(next, i, i+1)
	case found:
		next[i] = r
		return next
	case r.Value == nil:
		return next
	}
	return slices.Insert(next, i, r)
}
