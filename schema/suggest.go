package schema

import (
	"regexp"
	"strings"
)

// meant returns `; did you mean "x"?` for the nearest of the names, or nothing where none is near.
func meant(got string, names []string) string {
	if name := Nearest(got, names); name != "" {
		return `; did you mean "` + name + `"?`
	}
	return ""
}

// synonyms are words that other tools use for ours.
var synonyms = map[string]string{
	"environment": "env", "cmd": "command", "args": "command", "scale": "replicas", "instances": "replicas",
	"containers": "layers", "services": "layers", "mounts": "volumes", "readonlyrootfs": "readOnly",
	"capadd": "capabilities", "stopsignal": "signal", "stopgraceperiod": "grace", "secure": "insecure",
	"ip": "address", "url": "endpoint", "constraints": "hosts", "mem": "memory",
	"password": "passwordFrom", "token": "tokenFrom", "passwd": "passwordFrom", "user": "username", "registry": "server", "cpus": "cpu", "test": "exec",
}

// Nearest returns the name that a misspelt one was probably meant to be, or nothing.
func Nearest(got string, names []string) string {
	if len(got) > 64 {
		return ""
	}
	folded := fold(got)
	best, bestDistance := "", 1+max(1, min(len(folded)/3, 3))
	for _, name := range names {
		if synonyms[folded] == name {
			return name
		}
		if d := distance(folded, fold(name)); d < bestDistance && d < len(fold(name)) {
			best, bestDistance = name, d
		}
	}
	return best
}

// fold drops what people get wrong without meaning another word: case, hyphens and underscores.
func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts the edits between two words; two letters exchanged are one edit.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

var indices = regexp.MustCompile(`\[[0-9]+\]`)

// later holds what the language will have and this version hasn't: the place and the key or value.
var later = map[string]string{
	"spec":                                   "ingress failover",
	"spec.hosts.state":                       "evacuated",
	"spec.network.driver":                    "host-gw overlay",
	"spec.dns.internal":                      "publish",
	"spec.layers":                            "secrets scaling deploy expose",
	"spec.layers.placement":                  "group spread",
	"spec.layers.volumes":                    "onHostLoss",
	"spec.layers.updatePolicy":               "order",
	"spec.layers.updatePolicy.failureAction": "rollback",
	"spec.layers.updatePolicy.operations":    "deploy migrate",
}

func isLater(n *Node, word string) bool {
	for _, w := range strings.Fields(later[indices.ReplaceAllString(n.Path(), "")]) {
		if w == word {
			return true
		}
	}
	return false
}
