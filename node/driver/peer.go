package driver

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/wire"
)

// peer is a process that this one sends to, over a connection that it dials and
// dials again whenever it is lost. Nothing ever comes back on it; the other
// side's messages come on the connection that it dials itself.
type peer struct {
	transport *Transport
	id        consensus.NodeID
	address   string
	// index numbers the transport's peers from 0.
	index   int
	dropped atomic.Uint64
	// wake tells the writer that there may be something to write.
	wake chan struct{}

	mu    sync.Mutex
	queue frameQueue
	// spare is the buffer that the queue goes on with when its own is written.
	spare []byte
	// link is the live connection, nil if there is none.
	link *link
	// ended sums the connections before it, lastEnded is the last of them.
	ended     control.Socket
	lastEnded *net.TCPConn
}

// link is one connection to a peer.
type link struct {
	conn *net.TCPConn

	// The peer's mutex guards busy, which is true while frames are being
	// written, and rest, which is what a flush couldn't write. With a rest, busy
	// stays true until the writer has written it.
	busy bool
	rest []byte

	// What follows belongs to the goroutine that set busy.
	raw     syscall.RawConn
	attempt func(fd uintptr) bool
	batch   []byte
	written int
}

func newLink(conn *net.TCPConn) (*link, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, raw: raw}
	// Made once, as a closure made for each write would be allocated each time.
	l.attempt = func(fd uintptr) bool {
		l.written, _ = syscall.Write(int(fd), l.batch)
		return true
	}
	return l, nil
}

// writeSome writes what the socket takes without waiting. An error shows when
// the writer tries the rest.
func (l *link) writeSome(batch []byte) (written int) {
	l.batch, l.written = batch, 0
	err := l.raw.Write(l.attempt)
	l.batch = nil
	if err != nil {
		return 0
	}
	return max(l.written, 0)
}

// send queues a message.
func (p *peer) send(message consensus.Message) {
	p.mu.Lock()
	dropped, err := p.queue.push(p.transport.config.Codec, message)
	p.mu.Unlock()
	if err != nil {
		p.transport.config.Log.Printf("a message to %v is dropped: %v", p.id, err)
		dropped++
	}
	if dropped > 0 {
		p.dropped.Add(uint64(dropped))
	}
}

// flush writes what is queued, unless somebody is writing already, who then
// takes it along. It never waits for the socket: the writer does that.
func (p *peer) flush() {
	p.mu.Lock()
	l := p.link
	if l == nil || l.busy || p.queue.messages() == 0 {
		p.mu.Unlock()
		return
	}
	l.busy = true
	batch := p.queue.take(p.spare)
	p.spare = nil
	p.mu.Unlock()

	written := l.writeSome(batch)

	p.mu.Lock()
	if written < len(batch) {
		l.rest = batch[written:]
	} else {
		l.busy = false
		p.recycle(batch)
	}
	more := l.busy || p.queue.messages() > 0
	p.mu.Unlock()
	if more {
		p.wakeWriter()
	}
}

func (p *peer) wakeWriter() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// recycle keeps a written buffer; the mutex is held.
func (p *peer) recycle(batch []byte) {
	if cap(batch) <= keptBufferBytes {
		p.spare = batch
	}
}

// run keeps a connection to the peer until the context ends.
func (p *peer) run(ctx context.Context) {
	wait := minRedial
	for {
		conn, err := p.dial(ctx, &wait)
		if err != nil {
			return // only the end of the context ends dialling
		}
		since := time.Now()
		reason := p.use(ctx, conn)
		if ctx.Err() != nil {
			return
		}
		p.transport.lost(p, reason)
		if time.Since(since) > stableAfter {
			wait = minRedial
		}
		if !sleep(ctx, wait) {
			return
		}
		wait = min(2*wait, maxRedial)
	}
}

// use sends on a connection until it is lost or the context ends, and says why.
func (p *peer) use(ctx context.Context, conn *net.TCPConn) error {
	end := sync.OnceFunc(func() { p.end(conn) })
	defer context.AfterFunc(ctx, end)()
	lost := make(chan error, 1)
	go func() { lost <- watch(conn, end) }()
	err := p.sendHello(conn)
	for err == nil {
		select {
		case err = <-lost:
			return err
		case <-p.wake:
			err = p.write()
		}
	}
	end()
	<-lost
	return err
}

// sendHello introduces this process and makes the connection the peer's link.
func (p *peer) sendHello(conn *net.TCPConn) error {
	l, err := newLink(conn)
	if err != nil {
		return err
	}
	hello := wire.Hello{Protocol: p.transport.config.Protocol, Sender: p.transport.config.Self, Version: wire.Version}
	if _, err := conn.Write(wire.AppendHello(nil, hello)); err != nil {
		return err
	}
	if !p.begin(l) {
		return errClosedByPeer
	}
	p.transport.connected(p)
	p.wakeWriter()
	return nil
}

// watch waits for the end of a connection on which nothing is ever received, and
// ends it, so that a writer who waits for the socket learns of it.
func watch(conn *net.TCPConn, end func()) error {
	var buffer [1]byte
	n, err := conn.Read(buffer[:])
	end()
	if n > 0 {
		return errUnexpectedData
	}
	if err == io.EOF {
		return errClosedByPeer
	}
	return err
}

// write writes until nothing is queued any more: all that came while the socket
// was busy goes in one piece.
func (p *peer) write() error {
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	if l == nil {
		return errClosedByPeer
	}
	for {
		p.mu.Lock()
		batch := l.rest
		l.rest = nil
		if batch == nil {
			if l.busy || p.queue.messages() == 0 {
				p.mu.Unlock()
				return nil
			}
			l.busy = true
			batch = p.queue.take(p.spare)
			p.spare = nil
		}
		p.mu.Unlock()

		_, err := l.conn.Write(batch)

		p.mu.Lock()
		l.busy = false
		p.recycle(batch)
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
}
