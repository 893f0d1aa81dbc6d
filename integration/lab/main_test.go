package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lab runs the command line and returns what it wrote.
func lab(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestLabByHand(t *testing.T) {
	out, err := lab(t, "up", "1", "--engine-arg=--label=zone=a")
	require.NoError(t, err)
	id := regexp.MustCompile(`(?m)^(\d+)\s+h1\s+on\s+tcp://10\.232\.\d+\.11:2375\s`).FindStringSubmatch(out)
	require.NotNil(t, id, out)
	defer func() { _, _ = lab(t, "down", "--lab", id[1]) }()

	for _, args := range []string{
		"cut h1", "heal h1", "drop h1", "undrop h1",
		"engine-hang h1", "engine-resume h1", "engine-kill h1", "engine-start h1", "engine-stop h1", "engine-start h1",
		"off h1",
	} {
		_, err := lab(t, append(strings.Fields(args), "--lab", id[1])...)
		require.NoError(t, err, args)
	}
	out, err = lab(t, "list")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^`+id[1]+`\s+h1\s+off\s`, out)
	_, err = lab(t, "on", "h1", "--lab", id[1])
	require.NoError(t, err)
	_, err = lab(t, "--lab", id[1], "exec", "h1", "sh", "-c", "exit 3")
	require.EqualError(t, err, "exit status 3")

	_, err = lab(t, "cut", "h7", "--lab", id[1])
	require.ErrorContains(t, err, `no host "h7", but h1`)
	_, err = lab(t, "down", "--lab", id[1])
	require.NoError(t, err)
	_, err = lab(t, "down", "--lab", id[1])
	require.Error(t, err)
}

func TestArgumentsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"up"}, {"up", "three"}, {"up", "0"}, {"cut"}, {"exec", "h1"}} {
		_, err := lab(t, args...)
		require.Error(t, err, args)
	}
}
