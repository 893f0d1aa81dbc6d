package render

import (
	"bytes"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/drivers/journal"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/drift"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/spec"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func aStatus() reconciler.Status {
	room := reconciler.Room{Memory: 14 << 30, CPU: 7000}
	return reconciler.Status{
		Fleet: "production", Revision: "8f3c2a1b9d0e4f5a", Time: noon,
		Refused: "revision 99ab: shop.yaml:7:5: spec.layers[0].image: is missing\nshop.yaml:9:5: spec.layers[0].prots: unknown key; did you mean \"ports\"?",
		Hosts: []reconciler.HostStatus{
			{
				Name: "hn1", Address: "10.0.0.11", State: spec.HostActive, Reachable: true, Nodes: 2, Keeper: 1, Capacity: room,
				Engine:   reconciler.EngineStatus{Version: "20.10.24", APIVersion: "1.41", Arch: "amd64"},
				Reserved: reconciler.Room{Memory: 256 << 20, CPU: 400}, Lease: &reconciler.LeaseStatus{Holder: "ann@ops1 (4711)", Held: plan.Duration(90 * time.Second)},
			},
			{Name: "hn2", Address: "10.0.0.12", State: spec.HostActive, Problem: "no answer in time"},
		},
		Environments: []reconciler.EnvironmentStatus{{Name: "shop", Layers: []reconciler.LayerStatus{{
			Name: "web", Image: "shop/web:1.4.2", Wanted: 5, Serving: 2, Unknown: 1, Paused: "node 2 failed its gate",
			Nodes: []reconciler.NodeStatus{
				{Node: 1, Host: "hn1", State: fleet.StateRunning, Serving: true, Address: "10.112.2.1", Since: noon.Add(-3 * time.Hour), UpToDate: true, Ports: []string{"http 8080 -> 32768"}},
				{Node: 2, Host: "hn1", State: fleet.StateExited, Reason: "exited with code 137, out of memory", Address: "10.112.2.2"},
				{Node: 3, Host: "hn1", State: fleet.StateRunning, Serving: true, Address: "10.112.2.3", Since: noon.Add(-time.Hour), Waits: "image shop/web:1.4.2 isn't on hn1"},
				{Node: 4, Reason: noRoom},
				{Node: 5, Host: "hn2", State: reconciler.StateUnknown, Reason: "is on hn2, which doesn't answer", Generation: 3},
			},
		}}}},
		Problems: []string{"host hn2: no answer in time"},
	}
}

func aDrift() drift.Report {
	since := noon.Add(-90 * time.Second)
	return drift.Report{
		Revision: "8f3c2a1b9d0e4f5a", Time: noon, SelfHeal: true,
		Drift: []drift.Finding{
			{What: drift.Node, Node: "shop/web/2", Field: "state", Wanted: "running", Found: "missing", Remedy: "evenkeel makes it anew"},
			{Host: "hn1", What: drift.Container, Name: "copy|of`web", Field: "container", Found: "running", Since: &since, Remedy: "it is left alone"},
			{Host: "hn1", What: drift.Node, Node: "shop/web/1", Name: "mine", Field: "name", Wanted: "production_shop_web_1_g7", Found: "mine", Remedy: "evenkeel names it back"},
			{Host: "hn1", What: drift.Volume, Node: "shop/db/1", Name: "production_shop_db_1_data", Field: "volume", Wanted: "there", Found: "missing", Remedy: "bring back a backup"},
		},
		Unknown: []string{"host hn2 is out of reach: no answer in time"},
	}
}

func someHistory() []journal.Event {
	return []journal.Event{
		{Time: noon, Revision: "8f3c2a1b9d0e4f5a", Environment: "shop", Layer: "web", Node: 3, Host: "hn1", Operation: "redeploy", Phase: "done",
			By: "ann@box (4711)", Outcome: "done", Cause: "image: 1.4.1 → 1.4.2", Duration: 3400 * time.Millisecond},
		{Time: noon.Add(time.Minute), Revision: "8f3c2a1b9d0e4f5a", Environment: "shop", Layer: "web", Node: 2, Host: "hn2", Operation: "redeploy", Phase: "failed",
			Outcome: "failed", Cause: "image: 1.4.1 → 1.4.2", Duration: 5 * time.Minute, Message: "not healthy within 5m\nlast: panic | no config\n"},
	}
}

func TestReports(t *testing.T) {
	tests := []struct {
		file  string
		write func(b *bytes.Buffer) error
	}{
		{"status.txt", func(b *bytes.Buffer) error { return StatusText(b, aStatus(), Style{}) }},
		{"status.md", func(b *bytes.Buffer) error { return StatusMarkdown(b, aStatus()) }},
		{"status.json", func(b *bytes.Buffer) error { return JSON(b, StatusValue(aStatus())) }},
		{"drift.txt", func(b *bytes.Buffer) error { return DriftText(b, aDrift(), Style{}) }},
		{"drift.md", func(b *bytes.Buffer) error { return DriftMarkdown(b, aDrift()) }},
		{"drift.json", func(b *bytes.Buffer) error { return JSON(b, aDrift()) }},
		{"drift.none.txt", func(b *bytes.Buffer) error { return DriftText(b, drift.Report{Revision: "8f3c2a1b9d0e4f5a"}, Style{}) }},
		{"hosts.txt", func(b *bytes.Buffer) error { return HostsText(b, aStatus().Hosts, Style{}) }},
		{"hosts.md", func(b *bytes.Buffer) error { return HostsMarkdown(b, aStatus().Hosts) }},
		{"history.txt", func(b *bytes.Buffer) error { return HistoryText(b, someHistory(), Style{}) }},
		{"history.json", func(b *bytes.Buffer) error { return HistoryJSON(b, someHistory()) }},
		{"history.md", func(b *bytes.Buffer) error { return HistoryMarkdown(b, someHistory()) }},
		{"history.none.txt", func(b *bytes.Buffer) error { return HistoryText(b, nil, Style{}) }},
		{"result.txt", func(b *bytes.Buffer) error { return ResultText(b, aResult(), Style{}) }},
		{"result.json", func(b *bytes.Buffer) error { return ResultJSON(b, aResult()) }},
		{"result.md", func(b *bytes.Buffer) error { return ResultMarkdown(b, aResult()) }},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) { golden(t, tt.file, tt.write) })
	}
}
