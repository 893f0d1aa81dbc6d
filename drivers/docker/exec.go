package docker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// ExecError says how a command in a container ended that was expected to go on, or to end well.
type ExecError struct {
	Host     string
	Argv     []string
	ExitCode int
	Stderr   string // its last words
}

func (e *ExecError) Error() string {
	said := ""
	if e.Stderr != "" {
		said = ": " + e.Stderr
	}
	return fmt.Sprintf("%s on %s ended with status %d%s", strings.Join(e.Argv, " "), e.Host, e.ExitCode, said)
}

// Unwrap makes it an unexpected end of a stream.
func (e *ExecError) Unwrap() error { return io.ErrUnexpectedEOF }

// Exec runs a command in a container and returns its standard input and output as a connection, with
// deadlines. Closing it ends the command's input. Where the command ends by itself, reading gives io.EOF
// or, if it failed, an ExecError with what it wrote to its standard error.
func (h *Host) Exec(ctx context.Context, containerID string, argv []string) (net.Conn, error) {
	o := h.read("running " + strings.Join(argv, " ") + " in container " + short(containerID))
	c, err := call(ctx, h, o, func(ctx context.Context, s *session) (*execConn, error) {
		created, err := s.ContainerExecCreate(ctx, containerID, container.ExecOptions{
			AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: argv,
		})
		if err != nil {
			return nil, err
		}
		ctx, u := withUpgrade(ctx)
		attached, err := s.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
		if err = u.finish(ctx, attached, err); err != nil {
			return nil, err
		}
		c := &execConn{Conn: attached.Conn, demux: demux{r: attached.Reader}}
		c.ended = sync.OnceValue(func() error { return h.execEnd(s, created.ID, argv, c) })
		return c, nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// finish ends the watch over an upgrade, and lets go of a connection that the deadline cut meanwhile.
func (u *upgrade) finish(ctx context.Context, attached types.HijackedResponse, err error) error {
	inTime := u.done()
	if err == nil && !inTime {
		attached.Close()
	}
	if !inTime {
		return ctx.Err()
	}
	return err
}

// execEnd asks how a command ended whose streams have.
func (h *Host) execEnd(s *session, id string, argv []string, c *execConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), h.opts.Timeout)
	defer cancel()
	in, err := s.ContainerExecInspect(ctx, id)
	stderr := strings.TrimSpace(c.stderr.String())
	if err != nil || in.Running { // the engine is gone, or the container
		return io.ErrUnexpectedEOF
	}
	if in.ExitCode == 0 {
		return io.EOF
	}
	if stderr == "" {
		stderr = strings.TrimSpace(c.begin.String()) // a command that can't be run is told of on its output
	}
	return &ExecError{Host: h.name, Argv: argv, ExitCode: in.ExitCode, Stderr: stderr}
}

// execConn is a connection to a command's standard streams.
type execConn struct {
	net.Conn
	reading sync.Mutex // a net.Conn may be read by several
	demux
	closing sync.Once
	mu      sync.Mutex
	closed  bool
	ended   func() error
}

func (c *execConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.demux.Read(p)
	if n == 0 && errors.Is(err, io.EOF) && !c.isClosed() {
		err = c.ended()
	}
	return n, err
}

func (c *execConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	var err error
	c.closing.Do(func() { err = c.Conn.Close() })
	return err
}

func (c *execConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// demux reads the standard output out of the engine's frames of both streams. It keeps its place when a
// deadline interrupts it, also in the middle of a frame's header.
type demux struct {
	r      *bufio.Reader
	head   [8]byte
	have   int // bytes of head
	left   int // bytes of the frame
	std    stdcopy.StdType
	begin  keptBytes // of the output
	stderr keptBytes
}

func (d *demux) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if d.left == 0 {
			if err := d.next(); err != nil {
				return 0, err
			}
			continue
		}
		if d.std == stdcopy.Stdout {
			n, err := d.r.Read(p[:min(len(p), d.left)])
			d.left -= n
			d.begin.keep(p[:n])
			if n > 0 {
				return n, nil
			}
			if err != nil {
				return 0, err
			}
			continue
		}
		var said [512]byte
		n, err := d.r.Read(said[:min(len(said), d.left)])
		d.left -= n
		d.stderr.keep(said[:n])
		if err != nil {
			return 0, err
		}
	}
}

func (d *demux) next() error {
	for d.have < len(d.head) {
		n, err := d.r.Read(d.head[d.have:])
		d.have += n
		if d.have < len(d.head) && err != nil {
			if errors.Is(err, io.EOF) && d.have > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	d.have = 0
	d.std = stdcopy.StdType(d.head[0])
	d.left = int(binary.BigEndian.Uint32(d.head[4:]))
	if d.std > stdcopy.Systemerr || d.head[1]|d.head[2]|d.head[3] != 0 {
		return fmt.Errorf("the engine sent no frame but %q", d.head)
	}
	return nil
}

// keptBytes keeps the beginning of what it is given.
type keptBytes struct{ buf []byte }

func (k *keptBytes) keep(p []byte) {
	k.buf = append(k.buf, p[:min(len(p), max(0, maxLine-len(k.buf)))]...)
}

func (k *keptBytes) String() string { return string(k.buf) }

var _ net.Conn = (*execConn)(nil)
