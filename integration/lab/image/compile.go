package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Compile builds a Go command of this module without cgo, so that it runs in
// an image with nothing else in it, and returns the binary.
func Compile(ctx context.Context, pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "evenkeel-image-")
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", pkg, err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling %s: %w: %s", pkg, err, bytes.TrimSpace(said))
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", pkg, err)
	}
	return program, nil
}
