//go:build linux

package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/harness/link"
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
	e.process, err = l.start(ctx, "the link emulator",
		startRequest{Path: self, Arguments: []string{"quorumlab-netns-links"}, Child: childEmulator}, stderrTheirs)
	// Ours was the last copy outside the emulator, so that its end can be seen.
	stderrTheirs.Close()
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

func (e *emulator) configure(config link.EmulatorConfig) error {
	if err := json.NewEncoder(e.process.Stdin()).Encode(config); err != nil {
		return e.explain(fmt.Errorf("configuring the link emulator: %w", err))
	}
	ready, err := e.remote.WaitReady()
	e.granted = fmt.Sprintf("scheduling %s, receive buffer %d bytes", ready.Scheduling, ready.ReceiveBufferBytes)
	return e.explain(err)
}

// report asks for the links' counters. Should the caller not wait for the
// answer, it is still read before the next question.
func (e *emulator) report(ctx context.Context) (engine.LinkReport, error) {
	type answer struct {
		report link.EmulatorReport
		err    error
	}
	answered := make(chan answer, 1)
	select {
	case <-e.turn:
		go func() {
			report, err := e.remote.Report()
			e.turn <- struct{}{}
			answered <- answer{report, e.explain(err)}
		}()
	case <-ctx.Done():
	}
	select {
	case a := <-answered:
		a.report.Emulator = e.granted
		return a.report.LinkReport, a.err
	case <-ctx.Done():
		return engine.LinkReport{}, fmt.Errorf("reading the links' counters: %w", context.Cause(ctx))
	}
}

// explain replaces the error of a broken pipe to the emulator by why it broke.
// It breaks only with the emulator, so its end is waited for.
func (e *emulator) explain(err error) error {
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, unix.EPIPE) {
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
