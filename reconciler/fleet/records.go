package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
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
func (k *KeeperState) Applied() []Applied {
	var all []Applied
	for _, r := range k.withPrefix(appliedPrefix) {
		environment, layer, ok := strings.Cut(strings.TrimPrefix(r.Key, appliedPrefix), "/")
		var a AppliedRecord
		if ok && json.Unmarshal(r.Value, &a) == nil {
			all = append(all, Applied{LayerID{environment, layer}, a})
		}
	}
	return all
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

// CurrentKey is the key of a node's CurrentRecord.
func CurrentKey(n NodeID) string { return nodeKey("current", n) }

// RestartKey is the key of a node's RestartRecord.
func RestartKey(n NodeID) string { return nodeKey("restart", n) }

// PausePrefix is what the keys of all PauseRecords begin with.
const PausePrefix = "pause/"

// PauseKey is the key of a layer's PauseRecord.
func PauseKey(l LayerID) string { return PausePrefix + l.Environment + "/" + l.Layer }

func nodeKey(kind string, n NodeID) string {
	return fmt.Sprintf("%s/%s/%s/%d", kind, n.Environment, n.Layer, n.Node)
}

// Record finds a record by its key and decodes it; false: there is none that can be read.
func (k *KeeperState) Record(key string, into any) bool {
	if k == nil {
		return false
	}
	i, ok := slices.BinarySearchFunc(k.Records, key, func(r Record, key string) int { return strings.Compare(r.Key, key) })
	return ok && json.Unmarshal(k.Records[i].Value, into) == nil
}

// ProbeResult finds what the probes say of an instance; false: the keeper doesn't know it.
func (k *KeeperState) ProbeResult(instance string) (ProbeResult, bool) {
	if k == nil {
		return ProbeResult{}, false
	}
	for _, r := range k.Health {
		if r.Instance == instance {
			return r, true
		}
	}
	return ProbeResult{}, false
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
