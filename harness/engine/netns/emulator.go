//go:build linux

package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/harness/link"
	"quorumlab/harness/passing"
)

// emulator is a lab's link emulator, a process in the fabric.
type emulator struct {
	lab     *lab
	process *process
	remote  *link.Remote
	// granted says what the kernel let the emulator have.
	granted string
	stderr  *tail
	// silent is closed once the emulator has ended and all that it said on its
	// standard error is known.
	silent chan struct{}
	// turn holds one token: whoever has it speaks to the emulator.
	turn chan struct{}
	// files is the connection by which the emulator is handed files.
	files *passing.Connection
}

// startEmulator runs the emulator and waits until it forwards frames.
func startEmulator(ctx context.Context, l *lab, config link.EmulatorConfig, log *os.File) (*emulator, error) {
	stderr, stderrTheirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	e := &emulator{lab: l, stderr: &tail{onto: log}, silent: make(chan struct{}), turn: make(chan struct{}, 1)}
	go func() {
		// The pipe ends with the emulator; nothing else can go wrong with it.
		_, _ = io.Copy(e.stderr, stderr)
		stderr.Close()
		close(e.silent)
	}()
	filesTheirs, err := e.connect()
	if err != nil {
		stderrTheirs.Close()
		return nil, err
	}
	e.process, err = l.start(ctx, "the link emulator",
		startRequest{Path: self, Arguments: []passing.Text{"quorumlab-netns-links"}, Child: childEmulator}, stderrTheirs, filesTheirs)
	// Ours were the last copies outside the emulator, so that its end can be seen.
	stderrTheirs.Close()
	filesTheirs.Close()
	if err != nil {
		return nil, fmt.Errorf("starting the link emulator: %w", err)
	}
	e.remote = link.NewRemote(e.process.Stdin(), e.process.Stdout())
	ready := make(chan error, 1)
	go func() { ready <- e.configure(config) }()
	select {
	case err := <-ready:
		e.turn <- struct{}{}
		return e, err
	case <-ctx.Done():
		return nil, fmt.Errorf("starting the link emulator: %w", context.Cause(ctx))
	}
}

// connect makes the connection for files; it returns the emulator's end.
func (e *emulator) connect() (theirs *os.File, err error) {
	ours, theirs, err := passing.Pair("link emulator's files")
	if err != nil {
		return nil, err
	}
	if e.files, err = passing.FromFile(ours); err != nil {
		theirs.Close()
		return nil, err
	}
	go func() {
		<-e.silent // its end, also that of the lab
		e.files.Close()
	}()
	return theirs, nil
}

func (e *emulator) configure(config link.EmulatorConfig) error {
	if err := json.NewEncoder(e.process.Stdin()).Encode(config); err != nil {
		return e.explain(fmt.Errorf("configuring the link emulator: %w", err))
	}
	ready, err := e.remote.WaitReady()
	e.granted = fmt.Sprintf("scheduling %s, receive buffer %d bytes", ready.Scheduling, ready.ReceiveBufferBytes)
	return e.explain(err)
}

// ask speaks to the emulator, which answers one question after the other. Should the
// caller not wait for the answer, it is still read before the next question.
func ask[T any](ctx context.Context, e *emulator, doing string, question func(*link.Remote) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	select {
	case <-e.turn:
		go func() {
			value, err := question(e.remote)
			e.turn <- struct{}{}
			answered <- answer{value, e.explain(err)}
		}()
	case <-ctx.Done():
	}
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	}
}

// command has the emulator do something that has no other answer than done.
func (e *emulator) command(ctx context.Context, doing string, do func(*link.Remote) error) error {
	_, err := ask(ctx, e, doing, func(r *link.Remote) (struct{}, error) { return struct{}{}, do(r) })
	return err
}

// report asks for the links' counters.
func (e *emulator) report(ctx context.Context) (engine.LinkReport, error) {
	report, err := ask(ctx, e, "reading the links' counters", func(r *link.Remote) (link.EmulatorReport, error) {
		return r.Report()
	})
	report.Emulator = e.granted
	return report.LinkReport, err
}

// explain replaces the error of a broken connection to the emulator by why it broke.
// It breaks only with the emulator, so its end is waited for.
func (e *emulator) explain(err error) error {
	broken := false
	for _, how := range []error{io.ErrUnexpectedEOF, os.ErrClosed, net.ErrClosed, passing.ErrClosed, unix.EPIPE, unix.ECONNRESET} {
		broken = broken || errors.Is(err, how)
	}
	if !broken {
		return err
	}
	select {
	case <-e.silent:
		<-e.process.Done()
		return e.ended()
	case <-e.lab.init.gone:
		return e.lab.init.ended()
	}
}

// ended says how the emulator ended, or nil if it runs. Without it no frame
// arrives any more.
func (e *emulator) ended() error {
	select {
	case <-e.process.Done():
	default:
		return nil
	}
	if err := e.lab.init.ended(); err != nil {
		return err
	}
	<-e.silent
	exit := e.process.Exit()
	how := fmt.Sprintf("with status %d", exit.Code)
	if exit.Signal != "" {
		how = "by " + exit.Signal
	}
	return fmt.Errorf("the link emulator ended %s, saying %q", how, e.stderr)
}
