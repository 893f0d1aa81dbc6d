package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/hosts"
	"github.com/evenkeel/evenkeel/integration/lab/image"
)

// block is what of the document a reader types, or writes to a file.
var block = regexp.MustCompile("(?s)(?:`([a-z]+\\.yaml)`[^`]*)?```(yaml|sh)\n(.*?)```")

// expectation is what a line is said to print.
var expectation = regexp.MustCompile(`^(.*?)\s+# → (.*)$`)

// line is one command of the document, and what it is said to print.
type line struct{ command, prints string }

// typed is the document as a script, a mark before each command of it, and its commands.
func typed(t *testing.T, document string) (script string, lines []line) {
	t.Helper()
	var b strings.Builder
	b.WriteString("set -euo pipefail\n")
	for _, m := range block.FindAllStringSubmatch(document, -1) {
		if m[2] == "yaml" {
			require.NotEmpty(t, m[1], "the file's name stands before it")
			fmt.Fprintf(&b, "cat > %s <<'END OF FILE'\n%sEND OF FILE\n", m[1], m[3])
			continue
		}
		for text := range strings.Lines(m[3]) {
			l := line{command: strings.TrimSpace(text)}
			if e := expectation.FindStringSubmatch(l.command); e != nil {
				l = line{e[1], e[2]}
			}
			fmt.Fprintf(&b, "echo '@@ %d'\n%s\n", len(lines), l.command)
			lines = append(lines, l)
		}
	}
	b.WriteString("echo '@@ end'\n")
	return b.String(), lines
}

// TestGettingStarted types docs/getting-started.md, from its first line to its last, against two hosts over ssh.
func TestGettingStarted(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/getting-started.md")
	require.NoError(t, err)
	own := hosts.Start(t, 2)
	home := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
	for i, key := range []string{"id_ed25519", "id_ecdsa"} { // a key of its own for each host
		s, err := own.Host(i + 1).StartSSH(t.Context())
		require.NoError(t, err)
		b, err := os.ReadFile(s.Key)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(home, ".ssh", key), b, 0o600))
	}
	document := strings.NewReplacer(
		"deploy@10.0.0.11", "root@"+own.Host(1).Address().String(), "deploy@10.0.0.12", "root@"+own.Host(2).Address().String(),
		"10.0.0.11", own.Host(1).Address().String(), "10.0.0.12", own.Host(2).Address().String(),
		"docker.io/library/nginx:", nginx(t, own)+"/nginx:",
	).Replace(string(text))
	script, lines := typed(t, document)
	require.Greater(t, len(lines), 15)

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{
		"HOME=" + home, "PATH=" + tools(t, home) + ":" + os.Getenv("PATH"), "XDG_STATE_HOME=" + t.TempDir(),
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com",
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	require.NoError(t, cmd.Run(), "%s\n--- stderr\n%s", &out, &said)
	for i, l := range lines {
		_, printed, ok := strings.Cut(out.String(), fmt.Sprintf("@@ %d\n", i))
		require.True(t, ok, "%s was not reached", l.command)
		printed, _, _ = strings.Cut(printed, "@@ ")
		require.Contains(t, printed, l.prints, "%s\n--- stderr\n%s", l.command, &said)
	}
}

// nginx is a registry that has what stands in for nginx, in the versions that the document names.
func nginx(t *testing.T, l *hosts.Lab) (address string) {
	t.Helper()
	r, err := image.StartRegistry(l.Manager())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	for _, version := range []string{"1.28", "1.29"} {
		img, err := image.New("nginx:"+version, nodes, image.Config{Env: []string{"PORT=80"}, Labels: map[string]string{"version": version}})
		require.NoError(t, err)
		_, err = r.Push(t.Context(), img)
		require.NoError(t, err)
	}
	return r.Address()
}

// tools is a folder with evenkeel, and an ssh that looks into the reader's home for keys, where OpenSSH's own looks into the account's.
func tools(t *testing.T, home string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(program, filepath.Join(dir, "evenkeel")))
	ssh, err := exec.LookPath("ssh")
	require.NoError(t, err)
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s -F none -o UserKnownHostsFile=%s/.ssh/known_hosts -i %[2]s/.ssh/id_ed25519 -i %[2]s/.ssh/id_ecdsa \"$@\"\n", ssh, home)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ssh"), []byte(wrapper), 0o755))
	return dir
}
