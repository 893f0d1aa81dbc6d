package keeper

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// Connect joins stdin and stdout to the keeper's socket, until either side ends or ctx is done. A keeper
// that is just being started is waited for, a moment less than a client waits for its hello. A stdin that
// is an io.Closer is closed at the end, so that nothing goes on reading it.
func Connect(ctx context.Context, socket string, stdin io.Reader, stdout io.Writer) error {
	if socket == "" {
		socket = DefaultSocket
	}
	conn, err := dialSocket(ctx, socket)
	if err != nil {
		return fmt.Errorf("connecting to the keeper: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	if c, ok := stdin.(io.Closer); ok {
		defer c.Close()
	}
	go func() {
		// Ends with stdin, or when the socket is closed. What the client sent last still arrives.
		_, _ = io.Copy(conn, stdin)
		_ = conn.CloseWrite()
	}()
	if _, err := io.Copy(stdout, conn); err != nil && ctx.Err() == nil {
		return fmt.Errorf("carrying the session: %w", err)
	}
	return ctx.Err()
}

func dialSocket(ctx context.Context, path string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, HelloTimeout*3/4)
	defer cancel()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		wait(ctx, 10*time.Millisecond)
		if ctx.Err() != nil {
			return nil, err
		}
	}
}
