//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/reconciler/plan"
	"github.com/evenkeel/evenkeel/reconciler/rollout"
)

// openPTY returns both ends of a pseudo-terminal of the given size.
func openPTY(t *testing.T, width, height uint16) (outside, terminal *os.File) {
	t.Helper()
	outside, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(outside.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(outside.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	resize(t, terminal, width, height)
	t.Cleanup(func() { outside.Close(); terminal.Close() })
	return outside, terminal
}

func resize(t *testing.T, terminal *os.File, width, height uint16) {
	t.Helper()
	require.NoError(t, unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}))
}

// On a terminal progress is redrawn in colour and follows its size; the same program on a pipe writes lines.
func TestProgressIsRedrawnOnATerminalOnly(t *testing.T) {
	outside, terminal := openPTY(t, 60, 20)
	read := &safeBuffer{}
	go func() { _, _ = io.Copy(read, outside) }() // ends when the terminal is closed

	p, _, _ := testProgram(&canned{})
	p.err, p.getenv = terminal, func(string) string { return "" }
	show := p.progress()
	step := rollout.Progress{
		Time: time.Now(), Environment: "shop", Layer: "web", Node: 3, Host: "hn1", Operation: plan.Redeploy,
		Phase: rollout.PhaseGate, Total: 3, Message: strings.Repeat("x", 200),
	}
	show.Report(step)
	seen := func(text string) func() bool { return func() bool { return strings.Contains(read.String(), text) } }
	require.Eventually(t, seen("node 3"), 5*time.Second, time.Millisecond)
	require.Eventually(t, seen("\x1b[2A"), 5*time.Second, time.Millisecond, "the two lines are drawn anew as the clock goes on")
	require.Contains(t, read.String(), "\x1b[36mgate")
	require.Less(t, longest(read.String()), 60, "no line reaches the last column")

	resize(t, terminal, 30, 20)
	before := len(read.String())
	require.Eventually(t, func() bool {
		after := read.String()[before:]
		return strings.Contains(after, "\x1b[J") && longest(after[strings.LastIndex(after, "\x1b[J"):]) < 30
	}, 5*time.Second, time.Millisecond)
	show.Close()

	p.global.NoColor = true
	require.False(t, p.style(terminal).Colour)
	plain := &safeBuffer{}
	p.err = plain
	show = p.progress()
	show.Report(step)
	show.Close()
	require.NotContains(t, plain.String(), "\x1b")
	require.Contains(t, plain.String(), "shop/web/3 on hn1: redeploy gate")
}

// longest is how many columns the longest line takes, escape sequences apart.
func longest(text string) int {
	most := 0
	for line := range strings.SplitSeq(text, "\n") {
		n, escape := 0, false
		for _, r := range strings.TrimSuffix(line, "\r") {
			switch {
			case r == 0x1b:
				escape = true
			case escape:
				escape = r == '[' || r >= '0' && r <= '9' || r == ';'
			case r >= ' ':
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
