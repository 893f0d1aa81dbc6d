package render

import (
	"bytes"
	"testing"

	"github.com/evenkeel/evenkeel/reconciler/doctor"
)

func aReport() doctor.Report {
	alike := doctor.Finding{Severity: doctor.Advice, Area: doctor.Engine, What: "a restart of its engine stops all containers there", Remedy: "`\"live-restore\": true`"}
	first, second := alike, alike
	first.Host, second.Host = "hn1", "hn2"
	return doctor.Report{
		Fleet: "production", Revision: "8f3c2a1b9d0e4f5a", Time: noon, Checked: doctor.Checked{Hosts: 3, Reached: 2, Keepers: 2, Environments: 1, Images: 4, Zones: 2},
		Findings: []doctor.Finding{
			{Severity: doctor.Problem, Area: doctor.Host, Host: "hn3", What: "it is out of reach: context deadline exceeded", Remedy: "see that it runs"},
			{Severity: doctor.Problem, Area: doctor.Registry, Subject: "docker.io/shop/web:1|2", What: "refused by\nthe registry", Remedy: "log in"},
			{Severity: doctor.Warning, Area: doctor.Port, Host: "hn1", Subject: "80/tcp", What: "port 80 is taken by nginx\x1b[2J", Remedy: "stop that one"},
			first, second,
		},
	}
}

func TestDoctorGolden(t *testing.T) {
	r := aReport()
	golden(t, "doctor.txt", func(b *bytes.Buffer) error { return DoctorText(b, r, false, Style{}) })
	golden(t, "doctor.verbose.txt", func(b *bytes.Buffer) error { return DoctorText(b, r, true, Style{}) })
	golden(t, "doctor.md", func(b *bytes.Buffer) error { return DoctorMarkdown(b, r) })
	golden(t, "doctor.json", func(b *bytes.Buffer) error { return JSON(b, r) })
	well := doctor.Report{Fleet: "production", Revision: "8f3c2a1b9d0e4f5a", Well: true, Checked: r.Checked, Findings: r.Findings[3:]}
	golden(t, "doctor.well.txt", func(b *bytes.Buffer) error { return DoctorText(b, well, false, Style{}) })
	none := doctor.Report{Findings: []doctor.Finding{{Severity: doctor.Problem, Area: doctor.Repository, What: "no commits", Remedy: "commit something"}}}
	golden(t, "doctor.none.txt", func(b *bytes.Buffer) error { return DoctorText(b, none, false, Style{}) })
}
