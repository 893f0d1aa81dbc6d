package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// pingTimeout is short, since an engine that is ready answers in a millisecond.
const pingTimeout = 2 * time.Second

// StartEngine starts the engine of a running host and returns when it answers.
// The arguments are added to the lab's own for this time only.
func (h *Host) StartEngine(ctx context.Context, args ...string) error {
	init, err := h.init()
	if err == nil {
		err = h.startEngine(ctx, init, args)
	}
	if err != nil {
		return fmt.Errorf("starting the engine of %s: %w", h.Name(), err)
	}
	return nil
}

func (h *Host) startEngine(ctx context.Context, init process, args []string) error {
	if len(init.children("dockerd")) > 0 {
		return errors.New("it is running")
	}
	// A killed engine leaves these, and a later process with its number would
	// make it refuse to start.
	for _, name := range []string{"docker.pid", "docker.sock"} {
		err := os.Remove(filepath.Join(h.dir(), "run", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	log, err := os.OpenFile(h.EngineLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	// setsid --fork makes the engine a child of the host's first process.
	cmd, err := h.Command(ctx, "setsid", slices.Concat([]string{"--fork", "dockerd"}, h.engineArgs(), args)...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return err
	}
	return h.awaitEngine(ctx, init, begin)
}

func (h *Host) engineArgs() []string {
	args := []string{
		"--host=unix:///run/docker.sock",
		"--host=tcp://" + h.engineAddress(),
		"--tls=false", // said aloud, or 20.10 waits 15 s to have its warning read
		"--storage-driver=overlay2",
		"--exec-opt=native.cgroupdriver=cgroupfs", // no systemd in there, whatever the machine has
		"--cgroup-parent=" + h.cgroup(),
		"--insecure-registry=" + h.site.network().String(),
		fmt.Sprintf("--userland-proxy=%t", h.config.UserlandProxy),
	}
	return append(args, h.config.EngineArgs...)
}

// awaitEngine returns when the engine answers, or when there is none any more.
func (h *Host) awaitEngine(ctx context.Context, init process, logBegin int64) error {
	var silent error
	var dead bool
	err := waitFor(ctx, func() bool {
		// Looked for before the ping: dead and then no answer is dead.
		dead = len(init.children("dockerd", "setsid")) == 0
		silent = h.ping(ctx)
		return silent == nil || dead
	})
	switch {
	case silent == nil:
		return nil
	case dead:
		return fmt.Errorf("it ended; its last words: %s", h.lastWords(logBegin))
	default:
		return fmt.Errorf("it does not answer: %w: %w; its last words: %s", silent, err, h.lastWords(logBegin))
	}
}

// lastWords returns what the engine logged from an offset on, without the
// chatter that hides why it ended.
func (h *Host) lastWords(begin int64) string {
	data, err := os.ReadFile(h.EngineLog())
	if err != nil {
		return err.Error()
	}
	if begin < int64(len(data)) {
		data = data[begin:]
	}
	var words []byte
	for line := range bytes.Lines(data) {
		if !bytes.Contains(line, []byte("level=info")) {
			words = append(words, line...)
		}
	}
	const most = 1500
	return string(bytes.TrimSpace(words[max(0, len(words)-most):]))
}

// ping asks over the Unix socket, so that a cut cable doesn't matter.
func (h *Host) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return h.call(ctx, http.MethodGet, "/_ping", nil, nil)
}

// call makes one request to the engine over its Unix socket.
func (h *Host) call(ctx context.Context, method, path string, header http.Header, body io.Reader) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", h.Socket())
		},
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+h.Name()+path, body)
	if err != nil {
		return err
	}
	maps.Copy(req.Header, header)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(data))
	}
	// Some calls fail after their answer began; the error is in the stream.
	if bytes.Contains(data, []byte(`"errorDetail"`)) {
		return fmt.Errorf("%s", bytes.TrimSpace(data))
	}
	return nil
}

// StopEngine asks the engine to end (SIGTERM) and returns when it has. Its
// containers are stopped, unless it runs with --live-restore. It does nothing
// where no engine runs.
func (h *Host) StopEngine(ctx context.Context) error {
	return h.endEngine(ctx, unix.SIGTERM)
}

// KillEngine is a crash of the engine (SIGKILL). Its containers keep running
// until the engine is started again: then they are stopped, unless it is
// started with --live-restore.
func (h *Host) KillEngine(ctx context.Context) error {
	return h.endEngine(ctx, unix.SIGKILL)
}

// HangEngine stops the engine in its tracks (SIGSTOP): it accepts
// connections and never answers. It returns when all of it stands still.
func (h *Host) HangEngine(ctx context.Context) error {
	return h.signalEngine(ctx, unix.SIGSTOP, process.stopped)
}

// ResumeEngine lets a hanging engine go on (SIGCONT).
func (h *Host) ResumeEngine(ctx context.Context) error {
	return h.signalEngine(ctx, unix.SIGCONT, func(p process) bool { return !p.stopped() })
}

func (h *Host) endEngine(ctx context.Context, sig unix.Signal) error {
	init, err := h.init()
	if err != nil {
		return err
	}
	for _, engine := range init.children("dockerd") {
		if err := engine.end(ctx, sig); err != nil {
			return fmt.Errorf("ending the engine of %s: %w", h.Name(), err)
		}
	}
	// Its containerd follows it; an engine started meanwhile would try to use it.
	err = waitFor(ctx, func() bool { return len(init.children("dockerd", "containerd")) == 0 })
	if err != nil {
		return fmt.Errorf("waiting for the end of containerd on %s: %w", h.Name(), err)
	}
	return nil
}

// signalEngine sends the signal and waits until it took effect.
func (h *Host) signalEngine(ctx context.Context, sig unix.Signal, took func(process) bool) error {
	init, err := h.init()
	if err != nil {
		return err
	}
	engines := init.children("dockerd")
	if len(engines) == 0 {
		return fmt.Errorf("sending %s to the engine of %s: it is not running", unix.SignalName(sig), h.Name())
	}
	err = engines[0].signal(sig)
	if err == nil {
		err = waitFor(ctx, func() bool { return took(engines[0]) })
	}
	if err != nil {
		return fmt.Errorf("sending %s to the engine of %s: %w", unix.SignalName(sig), h.Name(), err)
	}
	return nil
}
