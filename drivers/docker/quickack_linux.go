package docker

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quickAck acknowledges at once what comes over a connection. An sshd that carries channels holds its next small answer
// back until the one before it was acknowledged (Nagle's algorithm), which a kernel likes to do 40 ms later.
func quickAck(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	return &quickAckConn{tcp, raw}
}

type quickAckConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

func (c *quickAckConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		_ = c.raw.Control(func(fd uintptr) { // the kernel forgets it; without it all is only slower
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		})
	}
	return n, err
}
