package docker

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
	"github.com/evenkeel/evenkeel/spec"
)

// putFiles copies a container's files into it: one archive for each mount that files are in, since only
// such a one is taken where the rest is read-only, and one for the rest.
func putFiles(ctx context.Context, s *session, id string, c fleet.Container) error {
	if len(c.Files) == 0 {
		return nil
	}
	created, err := s.ContainerInspect(ctx, id)
	if err != nil {
		return fmt.Errorf("reading when it was created: %w", err)
	}
	at := fleet.PutAt(parseTime(created.Created))
	byRoot := map[string][]spec.File{}
	var roots []string
	for _, f := range c.Files {
		root := mountOf(f.Path, c)
		if byRoot[root] == nil {
			roots = append(roots, root)
		}
		byRoot[root] = append(byRoot[root], f)
	}
	slices.Sort(roots)
	for _, root := range roots {
		archive, err := archive(ctx, s, id, place{root, at}, byRoot[root])
		if err != nil {
			return err
		}
		if err := s.CopyToContainer(ctx, id, root, archive, container.CopyToContainerOptions{}); err != nil {
			return fmt.Errorf("copying %s: %w", byRoot[root][0].Path, err)
		}
	}
	return nil
}

// mountOf is the target of the innermost mount that a path is in, or the root.
func mountOf(file string, c fleet.Container) string {
	in := "/"
	consider := func(target string) {
		target = path.Clean(target)
		if strings.HasPrefix(file, target+"/") && len(target) > len(in) {
			in = target
		}
	}
	for _, v := range c.Volumes {
		consider(v.Target)
	}
	for _, p := range c.HostPaths {
		consider(p.Target)
	}
	return in
}

// place is where an archive is unpacked, and the time that everything in it carries.
type place struct {
	root string
	at   time.Time
}

// archive holds the files, and those of their directories that aren't there: an existing one keeps its mode.
func archive(ctx context.Context, s *session, id string, to place, files []spec.File) (*bytes.Buffer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	known := map[string]bool{to.root: true}
	files = slices.SortedFunc(slices.Values(files), func(a, b spec.File) int { return cmp.Compare(a.Path, b.Path) })
	for _, f := range files {
		missing, err := missingParents(ctx, s, id, f.Path, known)
		if err != nil {
			return nil, err
		}
		for _, dir := range missing {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: within(to.root, dir) + "/", Mode: 0o755, ModTime: to.at}); err != nil {
				return nil, err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: within(to.root, f.Path), Mode: int64(f.Mode), Size: int64(len(f.Content)), ModTime: to.at}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Content); err != nil {
			return nil, err
		}
	}
	return &buf, w.Close()
}

// missingParents returns the directories above a file that don't exist, the outermost first, and adds all to known.
func missingParents(ctx context.Context, s *session, id, file string, known map[string]bool) ([]string, error) {
	var missing []string
	for dir := path.Dir(file); dir != "/" && !known[dir]; dir = path.Dir(dir) {
		known[dir] = true
		_, err := s.ContainerStatPath(ctx, id, dir)
		if errdefs.IsNotFound(err) {
			missing = append(missing, dir)
			continue
		}
		if err != nil && !answered(ctx, err) {
			return nil, fmt.Errorf("looking for %s in it: %w", dir, err)
		}
		// What is above an existing one exists. Any other answer comes without a reason, which copying will give.
		break
	}
	slices.Reverse(missing)
	return missing, nil
}

func within(root, file string) string {
	return strings.TrimPrefix(strings.TrimPrefix(file, root), "/")
}
