package spec

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/evenkeel/evenkeel/schema"
)

// labelPrefix is that of evenkeel's own labels.
const labelPrefix = "dev.evenkeel"

// read fills in the layer, and checks it by itself.
func (l *layerReader) read(loader *loader, cloudlet Resources) {
	n := l.node
	l.layer = Layer{
		Name:       text(n.Get("name"), ""),
		Image:      l.image(n.Get("image")),
		Pull:       Pull(text(n.Get("pull"), string(PullMissing))),
		Replicas:   integer(n.Get("replicas"), 1),
		DependsOn:  sorted(texts(n.Get("dependsOn"))),
		Command:    l.command(n.Get("command")),
		Entrypoint: l.command(n.Get("entrypoint")),
		WorkingDir: text(n.Get("workingDir"), ""),
		User:       text(n.Get("user"), ""),
		Init:       boolean(n.Get("init"), false),
		Env:        l.environ(n.Get("env")),
		Labels:     l.labels(n.Get("labels")),
		Logging:    Logging{Driver: text(n.At("logging", "driver"), ""), Options: textMap(n.At("logging", "options"))},
		Ulimits:    l.ulimits(n.Get("ulimits")),
		Ports:      l.ports(n.Get("ports")),
		Restart:    text(n.Get("restart"), ""),
		Redeploy:   text(n.Get("redeploy"), ""),
		Placement: Placement{
			AntiAffinity: AntiAffinity(text(n.At("placement", "antiAffinity"), string(AntiAffinityPreferred))),
			Hosts:        textMap(n.At("placement", "hosts")),
		},
	}
	if nodeName.MatchString(l.layer.Name) {
		l.problem(n.Get("name"), "node followed by a number is the name of a node: choose another name for the layer")
	}
	if dir := n.Get("workingDir"); l.layer.WorkingDir != "" && !strings.HasPrefix(l.layer.WorkingDir, "/") {
		l.problem(dir, "%q is a relative path: write an absolute one", l.layer.WorkingDir)
	}
	if user := n.Get("user"); strings.ContainsAny(l.layer.User, " \t\n") {
		l.problem(user, "%q holds a blank: write user or user:group", l.layer.User)
	}
	l.resources(cloudlet)
	l.storage(loader)
	l.layer.Security = l.security(n.Get("security"))
	l.writable()
	l.layer.HealthCheck = l.healthCheck(n.Get("healthCheck"))
	l.layer.Stop = l.stop(n.Get("stop"))
	l.layer.Update = l.updatePolicy(n.Get("updatePolicy"))
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func (l *layerReader) image(n *schema.Node) string {
	image := text(n, "")
	if image == "" {
		return ""
	}
	if _, err := reference.ParseNormalizedNamed(image); err != nil {
		remedy := "write it as registry/name:tag or name@sha256:…"
		if lower := strings.ToLower(image); lower != image {
			if _, err := reference.ParseNormalizedNamed(lower); err == nil {
				remedy = "names of images are in lower case"
			}
		}
		l.problem(n, "%q is no name of an image (%v): %s", image, err, remedy)
	}
	return image
}

// command reads a list, or a text that is split as Compose does; nil where nothing is written.
func (l *layerReader) command(n *schema.Node) []string {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case schema.List:
		words := make([]string, 0, len(n.Items))
		return append(words, texts(n)...)
	case schema.Text:
		words, err := splitWords(n.Raw)
		if err != nil {
			l.problem(n, "can't be split into words: %v; write it as a list", err)
		}
		return words
	}
	return nil
}

var envName = regexp.MustCompile(`^[^=\x00-\x20]+$`)

func (l *layerReader) environ(n *schema.Node) map[string]string {
	for _, e := range n.Map() {
		if !envName.MatchString(e.Key) {
			l.keyProblem(e, "%q can't be the name of an environment variable: write one without = and blanks", e.Key)
		}
	}
	return textMap(n)
}

func (l *layerReader) labels(n *schema.Node) map[string]string {
	for _, e := range n.Map() {
		if e.Key == labelPrefix || strings.HasPrefix(e.Key, labelPrefix+".") {
			l.keyProblem(e, "labels below %s are evenkeel's own: choose another name", labelPrefix)
		} else if e.Key == "" {
			l.keyProblem(e, "a label needs a name")
		}
	}
	return textMap(n)
}

func (l *layerReader) ulimits(n *schema.Node) []Ulimit {
	var ulimits []Ulimit
	for _, e := range n.Map() {
		if !slices.Contains(ulimitNames, e.Key) {
			l.keyProblem(e, "there is no ulimit %q%s; there are %s", e.Key, didYouMean(e.Key, ulimitNames), list(ulimitNames))
		}
		u := Ulimit{Name: e.Key}
		if both, ok := e.Value.Int(); ok {
			u.Soft, u.Hard = both, both
		}
		soft, hasSoft := e.Value.Get("soft").Int()
		hard, hasHard := e.Value.Get("hard").Int()
		if hasSoft && hasHard {
			u.Soft, u.Hard = soft, hard
		}
		if u.Hard >= 0 && (u.Soft > u.Hard || u.Soft < 0) {
			l.problem(e.Value, "the soft limit is above the hard one: write at most hard: %d", u.Hard)
		}
		ulimits = append(ulimits, u)
	}
	slices.SortFunc(ulimits, func(a, b Ulimit) int { return cmp.Compare(a.Name, b.Name) })
	return ulimits
}

func (l *layerReader) ports(n *schema.Node) []Port {
	l.unique(n.List(), "port name", name)
	type listening struct {
		port     uint16
		protocol Protocol
	}
	inside, outside := map[listening]*schema.Node{}, map[listening]*schema.Node{}
	var ports []Port
	for _, item := range n.List() {
		p := Port{
			Name:     text(item.Get("name"), ""),
			Port:     port(item.Get("port")),
			Protocol: Protocol(text(item.Get("protocol"), string(TCP))),
		}
		if at := item.Get("port"); p.Port > 0 {
			if first := inside[listening{p.Port, p.Protocol}]; first != nil {
				l.problem(at, "the port %d/%s is here twice, first at line %d: remove one", p.Port, p.Protocol, first.Line)
			}
			inside[listening{p.Port, p.Protocol}] = at
		}
		if at := item.Get("publish"); at != nil && at.Kind == schema.Number {
			host := port(at)
			p.Publish = &host
			if first := outside[listening{host, p.Protocol}]; first != nil && host > 0 {
				l.problem(at, "the host's port %d/%s is published twice, first at line %d: choose another", host, p.Protocol, first.Line)
			}
			outside[listening{host, p.Protocol}] = at
		}
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b Port) int { return cmp.Compare(a.Name, b.Name) })
	return ports
}

// port reads a port's number, 0 where it is none: the schema has refused it then, or it is a 0.
func port(n *schema.Node) uint16 {
	if i := integer(n, 0); i > 0 && i <= 65535 {
		return uint16(i)
	}
	return 0
}
