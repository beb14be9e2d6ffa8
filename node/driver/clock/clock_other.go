//go:build !linux

// Package clock reads a monotonic clock and sleeps until given instants of it.
// On Linux it is the host's CLOCK_MONOTONIC, which all processes share; here it
// counts from the start of the process and is as exact as Go's timers, which is
// enough for what runs here: simulations and tests.
package clock

import (
	"runtime"
	"time"

	"quorumlab/node/consensus"
)

var originTime = time.Now()

func systemNS() int64 { return int64(time.Since(originTime)) }

// Now is the time since the process started, in nanoseconds.
func Now() consensus.Time { return consensus.Time(systemNS()) }

// Pacer sleeps. It belongs to the goroutine that made it.
type Pacer struct{}

// NewPacer locks the calling goroutine to its thread. Call Close when done.
func NewPacer() (*Pacer, error) {
	runtime.LockOSThread()
	return &Pacer{}, nil
}

// Close lets the goroutine leave its thread.
func (p *Pacer) Close() { runtime.UnlockOSThread() }

// SleepUntil returns at the given instant or a little later.
func (p *Pacer) SleepUntil(at consensus.Time) {
	for now := Now(); now < at; now = Now() {
		time.Sleep(at.Sub(now))
	}
}
