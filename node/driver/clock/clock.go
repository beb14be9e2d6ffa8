//go:build linux

// Package clock reads the host's CLOCK_MONOTONIC, which all processes of a host
// share, and sleeps until given instants of it more exactly than Go's timers,
// which may overshoot by a millisecond.
package clock

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/node/consensus"
)

// origin is one instant, in Go's terms and on CLOCK_MONOTONIC. Go's monotonic
// clock is CLOCK_MONOTONIC less an unknown constant, and costs no system call.
var originTime, originNS = calibrate()

// calibrate reads both clocks in a row until one reading took next to no time.
func calibrate() (time.Time, int64) {
	var bestTime time.Time
	var bestNS int64
	best := time.Hour
	for i := 0; i < 1000 && (i < 10 || best > time.Microsecond); i++ {
		before := time.Now()
		ns := systemNS()
		if took := time.Since(before); took < best {
			best = took
			bestTime, bestNS = before.Add(took/2), ns
		}
	}
	return bestTime, bestNS
}

func systemNS() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic("clock: the kernel has no CLOCK_MONOTONIC: " + err.Error())
	}
	return now.Nano()
}

// Now is the host's CLOCK_MONOTONIC in nanoseconds.
func Now() consensus.Time {
	return consensus.Time(originNS + int64(time.Since(originTime)))
}

// Pacer sleeps exactly. It belongs to the goroutine that made it.
type Pacer struct{}

// NewPacer locks the calling goroutine to its thread and asks the kernel not to
// delay that thread's wake-ups. Call Close when done.
func NewPacer() (*Pacer, error) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("setting the thread's timer slack: %w", err)
	}
	return &Pacer{}, nil
}

// Close lets the goroutine leave its thread. A timer slack of 0 restores the
// default.
func (p *Pacer) Close() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	runtime.UnlockOSThread()
}

// SleepUntil returns at the given instant or a little later.
func (p *Pacer) SleepUntil(at consensus.Time) {
	deadline := unix.NsecToTimespec(int64(at))
	for at > Now() {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &deadline, nil)
		if err != nil && err != unix.EINTR {
			panic("clock: the kernel refuses to sleep: " + err.Error())
		}
	}
}
