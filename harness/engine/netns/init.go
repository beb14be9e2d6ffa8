//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/harness/passing"
)

// labInit is PID 1 of a lab. It holds everything that the lab consists of, so
// that its end is the end of it all.
type labInit struct {
	connection *passing.Connection
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
	connection, err := passing.FromFile(os.NewFile(controlDescriptor, "control"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab init:", err)
		os.Exit(1)
	}
	l := &labInit{connection: connection}
	l.reaper = newReaper(func(e exited) { l.say(message{Exited: &e}) })
	requests, quick := make(chan received, maxRequests), make(chan received, maxRequests)
	go l.receive(requests, quick)
	l.greet()
	// What concerns a process that runs is quick, and must not wait for what isn't.
	go l.serveAll(quick)
	l.serveAll(requests)
}

// maxRequests is how many may wait.
const maxRequests = 4096

// receive hands the requests to those who carry them out, because nothing may keep it
// from seeing the controller's end.
func (l *labInit) receive(requests, quick chan<- received) {
	for {
		r, err := receiveRequest(l.connection)
		if err != nil {
			os.Exit(0)
		}
		if l.isQuick(r.request) {
			quick <- r
		} else {
			requests <- r
		}
	}
}

func (l *labInit) serveAll(requests <-chan received) {
	for r := range requests {
		l.serve(r)
	}
}

// isQuick tells whether a request needs no more than a system call or two. What concerns a
// process that is yet to be started waits its turn behind that.
func (l *labInit) isQuick(q request) bool {
	var process uint64
	switch {
	case q.Start != nil:
		l.reaper.await(q.Start.Process)
		return false
	case q.Signal != nil:
		process = q.Signal.Process
	case q.State != nil:
		process = q.State.Process
	case q.Throttle != nil:
		process = q.Throttle.Process
	default:
		return false
	}
	return !l.reaper.isAwaited(process)
}

func receiveRequest(c *passing.Connection) (received, error) {
	var r received
	if err := c.Receive(&r.request); err != nil {
		return r, err
	}
	files, err := c.Take(r.request.Files)
	r.files = files
	return r, err
}

// say sends a message. If that fails the controller is gone, and so is the lab.
func (l *labInit) say(m message) {
	if err := l.connection.Send(m); err != nil {
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
		answer.Unsupported = errors.Is(err, engine.ErrUnsupported)
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
		defer l.reaper.settle(q.Start.Process)
		return message{}, l.start(*q.Start, r.files)
	case q.Signal != nil:
		return message{}, l.reaper.signal(q.Signal.Process, q.Signal.Signal, q.Signal.Group)
	case q.State != nil:
		state, err := l.reaper.state(q.State.Process)
		return message{State: &state}, err
	case q.Throttle != nil:
		return message{}, l.reaper.throttle(q.Throttle.Process, q.Throttle.Share)
	case q.Report != nil:
		return l.report()
	case q.Set != nil:
		return message{}, l.set(*q.Set)
	default:
		return message{}, errors.New("the lab's init was asked for nothing it knows")
	}
}

// start runs a process on a host or, with no host, in the fabric.
func (l *labInit) start(q startRequest, files []int) error {
	if len(files) < 2 || len(files) > 4 {
		return fmt.Errorf("starting %s: %d files came, want 2 to 4", q.Path, len(files))
	}
	attributes := attributesOf(q, files)
	run := func() error {
		return l.reaper.start(q.Process, string(q.Path), passing.Strings(q.Arguments), attributes)
	}
	if q.Host == "" {
		return run()
	}
	if l.network == nil {
		return errors.New("the lab has not been built")
	}
	namespace, exists := l.network.hosts[q.Host]
	switch {
	case !exists:
		return fmt.Errorf("starting %s: the lab has no host %q", q.Path, q.Host)
	case q.Program != nil:
		return asHost(namespace, q.Host, run)
	}
	return within(namespace, run)
}

// attributesOf is how a process is to be started. Each has a process group of its own.
func attributesOf(q startRequest, files []int) *syscall.ProcAttr {
	attributes := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setpgid: true}}
	for _, file := range files {
		attributes.Files = append(attributes.Files, uintptr(file))
	}
	if len(files) == 2 {
		attributes.Files = append(attributes.Files, uintptr(unix.Stderr))
	}
	if q.Program == nil {
		attributes.Env = environment(os.Environ(), q.Child)
		return attributes
	}
	attributes.Env, attributes.Dir = environment(passing.Strings(q.Program.Environment), ""), string(q.Program.Dir)
	if q.Program.Terminal { // which takes a session of its own, and so a group
		attributes.Sys = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	}
	return attributes
}

// errNotKernel is met by what is asked of the kernel's links where there are none; the
// emulator answers for its own.
var errNotKernel = errors.New("the kernel executes no links of this lab")

// set changes a link.
func (l *labInit) set(q setRequest) error {
	if l.network == nil || l.network.kernel == nil {
		return errNotKernel
	}
	return l.network.kernel.SetLink(q.Link, q.AToB, q.BToA)
}

// report counts what the kernel's links did.
func (l *labInit) report() (message, error) {
	if l.network == nil || l.network.kernel == nil {
		return message{}, errNotKernel
	}
	report, err := l.network.kernel.Report()
	return message{Report: &report}, err
}
