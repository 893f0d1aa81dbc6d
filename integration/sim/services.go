package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/reconciler"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Image tells what the host has under a reference or an ID.
func (e *engine) Image(ctx context.Context, ref string) (fleet.ImageInfo, error) {
	return do(ctx, e, e.read("looking for image", ref), locked(e.host, func() (fleet.ImageInfo, error) {
		i := e.host.image(ref)
		if i == nil {
			return fleet.ImageInfo{}, fleet.ErrNoImage
		}
		info := fleet.ImageInfo{ID: i.id}
		for _, tag := range i.tags {
			if strings.Contains(tag, "@") {
				info.Digests = append(info.Digests, tag)
			}
		}
		return info, nil
	}))
}

// Pull fetches an image.
func (e *engine) Pull(ctx context.Context, ref string, _ fleet.Credentials) error {
	c := e.write("pulling", ref)
	c.timeout = slowestPull + pullStall // one whose connection is lost makes no progress any more
	return only(do(ctx, e, c, func() (none, error) {
		took, err := e.host.w.Registry.pull(e.host, ref)
		if e.host.w.sleep(ctx, took) != nil {
			return none{}, ctx.Err()
		}
		return locked(e.host, func() (none, error) {
			if err == nil {
				e.host.putImage(imageID(ref), ref)
			}
			return none{}, err
		})()
	}))
}

// Resolve asks the registry through the engine.
func (e *engine) Resolve(ctx context.Context, ref string, _ fleet.Credentials) (string, error) {
	c := e.read("asking for", ref)
	c.timeout = writeTimeout
	return do(ctx, e, c, func() (string, error) { return e.host.w.Registry.digest(ctx, ref, e.host.name) })
}

// RemoveImage removes an image under one of its names.
func (e *engine) RemoveImage(ctx context.Context, id string) error {
	return only(do(ctx, e, e.write("removing image", id), locked(e.host, func() (none, error) {
		i := e.host.image(id)
		if i == nil {
			return none{}, fleet.ErrNotFound
		}
		for _, c := range e.host.containers {
			if e.host.image(c.image) == i {
				return none{}, fleet.ErrConflict
			}
		}
		delete(e.host.images, i.id)
		return none{}, nil
	})))
}

// keeperImage is evenkeel's own image.
type keeperImage struct{ version int }

func (i keeperImage) Tag() string        { return fmt.Sprintf("evenkeel/keeper:%d", i.version) }
func (i keeperImage) Tar() io.ReadCloser { return io.NopCloser(strings.NewReader(i.Tag())) }
func (i keeperImage) Close() error       { return nil }

// LoadImage loads evenkeel's own image.
func (e *engine) LoadImage(ctx context.Context, tar io.Reader) error {
	tag, err := io.ReadAll(tar)
	if err != nil {
		return err
	}
	return only(do(ctx, e, e.write("loading", string(tag)), locked(e.host, func() (none, error) {
		e.host.putImage(imageID(string(tag)), string(tag))
		return none{}, nil
	})))
}

// CreateService creates one of evenkeel's own containers.
func (e *engine) CreateService(ctx context.Context, s fleet.Service) (string, error) {
	return do(ctx, e, e.write("creating", s.Name), locked(e.host, func() (string, error) {
		h := e.host
		if err := h.ensureVolumes(s.Volumes, s.Labels[fleet.LabelFleet]); err != nil {
			return "", err
		}
		if has := h.find(s.Name); has != nil {
			return h.adopt(has, s.Labels)
		}
		if h.image(s.Image) == nil {
			return "", fleet.ErrNoImage
		}
		c := h.make(s.Name, s.Image, s.Labels)
		c.restart = s.Restart
		for _, v := range s.Volumes {
			c.mounts = append(c.mounts, v.Name)
		}
		if n := h.network(s.Network); n != nil {
			c.networks[s.Network] = endpoint{network: n.ID, address: h.address(n)}
		}
		c.behaviour = behaviour{startup: 100 * time.Millisecond, ending: 50 * time.Millisecond}
		h.tell(c, "create")
		h.changed(byEvenkeel)
		return c.id, nil
	}))
}

// RunHelper looks until a node's connections have ended.
func (e *engine) RunHelper(ctx context.Context, s fleet.Service) (string, error) {
	c := e.read("running", s.Name)
	c.timeout = time.Hour
	return do(ctx, e, c, func() (string, error) {
		w := e.host.w
		most := time.Duration(0)
		for i, arg := range s.Command {
			if arg == "--timeout" {
				most, _ = time.ParseDuration(s.Command[i+1])
			}
		}
		took, left := w.linger(s.Name, most)
		if err := w.sleep(ctx, took); err != nil {
			return "", err
		}
		return fmt.Sprintf(`{"connections": %d}`+"\n", left), nil
	})
}

// Exec joins a connection to the keeper.
func (e *engine) Exec(ctx context.Context, id string, _ []string) (net.Conn, error) {
	return do(ctx, e, e.read("speaking to", "the keeper"), locked(e.host, func() (net.Conn, error) {
		c := e.host.find(id)
		if c == nil || c.keeper == nil {
			return nil, errors.New("the keeper isn't running")
		}
		return &keeperConn{keeper: c.keeper, p: e.p}, nil
	}))
}

var _ reconciler.KeeperImage = keeperImage{}
