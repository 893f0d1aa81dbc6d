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
	"github.com/evenkeel/evenkeel/internal/secret"
	"github.com/evenkeel/evenkeel/reconciler/external"
	"github.com/evenkeel/evenkeel/server/metrics"
	"github.com/evenkeel/evenkeel/spec"
)

// openZone opens zones at DNS providers, with tokens that are read for each call.
func openZone(credentials string, m *metrics.Metrics) func(spec.ExternalZone) (external.Zone, error) {
	limits := cloudflare.NewLimits()
	return func(z spec.ExternalZone) (external.Zone, error) {
		at := secret.Source{Env: z.Token.Env, File: z.Token.File, Place: "the Fleet's `dns.external`"}
		config := cloudflare.Config{
			Zone: z.Zone, BaseURL: z.BaseURL, Limits: limits,
			Token: func() (string, error) { return secret.Read(at, credentials, os.Getenv) },
		}
		if m != nil {
			config.Transport = countedCalls{http.DefaultTransport, m, z.Name}
		}
		switch z.Provider {
		case spec.ProviderCloudflare:
			return cloudflare.New(config)
		default:
			return nil, fmt.Errorf("there is no DNS provider %q", z.Provider)
		}
	}
}

// countedCalls tells of each call to a DNS provider.
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
