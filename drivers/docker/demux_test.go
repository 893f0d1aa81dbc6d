package docker

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/docker/docker/pkg/stdcopy"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var errPause = errors.New("deadline")

// chopped gives its bytes in pieces with a passing deadline before each.
type chopped struct {
	data   []byte
	sizes  []int
	paused bool
}

func (c *chopped) Read(p []byte) (int, error) {
	if c.paused = !c.paused; c.paused {
		return 0, errPause
	}
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := len(c.data)
	if len(c.sizes) > 0 {
		n, c.sizes = min(n, c.sizes[0]), c.sizes[1:]
	}
	n = copy(p, c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

func TestDemuxKeepsItsPlaceWhateverInterruptsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream, want, said bytes.Buffer
		out, errs := stdcopy.NewStdWriter(&stream, stdcopy.Stdout), stdcopy.NewStdWriter(&stream, stdcopy.Stderr)
		for range rapid.IntRange(0, 8).Draw(t, "frames") {
			data := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "data")
			if rapid.Bool().Draw(t, "stderr") {
				_, _ = errs.Write(data)
				said.Write(data)
			} else {
				_, _ = out.Write(data)
				want.Write(data)
			}
		}
		sizes := rapid.SliceOfN(rapid.IntRange(1, 9), 0, 300).Draw(t, "sizes")
		d := &demux{r: bufio.NewReaderSize(&chopped{data: stream.Bytes(), sizes: sizes}, 16)}
		var got bytes.Buffer
		buf := make([]byte, rapid.IntRange(1, 700).Draw(t, "buffer"))
		for {
			n, err := d.Read(buf)
			got.Write(buf[:n])
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				require.ErrorIs(t, err, errPause)
			}
		}
		require.Equal(t, want.String(), got.String())
		require.Equal(t, said.String()[:min(said.Len(), maxLine)], d.stderr.String())
	})
}

func TestDemuxRefusesWhatIsNoFrame(t *testing.T) {
	d := &demux{r: bufio.NewReader(bytes.NewReader([]byte("HTTP/1.1 500 oh no")))}
	_, err := d.Read(make([]byte, 10))
	require.ErrorContains(t, err, "no frame")
	d = &demux{r: bufio.NewReader(bytes.NewReader([]byte{1, 0, 0, 0}))}
	_, err = d.Read(make([]byte, 10))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}
