//go:build linux

package link

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// fifoPriority is the lowest real-time priority: above every ordinary
	// thread, below every other real-time one.
	fifoPriority = 1
	niceness     = -15
	// sliceNS is a short scheduler slice: among ordinary threads the kernel then
	// picks this one sooner.
	sliceNS = 100_000
)

// prioritise makes the process run as soon as possible once it has something to do,
// by the best means that the kernel allows, and says which. It treats all threads
// alike: the forwarding thread takes locks of Go's scheduler, and would wait for a
// thread of less priority that holds one and doesn't get a processor. Threads yet to
// come inherit from those that make them.
func prioritise() string {
	// Timers of other threads may be late by 50 us to save power.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	fifo := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: fifoPriority}
	if forThreads(func(thread int) error { return unix.SchedSetAttr(thread, &fifo, 0) }) == nil {
		return "fifo"
	}
	if forThreads(func(thread int) error { return unix.Setpriority(unix.PRIO_PROCESS, thread, niceness) }) == nil {
		return "nice"
	}
	slice := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Runtime: sliceNS}
	if forThreads(func(thread int) error { return unix.SchedSetAttr(thread, &slice, 0) }) == nil {
		return "slice"
	}
	return "default"
}

// forThreads does something to every thread of the process. It fails if that fails
// for the calling thread, which is locked to its goroutine.
func forThreads(do func(thread int) error) error {
	if err := do(unix.Gettid()); err != nil {
		return err
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil // without /proc the calling thread must do
	}
	for _, task := range tasks {
		if thread, err := strconv.Atoi(task.Name()); err == nil {
			_ = do(thread) // it may have ended
		}
	}
	return nil
}

// clock reads CLOCK_MONOTONIC, counted from when it was made, and converts
// CLOCK_REALTIME.
type clock struct{ base time.Time }

func newClock() clock { return clock{base: time.Now()} }

func (c clock) nowNS() int64 { return int64(time.Since(c.base)) }

// realtimeOffsetNS is what to subtract from a time of CLOCK_REALTIME. The two
// clocks are read one after the other, so being interrupted in between makes the
// result too small; two tries make that unlikely.
func (c clock) realtimeOffsetNS() int64 {
	offset := func() int64 {
		now := time.Now()
		return now.UnixNano() - int64(now.Sub(c.base))
	}
	return max(offset(), offset())
}
