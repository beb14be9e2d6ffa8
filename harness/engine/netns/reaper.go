//go:build linux

package netns

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
)

// reaper starts an init's children and waits for them, and for the orphans
// that PID 1 inherits. It is the only one to wait, because a wait for any
// child takes the statuses that others wait for.
type reaper struct {
	onExit func(exited)

	mutex sync.Mutex
	// processes are the children that the controller knows, by pid; pids is
	// the same, the other way round.
	processes map[int]uint64
	pids      map[uint64]int
}

func newReaper(onExit func(exited)) *reaper {
	r := &reaper{onExit: onExit, processes: map[int]uint64{}, pids: map[uint64]int{}}
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

// start runs a program on the calling thread, so in its namespaces. The lock
// is held while the child could end before it is known.
func (r *reaper) start(process uint64, path string, arguments []string, attributes *syscall.ProcAttr) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	pid, err := syscall.ForkExec(path, arguments, attributes)
	if err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	r.processes[pid] = process
	r.pids[process] = pid
	return nil
}

// signal sends a signal to a process, or to its group. The lock keeps its pid from
// being reused.
func (r *reaper) signal(process uint64, s syscall.Signal, group bool) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	pid, alive := r.pids[process]
	if !alive {
		return fmt.Errorf("sending %s: %w", unix.SignalName(s), unix.ESRCH)
	}
	if group {
		pid = -pid
	}
	if err := unix.Kill(pid, s); err != nil {
		return fmt.Errorf("sending %s: %w", unix.SignalName(s), err)
	}
	return nil
}

// reap waits for one child that has ended, if there is one.
func (r *reaper) reap() bool {
	var status unix.WaitStatus
	var usage unix.Rusage
	r.mutex.Lock()
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, &usage)
	for err == unix.EINTR {
		pid, err = unix.Wait4(-1, &status, unix.WNOHANG, &usage)
	}
	process, known := r.processes[pid]
	delete(r.processes, pid)
	delete(r.pids, process)
	r.mutex.Unlock()
	if err != nil || pid <= 0 {
		return false
	}
	if known {
		r.onExit(exited{Process: process, Exit: exitOf(status, usage)})
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
