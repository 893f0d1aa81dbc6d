package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// looksAtOnce is how many files are looked at on a host at a time. They have turns of their own: an engine
// that hangs over one of them doesn't keep the rest of the host from being read.
const looksAtOnce = 4

func (h *Host) look(doing string) operation { return operation{doing: doing, turn: h.looks} }

// StatFile looks at what is at a path in a container, without following a link. A container that isn't there
// is fleet.ErrNotFound; that there is nothing at the path is no error.
func (h *Host) StatFile(ctx context.Context, id, path string) (fleet.File, error) {
	return call(ctx, h, h.look("looking at "+path+" in container "+short(id)), func(ctx context.Context, s *session) (fleet.File, error) {
		st, err := s.ContainerStatPath(ctx, id, path)
		if errdefs.IsNotFound(err) {
			return missingFile(ctx, s, id, path)
		}
		if err != nil {
			return fleet.File{}, err
		}
		return found(path, st), nil
	})
}

// ReadFile returns what is at a path in a container, and its content if that is a file of at most so many bytes.
func (h *Host) ReadFile(ctx context.Context, id, path string, most int64) (fleet.File, []byte, error) {
	var content []byte
	f, err := call(ctx, h, h.look("reading "+path+" in container "+short(id)), func(ctx context.Context, s *session) (fleet.File, error) {
		body, st, err := s.CopyFromContainer(ctx, id, path)
		if errdefs.IsNotFound(err) {
			return missingFile(ctx, s, id, path)
		}
		if err != nil {
			return fleet.File{}, err
		}
		defer body.Close()
		f := found(path, st)
		if !f.Mode.IsRegular() || f.Size > most {
			return f, nil
		}
		content, err = readArchived(body, most)
		return f, err
	})
	return f, content, err
}

func found(path string, st container.PathStat) fleet.File {
	return fleet.File{Path: path, Mode: st.Mode, Size: st.Size, ModTime: st.Mtime, Target: st.LinkTarget}
}

// missingFile tells a path that isn't there from a container that isn't: the engine answers both alike.
func missingFile(ctx context.Context, s *session, id, path string) (fleet.File, error) {
	if _, err := s.ContainerInspect(ctx, id); err != nil {
		return fleet.File{}, err
	}
	return fleet.File{Path: path, Missing: true}, nil
}

// readArchived reads the one file of an archive. One that grows meanwhile is cut where the archive says.
func readArchived(body io.Reader, most int64) ([]byte, error) {
	r := tar.NewReader(body)
	h, err := r.Next()
	if err != nil {
		return nil, fmt.Errorf("the archive: %w", err)
	}
	if h.Typeflag != tar.TypeReg || h.Size > most {
		return nil, errors.New("it changed while it was read")
	}
	return io.ReadAll(r)
}
