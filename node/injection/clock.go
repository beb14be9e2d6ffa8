package injection

import (
	"math"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/timers"
)

// Clock says what the machine takes the time for. It is right until Set, in the zero
// Clock, and stays continuous but for jumps: when a rate ends, what the machine has
// gained or lost by it remains.
type Clock struct {
	// From real on, the machine's time is local and goes on at the rate, 0 meaning 1.
	real, local consensus.Time
	rate        float64
	jump        time.Duration
}

// Set has the clock run at a rate, 0 meaning 1, from now on, and jump by how much jump
// differs from the one set before. A clock that jumps back makes timers that are set
// fire later by that much.
func (c *Clock) Set(now consensus.Time, rate float64, jump time.Duration) {
	if rate == 1 {
		rate = 0
	}
	local := c.Local(now)
	*c = Clock{real: now, local: local.Add(jump - c.jump), rate: rate, jump: jump}
}

// Local is the machine's time at a real one.
func (c *Clock) Local(real consensus.Time) consensus.Time {
	elapsed := real.Sub(c.real)
	if c.rate != 0 {
		elapsed = time.Duration(math.Floor(float64(elapsed) * c.rate))
	}
	return c.local.Add(elapsed)
}

// Real is the first real time at which the machine's is a given one, or later, if the
// clock isn't set anew meanwhile. timers.Never is never.
func (c *Clock) Real(local consensus.Time) consensus.Time {
	if local == timers.Never {
		return timers.Never
	}
	wait := local.Sub(c.local)
	if c.rate == 0 {
		return c.real.Add(wait)
	}
	elapsed := math.Ceil(float64(wait) / c.rate)
	if elapsed >= float64(timers.Never-max(c.real, 0)) {
		return timers.Never
	}
	real := c.real.Add(time.Duration(elapsed))
	for c.Local(real) < local { // what floating point has lost
		real++
	}
	return real
}
