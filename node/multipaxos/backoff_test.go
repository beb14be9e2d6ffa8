package multipaxos

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const backoffDraws = 20_000

// kolmogorovSmirnov is the test's statistic, the largest distance between the
// sample's distribution and the one claimed, times the square root of the
// sample's size. A sample of the claimed distribution exceeds 1.95 once in a
// thousand times.
func kolmogorovSmirnov(sample []float64, below func(float64) float64) float64 {
	sample = slices.Sorted(slices.Values(sample))
	n, distance := float64(len(sample)), 0.0
	for i, x := range sample {
		p := below(x)
		distance = max(distance, float64(i+1)/n-p, p-float64(i)/n)
	}
	return distance * math.Sqrt(n)
}

// uniformBelow is the distribution of a time drawn uniformly between two.
func uniformBelow(least, most time.Duration) func(float64) float64 {
	return func(x float64) float64 {
		return min(max((x-float64(least))/float64(most-least), 0), 1)
	}
}

// drawWaits draws many waits, each the last of a fresh strategy's after some calls
// of next and reset: 'n' and 'r' in history.
func drawWaits(options BackoffOptions, history string) []float64 {
	random := rand.New(rand.NewPCG(1, 2))
	var drawn []float64
	for range backoffDraws {
		b := newBackoff(options, random)
		for _, call := range history {
			if call == 'r' {
				b.reset()
			} else {
				b.next()
			}
		}
		drawn = append(drawn, float64(b.next()))
	}
	return drawn
}

var (
	upToASecond = BackoffOptions{Strategy: BackoffRandom, Max: time.Second}
	doubling    = BackoffOptions{Strategy: BackoffExponential, Initial: 250 * time.Millisecond, Factor: 2, Cap: 1500 * time.Millisecond}
	stepping    = BackoffOptions{Strategy: BackoffAIMD, Initial: 100 * time.Millisecond, Step: 200 * time.Millisecond, Decrease: 0.5, Cap: 800 * time.Millisecond}
)

// Dissertation, section 4.1.3, and additive increase, multiplicative decrease:
// after any history a wait is uniform from 0 to the strategy's extent.
func TestWaitsAreUniformUpToTheExtent(t *testing.T) {
	for _, c := range []struct {
		options BackoffOptions
		history string
		extent  time.Duration // in milliseconds
	}{
		{upToASecond, "", 1000}, {upToASecond, "nnn", 1000}, {upToASecond, "nrn", 1000},
		{doubling, "", 250}, {doubling, "n", 500}, {doubling, "nn", 1000},
		{doubling, "nnn", 1500}, {doubling, "nnnn", 1500},
		{doubling, "nnnr", 250}, {doubling, "nnrn", 500},
		{stepping, "", 100}, {stepping, "n", 300}, {stepping, "nn", 500}, {stepping, "nnn", 700}, {stepping, "nnnn", 800}, {stepping, "nnnnn", 800},
		{stepping, "nnr", 250}, {stepping, "nnrr", 125}, {stepping, "nnrrr", 100}, {stepping, "r", 100}, {stepping, "nnrn", 450}, {stepping, "nnnnnrn", 600},
	} {
		extent := c.extent * time.Millisecond
		drawn := drawWaits(c.options, c.history)
		if d := kolmogorovSmirnov(drawn, uniformBelow(0, extent)); d > 1.95 {
			t.Errorf("%s after %q: not uniform from 0 to %v: statistic %.2f, mean %v", c.options.Strategy, c.history, extent, d, averageWait(drawn))
		}
		if most := time.Duration(slices.Max(drawn)); most > extent {
			t.Errorf("%s after %q waits %v, more than %v", c.options.Strategy, c.history, most, extent)
		}
	}
}

func averageWait(sample []float64) time.Duration {
	sum := 0.0
	for _, x := range sample {
		sum += x
	}
	return time.Duration(sum / float64(len(sample)))
}

// The statistic must refuse what is nearly right, or the tests show nothing.
func TestTheStatisticTellsExtentsFivePercentApart(t *testing.T) {
	drawn := drawWaits(upToASecond, "")
	for _, wrong := range []func(float64) float64{
		uniformBelow(0, 950*time.Millisecond), uniformBelow(0, 1050*time.Millisecond),
		uniformBelow(50*time.Millisecond, time.Second),
		func(x float64) float64 { return math.Pow(uniformBelow(0, time.Second)(x), 1.1) },
	} {
		if d := kolmogorovSmirnov(drawn, wrong); d < 3 {
			t.Errorf("statistic %.2f against a wrong distribution", d)
		}
	}
}

func TestWithoutABackoffNothingWaits(t *testing.T) {
	b := newBackoff(BackoffOptions{Strategy: BackoffNone, Max: time.Second, Initial: time.Second, Cap: time.Second}, nil)
	for range 10 {
		if wait := b.next(); wait != 0 {
			t.Fatalf("none waits %v", wait)
		}
		b.reset()
	}
}

// The first wait is uniform from initial to three times that. The second is so
// from initial to three times the first; its distribution follows by
// integration over the first:
//
//	P(second < w) = (w-a)/6a ln 4                         if a <= w <= 3a
//	              = (w-3a)/6a + (w-a)/6a ln(8a/(w-a))     if 3a <= w <= 9a
func TestTheFirstDecorrelatedWaitsAreDistributedAsComputed(t *testing.T) {
	options := BackoffOptions{Strategy: BackoffDecorrelated, Initial: 100 * time.Millisecond, Cap: time.Hour}
	a := float64(options.Initial)
	second := func(w float64) float64 {
		if w <= 3*a {
			return (w - a) / (6 * a) * math.Log(4)
		}
		return (w-3*a)/(6*a) + (w-a)/(6*a)*math.Log(8*a/(w-a))
	}
	first := uniformBelow(options.Initial, 3*options.Initial)
	for history, below := range map[string]func(float64) float64{"": first, "nnnr": first, "n": second, "nrn": second} {
		if d := kolmogorovSmirnov(drawWaits(options, history), below); d > 1.95 {
			t.Errorf("decorrelated after %q: statistic %.2f", history, d)
		}
	}
}

// In one long sequence: given the last wait, the place of the next between
// initial and three times the last is uniform, but what exceeds the cap is cut
// to it. So the cap is hit as often as the last waits say it should.
func TestADecorrelatedWaitDependsOnTheLastAlone(t *testing.T) {
	options := BackoffOptions{Strategy: BackoffDecorrelated, Initial: 100 * time.Millisecond, Cap: 2 * time.Second}
	b := newBackoff(options, rand.New(rand.NewPCG(3, 4)))
	last := float64(options.Initial)
	least, most := float64(options.Initial), float64(options.Cap)
	var places []float64
	hits, expected, variance := 0.0, 0.0, 0.0
	for range 5 * backoffDraws {
		wait := float64(b.next())
		if wait < least || wait > min(3*last, most) {
			t.Fatalf("waits %v after %v", time.Duration(wait), time.Duration(last))
		}
		above := max(0, 1-(most-least)/(3*last-least))
		expected += above
		variance += above * (1 - above)
		if above == 0 {
			places = append(places, (wait-least)/(3*last-least))
		} else if wait == most {
			hits++
		} else {
			places = append(places, (wait-least)/(most-least))
		}
		last = wait
	}
	if d := kolmogorovSmirnov(places, func(x float64) float64 { return x }); d > 1.95 {
		t.Errorf("places aren't uniform: statistic %.2f of %d", d, len(places))
	}
	if off := (hits - expected) / math.Sqrt(variance); math.Abs(off) > 3.3 || hits < 1000 {
		t.Errorf("the cap was hit %v times, want %.0f: %.1f standard deviations off", hits, expected, off)
	}
}

// Two leaders of different seeds don't wait alike, of equal seeds they do.
func TestWaitsFollowFromTheSeed(t *testing.T) {
	for _, options := range []BackoffOptions{upToASecond, doubling, stepping,
		{Strategy: BackoffDecorrelated, Initial: time.Millisecond, Cap: time.Second}} {
		sequence := func(seed uint64) string {
			b, drawn := newBackoff(options, rand.New(rand.NewPCG(seed, 1))), []time.Duration{}
			for range 20 {
				drawn = append(drawn, b.next())
			}
			return fmt.Sprint(drawn)
		}
		one, again, other := sequence(1), sequence(1), sequence(2)
		if one != again || one == other {
			t.Errorf("%s: waits %s, again %s, of another seed %s", options.Strategy, one, again, other)
		}
	}
}

// At the extremes that ParseOptions admits nothing overflows.
func TestExtremeBackoffsStayWithinTheirCap(t *testing.T) {
	for _, options := range []BackoffOptions{
		{Strategy: BackoffRandom, Max: time.Hour},
		{Strategy: BackoffExponential, Initial: time.Hour, Factor: 1000, Cap: time.Hour},
		{Strategy: BackoffExponential, Initial: 1, Factor: 1000, Cap: time.Hour},
		{Strategy: BackoffAIMD, Initial: 1, Step: time.Hour, Decrease: 1e-300, Cap: time.Hour},
		{Strategy: BackoffAIMD, Initial: time.Hour, Step: time.Hour, Decrease: 0.999, Cap: time.Hour},
		{Strategy: BackoffDecorrelated, Initial: time.Hour, Cap: time.Hour},
		{Strategy: BackoffDecorrelated, Initial: 1, Cap: time.Hour},
	} {
		b := newBackoff(options, rand.New(rand.NewPCG(5, 6)))
		for i := range 1000 {
			if wait := b.next(); wait < 0 || wait > time.Hour {
				t.Fatalf("%+v: wait %d is %v", options, i, wait)
			}
			if i%100 == 99 {
				b.reset()
			}
		}
	}
}
