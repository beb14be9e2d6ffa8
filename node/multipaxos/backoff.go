package multipaxos

import (
	"math/rand/v2"
	"time"
)

// backoff says how long a pre-empted leader waits before it scouts again, so
// that duelling leaders let each other finish (dissertation, section 4.1.3).
type backoff interface {
	// next is the wait after one more pre-emption.
	next() time.Duration
	// reset is called when a ballot of the leader's is adopted.
	reset()
}

// Backoff strategies.
const (
	BackoffNone         = "none"
	BackoffRandom       = "random"
	BackoffExponential  = "exponential"
	BackoffAIMD         = "aimd"
	BackoffDecorrelated = "decorrelated"
)

func newBackoff(options BackoffOptions, random *rand.Rand) backoff {
	switch options.Strategy {
	case BackoffRandom:
		return &randomBackoff{max: options.Max, random: random}
	case BackoffExponential:
		return &exponentialBackoff{
			initial: options.Initial, factor: options.Factor, ceiling: options.Cap,
			extent: options.Initial, random: random,
		}
	case BackoffAIMD:
		return &aimdBackoff{
			initial: options.Initial, step: options.Step, ceiling: options.Cap, decrease: options.Decrease,
			extent: options.Initial, random: random,
		}
	case BackoffDecorrelated:
		return &decorrelatedBackoff{
			initial: options.Initial, ceiling: options.Cap, last: options.Initial, random: random,
		}
	}
	return noBackoff{}
}

type noBackoff struct{}

func (noBackoff) next() time.Duration { return 0 }
func (noBackoff) reset()              {}

// randomBackoff waits a time drawn uniformly from 0 to max.
type randomBackoff struct {
	max    time.Duration
	random *rand.Rand
}

func (b *randomBackoff) next() time.Duration { return uniform(b.random, 0, b.max) }
func (b *randomBackoff) reset()              {}

// exponentialBackoff waits a time drawn uniformly from 0 to an extent that
// grows by a factor at each pre-emption, up to the ceiling, and is back to its
// initial value on adoption.
type exponentialBackoff struct {
	initial, ceiling, extent time.Duration
	factor                   float64
	random                   *rand.Rand
}

func (b *exponentialBackoff) next() time.Duration {
	wait := uniform(b.random, 0, b.extent)
	grown := float64(b.extent) * b.factor
	b.extent = time.Duration(min(grown, float64(b.ceiling)))
	return wait
}

func (b *exponentialBackoff) reset() { b.extent = b.initial }

// aimdBackoff waits a time drawn uniformly from 0 to an extent. The extent
// grows by a step at each pre-emption, up to the ceiling, and shrinks by a
// factor on adoption, down to its initial value (additive increase and
// multiplicative decrease, as Chiu and Jain, 1989, have it for rates). So it
// remembers contention across a success rather than start anew after each.
type aimdBackoff struct {
	initial, step, ceiling, extent time.Duration
	decrease                       float64
	random                         *rand.Rand
}

func (b *aimdBackoff) next() time.Duration {
	wait := uniform(b.random, 0, b.extent)
	b.extent = min(b.extent+b.step, b.ceiling)
	return wait
}

func (b *aimdBackoff) reset() {
	b.extent = max(time.Duration(float64(b.extent)*b.decrease), b.initial)
}

// decorrelatedBackoff waits a time drawn uniformly from the initial one to
// three times the last, at most the ceiling; on adoption the last one is
// forgotten (decorrelated jitter: Brooker, Exponential Backoff And Jitter, AWS
// Architecture Blog, 2015).
type decorrelatedBackoff struct {
	initial, ceiling, last time.Duration
	random                 *rand.Rand
}

func (b *decorrelatedBackoff) next() time.Duration {
	b.last = min(uniform(b.random, b.initial, 3*b.last), b.ceiling)
	return b.last
}

func (b *decorrelatedBackoff) reset() { b.last = b.initial }

// uniform draws a time between two, both included.
func uniform(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)+1))
}
