package access

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"quorumlab/harness/passing"
)

const (
	// pipePoll is how often a capture looks whether anybody reads it.
	pipePoll = 200 * time.Millisecond
	// drainTimeout bounds the wait for the rest of what a program wrote to its terminal,
	// which a process that it left behind may hold open.
	drainTimeout = time.Second
)

// Run runs a program on a host of the lab until it ends. The status is the program's, or
// 128 and the number of the signal that ended it. Signals are passed on to its process
// group.
func (l Lab) Run(command Command, signals <-chan os.Signal) (status int, err error) {
	q := programRequest{
		Host: command.Host, Path: passing.Text(command.Path), Arguments: passing.Texts(command.Arguments),
		Environment: passing.Texts(command.Environment), Dir: passing.Text(command.Dir),
	}
	stdio := [3]*os.File{command.Stdin, command.Stdout, command.Stderr}
	if !term.IsTerminal(int(command.Stdin.Fd())) {
		return l.run(q, stdio, func() {}, signals)
	}
	t, err := newTerminal(command.Stdin, command.Stdout)
	if err != nil {
		return 0, err
	}
	defer t.close()
	q.Terminal = true
	for i, file := range stdio {
		if term.IsTerminal(int(file.Fd())) {
			stdio[i] = t.theirs
		}
	}
	var drained <-chan struct{}
	status, err = l.run(q, stdio, func() { drained = t.begin() }, signals)
	if drained != nil {
		select {
		case <-drained:
		case <-time.After(drainTimeout):
		}
	}
	return status, err
}

// terminal is a pseudo-terminal whose other end is the user's own terminal.
type terminal struct {
	ours, theirs *os.File
	// user is the user's terminal, output where what the program writes goes.
	user, output *os.File
	before       *term.State
	resized      chan os.Signal
}

func newTerminal(user, output *os.File) (*terminal, error) {
	ours, theirs, err := openTerminal()
	if err != nil {
		return nil, fmt.Errorf("making a terminal: %w", err)
	}
	if !term.IsTerminal(int(output.Fd())) {
		output = user // which is what echoes
	}
	t := &terminal{ours: ours, theirs: theirs, user: user, output: output, resized: make(chan os.Signal, 1)}
	t.resize()
	if t.before, err = term.MakeRaw(int(user.Fd())); err != nil {
		t.close()
		return nil, fmt.Errorf("taking the terminal: %w", err)
	}
	return t, nil
}

// openTerminal makes a pseudo-terminal. It needs no name in /dev/pts, which a chroot may
// lack.
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	peer := -1
	err = control(ours, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return fmt.Errorf("unlocking it: %w", err)
		}
		opened, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			return fmt.Errorf("opening its other end: %w", errno)
		}
		peer = int(opened)
		return nil
	})
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return ours, os.NewFile(uintptr(peer), "terminal"), nil
}

// control uses a file's descriptor and leaves the file as it is, so that closing it ends
// a read.
func control(file *os.File, use func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = use(int(fd)) })
	return errors.Join(failed, err)
}

// begin hands all that is typed to the program, and what it writes to the user. The
// channel is closed once the program's terminal has nothing more to say.
func (t *terminal) begin() <-chan struct{} {
	t.theirs.Close() // the program's are the last
	signal.Notify(t.resized, unix.SIGWINCH)
	go func() {
		for range t.resized {
			t.resize()
		}
	}()
	// This one is left reading: nothing can take it from a terminal. It ends with the
	// process, or with the next key.
	go func() { _, _ = io.Copy(t.ours, t.user) }()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(t.output, t.ours) // until the last process lets go of the terminal: EIO
	}()
	return drained
}

// resize gives the program's terminal the size of the user's.
func (t *terminal) resize() {
	size, err := unix.IoctlGetWinsize(int(t.user.Fd()), unix.TIOCGWINSZ)
	if err == nil {
		// It is for the eye only.
		_ = control(t.ours, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
	}
}

// close gives the user's terminal back as it was.
func (t *terminal) close() {
	signal.Stop(t.resized)
	close(t.resized)
	if t.before != nil {
		_ = term.Restore(int(t.user.Fd()), t.before)
	}
	t.ours.Close()
	t.theirs.Close()
}

// unread is true of a pipe that nobody reads any more.
func unread(file *os.File) bool {
	poll := []unix.PollFd{{Fd: int32(file.Fd())}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 1 && poll[0].Revents&unix.POLLERR != 0
}
