package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/integration/lab/image"
)

func TestArchiveHoldsTheProgramAndTheConfig(t *testing.T) {
	img, err := image.New("shop/web:1", []byte("a program"), image.Config{
		Cmd:          []string{"serve"},
		Env:          []string{"A=b"},
		User:         "1000",
		ExposedPorts: []string{"8080/tcp"},
		Labels:       map[string]string{"x": "y"},
		Files:        map[string]string{"/etc/b": "B", "/etc/a": "A"},
	})
	require.NoError(t, err)
	require.Equal(t, "shop/web:1", img.Reference())

	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	require.NoError(t, err)
	n, err := img.WriteTo(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), n)

	read, err := tarball.ImageFromPath(path, nil)
	require.NoError(t, err)
	file, err := read.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, "linux", file.OS)
	require.Equal(t, []string{image.ProgramPath}, file.Config.Entrypoint)
	require.Equal(t, []string{"serve"}, file.Config.Cmd)
	require.Equal(t, []string{"A=b"}, file.Config.Env)
	require.Equal(t, "1000", file.Config.User)
	require.Contains(t, file.Config.ExposedPorts, "8080/tcp")
	require.Equal(t, map[string]string{"x": "y"}, file.Config.Labels)

	layers, err := read.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 1)
	content, err := layers[0].Uncompressed()
	require.NoError(t, err)
	defer content.Close()
	require.Equal(t, []string{"tmp/ 1777 ", "program 755 a program", "etc/a 644 A", "etc/b 644 B"}, entries(t, content))
}

func entries(t *testing.T, r io.Reader) []string {
	t.Helper()
	var list []string
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		require.NoError(t, err)
		data, err := io.ReadAll(archive)
		require.NoError(t, err)
		list = append(list, fmt.Sprintf("%s %o %s", header.Name, header.Mode, data))
	}
}

func TestEqualInputMakesAnEqualImage(t *testing.T) {
	config := image.Config{Files: map[string]string{"/b": "2", "/a": "1", "/c": "3"}, Labels: map[string]string{"b": "2", "a": "1"}}
	archive := func(config image.Config) []byte {
		img, err := image.New("web:1", []byte("program"), config)
		require.NoError(t, err)
		var buf bytes.Buffer
		_, err = img.WriteTo(&buf)
		require.NoError(t, err)
		return buf.Bytes()
	}
	first := archive(config)
	require.Equal(t, first, archive(config))
	config.Env = []string{"VERSION=2"}
	require.NotEqual(t, first, archive(config))
}

func TestNewRefuses(t *testing.T) {
	_, err := image.New("Web Shop", nil, image.Config{})
	require.ErrorContains(t, err, "Web Shop")
	_, err = image.New("web:1", nil, image.Config{Files: map[string]string{"etc/x": ""}})
	require.ErrorContains(t, err, "absolute")
}

func TestRegistryServesWhatWasPushed(t *testing.T) {
	reg, err := image.StartRegistry(netip.MustParseAddr("127.0.0.1"))
	require.NoError(t, err)
	img, err := image.New("shop/web:1", []byte("program"), image.Config{})
	require.NoError(t, err)

	pushed, err := reg.Push(t.Context(), img)
	require.NoError(t, err)
	require.Equal(t, reg.Address()+"/shop/web:1", pushed)

	ref, err := name.ParseReference(pushed, name.Insecure)
	require.NoError(t, err)
	head, err := remote.Head(ref, remote.WithContext(t.Context()))
	require.NoError(t, err)
	digest, err := img.Digest()
	require.NoError(t, err)
	require.Equal(t, digest, head.Digest.String())
	require.Contains(t, reg.Requests(), "HEAD /v2/shop/web/manifests/1")

	require.NoError(t, reg.Close())
	_, err = reg.Push(t.Context(), img)
	require.ErrorContains(t, err, reg.Address())
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	_, err := image.Compile(t.Context(), "github.com/evenkeel/evenkeel/no/such/package")
	require.ErrorContains(t, err, "no/such/package")
}
