package keeper

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	update      = flag.Bool("update", false, "write version.sum, after Version was raised")
	sameVersion = flag.Bool("same-version", false, "with -update: also while Version was not raised, since no release has it")
)

const sumFile = "version.sum"

// A keeper is replaced only by one with a higher version: code that changed under the same version would
// never reach the hosts.
func TestVersionIsRaisedWithTheCode(t *testing.T) {
	digest := sourceDigest(t)
	var version int
	var recorded string
	if b, err := os.ReadFile(sumFile); err == nil {
		_, err = fmt.Sscanf(string(b), "%d %s", &version, &recorded)
		require.NoError(t, err, "reading %s", sumFile)
	}
	if *update && (Version > version || *sameVersion) {
		require.NoError(t, os.WriteFile(sumFile, fmt.Appendf(nil, "%d %s\n", Version, digest), 0o644))
		return
	}
	require.Equal(t, recorded, digest, "the keeper's code changed: raise Version (recorded: %d) and run\n"+
		"  go test ./keeper -run TestVersionIsRaisedWithTheCode -update\n"+
		"or, while no release has version %d, add -same-version", version, version)
	require.Equal(t, Version, version, "Version was raised: run the test with -update")
}

// sourceDigest is over the names and contents of all code below this folder, without tests and without the
// number itself.
func sourceDigest(t *testing.T) string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && path != "version.go" {
			files = append(files, path)
		}
		return err
	}))
	slices.Sort(files)
	sum := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		fmt.Fprintf(sum, "%s %d\n", filepath.ToSlash(f), len(b))
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
