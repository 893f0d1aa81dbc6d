// Package image makes container images for tests from a static binary, in
// memory: no engine, no registry and no base image is involved.
//
//	program, err := image.Compile(ctx, "github.com/evenkeel/evenkeel/integration/lab/node")
//	web, err := image.New("web:1", program, image.Config{ExposedPorts: []string{"8080/tcp"}})
//	err = lab.Load(ctx, web)                       // onto every host
//
//	reg, err := image.StartRegistry(lab.Manager()) // or let the hosts pull
//	ref, err := reg.Push(ctx, web)                 // 10.232.0.1:40123/web:1
//
// Equal input makes an equal image with an equal ID, also on another day.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// ProgramPath is where the binary is in the image.
const ProgramPath = "/program"

// Config is what the image says about its containers. The zero value runs the
// binary without arguments, as root.
type Config struct {
	Entrypoint   []string // default: the binary
	Cmd          []string
	Env          []string // NAME=value
	WorkingDir   string
	User         string   // "1000" or "1000:1000": there is no /etc/passwd, unless in Files
	StopSignal   string   // such as SIGINT
	ExposedPorts []string // such as 8080/tcp
	Volumes      []string // paths
	Labels       map[string]string
	Healthcheck  *v1.HealthConfig
	Files        map[string]string // further files, by absolute path, mode 0644
}

// Image is an image with its name.
type Image struct {
	tag   name.Tag
	image v1.Image
}

// New makes an image of one layer. The reference is a short one, such as
// "web:1"; engines show it as such, and a registry adds its own name.
func New(reference string, program []byte, c Config) (*Image, error) {
	// Without a default registry, so that the engine knows the image by the
	// very name that was given.
	tag, err := name.NewTag(reference, name.WithDefaultRegistry(""))
	if err != nil {
		return nil, fmt.Errorf("making image %s: %w", reference, err)
	}
	img, err := build(program, c)
	if err != nil {
		return nil, fmt.Errorf("making image %s: %w", reference, err)
	}
	return &Image{tag: tag, image: img}, nil
}

func build(program []byte, c Config) (v1.Image, error) {
	content, err := layer(program, c.Files)
	if err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = c.config()
	return mutate.ConfigFile(img, file)
}

func (c Config) config() v1.Config {
	entrypoint := c.Entrypoint
	if entrypoint == nil {
		entrypoint = []string{ProgramPath}
	}
	return v1.Config{
		Entrypoint:   entrypoint,
		Cmd:          c.Cmd,
		Env:          c.Env,
		WorkingDir:   c.WorkingDir,
		User:         c.User,
		StopSignal:   c.StopSignal,
		ExposedPorts: set(c.ExposedPorts),
		Volumes:      set(c.Volumes),
		Labels:       c.Labels,
		Healthcheck:  c.Healthcheck,
	}
}

func set(items []string) map[string]struct{} {
	if len(items) == 0 {
		return nil
	}
	s := make(map[string]struct{}, len(items))
	for _, item := range items {
		s[item] = struct{}{}
	}
	return s
}

// layer is a tar archive without times, owners and other accidents. /tmp is
// there because programs expect it.
func layer(program []byte, files map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(kind byte, name string, mode fs.FileMode, content []byte) error {
		header := &tar.Header{Typeflag: kind, Name: strings.TrimPrefix(name, "/"), Mode: int64(mode), Size: int64(len(content))}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	if err := add(tar.TypeDir, "tmp/", 0o1777, nil); err != nil {
		return nil, err
	}
	if err := add(tar.TypeReg, ProgramPath, 0o755, program); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !path.IsAbs(name) {
			return nil, fmt.Errorf("file %q: the path has to be absolute", name)
		}
		if err := add(tar.TypeReg, path.Clean(name), 0o644, []byte(files[name])); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Reference returns the name that New was given, with its tag.
func (i *Image) Reference() string { return i.tag.RepositoryStr() + ":" + i.tag.TagStr() }

// ID returns what an engine with the graph-driver store calls the image's ID,
// sha256:….
func (i *Image) ID() (string, error) {
	hash, err := i.image.ConfigName()
	if err != nil {
		return "", fmt.Errorf("image %s: %w", i.Reference(), err)
	}
	return hash.String(), nil
}

// WriteTo writes the archive that docker load takes.
func (i *Image) WriteTo(w io.Writer) (int64, error) {
	counter := &countingWriter{w: w}
	if err := tarball.Write(i.tag, i.image, counter); err != nil {
		return counter.n, fmt.Errorf("writing image %s: %w", i.Reference(), err)
	}
	return counter.n, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
