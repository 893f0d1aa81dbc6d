package image

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

// Image is an image that is ready to be loaded. Close it when it isn't needed any more.
type Image struct {
	ID string // the config's digest: what an engine with graph drivers calls it

	file  *os.File
	tag   name.Tag
	image v1.Image
}

// tagDigits are as many of the ID's as tell images apart.
const tagDigits = 12

// Tag is evenkeel-keeper:<version>-<the beginning of its ID>: an image of the same version that was made
// of another program isn't taken for it.
func (i *Image) Tag() string { return i.tag.RepositoryStr() + ":" + i.tag.TagStr() }

// Build makes an image of the static program at path, for a host of the architecture.
func Build(path, arch string, version int) (*Image, error) {
	if err := Check(path, arch); err != nil {
		return nil, fmt.Errorf("making the keeper's image of %s: %w", path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("making the keeper's image: %w", err)
	}
	i, err := build(f, arch, version)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("making the keeper's image of %s: %w", path, err)
	}
	return i, nil
}

func build(f *os.File, arch string, version int) (*Image, error) {
	l, err := newLayer(f)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS = arch, "linux"
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config.Entrypoint = []string{"/evenkeel"}
	config.Config.Labels = map[string]string{
		fleet.LabelRole: fleet.RoleKeeper, fleet.LabelVersion: strconv.Itoa(version),
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	id, err := image.ConfigName()
	if err != nil {
		return nil, err
	}
	// Without a default registry, so that the engine knows it by this very name.
	tag, err := name.NewTag(fmt.Sprintf("evenkeel-keeper:%d-%.*s", version, tagDigits, id.Hex), name.WithDefaultRegistry(""))
	if err != nil {
		return nil, err
	}
	return &Image{ID: id.String(), file: f, tag: tag, image: image}, nil
}

// Tar streams the image as `docker load` takes it. Read it to its end or close it.
func (i *Image) Tar() io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarball.Write(i.tag, i.image, w)) }() // ends when r is read or closed
	return r
}

// Close lets go of the program's file.
func (i *Image) Close() error { return i.file.Close() }
