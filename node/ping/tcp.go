package ping

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// tcp keeps a connection to each peer.
type tcp struct {
	connections []*tcpPeer
	hearing     sync.WaitGroup
	cancel      context.CancelFunc
}

const (
	// redialPause is how long a lost connection, or one that can't be made, is let be.
	redialPause = 200 * time.Millisecond
	// maxDial bounds how long the peers that don't answer hold up the first probe.
	maxDial = 5 * time.Second
	// maxWrite is how long a peer that takes nothing may hold up the probes of others.
	maxWrite = 20 * time.Millisecond
)

type tcpPeer struct {
	index   int
	address string
	bytes   int
	nonce   uint64
	timeout time.Duration

	mu   sync.Mutex
	conn net.Conn // nil while there is none
}

func newTCP(ctx context.Context, peers []netip.AddrPort, bytes int, timeout time.Duration, take answered) *tcp {
	ctx, cancel := context.WithCancel(ctx)
	t := &tcp{cancel: cancel}
	var dialled sync.WaitGroup
	for i, address := range peers {
		p := &tcpPeer{index: i, address: address.String(), bytes: bytes, nonce: rand.Uint64(), timeout: timeout}
		t.connections = append(t.connections, p)
		dialled.Add(1)
		first := sync.OnceFunc(dialled.Done)
		t.hearing.Go(func() { p.run(ctx, take, first) })
	}
	dialled.Wait()
	return t
}

// run keeps the connection up. It calls first once the first attempt to dial is over.
func (p *tcpPeer) run(ctx context.Context, take answered, first func()) {
	for ctx.Err() == nil {
		conn, err := p.dial(ctx)
		first()
		if err == nil {
			p.hear(ctx, conn, take)
		}
		select {
		case <-time.After(redialPause):
		case <-ctx.Done():
		}
	}
}

func (p *tcpPeer) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: min(max(p.timeout, time.Second), maxDial)}
	conn, err := dialer.DialContext(ctx, "tcp4", p.address)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "%s %d\n", wordEcho, p.bytes); err != nil {
		conn.Close()
		return nil, err
	}
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	return conn, nil
}

// hear reads answers until the connection is lost.
func (p *tcpPeer) hear(ctx context.Context, conn net.Conn, take answered) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	packet := make([]byte, p.bytes)
	for {
		_, err := io.ReadFull(conn, packet)
		at := time.Now()
		peer, round, ok := parse(packet, p.nonce)
		if err != nil || !ok || peer != p.index {
			break
		}
		take(at, peer, round)
	}
	p.mu.Lock()
	p.conn = nil
	p.mu.Unlock()
	conn.Close()
}

// errUnconnected is a probe's that finds no connection.
var errUnconnected = errors.New("not connected")

func (t *tcp) send(peer, round int) error {
	p := t.connections[peer]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return errUnconnected
	}
	packet := make([]byte, p.bytes)
	header(packet, p.nonce, peer, round)
	// What is full of probes that nobody takes loses this one: that is its row.
	_ = p.conn.SetWriteDeadline(time.Now().Add(maxWrite))
	written, err := p.conn.Write(packet)
	if err != nil && (written > 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
		p.conn.Close() // hear notices
	}
	return err
}

func (t *tcp) close() {
	t.cancel()
	t.hearing.Wait()
}
