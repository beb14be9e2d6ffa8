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
	BackoffNone        = "none"
	BackoffRandom      = "random"
	BackoffExponential = "exponential"
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

func (b *randomBackoff) next() time.Duration { return uniform(b.random, b.max) }
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
	wait := uniform(b.random, b.extent)
	grown := float64(b.extent) * b.factor
	b.extent = time.Duration(min(grown, float64(b.ceiling)))
	return wait
}

func (b *exponentialBackoff) reset() { b.extent = b.initial }

func uniform(random *rand.Rand, upTo time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(upTo) + 1))
}
