// Package metrics counts what a running controller does and shows what it sees, as Prometheus reads it. What is
// counted it is told; what is seen it asks for each time that it is read. It decides nothing and knows of hosts and
// layers only their names. docs/metrics.md is written from what stands here.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is all that a controller shows. It is safe for concurrent use.
type Metrics struct {
	registry   *prometheus.Registry
	passes     *prometheus.CounterVec
	passTime   prometheus.Histogram
	operations *prometheus.CounterVec
	took       *prometheus.HistogramVec
	changes    *prometheus.CounterVec
	dnsCalls   *prometheus.CounterVec
	dnsTime    *prometheus.HistogramVec
}

// New returns metrics of a controller of a version. seen is asked for what the controller sees each time that
// they are read; it must not block.
func New(version string, seen func() Seen) *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		passes:     prometheus.NewCounterVec(passes.counter(), passes.labels),
		passTime:   prometheus.NewHistogram(passTime.histogram(.001, .003, .01, .03, .1, .3, 1, 3, 10)),
		operations: prometheus.NewCounterVec(operations.counter(), operations.labels),
		took:       prometheus.NewHistogramVec(operationTime.histogram(.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800), operationTime.labels),
		changes:    prometheus.NewCounterVec(changes.counter(), changes.labels),
		dnsCalls:   prometheus.NewCounterVec(dnsCalls.counter(), dnsCalls.labels),
		dnsTime:    prometheus.NewHistogramVec(dnsTime.histogram(.03, .1, .3, 1, 3, 10), dnsTime.labels),
	}
	m.registry.MustRegister(m.passes, m.passTime, m.operations, m.took, m.changes, m.dnsCalls, m.dnsTime, &seeing{version: version, seen: seen},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, changes := range []string{"true", "false"} {
		m.passes.WithLabelValues(changes) // so that rates have something to begin at
	}
	return m
}

// Pass tells of a pass: whether it found something to do, and how long finding it took.
func (m *Metrics) Pass(changes bool, took time.Duration) {
	label := "false"
	if changes {
		label = "true"
	}
	m.passes.WithLabelValues(label).Inc()
	m.passTime.Observe(took.Seconds())
}

// Operation tells of an operation on a node that has ended.
func (m *Metrics) Operation(environment, layer, operation, outcome string, took time.Duration) {
	m.operations.WithLabelValues(environment, layer, operation, outcome).Inc()
	m.took.WithLabelValues(operation).Observe(took.Seconds())
}

// Change tells of an operation on a host beside nodes that has ended.
func (m *Metrics) Change(host, operation, what string, failed bool) {
	outcome := "done"
	if failed {
		outcome = "failed"
	}
	m.changes.WithLabelValues(host, operation, what, outcome).Inc()
}

// DNSCall tells of a call to a DNS provider that has ended.
func (m *Metrics) DNSCall(zone, method, outcome string, took time.Duration) {
	m.dnsCalls.WithLabelValues(zone, method, outcome).Inc()
	m.dnsTime.WithLabelValues(zone).Observe(took.Seconds())
}

// Handler answers with all metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}
