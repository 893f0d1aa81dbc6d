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
	if err := Build(ctx, pkg, out); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", pkg, err)
	}
	return program, nil
}

// Build is Compile into a file.
func Build(ctx context.Context, pkg, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %w: %s", pkg, err, bytes.TrimSpace(said))
	}
	return nil
}
