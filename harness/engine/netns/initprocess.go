//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/harness/passing"
)

// ErrLabEnded is met by calls to a lab that was closed or whose init died; the
// error's text says which.
var ErrLabEnded = errors.New("the lab has ended")

// errClosedByUs is what calls meet after Close.
var errClosedByUs = fmt.Errorf("%w: it was closed", ErrLabEnded)

// remoteError is an init's error with its cause, which isn't in it as it crossed a
// connection.
type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.cause }

// initProcess is a lab's init as the controller sees it.
type initProcess struct {
	process    *os.Process
	connection *passing.Connection
	stderr     *tail
	// onExit is told of every process that ends.
	onExit func(exited)
	// greeting receives the init's hello.
	greeting chan hello
	// gone is closed once the init and all of the lab's processes are gone and
	// err is set.
	gone chan struct{}

	mutex   sync.Mutex
	nextID  uint64
	pending map[uint64]chan message
	closing bool
	err     error
}

// startInit returns once the init greets, however it fares in its namespaces.
func startInit(ctx context.Context, log *os.File, onExit func(exited)) (*initProcess, hello, error) {
	if os.Getenv(childVariable) != "" {
		return nil, hello{}, errNotRunIfChild
	}
	ours, theirs, err := passing.Pair("lab control")
	if err != nil {
		return nil, hello{}, err
	}
	defer theirs.Close()
	p := &initProcess{
		stderr: &tail{onto: log}, onExit: onExit,
		greeting: make(chan hello, 1), gone: make(chan struct{}), pending: map[uint64]chan message{},
	}
	if p.connection, err = passing.FromFile(ours); err != nil {
		return nil, hello{}, err
	}
	process, ended, err := spawn(theirs, p.stderr)
	if err != nil {
		p.connection.Close()
		return nil, hello{}, err
	}
	p.process = process
	// Ours was the last copy outside the init, so that its end can be seen.
	theirs.Close()
	go p.receive(ended)
	select {
	case greeting := <-p.greeting:
		return p, greeting, nil
	case <-p.gone:
		return nil, hello{}, p.ended()
	case <-ctx.Done():
		p.close()
		return nil, hello{}, fmt.Errorf("waiting for the lab's init: %w", context.Cause(ctx))
	}
}

// receive dispatches messages until the init is gone.
func (p *initProcess) receive(ended <-chan struct{}) {
	for {
		var m message
		if err := p.connection.Receive(&m); err != nil {
			break
		}
		switch {
		case m.Hello != nil:
			p.greeting <- *m.Hello
		case m.Exited != nil:
			p.onExit(*m.Exited)
		default:
			p.mutex.Lock()
			answer := p.pending[m.ID]
			delete(p.pending, m.ID)
			p.mutex.Unlock()
			if answer != nil {
				answer <- m
			}
		}
	}
	// An init that no longer speaks is of no use. Killing it again is harmless.
	_ = p.process.Kill()
	<-ended
	p.connection.Close()
	p.mutex.Lock()
	p.err = errClosedByUs
	if !p.closing {
		p.err = fmt.Errorf("%w: its init died, saying %q", ErrLabEnded, p.stderr)
	}
	p.mutex.Unlock()
	close(p.gone)
}

// ended says why the init is gone, or nil if it isn't.
func (p *initProcess) ended() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.err
}

// call sends a request and waits for its answer.
func (p *initProcess) call(ctx context.Context, r request, files ...*os.File) (message, error) {
	answer := make(chan message, 1)
	p.mutex.Lock()
	p.nextID++
	r.ID, r.Files = p.nextID, len(files)
	p.pending[r.ID] = answer
	p.mutex.Unlock()
	err := p.connection.Send(r, files...)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, net.ErrClosed) {
		p.forget(r.ID)
		return message{}, err
	}
	// A broken connection is the init's end; waiting for that tells more.
	select {
	case m := <-answer:
		return m, m.failure()
	case <-p.gone:
		return message{}, p.ended()
	case <-ctx.Done():
		p.forget(r.ID)
		return message{}, context.Cause(ctx)
	}
}

// forget stops waiting for an answer.
func (p *initProcess) forget(id uint64) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.pending, id)
}

// failure is the error that a message tells of.
func (m message) failure() error {
	switch {
	case m.Error == "":
		return nil
	case m.Unsupported:
		return &remoteError{text: m.Error, cause: engine.ErrUnsupported}
	case m.Errno != 0:
		return &remoteError{text: m.Error, cause: m.Errno}
	default:
		return errors.New(m.Error)
	}
}

// close kills the init, and so all of the lab's processes, and waits for it.
func (p *initProcess) close() {
	p.mutex.Lock()
	p.closing = p.err == nil
	p.mutex.Unlock()
	_ = p.process.Kill()
	<-p.gone
}
