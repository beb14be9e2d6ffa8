package driver

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/node/control"
)

// What TCP may add to an outage. A connection whose data isn't acknowledged for
// userTimeout is given up. While there is none, a new attempt begins every
// minRedial at first, and never more than maxRedial apart, whether or not the
// attempts before it have failed by then: a lost SYN delays its own attempt
// only. Round trips of dialTimeout or more can't be bridged.
const (
	userTimeout = control.MaxRoundTrip
	minRedial   = 10 * time.Millisecond
	maxRedial   = 200 * time.Millisecond
	dialTimeout = 3 * time.Second
	// stableAfter is how long a connection must have lived for its loss not to
	// slow down redialling.
	stableAfter = time.Second
)

var (
	errClosedByPeer   = errors.New("closed by the peer")
	errUnexpectedData = errors.New("the peer sent something where it must not")
)

// dial makes attempts until one succeeds or the context ends. wait is the time
// to the next attempt, which it lets grow.
func (p *peer) dial(ctx context.Context, wait *time.Duration) (*net.TCPConn, error) {
	attempts, cancel := context.WithCancel(ctx)
	defer cancel()
	connected := make(chan *net.TCPConn)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case conn := <-connected:
			return conn, nil
		case <-timer.C:
			p.transport.group.Go(func() { p.attempt(attempts, connected) })
			timer.Reset(*wait)
			*wait = min(2**wait, maxRedial)
		}
	}
}

func (p *peer) attempt(ctx context.Context, connected chan<- *net.TCPConn) {
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: -1, Control: setUserTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return // the next attempt may do better; Status tells who isn't connected
	}
	select {
	case connected <- conn.(*net.TCPConn):
	case <-ctx.Done():
		_ = conn.Close()
	}
}

func setUserTimeout(_, _ string, raw syscall.RawConn) error {
	var failure error
	err := raw.Control(func(fd uintptr) {
		failure = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	return errors.Join(err, failure)
}

// sleep returns false if the context ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
