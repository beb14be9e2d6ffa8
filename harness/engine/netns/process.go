//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
)

// process implements engine.Process.
type process struct {
	lab    *lab
	id     uint64
	name   string
	stdin  *os.File
	stdout *os.File
	done   chan struct{}
	exit   engine.Exit
}

// childFiles are the process's ends of its pipes.
type childFiles struct{ stdin, stdout *os.File }

func (f childFiles) close() {
	f.stdin.Close()
	f.stdout.Close()
}

func newProcess(l *lab, name string) (*process, childFiles, error) {
	stdin, stdinOurs, err := os.Pipe()
	if err != nil {
		return nil, childFiles{}, fmt.Errorf("making a pipe: %w", err)
	}
	stdoutOurs, stdout, err := os.Pipe()
	if err != nil {
		stdin.Close()
		stdinOurs.Close()
		return nil, childFiles{}, fmt.Errorf("making a pipe: %w", err)
	}
	p := &process{lab: l, name: name, stdin: stdinOurs, stdout: stdoutOurs, done: make(chan struct{})}
	return p, childFiles{stdin: stdin, stdout: stdout}, nil
}

func (p *process) Name() string          { return p.name }
func (p *process) Stdin() io.WriteCloser { return p.stdin }
func (p *process) Stdout() io.Reader     { return (*untilEnd)(p) }
func (p *process) Done() <-chan struct{} { return p.done }
func (p *process) Exit() engine.Exit     { return p.exit }

// untilEnd reads a process's standard output and closes our end of the pipe
// once there is nothing more to come.
type untilEnd process

func (r *untilEnd) Read(buffer []byte) (int, error) {
	n, err := r.stdout.Read(buffer)
	if err != nil {
		r.stdout.Close()
		if errors.Is(err, os.ErrClosed) {
			err = io.EOF
		}
	}
	return n, err
}

func (p *process) Signal(signal os.Signal) error {
	number, ok := signal.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signalling %s: %v is no signal of this system", p.name, signal)
	}
	_, err := p.lab.init.call(context.Background(), request{Signal: &signalRequest{Process: p.id, Signal: number}})
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("signalling %s: %w", p.name, err)
	}
	return nil
}

// end is called once.
func (p *process) end(exit engine.Exit) {
	p.exit = exit
	p.stdin.Close()
	close(p.done)
}

func (p *process) closePipes() {
	p.stdin.Close()
	p.stdout.Close()
}
