// Package wire makes the keeper fit the reconciler's interfaces.
package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/evenkeel/evenkeel/keeper"
	"github.com/evenkeel/evenkeel/keeper/image"
	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// DialKeeper opens a session with a keeper.
func DialKeeper(ctx context.Context, dial func(context.Context) (net.Conn, error)) (reconciler.Keeper, error) {
	client, err := keeper.Dial(ctx, dial)
	if err != nil {
		return nil, err
	}
	return &keeperSession{client}, nil
}

// KeeperImage makes the image for a host's keeper: of this program, of a sibling for the host's
// architecture, or of the program that --keeper-image names.
func KeeperImage(given string) func(arch string) (reconciler.KeeperImage, error) {
	return func(arch string) (reconciler.KeeperImage, error) {
		if given != "" && image.Check(given, arch) == nil {
			return image.Build(given, arch, keeper.Version)
		}
		path, err := image.Binary(arch)
		switch {
		case err != nil && given != "":
			return nil, fmt.Errorf("%w; --keeper-image %s doesn't fit: %w", err, given, image.Check(given, arch))
		case err != nil:
			return nil, err
		}
		return image.Build(path, arch, keeper.Version)
	}
}

// keeperSession is a [keeper.Client] as the reconciler wants it.
type keeperSession struct{ *keeper.Client }

// Acquire asks for the lease; refused, its error names the holder as the reconciler asks for it.
func (s *keeperSession) Acquire(ctx context.Context, holder string) error {
	err := s.Client.Acquire(ctx, holder)
	var held *keeper.HeldError
	if errors.As(err, &held) {
		return heldError{err, held.Holder}
	}
	return err
}

// heldError is a lease that somebody else holds.
type heldError struct {
	error
	holder string
}

func (e heldError) Holder() string { return e.holder }

func (e heldError) Unwrap() error { return e.error }

func (s *keeperSession) SetZone(ctx context.Context, z fleet.Zone) error {
	_, err := s.Client.SetZone(ctx, &z)
	return err
}

func (s *keeperSession) PutRecord(ctx context.Context, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("writing the record %s: %w", key, err)
	}
	return s.Client.PutRecord(ctx, key, text)
}

func (s *keeperSession) SetCopy(ctx context.Context, c fleet.Copy) error {
	return s.Client.SetCopy(ctx, &c)
}

// Watch passes on that something changed, not what: the reconciler reads the state anew. Hints that come
// faster than they are taken are one.
func (s *keeperSession) Watch(ctx context.Context) <-chan struct{} {
	hints := make(chan struct{}, 1)
	go func() { // ends with the watch, which ends with ctx or the session
		defer close(hints)
		events, err := s.Client.Watch(ctx)
		if err != nil {
			return
		}
		for e := range events {
			if len(e.Health) == 0 {
				continue
			}
			select {
			case hints <- struct{}{}:
			default:
			}
		}
	}()
	return hints
}

func (s *keeperSession) Close() error {
	s.Client.Close()
	return nil
}
