package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// images finds what registries don't give.
//
//	the registry      | the image is on a host | finding
//	refuses us        | yes, no                | problem
//	doesn't have it   | no                     | problem
//	doesn't have it   | yes                    | advice
//	doesn't answer    | no                     | problem
//	doesn't answer    | yes                    | warning
func (e *examination) images() {
	for i := range e.Images {
		m := &e.Images[i]
		if m.Problem == "" {
			continue
		}
		f := Finding{Severity: Problem, Area: Registry, Subject: m.Ref, What: m.Problem + e.neededBy(m)}
		there := len(m.On) > 0 && m.Pull != spec.PullAlways
		server := fleet.Registry(m.Ref)
		switch {
		case m.Denied:
			f.Remedy = fmt.Sprintf("see `registries` in the Fleet, --credentials-dir, or `docker login %s` as the user that runs evenkeel", server)
		case m.Absent && there:
			f.Severity, f.Remedy = Advice, fmt.Sprintf("only %s %s it: push it, so that a new or rebuilt host can get it", strings.Join(m.On, ", "), has(len(m.On)))
		case m.Absent:
			f.Remedy = "check the name and the tag, push the image, or load it on the hosts"
		default:
			if there {
				f.Severity = Warning
			}
			f.Remedy = fmt.Sprintf("see that %s is up and can be reached from here and from the hosts; what runs, and what the hosts have, isn't held up by it", server)
		}
		e.report.add(f)
	}
}

// awaited says whether a node waits for the image, by a plan's words.
func (m *Image) awaited(reason string) bool {
	return strings.Contains(reason, "image "+m.Ref+" ") || strings.Contains(reason, "image "+m.Ref+":")
}

// neededBy says which layers wait for an image.
func (e *examination) neededBy(m *Image) string {
	if e.Plan == nil {
		return ""
	}
	var layers []string
	for i := range e.Plan.Layers {
		l := &e.Plan.Layers[i]
		for _, w := range l.Waiting {
			if name := l.ID().String(); m.awaited(w.Reason) && !slices.Contains(layers, name) {
				layers = append(layers, name)
			}
		}
	}
	if len(layers) == 0 {
		return ""
	}
	return "; nodes of " + strings.Join(layers, ", ") + " wait for it"
}

func has(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}
