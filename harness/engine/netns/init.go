//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// labInit is PID 1 of a lab. It holds everything that the lab consists of, so
// that its end is the end of it all.
type labInit struct {
	connection *connection
	reaper     *reaper
	// network is nil until the lab is built.
	network *network
}

// received is a request together with its file descriptors.
type received struct {
	request request
	files   []int
}

// runInit serves the controller until it is gone. It never returns.
func runInit() {
	unix.CloseOnExec(controlDescriptor)
	connection, err := newConnection(os.NewFile(controlDescriptor, "control"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab init:", err)
		os.Exit(1)
	}
	requests := make(chan received, 64)
	// Nothing may keep this goroutine from seeing the controller's end, so the
	// requests are carried out by another.
	go func() {
		for {
			r, err := receiveRequest(connection)
			if err != nil {
				os.Exit(0)
			}
			requests <- r
		}
	}()
	l := &labInit{connection: connection}
	l.reaper = newReaper(func(e exited) { l.say(message{Exited: &e}) })
	l.greet()
	for r := range requests {
		l.serve(r)
	}
}

func receiveRequest(c *connection) (received, error) {
	var r received
	if err := c.receive(&r.request); err != nil {
		return r, err
	}
	files, err := c.take(r.request.Files)
	r.files = files
	return r, err
}

// say sends a message. If that fails the controller is gone, and so is the lab.
func (l *labInit) say(m message) {
	if err := l.connection.send(m); err != nil {
		os.Exit(0)
	}
}

// greet prepares the init's own namespaces and tells how that went.
func (l *labInit) greet() {
	var greeting hello
	if failed, err := prepare(); err != nil {
		greeting.Failed = failed
		errors.As(err, &greeting.Errno)
	}
	l.say(message{Hello: &greeting})
}

// prepare does what needs the capabilities of a lab: if one of these is refused,
// nothing else will work.
func prepare() (failed string, err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "making the mounts private", err
	}
	// Where parts of /proc are hidden, as in containers, the kernel refuses a
	// new one. The old one does as well: it shows our own pids in its numbers.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err := raiseFileLimit(); err != nil {
		return "raising the limit of open files", err
	}
	failed = "making a network namespace"
	err = onOwnThread(func() error {
		throwAway, err := enterNewNamespace()
		if err != nil {
			return err
		}
		failed = "changing the settings of a network namespace"
		return errors.Join(disableIPv6(), unix.Close(throwAway))
	})
	return failed, err
}

// raiseFileLimit raises the soft limit to the hard one, for the nodes too.
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

func (l *labInit) serve(r received) {
	defer func() {
		for _, file := range r.files {
			unix.Close(file)
		}
	}()
	answer, err := l.carryOut(r)
	answer.ID = r.request.ID
	if err != nil {
		answer.Error = err.Error()
		errors.As(err, &answer.Errno)
	}
	l.say(answer)
}

func (l *labInit) carryOut(r received) (message, error) {
	switch q := r.request; {
	case q.Probe != nil:
		return message{Probed: probe()}, nil
	case q.Build != nil:
		built, err := build(*q.Build)
		l.network = built
		return message{}, err
	case q.Start != nil:
		return message{}, l.start(*q.Start, r.files)
	case q.Signal != nil:
		return message{}, l.reaper.signal(q.Signal.Process, q.Signal.Signal)
	case q.Report != nil:
		return l.report()
	default:
		return message{}, errors.New("the lab's init was asked for nothing it knows")
	}
}

// start runs a process on a host or, with no host, in the fabric.
func (l *labInit) start(q startRequest, files []int) error {
	if len(files) != 2 && len(files) != 3 {
		return fmt.Errorf("starting %s: %d files came, want 2 or 3", q.Path, len(files))
	}
	stdio := [3]uintptr{uintptr(files[0]), uintptr(files[1]), 2}
	if len(files) == 3 {
		stdio[2] = uintptr(files[2])
	}
	run := func() error {
		return l.reaper.start(q.Process, q.Path, q.Arguments, environment(q.Child), stdio)
	}
	if q.Host == "" {
		return run()
	}
	if l.network == nil {
		return errors.New("the lab has not been built")
	}
	namespace, exists := l.network.hosts[q.Host]
	if !exists {
		return fmt.Errorf("starting %s: the lab has no host %q", q.Path, q.Host)
	}
	return within(namespace, run)
}

// report counts what the kernel's links did; the emulator answers for its own.
func (l *labInit) report() (message, error) {
	if l.network == nil || l.network.kernel == nil {
		return message{}, errors.New("the kernel executes no links of this lab")
	}
	report, err := l.network.kernel.Report()
	return message{Report: &report}, err
}
