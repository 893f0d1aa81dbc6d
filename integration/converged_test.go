package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireUnserved applies, and requires that it fails and says why nodes don't serve, as the status does.
func (s *site) requireUnserved(serving int, says string) {
	s.t.Helper()
	o := s.evenkeel("apply")
	require.Equal(s.t, 1, o.code, "%s", o)
	require.Contains(s.t, o.stdout, says, "%s", o)
	require.NotContains(s.t, o.stdout, "everything matches", "%s", o)
	st := s.status()
	require.False(s.t, st.Converged)
	require.Equal(s.t, serving, layer(s.t, st, "shop", "web").Serving)
}

// requireServed applies, and requires that all is well.
func (s *site) requireServed(nodes int) {
	s.t.Helper()
	s.apply()
	st := s.status()
	require.True(s.t, st.Converged)
	require.Equal(s.t, nodes, layer(s.t, st, "shop", "web").Serving)
}

func TestApplyFailsWhileNodesDoNotServe(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	page := func(path string) {
		s.environment("shop", strings.Replace(fmt.Sprintf(oneWeb, 1), "replicas: 1", "replicas: 3", 1)+
			"      healthCheck: {http: {port: http, path: "+path+"}}\n")
	}
	page("/healthz")
	s.requireServed(3)
	page("/wrong")
	for range 2 {
		s.requireUnserved(0, fmt.Sprintf("shop/web/1 (%[1]s), 2 (%[1]s), 3 (%[1]s) don't serve: http probe: /wrong answered 404 Not Found", h.Name()))
	}
	page("/")
	s.requireServed(3)

	victim := s.node(h, "web", 2)
	cutOff := func() { byHand(t, h, "network", "disconnect", s.network("shop"), victim.ID) }
	cutOff()
	s.requireServed(3)
	require.NoError(t, s.asMade(victim, s.node(h, "web", 2)))

	s.extra = "  drift: {selfHeal: false}\n"
	s.writeFleet()
	s.commit()
	s.apply()
	cutOff()
	s.requireUnserved(2, fmt.Sprintf("shop/web/2 (%s) doesn't serve: it isn't on its environment's network", h.Name()))
}
