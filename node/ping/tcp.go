package ping

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// tcp keeps a connection to each peer.
type tcp struct {
	connections []*tcpPeer
	hearing     sync.WaitGroup
	cancel      context.CancelFunc
}

type tcpPeer struct {
	index   int
	address string
	bytes   int
	nonce   uint64
	timeout time.Duration

	mu   sync.Mutex
	conn net.Conn // nil while there is none
}

func newTCP(peers []netip.AddrPort, bytes int, timeout time.Duration, take answered) *tcp {
	ctx, cancel := context.WithCancel(context.Background())
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
			continue
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (p *tcpPeer) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: max(p.timeout, time.Second)}
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
var errUnconnected = fmt.Errorf("not connected")

func (t *tcp) send(peer, round int) error {
	p := t.connections[peer]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return errUnconnected
	}
	packet := make([]byte, p.bytes)
	header(packet, p.nonce, peer, round)
	// A peer that doesn't take anything mustn't hold up the probes of others.
	_ = p.conn.SetWriteDeadline(time.Now().Add(p.timeout))
	if _, err := p.conn.Write(packet); err != nil {
		p.conn.Close() // hear notices
		return err
	}
	return nil
}

func (t *tcp) close() {
	t.cancel()
	t.hearing.Wait()
}
