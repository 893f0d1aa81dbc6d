// Package drain counts the connections that a node still serves, as the kernel shows them in the node's
// network namespace.
package drain

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The states of a socket that matter here, as the kernel numbers them.
const (
	stateEstablished = 1
	stateListen      = 10
)

// Socket is one line of /proc/net/tcp or tcp6.
type Socket struct {
	Local, Remote netip.AddrPort
	State         uint8
}

// Parse reads /proc/net/tcp or tcp6. What it can't read is an error, never a socket less: none are left
// only where all were seen.
func Parse(r io.Reader, each func(Socket)) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] == "sl" {
			continue
		}
		s, err := parseSocket(fields)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		each(s)
	}
	return lines.Err()
}

func parseSocket(fields []string) (s Socket, err error) {
	if len(fields) < 4 {
		return s, errors.New("too few columns")
	}
	if s.Local, err = parseAddrPort(fields[1]); err != nil {
		return s, err
	}
	if s.Remote, err = parseAddrPort(fields[2]); err != nil {
		return s, err
	}
	state, err := strconv.ParseUint(fields[3], 16, 8)
	s.State = uint8(state)
	return s, err
}

// parseAddrPort reads an address in hexadecimal, in words of 32 bits in the machine's own byte order, a
// colon, and a port.
func parseAddrPort(text string) (netip.AddrPort, error) {
	address, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if !ok || err != nil || (len(raw) != 4 && len(raw) != 16) {
		return netip.AddrPort{}, fmt.Errorf("%q isn't an address and port", text)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q isn't an address and port", text)
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(number)), nil
}
