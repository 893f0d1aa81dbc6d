package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/drivers/dns/cloudflare"
	"github.com/evenkeel/evenkeel/drivers/dns/rfc2136"
	"github.com/evenkeel/evenkeel/internal/secret"
	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/server/metrics"
	"github.com/evenkeel/evenkeel/spec"
)

// openZone opens zones at DNS providers, with tokens and keys that are read for each call.
func openZone(credentials string, m *metrics.Metrics) func(spec.ExternalZone) (external.Zone, error) {
	limits := cloudflare.NewLimits()
	read := func(from spec.From) func() (string, error) {
		at := secret.Source{Env: from.Env, File: from.File, Place: "the Fleet's `dns.external`"}
		return func() (string, error) { return secret.Read(at, credentials, os.Getenv) }
	}
	return func(z spec.ExternalZone) (external.Zone, error) {
		switch z.Provider {
		case spec.ProviderCloudflare:
			config := cloudflare.Config{Zone: z.Zone, BaseURL: z.BaseURL, Limits: limits, Token: read(z.Token)}
			if m != nil {
				config.Transport = countedCalls{http.DefaultTransport, m, z.Name}
			}
			return cloudflare.New(config)
		case spec.ProviderRFC2136:
			config := rfc2136.Config{
				Zone: z.Zone, Server: z.Server,
				Key: rfc2136.Key{Name: z.TSIG.Name, Algorithm: z.TSIG.Algorithm, Secret: read(z.TSIG.Secret)},
			}
			if m != nil {
				config.Called = func(method, outcome string, took time.Duration) { m.DNSCall(z.Name, method, outcome, took) }
			}
			return rfc2136.New(config), nil
		default:
			return nil, fmt.Errorf("there is no DNS provider %q", z.Provider)
		}
	}
}

// countedCalls tells of each call to a DNS provider over HTTP.
type countedCalls struct {
	http.RoundTripper
	metrics *metrics.Metrics
	zone    string
}

func (c countedCalls) RoundTrip(r *http.Request) (*http.Response, error) {
	begun := time.Now()
	res, err := c.RoundTripper.RoundTrip(r)
	outcome := "error"
	switch {
	case err == nil:
		outcome = strconv.Itoa(res.StatusCode)
	case errors.Is(err, context.DeadlineExceeded):
		outcome = "timeout"
	}
	c.metrics.DNSCall(c.zone, r.Method, outcome, time.Since(begun))
	return res, err
}
