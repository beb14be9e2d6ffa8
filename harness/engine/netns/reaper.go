//go:build linux

package netns

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
)

// reaper starts an init's children and waits for them, and for the orphans
// that PID 1 inherits. It is the only one to wait, because a wait for any
// child takes the statuses that others wait for.
type reaper struct {
	onExit func(exited)

	// forking is held while a child could end before it is known. It is locked before
	// mutex, which is never held for long: signals needn't wait for a fork.
	forking sync.Mutex

	mutex sync.Mutex
	// awaited are the processes whose start was requested and isn't done.
	awaited map[uint64]bool
	// children are those that the controller knows, by its number, byPID the same by pid.
	children map[uint64]*child
	byPID    map[int]*child
}

// child is a process that the controller knows. The reaper's mutex guards it, and keeps
// its pid from being reused.
type child struct {
	process uint64
	pid     int
	// stopped is true from SIGSTOP to SIGCONT, as asked for.
	stopped bool
	// stoppedSince is when it was sent the latest stop, by whomever, and had used
	// stoppedAtNS of processors; zero once it went on. stoppedNS sums the stops before.
	stoppedSince time.Time
	stoppedAtNS  int64
	stoppedNS    int64
	// throttle is nil unless the child has less than all of a processor.
	throttle *throttle
}

func newReaper(onExit func(exited)) *reaper {
	r := &reaper{onExit: onExit, awaited: map[uint64]bool{}, children: map[uint64]*child{}, byPID: map[int]*child{}}
	// One place is enough: a signal that comes while one waits adds nothing.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	go func() {
		for range signals {
			for r.reap() {
			}
		}
	}()
	return r
}

// await is told that a process will be started, settle that this is done, or has
// failed. Until then isAwaited is true.
func (r *reaper) await(process uint64)  { r.setAwaited(process, true) }
func (r *reaper) settle(process uint64) { r.setAwaited(process, false) }

func (r *reaper) setAwaited(process uint64, awaited bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if awaited {
		r.awaited[process] = true
		return
	}
	delete(r.awaited, process)
}

func (r *reaper) isAwaited(process uint64) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.awaited[process]
}

// start runs a program on the calling thread, so in its namespaces.
func (r *reaper) start(process uint64, path string, arguments []string, attributes *syscall.ProcAttr) error {
	r.forking.Lock()
	defer r.forking.Unlock()
	pid, err := syscall.ForkExec(path, arguments, attributes)
	if err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	started := &child{process: process, pid: pid}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.children[process], r.byPID[pid] = started, started
	return nil
}

// signal sends a signal to a process, or to its group.
func (r *reaper) signal(process uint64, s syscall.Signal, group bool) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	c, alive := r.children[process]
	if !alive {
		return fmt.Errorf("sending %s: %w", unix.SignalName(s), unix.ESRCH)
	}
	c.sending(s)
	pid := c.pid
	if group {
		pid = -pid
	}
	if err := unix.Kill(pid, s); err != nil {
		return fmt.Errorf("sending %s: %w", unix.SignalName(s), err)
	}
	switch s {
	case unix.SIGSTOP:
		c.stopped = true
	case unix.SIGCONT:
		c.stopped = false
		if c.throttle != nil {
			c.throttle.restart(time.Now())
			c.throttle.wakeUp()
		}
	}
	return nil
}

// sending accounts for how long the child is stopped, just before it is sent a signal.
func (c *child) sending(s syscall.Signal) {
	switch {
	case s == unix.SIGSTOP && c.stoppedSince.IsZero():
		c.stoppedSince = time.Now()
		c.stoppedAtNS, _ = processTime(c.pid)
	case s == unix.SIGCONT && !c.stoppedSince.IsZero():
		if state, err := c.state(); err == nil {
			c.stoppedNS = state.StoppedNS
		}
		c.stoppedSince = time.Time{}
	}
}

// reap waits for one child that has ended, if there is one.
func (r *reaper) reap() bool {
	var status unix.WaitStatus
	var usage unix.Rusage
	r.forking.Lock()
	r.mutex.Lock()
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, &usage)
	for err == unix.EINTR {
		pid, err = unix.Wait4(-1, &status, unix.WNOHANG, &usage)
	}
	ended, known := r.byPID[pid]
	if known {
		ended.unthrottle()
		delete(r.byPID, pid)
		delete(r.children, ended.process)
	}
	r.mutex.Unlock()
	r.forking.Unlock()
	if err != nil || pid <= 0 {
		return false
	}
	if known {
		r.onExit(exited{Process: ended.process, Exit: exitOf(status, usage)})
	}
	return true
}

// exitOf reads what the kernel tells of a child's end. The kernel counts the
// memory of the process as of its fork, so the peak is never below the init's
// own, about 10 MB.
func exitOf(status unix.WaitStatus, usage unix.Rusage) engine.Exit {
	exit := engine.Exit{
		Code:        status.ExitStatus(), // -1 if a signal ended it
		UserNS:      usage.Utime.Nano(),
		SystemNS:    usage.Stime.Nano(),
		MaxRSSBytes: int64(usage.Maxrss) << 10, // the kernel counts in KiB
	}
	if status.Signaled() {
		exit.Signal = unix.SignalName(status.Signal())
	}
	return exit
}
