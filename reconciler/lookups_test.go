package reconciler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// failing is a registry that answers with an error, and counts how often it is asked.
func failing(err error) (resolve func(context.Context, string) (string, error), asked *atomic.Int32) {
	asked = &atomic.Int32{}
	return func(context.Context, string) (string, error) {
		asked.Add(1)
		return "", err
	}, asked
}

var (
	errNowhere = fmt.Errorf("manifest unknown: %w", fleet.ErrNowhere)
	errNoWay   = errors.New("connection refused")
)

// slowly has an environment's nodes take half a minute to prove themselves.
func slowly(environment string) string {
	return strings.Replace(environment, "minHealthy: 0s", "minHealthy: 30s", 1)
}

func TestAPassAsksForARefusedImageOnce(t *testing.T) {
	for name, test := range map[string]struct {
		itself, h1, h2 error // what evenkeel is told when it asks, and what the hosts are
		again          bool
	}{
		"in no registry":         {errNoWay, errNowhere, errNowhere, false},
		"denied":                 {errNoWay, fleet.ErrDenied, fleet.ErrDenied, false},
		"no answer":              {errNoWay, errNoWay, errNoWay, true},
		"refused to one alone":   {errNoWay, errNowhere, errNoWay, true},
		"refused to the second":  {errNoWay, errNoWay, errNowhere, true},
		"evenkeel is told":       {fleet.ErrNoImage, errNoWay, errNoWay, false},
		"an engine has no image": {errNoWay, fleet.ErrNoImage, fleet.ErrNoImage, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h1, h2 := newEngine("h1"), newEngine("h2")
				var asked *atomic.Int32
				h1.resolve, asked = failing(test.h1)
				h2.resolve, _ = failing(test.h2)
				reg := &registries{digest: func(context.Context) (string, error) {
					asked.Add(1)
					return "", test.itself
				}}
				r := newRepo("h1", "h2")
				r.write("shop.yaml", slowly(environment("shop", "app:1", "h1")))
				r.write("blog.yaml", strings.Replace(environment("blog", "registry.example.com/app:2", "h1"), "{hosts: {is: h1}}", "{}", 1))
				c := controller(t, r, h1, h2)
				c.opts.Registries = reg
				result, err := c.Apply(t.Context(), nil)
				require.NoError(t, err)
				require.NoError(t, c.Close())
				require.Len(t, result.Problems, 1)
				require.True(t, h1.runs("shop-web-1-g1"))
				require.Equal(t, test.again, asked.Load() > 2, "asked %d times", asked.Load())
			})
		})
	}
}

func TestARunAsksForARefusedImageAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h1 := newEngine("h1")
		var asked *atomic.Int32
		h1.resolve, asked = failing(errNowhere)
		r := newRepo("h1")
		r.write("shop.yaml", environment("shop", "registry.example.com/app:2", "h1"))
		c := controller(t, r, h1)
		defer loop(t, c)()
		within(t, c, time.Second, "it was asked", func() bool { return asked.Load() == 1 })
		h1.mu.Lock()
		h1.resolve = func(context.Context, string) (string, error) { return "sha256:" + strings.Repeat("b", 64), nil }
		h1.mu.Unlock()
		within(t, c, lookupPause+5*time.Second, "shop serves", func() bool { return c.Current().Converged })
	})
}
