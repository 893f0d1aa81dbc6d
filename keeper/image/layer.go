package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is an uncompressed layer with the program in it, read from its file each time that it is needed:
// neither the engine nor we gain from compressing what goes over a local socket and is then unpacked.
type layer struct {
	file   *os.File
	size   int64 // the program's
	before []byte
	after  []byte
	digest v1.Hash
}

// blockSize is tar's.
const blockSize = 512

func newLayer(f *os.File) (*layer, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	l := &layer{file: f, size: info.Size()}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeReg, Name: "evenkeel", Mode: 0o755, Size: l.size},
	} {
		h.ModTime, h.Format = time.Unix(0, 0), tar.FormatUSTAR
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("writing the layer: %w", err)
		}
	}
	l.before = b.Bytes()
	l.after = make([]byte, (blockSize-l.size%blockSize)%blockSize+2*blockSize)
	sum := sha256.New()
	if _, err := io.Copy(sum, l.open()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	l.digest = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return l, nil
}

func (l *layer) open() io.Reader {
	return io.MultiReader(bytes.NewReader(l.before), io.NewSectionReader(l.file, 0, l.size), bytes.NewReader(l.after))
}

// What a v1.Layer is.
func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return io.NopCloser(l.open()), nil }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return io.NopCloser(l.open()), nil }
func (l *layer) Size() (int64, error)                 { return int64(len(l.before)+len(l.after)) + l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.DockerUncompressedLayer, nil }
