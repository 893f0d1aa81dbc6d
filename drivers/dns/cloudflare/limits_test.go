package cloudflare_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/drivers/dns/cloudflare"
	emulator "github.com/evenkeel/evenkeel/integration/lab/cloudflare"
)

// Cloudflare's limit is a token's: zones with the same one share it, and are left alone together.
func TestZonesWithTheSameToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, limits := emulator.New(), cloudflare.NewLimits()
		open := func(zone, token string) *cloudflare.Zone {
			s.AddZone(zone)
			z, err := cloudflare.New(cloudflare.Config{
				Zone: zone, Token: func() (string, error) { return token, nil }, Limits: limits,
				BaseURL: "https://cloudflare.test" + emulator.BasePath, Transport: s,
			})
			require.NoError(t, err)
			return z
		}
		one, two, other := open("one.example", emulator.Token), open("two.example", emulator.Token+"\n"), open("three.example", "another")
		read(t, one)
		read(t, two)
		began := time.Now()
		done := make(chan error)
		go func() {
			var errs []error
			for range 20 {
				_, err := one.Records(t.Context())
				errs = append(errs, err)
			}
			done <- errors.Join(errs...)
		}()
		for range 20 {
			read(t, two)
		}
		require.NoError(t, <-done)
		require.GreaterOrEqual(t, time.Since(began), 39*250*time.Millisecond)
		require.Less(t, time.Since(began), 11*time.Second)

		s.Inject(emulator.Fault{Times: 1, Status: http.StatusTooManyRequests, RetryAfter: time.Minute})
		began = time.Now()
		go func() {
			_, err := one.Records(t.Context())
			done <- err
		}()
		time.Sleep(time.Second)
		_, err := other.Records(t.Context())
		require.Error(t, err, "it has another token, which is refused")
		require.Less(t, time.Since(began), 3*time.Second)
		read(t, two)
		require.GreaterOrEqual(t, time.Since(began), time.Minute)
		require.NoError(t, <-done)
	})
}
