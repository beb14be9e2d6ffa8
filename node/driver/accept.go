package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/driver/clock"
	"quorumlab/node/wire"
)

const (
	// helloTimeout is how long a connection may say nothing at first.
	helloTimeout = 10 * time.Second
	// acceptPause is how long to wait after a failed accept, such as one for
	// lack of file descriptors.
	acceptPause = 50 * time.Millisecond
	// maxBatch is how many messages of one connection are delivered together.
	maxBatch = 256
)

// errBadHello is returned for a connection that doesn't begin as it should.
var errBadHello = errors.New("bad hello")

// accept serves connections until the listener is closed.
func (t *Transport) accept(ctx context.Context) {
	for {
		conn, err := t.config.Listener.Accept()
		if err == nil {
			if t.admit(conn) {
				t.group.Go(func() { t.serve(conn) })
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		t.config.Log.Printf("accepting a connection: %v", err)
		if !sleep(ctx, acceptPause) {
			return
		}
	}
}

func (t *Transport) admit(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = conn.Close()
		return false
	}
	t.incoming[conn] = struct{}{}
	return true
}

// serve reads a connection until it ends, and closes it.
func (t *Transport) serve(conn net.Conn) {
	r := receiver{transport: t, conn: conn, reader: wire.NewReader(conn)}
	err := r.receive()
	_ = conn.Close()
	t.mu.Lock()
	delete(t.incoming, conn)
	if t.current[r.sender] == conn {
		delete(t.current, r.sender)
	}
	t.mu.Unlock()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	case errors.Is(err, wire.ErrBadFrame), errors.Is(err, wire.ErrFrameTooLarge), errors.Is(err, errBadHello):
		t.badFrames.Add(1)
		t.config.Log.Printf("closed the connection from %s (%s): %v", conn.RemoteAddr(), r.name(), err)
	default:
		t.config.Log.Printf("lost the connection from %s (%s): %v", conn.RemoteAddr(), r.name(), err)
	}
}

// receiver reads one accepted connection.
type receiver struct {
	transport *Transport
	conn      net.Conn
	reader    *wire.Reader
	// sender is whom the connection is from, by its hello.
	sender consensus.NodeID
	// machine and client are what hasn't been delivered yet.
	machine, client []consensus.Input
}

func (r *receiver) name() string {
	if r.sender == 0 {
		return "unknown"
	}
	return "process " + r.sender.String()
}

func (r *receiver) receive() error {
	if err := r.hello(); err != nil {
		return err
	}
	heard, fresh := r.transport.heard[r.sender], true
	for {
		kind, payload, err := r.reader.Next()
		if err == nil {
			if fresh { // once for all that was read together
				r.listen(heard)
			}
			err = r.take(kind, payload)
		}
		fresh = !r.reader.Complete()
		// What came before an error is good.
		if err != nil || fresh || len(r.machine)+len(r.client) >= maxBatch {
			r.machine = deliver(r.transport.machine, r.machine)
			r.client = deliver(r.transport.client, r.client)
		}
		if err != nil {
			return err
		}
	}
}

// listen reports the end of a silence of the sender. Its hello doesn't end one, and before
// it was heard for the first time there was none.
func (r *receiver) listen(heard *atomic.Int64) {
	now := clock.Now()
	if before := heard.Swap(int64(now)); before != 0 && now.Sub(consensus.Time(before)) >= consensus.MinSilence {
		r.transport.config.Events.heard(r.sender, now.Sub(consensus.Time(before)))
	}
}

// hello learns whom the connection is from. It takes the place of an earlier
// one of the same sender, which may be dead without our knowing.
func (r *receiver) hello() error {
	if err := r.conn.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	kind, payload, err := r.reader.Next()
	if err != nil {
		return err
	}
	if kind != wire.KindHello {
		return fmt.Errorf("%w: the first frame is of kind %d", errBadHello, kind)
	}
	hello, err := wire.DecodeHello(payload)
	if err != nil {
		return err
	}
	t := r.transport
	if hello.Version != wire.Version {
		return fmt.Errorf("%w: version %d, want %d", errBadHello, hello.Version, wire.Version)
	}
	if hello.Protocol != t.config.Protocol {
		return fmt.Errorf("%w: protocol %q, want %q", errBadHello, hello.Protocol, t.config.Protocol)
	}
	if err := t.knows(hello.Sender); err != nil {
		return err
	}
	r.sender = hello.Sender
	t.mu.Lock()
	if old := t.current[r.sender]; old != nil {
		_ = old.Close()
	}
	t.current[r.sender] = r.conn
	t.mu.Unlock()
	return r.conn.SetReadDeadline(time.Time{})
}

// take decodes a frame. A frame that is no use to this process is ignored.
func (r *receiver) take(kind wire.Kind, payload []byte) error {
	input := consensus.Input{Kind: consensus.InputMessage, From: r.sender}
	switch kind {
	case wire.KindRequest:
		request, err := wire.DecodeRequest(payload)
		if err != nil {
			return err
		}
		input.Kind, input.Command = consensus.InputCommand, request.Command
		r.machine = append(r.machine, input)
	case wire.KindResponse:
		response, err := wire.DecodeResponse(payload)
		if err != nil {
			return err
		}
		input.Message = response
		r.client = append(r.client, input)
	case wire.KindMessage:
		message, err := r.transport.config.Codec.Decode(payload)
		if err != nil {
			return fmt.Errorf("%w: message of the protocol: %w", wire.ErrBadFrame, err)
		}
		input.Message = message
		r.machine = append(r.machine, input)
	case wire.KindSnapshot:
		snapshot, err := wire.DecodeSnapshot(payload, r.transport.config.Codec)
		if err != nil {
			return err
		}
		input.Message = snapshot
		r.machine = append(r.machine, input)
	default:
		return fmt.Errorf("%w: a second hello", wire.ErrBadFrame)
	}
	return nil
}
