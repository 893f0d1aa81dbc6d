package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler"
)

// A keeper that was removed by hand is missed by its name, and its host never was away.
func TestAKeeperThatIsGoneIsMissed(t *testing.T) {
	t.Parallel()
	h := lab.Host(2)
	s := newSite(t, h)
	s.environment("shop", "    - {name: web, image: \"node:1\", replicas: 1, updatePolicy: {minHealthy: 0s, delay: 0s}}\n")
	l := s.run()
	l.converged()
	keepers := s.observe(h).Keepers
	require.Len(t, keepers, 1)
	require.Contains(t, l.stderr.String(), `"created keeper `+keepers[0].Name+`"`)
	require.Contains(t, l.stderr.String(), "created network "+s.network("shop"))

	byHand(t, h, "rm", "-f", keepers[0].ID)
	l.until(patience, func(st reconciler.Status) error {
		now := s.observe(h).Keepers
		return unless(st.Converged && len(now) == 1 && now[0].ID != keepers[0].ID, "the keeper isn't back")
	})
	said := l.stderr.String()
	require.Contains(t, said, "the keeper on "+h.Name()+" was gone and is made anew")
	require.NotContains(t, said, "out of reach")
	require.NotContains(t, said, "back in reach", "the host was never away")

	s.git("rm", "-q", "shop.yaml")
	s.commit()
	l.until(patience, func(reconciler.Status) error {
		return unless(strings.Contains(l.stderr.String(), "removed network "+s.network("shop")), "it isn't said that the network was removed")
	})
	l.end()
	require.Regexp(t, keepers[0].Name+` +`+h.Name()+` +create keeper +done in .* keeper: gone → running`, s.evenkeel("history").stdout)
}
