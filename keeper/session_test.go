package keeper

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/evenkeel/evenkeel/keeper/lease"
	"github.com/evenkeel/evenkeel/reconciler/fleet"
)

func TestALivingSessionKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := start(t, Options{})
		c := k.holder(t)
		for range 100 {
			time.Sleep(2500 * time.Millisecond)
			require.Greater(t, c.LeaseLeft(), SessionSilence-PingInterval-time.Second)
		}
		require.NoError(t, c.PutRecord(t.Context(), "a", []byte(`1`)))
		require.NoError(t, c.Acquire(t.Context(), t.Name()))
		require.EqualValues(t, 1, c.Token(), "a renewal is the same lease")
	})
}

// stalling is a connection whose client stops: nothing goes out any more, nothing is read.
type stalling struct {
	net.Conn
	stalled chan struct{}
}

func (s *stalling) Write(b []byte) (int, error) {
	select {
	case <-s.stalled:
		return len(b), nil
	default:
		return s.Conn.Write(b)
	}
}

func TestASilentSessionIsClosedAndItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := start(t, Options{})
		stalled := make(chan struct{})
		silent, err := Dial(t.Context(), func(ctx context.Context) (net.Conn, error) {
			c, err := k.dial(ctx)
			return &stalling{c, stalled}, err
		})
		require.NoError(t, err)
		defer silent.Close()
		require.NoError(t, silent.Acquire(t.Context(), "first"))
		close(stalled)
		begin := time.Now()

		other := k.client(t)
		var held *HeldError
		for {
			err := other.Acquire(t.Context(), "second")
			if err == nil {
				break
			}
			require.ErrorAs(t, err, &held)
			require.Equal(t, "first", held.Holder)
			time.Sleep(100 * time.Millisecond)
		}
		after := time.Since(begin)
		require.Zero(t, silent.LeaseLeft(), "the first knows before the second has it")
		require.GreaterOrEqual(t, after, SessionSilence)
		require.LessOrEqual(t, after, SessionSilence+lease.Grace+200*time.Millisecond)
		require.EqualValues(t, 2, other.Token())
		<-silent.Done()
		require.ErrorIs(t, silent.PutRecord(t.Context(), "a", []byte(`1`)), fleet.ErrUnreachable)
	})
}

func TestAKeeperThatStopsAnsweringEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := start(t, Options{})
		cut := make(chan struct{})
		c, err := Dial(t.Context(), func(ctx context.Context) (net.Conn, error) {
			conn, err := k.dial(ctx)
			return &stalling{conn, cut}, err
		})
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.Acquire(t.Context(), "first"))
		close(cut)
		begin := time.Now()
		_, err = c.State(t.Context())
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.Equal(t, CallTimeout, time.Since(begin))
		require.LessOrEqual(t, c.LeaseLeft(), SessionSilence-CallTimeout)
		<-c.Done()
		require.LessOrEqual(t, time.Since(begin), SessionSilence+CallTimeout+PingInterval)
	})
}

func TestDialGivesUpOnWhatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		begin := time.Now()
		_, err := Dial(t.Context(), func(context.Context) (net.Conn, error) { return here, nil })
		require.ErrorIs(t, err, fleet.ErrUnreachable)
		require.Equal(t, HelloTimeout, time.Since(begin))
	})
}

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := start(t, Options{})
		first, second := k.client(t), k.client(t)
		require.ErrorIs(t, first.PutRecord(t.Context(), "a", []byte(`1`)), fleet.ErrFenced, "without a lease")
		require.NoError(t, first.Acquire(t.Context(), "first"))
		var held *HeldError
		require.ErrorAs(t, second.Acquire(t.Context(), "second"), &held)
		require.Equal(t, "first", held.Holder)
		s, err := second.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, "first", s.Lease.Holder)

		require.NoError(t, first.Release(t.Context()))
		require.Zero(t, first.LeaseLeft())
		require.NoError(t, second.Acquire(t.Context(), "second"), "given back: no wait")
		first.token = 1 // as if it had not noticed
		err = first.PutRecord(t.Context(), "a", []byte(`1`))
		require.ErrorIs(t, err, fleet.ErrFenced)
		require.ErrorContains(t, err, "second")
		require.Zero(t, first.LeaseLeft())
		first.token = 2 // another's number doesn't help over this session
		require.ErrorIs(t, first.PutRecord(t.Context(), "a", []byte(`1`)), fleet.ErrFenced)

		second.Close()
		synctest.Wait()
		require.ErrorAs(t, first.Acquire(t.Context(), "first"), &held, "the session's end leaves a grace")
		time.Sleep(lease.Grace)
		require.NoError(t, first.Acquire(t.Context(), "first"))
		require.EqualValues(t, 3, first.Token())
	})
}

func TestAHolderThatComesBackTakesItsLeaseOver(t *testing.T) {
	k := start(t, Options{})
	before, after := k.holder(t), k.client(t)
	require.NoError(t, after.Acquire(t.Context(), t.Name()))
	require.ErrorIs(t, before.PutRecord(t.Context(), "a", []byte(`1`)), fleet.ErrFenced)
	require.NoError(t, after.PutRecord(t.Context(), "a", []byte(`1`)))
}

func TestConnectJoinsASocket(t *testing.T) {
	k := startOnSocket(t)
	stdin, toStdin := io.Pipe()
	fromStdout, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Connect(context.Background(), k, stdin, stdout)
		stdout.Close()
	}()
	c, err := Dial(t.Context(), func(context.Context) (net.Conn, error) { return &joined{fromStdout, toStdin}, nil })
	require.NoError(t, err)
	require.Equal(t, Version, c.Hello().Version)
	require.NoError(t, c.Acquire(t.Context(), "me"))
	c.Close()
	require.NoError(t, <-ended)
}

func TestConnectSaysThatNobodyIsThere(t *testing.T) {
	err := Connect(t.Context(), filepath.Join(t.TempDir(), "no.sock"), new(neverReader), io.Discard)
	require.ErrorContains(t, err, "connecting to the keeper")
}

type neverReader struct{}

func (*neverReader) Read([]byte) (int, error) { return 0, io.EOF }

func startOnSocket(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "run", "keeper.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{Dir: t.TempDir(), Socket: path, Upstreams: []string{}, Port: 53})
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return path
}

// joined makes a connection of two pipes, as an exec session's streams are.
type joined struct {
	io.ReadCloser
	w io.WriteCloser
}

func (j *joined) Write(b []byte) (int, error)      { return j.w.Write(b) }
func (j *joined) Close() error                     { j.w.Close(); return j.ReadCloser.Close() }
func (j *joined) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (j *joined) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (j *joined) SetDeadline(time.Time) error      { return nil }
func (j *joined) SetReadDeadline(time.Time) error  { return nil }
func (j *joined) SetWriteDeadline(time.Time) error { return nil }
