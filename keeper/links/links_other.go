//go:build !linux

package links

import (
	"context"
	"errors"
	"log/slog"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

var errLinux = errors.New("links are kept on Linux hosts, and this isn't one")

// Set does nothing here.
func Set(string, *fleet.Links) (fleet.LinksResult, error) { return fleet.LinksResult{}, errLinux }

// Serve does nothing here.
func Serve(context.Context, string, *slog.Logger) error { return errLinux }
