package sim

import (
	"context"
	"io/fs"
	"time"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// file is one in a container.
type file struct {
	content []byte
	mode    uint32
	at      time.Time
}

func filesOf(files []spec.File, made time.Time) map[string]file {
	put := map[string]file{}
	for _, f := range files {
		put[f.Path] = file{f.Content, f.Mode, fleet.PutAt(made)}
	}
	return put
}

// StatFile looks at what is at a path in a container.
func (e *engine) StatFile(ctx context.Context, id, path string) (fleet.File, error) {
	return do(ctx, e, e.read("looking at", path+" in "+e.nameOf(id)), locked(e.host, func() (fleet.File, error) {
		f, _, err := e.host.file(id, path)
		return f, err
	}))
}

// ReadFile reads it, too.
func (e *engine) ReadFile(ctx context.Context, id, path string, most int64) (fleet.File, []byte, error) {
	var content []byte
	f, err := do(ctx, e, e.read("reading", path+" in "+e.nameOf(id)), locked(e.host, func() (fleet.File, error) {
		f, text, err := e.host.file(id, path)
		if f.Size <= most {
			content = text
		}
		return f, err
	}))
	return f, content, err
}

func (h *Host) file(id, path string) (fleet.File, []byte, error) {
	c := h.find(id)
	if c == nil {
		return fleet.File{}, nil, fleet.ErrNotFound
	}
	f, ok := c.files[path]
	if !ok {
		return fleet.File{Path: path, Missing: true}, nil, nil
	}
	return fleet.File{Path: path, Mode: fs.FileMode(f.mode), Size: int64(len(f.content)), ModTime: f.at}, f.content, nil
}
