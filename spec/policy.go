package spec

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/schema"
)

var (
	upToHour    = span{0, time.Hour}
	delays      = span{0, 5 * time.Minute}
	gateTimes   = span{time.Second, time.Hour}
	checkTimes  = span{100 * time.Millisecond, time.Hour}
	restartSpan = span{0, 24 * time.Hour}
)

func (l *layerReader) updatePolicy(n *schema.Node) UpdatePolicy {
	strategy := Simultaneous
	if l.layer.Replicas > 1 {
		strategy = Sequential
	}
	p := UpdatePolicy{
		Strategy:       Strategy(text(n.Get("strategy"), string(strategy))),
		Delay:          l.duration(n.Get("delay"), 30*time.Second, delays),
		RemoveFromDNS:  boolean(n.Get("removeFromDNS"), true),
		MaxUnavailable: integer(n.Get("maxUnavailable"), 1),
		DrainTimeout:   l.duration(n.Get("drainTimeout"), DefaultDrainTimeout, upToHour),
		HealthTimeout:  l.duration(n.Get("healthTimeout"), 5*time.Minute, gateTimes),
		MinHealthy:     l.duration(n.Get("minHealthy"), 5*time.Second, upToHour),
		FailureAction:  FailureAction(text(n.Get("failureAction"), string(FailurePause))),
	}
	l.gate(n, p)
	for _, e := range n.Get("operations").Map() {
		if e.Value.Kind != schema.Map || len(e.Value.Entries) == 0 {
			continue
		}
		if p.Operations == nil {
			p.Operations = map[string]PolicyOverride{}
		}
		p.Operations[e.Key] = l.override(e.Value, p)
		l.gate(e.Value, p.For(e.Key))
	}
	return p
}

// gate refuses a gate that can never open.
func (l *layerReader) gate(n *schema.Node, p UpdatePolicy) {
	if p.HealthTimeout > p.MinHealthy {
		return
	}
	at := n.Get("minHealthy")
	if at == nil {
		at = n.Get("healthTimeout")
	}
	if at != nil {
		l.problem(at, "a node would have to be healthy for %s (minHealthy) within %s (healthTimeout): write a longer healthTimeout, or a shorter minHealthy",
			FormatDuration(p.MinHealthy), FormatDuration(p.HealthTimeout))
	}
}

func (l *layerReader) override(n *schema.Node, p UpdatePolicy) PolicyOverride {
	duration := func(key string, otherwise time.Duration, bounds span) *time.Duration {
		return given(n.Get(key), l.duration(n.Get(key), otherwise, bounds))
	}
	return PolicyOverride{
		Strategy:       given(n.Get("strategy"), Strategy(text(n.Get("strategy"), ""))),
		Delay:          duration("delay", p.Delay, delays),
		RemoveFromDNS:  given(n.Get("removeFromDNS"), boolean(n.Get("removeFromDNS"), true)),
		MaxUnavailable: given(n.Get("maxUnavailable"), integer(n.Get("maxUnavailable"), 1)),
		DrainTimeout:   duration("drainTimeout", p.DrainTimeout, upToHour),
		HealthTimeout:  duration("healthTimeout", p.HealthTimeout, gateTimes),
		MinHealthy:     duration("minHealthy", p.MinHealthy, upToHour),
		FailureAction:  given(n.Get("failureAction"), FailureAction(text(n.Get("failureAction"), ""))),
	}
}

// given is a value where something is written, else nil.
func given[T any](n *schema.Node, value T) *T {
	if n == nil {
		return nil
	}
	return &value
}

func (l *layerReader) healthCheck(n *schema.Node) *HealthCheck {
	if n == nil {
		return nil
	}
	h := &HealthCheck{
		Interval:     l.duration(n.Get("interval"), 5*time.Second, checkTimes),
		Timeout:      l.duration(n.Get("timeout"), 2*time.Second, span{checkTimes.from, 10 * time.Minute}),
		Retries:      integer(n.Get("retries"), 3),
		StartPeriod:  l.duration(n.Get("startPeriod"), 10*time.Second, upToHour),
		RestartAfter: l.duration(n.Get("restartAfter"), 0, restartSpan),
	}
	if http := n.Get("http"); http != nil {
		h.HTTP = &HTTPCheck{Port: l.tcpPort(http.Get("port")), Path: text(http.Get("path"), "/")}
	}
	if tcp := n.Get("tcp"); tcp != nil {
		h.TCP = &TCPCheck{Port: l.tcpPort(tcp.Get("port"))}
	}
	if exec := n.Get("exec"); exec != nil {
		h.Exec = &ExecCheck{Command: l.command(exec)}
		if len(h.Exec.Command) == 0 || h.Exec.Command[0] == "" {
			l.problem(exec, "has no command: write one, such as [pg_isready, -q]")
		}
	}
	return h
}

// tcpPort checks that a probe's port is a declared tcp port.
func (l *layerReader) tcpPort(n *schema.Node) string {
	name, ok := n.Text()
	if !ok {
		return ""
	}
	var names []string
	for _, p := range l.layer.Ports {
		if p.Protocol == TCP {
			names = append(names, p.Name)
		}
	}
	names = slices.Compact(names)
	switch port := l.layer.Port(name); {
	case port == nil && len(names) == 0:
		l.problem(n, "the layer declares no tcp port: add one under ports, such as ports: [{name: http, port: 8080}]")
	case port == nil:
		l.problem(n, "there is no port %q under ports%s; the tcp ports there are %s", name, didYouMean(name, names), list(names))
	case port.Protocol != TCP:
		l.problem(n, "the port %q is %s: a check needs a tcp port", name, port.Protocol)
	}
	return name
}

func (l *layerReader) stop(n *schema.Node) Stop {
	s := Stop{Grace: l.duration(n.Get("grace"), 10*time.Second, upToHour)}
	if written := text(n.Get("signal"), ""); written != "" {
		s.Signal = signal(written)
		if !slices.Contains(signals, s.Signal) && !isRealtime(s.Signal) {
			l.problem(n.Get("signal"), "there is no signal %q%s; write a name such as SIGTERM or SIGQUIT", written, didYouMean(s.Signal, signals))
		}
	}
	return s
}
