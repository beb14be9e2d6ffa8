//go:build linux

package netns

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// throttlePeriod is the time in which a throttled process runs and is stopped once.
	throttlePeriod = 10 * time.Millisecond
	// leastPhase is how long it runs, and is stopped, at least: a thread wakes up some 0.1
	// ms late. Shares below 5% and above 95% so have longer periods, up to maxPeriod.
	leastPhase = 500 * time.Microsecond
	maxPeriod  = time.Second
	// maxDebtPeriods bounds what a process that ran or stood for too long makes good for,
	// else a machine that stood still would be followed by a long pause.
	maxDebtPeriods = 10
)

// throttle gives a process a share of the time by stopping it for the rest. The
// reaper's mutex guards it.
//
// It keeps an account: while the process runs, what it has run beyond its share grows by
// 1-share of the time; while it is stopped, that falls by share of the time. It is stopped
// once the account reaches what a whole period's run adds, and goes on once it is back at
// 0. So how late each signal is sent doesn't matter in the mean.
type throttle struct {
	share float64
	// running is true in the phase in which the process runs. It began at since and ends
	// at due.
	running    bool
	since, due time.Time
	surplusNS  float64
	// wake is an eventfd that ends the wait for due.
	wake int
}

// restart begins with a run, owing nothing.
func (t *throttle) restart(now time.Time) {
	t.running, t.since, t.surplusNS = true, now, 0
	t.due = now.Add(t.length())
}

// turn ends a phase and begins the other.
func (t *throttle) turn(now time.Time) {
	passed := float64(now.Sub(t.since))
	if t.running {
		t.surplusNS += (1 - t.share) * passed
	} else {
		t.surplusNS -= t.share * passed
	}
	most := maxDebtPeriods * t.fullNS()
	t.surplusNS = min(max(t.surplusNS, -most), most)
	t.running, t.since = !t.running, now
	t.due = now.Add(t.length())
}

// length is how long the phase lasts that begins.
func (t *throttle) length() time.Duration {
	if t.running {
		return time.Duration((t.fullNS() - t.surplusNS) / (1 - t.share))
	}
	return time.Duration(t.surplusNS / t.share)
}

// fullNS is what a whole period's run adds to the account.
func (t *throttle) fullNS() float64 {
	period := max(float64(throttlePeriod), float64(leastPhase)/min(t.share, 1-t.share))
	return t.share * (1 - t.share) * min(period, float64(maxPeriod))
}

// wakeUp has whoever keeps the throttle look again.
func (t *throttle) wakeUp() {
	// An eventfd's counter overflows after 2^64 writes: it can't fail.
	_, _ = unix.Write(t.wake, binary.NativeEndian.AppendUint64(nil, 1))
}

// throttle gives a process a share of a processor; 1 ends that.
func (r *reaper) throttle(process uint64, share float64) error {
	if !(share > 0 && share <= 1) {
		return fmt.Errorf("throttling: the share is %v, want a number above 0 and at most 1", share)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	c, alive := r.children[process]
	if !alive {
		return fmt.Errorf("throttling: %w", unix.ESRCH)
	}
	switch {
	case share == 1 && c.throttle == nil:
		return nil
	case share == 1:
		c.unthrottle()
	case c.throttle == nil:
		wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("throttling: making an eventfd: %w", err)
		}
		c.throttle = &throttle{share: share, wake: wake}
		c.throttle.restart(time.Now())
		go r.keep(c, c.throttle)
	default:
		c.throttle.share = share
		c.throttle.restart(time.Now())
		c.throttle.wakeUp()
	}
	return c.goOn()
}

// unthrottle ends a child's throttle, if there is one.
func (c *child) unthrottle() {
	if ended := c.throttle; ended != nil {
		c.throttle = nil
		ended.wakeUp()
	}
}

// goOn lets a child run, unless it was asked to be stopped.
func (c *child) goOn() error {
	if c.stopped {
		return nil
	}
	c.sending(unix.SIGCONT)
	if err := unix.Kill(c.pid, unix.SIGCONT); err != nil {
		return fmt.Errorf("throttling: %w", err)
	}
	return nil
}

// keep stops a child and lets it go on until that isn't its throttle any more.
func (r *reaper) keep(c *child, t *throttle) {
	runtime.LockOSThread() // never unlocked: what is set here ends with the thread
	punctual()
	for {
		wait, ended := r.turn(c, t)
		if ended {
			_ = unix.Close(t.wake)
			return
		}
		t.sleep(wait)
	}
}

// punctual has the calling thread woken up in time, by the best means that the kernel
// allows, also while all processors are busy. What it starts doesn't inherit that.
func punctual() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	for _, means := range []unix.SchedAttr{
		{Policy: unix.SCHED_FIFO, Priority: 1},
		{Policy: unix.SCHED_NORMAL, Nice: -15},
		{Policy: unix.SCHED_NORMAL, Runtime: 100_000}, // a short slice: ordinary threads with one come sooner
	} {
		means.Size, means.Flags = unix.SizeofSchedAttr, unix.SCHED_FLAG_RESET_ON_FORK
		if unix.SchedSetAttr(0, &means, 0) == nil {
			return
		}
	}
}

// forever is longer than any wait.
const forever = time.Duration(math.MaxInt64)

// turn does what is due, and says for how long nothing is.
func (r *reaper) turn(c *child, t *throttle) (wait time.Duration, ended bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	now := time.Now()
	switch {
	case c.throttle != t:
		return 0, true
	case c.stopped: // SIGCONT begins anew
		return forever, false
	case now.Before(t.due):
		return t.due.Sub(now), false
	}
	t.turn(now)
	signal := unix.SIGSTOP
	if t.running {
		signal = unix.SIGCONT
	}
	c.sending(signal)
	// The child isn't reaped: there is somebody to signal.
	_ = unix.Kill(c.pid, signal)
	return t.due.Sub(now), false
}

// sleep waits for a time, or until it is woken up.
func (t *throttle) sleep(wait time.Duration) {
	var timeout *unix.Timespec
	if wait != forever {
		left := unix.NsecToTimespec(max(0, wait.Nanoseconds()))
		timeout = &left
	}
	// Whatever it returns by, the account is looked at.
	ready, _ := unix.Ppoll([]unix.PollFd{{Fd: int32(t.wake), Events: unix.POLLIN}}, timeout, nil)
	if ready > 0 {
		var count [8]byte
		_, _ = unix.Read(t.wake, count[:])
	}
}
