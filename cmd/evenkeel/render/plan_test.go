package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

func operation(node int, kind plan.Kind, host string, causes ...plan.Cause) plan.Operation {
	intrusive := kind != plan.Create && kind != plan.Start && kind != plan.Resize
	o := plan.Operation{Node: node, Kind: kind, Host: host, Intrusive: intrusive, Causes: causes}
	if intrusive {
		o.DNS = &plan.Withdrawal{Withdraw: []string{fmt.Sprintf("web.shop.internal A 10.112.2.%d", node)}}
	}
	return o
}

const noRoom = "0/3 hosts fit: 2 cordoned, 1 has 256Mi of 512Mi free; add a host, uncordon one, raise a host's capacity, lower the layer's cloudlets.reserved (or resources), or lower replicas"

func rollingPlan() plan.Plan {
	image := plan.Cause{Field: "image", From: "shop/web:1.4.1", To: "shop/web:1.4.2"}
	moved := operation(2, plan.Redeploy, "hn3", image, plan.Cause{Field: "placement.hosts", To: "zone=b"})
	moved.FromHost = "hn2"
	added := operation(4, plan.Create, "hn1", plan.Cause{Field: "replicas", From: "3", To: "4"})
	added.After = []fleet.LayerID{{Environment: "shop", Layer: "cache"}, {Environment: "shop", Layer: "db"}}
	return plan.Plan{
		Revision: "8f3c2a1b9d0e4f5a6b7c8d9e0f1a2b3c4d5e6f70", HasChanges: true,
		Layers: []plan.Layer{
			{
				Environment: "shop", Layer: "db", Strategy: spec.Sequential, Downtime: true, EstimatedDuration: plan.Duration(8 * time.Second),
				Operations: []plan.Operation{operation(1, plan.Restart, "hn1", plan.Cause{Field: "restart", From: "", To: "2026-11-20"})},
				Paused:     "node 1 failed its gate at revision 77aa01: exit code 1",
			},
			{
				Environment: "shop", Layer: "web", Strategy: spec.Sequential, MinServing: 2, EstimatedDuration: plan.Duration(100 * time.Second),
				Operations: []plan.Operation{
					added,
					operation(3, plan.Redeploy, "hn3", image, plan.Cause{Field: "env.GREETING", From: "hello", To: "hi | `there`\n@team"}),
					moved,
					operation(1, plan.Remove, "hn1"),
				},
				Waiting: []plan.Waiting{{Node: 5, Reason: noRoom}, {Node: 6, Reason: "is on hn4, which doesn't answer"}, {Node: 7, Reason: noRoom}},
			},
		},
		Hosts: []plan.HostOperation{
			{Host: "hn1", Operation: "create", What: "network", Name: "evenkeel_production_shop"},
			{Host: "hn1", Operation: "connect", What: "keeper", Name: "evenkeel_production_shop"},
			{Host: "hn1", Operation: "disconnect", What: "keeper", Name: "bridge"},
			{Host: "hn1", Operation: "rename", What: "container", Name: "mine", Causes: []plan.Cause{{Field: "name", From: "mine", To: "production_shop_web_1_g7"}}},
		},
		Warnings: []string{"names on hn2 may be stale: its keeper is out of reach"},
		Refused:  []string{"would remove 6 of 9 nodes, more than prune.maxShare (50%) allows: none is removed"},
	}
}

func TestPlan(t *testing.T) {
	quiet := plan.Plan{Revision: "8f3c2a1b9d0e4f5a"}
	tests := []struct {
		file  string
		write func(b *bytes.Buffer) error
	}{
		{"plan.txt", func(b *bytes.Buffer) error { return PlanText(b, rollingPlan(), Style{}) }},
		{"plan.colour.txt", func(b *bytes.Buffer) error { return PlanText(b, rollingPlan(), Style{Colour: true}) }},
		{"plan.json", func(b *bytes.Buffer) error { return PlanJSON(b, rollingPlan()) }},
		{"plan.md", func(b *bytes.Buffer) error { return PlanMarkdown(b, rollingPlan()) }},
		{"plan.quiet.txt", func(b *bytes.Buffer) error { return PlanText(b, quiet, Style{}) }},
		{"plan.quiet.json", func(b *bytes.Buffer) error { return PlanJSON(b, quiet) }},
		{"plan.quiet.md", func(b *bytes.Buffer) error { return PlanMarkdown(b, quiet) }},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) { golden(t, tt.file, tt.write) })
	}
}

func TestPlanInJSONHasNoNull(t *testing.T) {
	var b bytes.Buffer
	p := plan.Plan{Layers: []plan.Layer{{Operations: []plan.Operation{{Node: 1}}}, {}}}
	require.NoError(t, PlanJSON(&b, p))
	require.NotContains(t, b.String(), "null")
	require.Nil(t, p.Layers[1].Operations, "the plan that was given is left as it is")
	require.True(t, json.Valid(b.Bytes()))
}

func TestPlanInMarkdownFitsIntoAComment(t *testing.T) {
	p := plan.Plan{Revision: "8f3c2a1b9d0e4f5a", HasChanges: true}
	for i := range 40 {
		l := plan.Layer{Environment: "shop", Layer: fmt.Sprintf("web%d", i)}
		for n := range 50 {
			l.Operations = append(l.Operations, operation(n+1, plan.Redeploy, "hn1", plan.Cause{Field: "image", From: strings.Repeat("a", 300), To: strings.Repeat("ä", 300)}))
		}
		p.Layers = append(p.Layers, l)
		p.Warnings = append(p.Warnings, strings.Repeat("w", 1000), strings.Repeat("x", 1000))
	}
	var b bytes.Buffer
	require.NoError(t, PlanMarkdown(&b, p))
	require.Less(t, b.Len(), 65_536)
	require.Regexp(t, "… and [0-9]+ rows more", b.String())
	require.Contains(t, b.String(), "**Warning:**")
}

func TestPlanInMarkdownKeepsEachRowInItsTable(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, PlanMarkdown(&b, rollingPlan()))
	for _, line := range strings.Split(b.String(), "\n") {
		if strings.HasPrefix(line, "| `shop/web/") {
			require.Equal(t, 6, strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"), line)
			require.Zero(t, strings.Count(line, "`")%2, line)
		}
	}
}

func TestTextOfOthersIsShownNotObeyed(t *testing.T) {
	p := plan.Plan{HasChanges: true, Layers: []plan.Layer{{
		Environment: "shop", Layer: "web",
		Operations: []plan.Operation{operation(1, plan.Redeploy, "hn1", plan.Cause{Field: "env.X", From: "\x1b[2J\x1b]0;title\x07", To: "a\nb\u202e"})},
	}}}
	var b bytes.Buffer
	require.NoError(t, PlanText(&b, p, Style{}))
	require.NotContains(t, b.String(), "\x1b")
	require.NotContains(t, b.String(), "\u202e")
	require.Contains(t, b.String(), "→ a b")
}

// A layer that is removed has no moment after which its nodes serve again.
func TestPlanSaysOfARemovedLayerThatItIs(t *testing.T) {
	p := plan.Plan{HasChanges: true, Layers: []plan.Layer{{
		Environment: "shop", Layer: "old", Strategy: spec.Simultaneous, Downtime: true, Removed: true,
		Operations: []plan.Operation{operation(1, plan.Remove, "hn1")},
	}}}
	for name, show := range map[string]func(*bytes.Buffer) error{
		"text":     func(b *bytes.Buffer) error { return PlanText(b, p, Style{}) },
		"markdown": func(b *bytes.Buffer) error { return PlanMarkdown(b, p) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.NoError(t, show(&b))
			require.Contains(t, b.String(), "removed")
			require.NotContains(t, b.String(), "downtime")
		})
	}
}
