package spec

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/schema"
)

// hashVersion is raised when the way to the hash changes: old hashes then say that they are old ones.
const hashVersion = "v1"

// unhashed are the keys that don't make a node another one: its scale, its place, its pace and its
// resources change without a new container.
var unhashed = []string{"replicas", "updatePolicy", "placement", "dependsOn", "cloudlets", "resources", "pull", "restart"}

// canonical fills in what is written for the layer in its one form, and the hashes of it.
func (l *layerReader) canonical(fleet string) {
	written := map[string]any{}
	for _, e := range l.node.Map() {
		if e.Key == "name" {
			continue
		}
		if value := l.canonicalKey(e, fleet); !isNothing(value) || isCommand(e) {
			written[e.Key] = value
		}
	}
	l.layer.LayerHash = hash(canonicalJSON(written))
	for _, key := range unhashed {
		delete(written, key)
	}
	// Only an exec check is part of the container: the engine runs it.
	delete(written, "healthCheck")
	if check := l.node.Get("healthCheck"); check.Get("exec") != nil {
		exec := l.canonicalKey(schema.Entry{Key: "healthCheck", Value: check}, fleet)
		if m, ok := exec.(map[string]any); ok {
			delete(m, "restartAfter") // ours, not the engine's
			written["healthCheck"] = m
		}
	}
	l.layer.Written = canonicalJSON(written)
	l.layer.Hash = hash(l.layer.Written)
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hashVersion + ":" + hex.EncodeToString(sum[:16])
}

func canonicalJSON(value any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("spec: canonical form: %v", err)) // only maps, lists, texts and numbers get here
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// isNothing says whether a value is the same as none at all.
func isNothing(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// isCommand says whether a key holds a command: an empty one replaces the image's by none.
func isCommand(e schema.Entry) bool {
	return (e.Key == "command" || e.Key == "entrypoint") && e.Value.Kind != schema.Null
}

// canonicalKey is the one form of a layer's key, lists that are sets as maps so that a difference can be
// named.
func (l *layerReader) canonicalKey(e schema.Entry, fleet string) any {
	n := e.Value
	switch e.Key {
	case "command", "entrypoint":
		return wordList(n)
	case "env", "labels":
		return texted(n)
	case "dependsOn":
		return anyList(l.layer.DependsOn)
	case "placement":
		return dropEmpty(map[string]any{"antiAffinity": plainValue("", n.Get("antiAffinity")), "hosts": texted(n.Get("hosts"))})
	case "logging":
		return dropEmpty(map[string]any{"driver": plainValue("", n.Get("driver")), "options": texted(n.Get("options"))})
	case "tmpfs":
		m := map[string]any{}
		for _, t := range l.layer.Tmpfs {
			dir, options, _ := strings.Cut(t, ":")
			m[dir] = options
		}
		return m
	case "ulimits":
		m := map[string]any{}
		for _, u := range l.layer.Ulimits {
			m[u.Name] = fmt.Sprintf("%d:%d", u.Soft, u.Hard)
		}
		return m
	case "files":
		return l.canonicalFiles(n, fleet)
	case "volumes", "ports":
		return keyed(n, "name")
	case "security":
		m := object(n)
		m["capabilities"] = anyList(l.layer.Security.Capabilities)
		m["hostPaths"] = keyed(n.Get("hostPaths"), "target")
		return dropEmpty(m)
	case "stop":
		m := object(n)
		m["signal"] = l.layer.Stop.Signal
		return dropEmpty(m)
	default:
		return plainValue(e.Key, n)
	}
}

// canonicalFiles are salted digests: the label that holds them is read by more people than the files.
func (l *layerReader) canonicalFiles(n *schema.Node, fleet string) map[string]any {
	m := map[string]any{}
	modes := map[string]bool{}
	for _, item := range n.List() {
		modes[text(item.Get("path"), "")] = item.Get("mode") != nil
	}
	for _, f := range l.layer.Files {
		digest := FileDigest(fleet, l.env.Name, l.layer.Name, f.Path, f.Content)
		if modes[f.Path] {
			digest += fmt.Sprintf(" mode %04o", f.Mode)
		}
		m[f.Path] = digest
	}
	return m
}

// FileDigest is the salted digest of a file of a layer: equal contents at other places have other ones.
func FileDigest(fleet, environment, layer, path string, content []byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s/%s/%s/%s\x00", fleet, environment, layer, path)
	sum.Write(content)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)[:16])
}

func wordList(n *schema.Node) any {
	if n.Kind == schema.Text {
		words, err := splitWords(n.Raw)
		if err != nil {
			return n.Raw // refused where it was read
		}
		return anyList(words)
	}
	return anyList(texts(n))
}

func anyList(words []string) []any {
	items := make([]any, len(words))
	for i, w := range words {
		items[i] = w
	}
	return items
}

// texted is a map of texts, of which an empty one counts.
func texted(n *schema.Node) map[string]any {
	m := map[string]any{}
	for key, value := range textMap(n) {
		m[key] = value
	}
	return m
}

// keyed turns a list of maps into a map by one of their keys.
func keyed(n *schema.Node, by string) map[string]any {
	m := map[string]any{}
	for _, item := range n.List() {
		inner := object(item)
		delete(inner, by)
		m[text(item.Get(by), "")] = inner
	}
	return m
}

func object(n *schema.Node) map[string]any {
	m := map[string]any{}
	for _, e := range n.Map() {
		if value := plainValue(e.Key, e.Value); !isNothing(value) {
			m[e.Key] = value
		}
	}
	return m
}

func dropEmpty(m map[string]any) map[string]any {
	for key, value := range m {
		if isNothing(value) {
			delete(m, key)
		}
	}
	return m
}

var (
	durationKeys = strings.Fields("delay drainTimeout healthTimeout minHealthy interval timeout startPeriod restartAfter grace")
	memoryKeys   = strings.Fields("memory memoryReservation")
)

// plainValue is the one form of a value, quantities by the name of their key.
func plainValue(key string, n *schema.Node) any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case schema.Map:
		return object(n)
	case schema.List:
		items := make([]any, len(n.Items))
		for i, item := range n.Items {
			items[i] = plainValue("", item)
		}
		return items
	case schema.Bool:
		b, _ := n.Bool()
		return b
	case schema.Null:
		return nil
	}
	switch {
	case key == "exec":
		return wordList(n)
	case key == "cpu":
		if cpu, err := ParseCPU(n.Raw); err == nil {
			return cpu.String()
		}
	case slices.Contains(memoryKeys, key):
		if memory, err := ParseBytes(n.Raw); err == nil {
			return memory.String()
		}
	case slices.Contains(durationKeys, key):
		if d, err := ParseDuration(n.Raw); err == nil {
			return FormatDuration(d)
		}
	}
	if i, ok := n.Int(); ok {
		return i
	}
	return n.Raw
}

// WrittenPorts are the ports of a canonical form (Layer.Written), sorted by name, without what they are published on;
// false: it can't be read.
func WrittenPorts(written string) ([]Port, bool) {
	var w struct {
		Ports map[string]struct {
			Port     any    `json:"port"`
			Protocol string `json:"protocol"`
		} `json:"ports"`
	}
	if json.Unmarshal([]byte(written), &w) != nil {
		return nil, false
	}
	var ports []Port
	for name, p := range w.Ports {
		port, err := strconv.ParseUint(fmt.Sprint(p.Port), 10, 16)
		if err != nil {
			return nil, false
		}
		ports = append(ports, Port{Name: name, Port: uint16(port), Protocol: cmp.Or(Protocol(p.Protocol), TCP)})
	}
	slices.SortFunc(ports, func(a, b Port) int { return cmp.Compare(a.Name, b.Name) })
	return ports, true
}

// WrittenTCPPorts are the tcp ports of a canonical form (Layer.Written), sorted; false: it can't be read.
func WrittenTCPPorts(written string) ([]uint16, bool) {
	all, ok := WrittenPorts(written)
	var ports []uint16
	for _, p := range all {
		if p.Protocol != UDP {
			ports = append(ports, p.Port)
		}
	}
	slices.Sort(ports)
	return ports, ok
}
