package metrics

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// family is one metric: what it is called, what tells its values apart, and what it means.
type family struct {
	name   string
	kind   string // counter, gauge, histogram
	labels []string
	help   string
	desc   *prometheus.Desc
}

// families are all of evenkeel's own, in the order in which they are documented.
var families []*family

func define(kind, name, help string, labels ...string) *family {
	f := &family{name: "evenkeel_" + name, kind: kind, labels: labels, help: help}
	f.desc = prometheus.NewDesc(f.name, help, labels, nil)
	families = append(families, f)
	return f
}

func (f *family) counter() prometheus.CounterOpts {
	return prometheus.CounterOpts{Name: f.name, Help: f.help}
}

func (f *family) histogram(buckets ...float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Name: f.name, Help: f.help, Buckets: buckets}
}

// gauge is one value of it.
func (f *family) gauge(value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, value, labels...)
}

// Reference is docs/metrics.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- Written by ` + "`make docs`" + ` from the metrics themselves. -->

` + "`evenkeel run`" + ` serves them to Prometheus at ` + "`/metrics`" + ` on ` + "`--listen`" + `. What is counted is counted from its start on. Beside these there
are the usual ones of a Go program: ` + "`go_…` and `process_…`" + `.

| Metric | Kind | Labels | What it tells |
| --- | --- | --- | --- |
`)
	for _, f := range families {
		labels := ""
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, labels, f.help)
	}
	return b.String()
}
