package docker

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// maxLine is the most that is kept of one line of a log.
const maxLine = 4096

// Logs returns the last lines that a container wrote to its standard output and error, running or not.
// Where the log driver keeps nothing that can be read there are none.
func (h *Host) Logs(ctx context.Context, id string, lines int) ([]string, error) {
	return call(ctx, h, h.read("reading the log of container "+short(id)), func(ctx context.Context, s *session) ([]string, error) {
		r, err := s.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines)})
		if err != nil {
			if unreadable(err) {
				return nil, nil
			}
			return nil, err
		}
		defer r.Close()
		last := &lastLines{most: lines}
		_, err = stdcopy.StdCopy(last, last, r)
		if err != nil && !unreadable(err) {
			return nil, err
		}
		return last.all(), nil
	})
}

func unreadable(err error) bool {
	return strings.Contains(err.Error(), "logging driver does not support reading") ||
		strings.Contains(err.Error(), "logger: does not support reading")
}

// lastLines keeps the last lines of what is written to it, and of each its beginning.
type lastLines struct {
	most    int
	lines   []string
	partial []byte
}

func (l *lastLines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		l.partial = append(l.partial, line[:min(len(line), max(0, maxLine-len(l.partial)))]...)
		if !ended {
			return n, nil
		}
		l.push()
		p = rest
	}
}

func (l *lastLines) push() {
	l.lines = append(l.lines, strings.ToValidUTF8(strings.TrimSuffix(string(l.partial), "\r"), "\uFFFD"))
	l.partial = l.partial[:0]
	if len(l.lines) > l.most {
		l.lines = l.lines[1:]
	}
}

func (l *lastLines) all() []string {
	if len(l.partial) > 0 {
		l.push()
	}
	return l.lines
}

var _ io.Writer = (*lastLines)(nil)
