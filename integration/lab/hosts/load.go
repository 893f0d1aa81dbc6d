package hosts

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// Load puts images on the host, each written as an archive of docker save, as
// those of package integration/lab/image do it. It goes over the Unix socket,
// so a cut cable doesn't matter.
func (h *Host) Load(ctx context.Context, images ...io.WriterTo) error {
	archives, err := writeAll(images)
	if err != nil {
		return err
	}
	return h.load(ctx, archives)
}

// Load puts images on all hosts.
func (l *Lab) Load(ctx context.Context, images ...io.WriterTo) error {
	archives, err := writeAll(images)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, h := range l.Hosts() {
		group.Go(func() error { return h.load(ctx, archives) })
	}
	return group.Wait()
}

func writeAll(images []io.WriterTo) ([][]byte, error) {
	var archives [][]byte
	for _, image := range images {
		var buf bytes.Buffer
		if _, err := image.WriteTo(&buf); err != nil {
			return nil, err
		}
		archives = append(archives, buf.Bytes())
	}
	return archives, nil
}

func (h *Host) load(ctx context.Context, archives [][]byte) error {
	for _, archive := range archives {
		header := http.Header{"Content-Type": {"application/x-tar"}}
		if err := h.call(ctx, http.MethodPost, "/images/load?quiet=1", header, bytes.NewReader(archive)); err != nil {
			return fmt.Errorf("loading an image on %s: %w", h.Name(), err)
		}
	}
	return nil
}
