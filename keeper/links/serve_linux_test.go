package links

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestWhatIsTornIsSaid(t *testing.T) {
	dir := t.TempDir()
	require.Equal(t, fleet.LinksResult{}, once(dir), "nothing was set yet")
	require.NoError(t, os.WriteFile(filepath.Join(dir, fileName), []byte("evenkeel-keeper 1 00\n{}"), 0o600))
	require.Contains(t, once(dir).Problem, "what is wanted can't be read: its content doesn't match its digest")
}
