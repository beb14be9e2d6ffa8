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

// running is what runs in a lab; it implements engine.Running.
type running struct {
	lab  *lab
	id   uint64
	name string
	// group is true if signals go to its whole process group.
	group bool
	done  chan struct{}
	exit  engine.Exit
}

func newRunning(l *lab, name string) *running {
	return &running{lab: l, name: name, done: make(chan struct{})}
}

func (r *running) Done() <-chan struct{} { return r.done }
func (r *running) Exit() engine.Exit     { return r.exit }

func (r *running) Signal(signal os.Signal) error {
	number, ok := signal.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signalling %s: %v is no signal of this system", r.name, signal)
	}
	_, err := r.lab.init.call(context.Background(), request{Signal: &signalRequest{Process: r.id, Signal: number, Group: r.group}})
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("signalling %s: %w", r.name, err)
	}
	return nil
}

// end is called once.
func (r *running) end(exit engine.Exit) {
	r.exit = exit
	close(r.done)
}

// process is a bench-node, or the emulator; it implements engine.Process.
type process struct {
	*running
	stdin  *os.File
	stdout *os.File
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
	p := &process{running: newRunning(l, name), stdin: stdinOurs, stdout: stdoutOurs}
	return p, childFiles{stdin: stdin, stdout: stdout}, nil
}

func (p *process) Name() string          { return p.name }
func (p *process) Stdin() io.WriteCloser { return p.stdin }
func (p *process) Stdout() io.Reader     { return (*untilEnd)(p) }

// untilEnd reads a process's standard output and closes our end of the pipe
// once there is nothing more to come.
type untilEnd process

func (r *untilEnd) Read(buffer []byte) (int, error) {
	n, err := r.stdout.Read(buffer)
	if err != nil {
		r.lab.closeOutput(r.stdout)
		if errors.Is(err, os.ErrClosed) {
			err = io.EOF
		}
	}
	return n, err
}

func (p *process) end(exit engine.Exit) {
	p.stdin.Close()
	p.running.end(exit)
}

func (p *process) closePipes() {
	p.stdin.Close()
	p.lab.closeOutput(p.stdout)
}
