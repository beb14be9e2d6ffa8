package measure

import (
	"testing"

	"quorumlab/results"
)

// clientOf has requests that were due at such times and took so long, in milliseconds;
// negative ones were never answered.
func clientOf(pairs ...[2]int64) *client {
	c := &client{}
	for _, pair := range pairs {
		r := request{dueNS: pair[0] * ms, sentNS: pair[0] * ms, doneNS: (pair[0] + pair[1]) * ms}
		if pair[1] < 0 {
			r.doneNS = never
		}
		c.requests = append(c.requests, r)
	}
	c.arrange()
	return c
}

// tens is normal: 10 ms, and late from 20 ms on.
func tens() *baseline {
	return &baseline{meanNS: float64(10 * ms), typicalNS: 10 * ms, lateNS: 20 * ms, window: 2}
}

func TestTheLongestOutage(t *testing.T) {
	tests := []struct {
		name     string
		clients  []*client
		from, to int64
		want     int64
		open     bool
	}{
		{"all is well", []*client{clientOf([2]int64{0, 10}, [2]int64{100, 10}, [2]int64{200, 10})}, 50, 300, 0, false},
		{"a little slow isn't late", []*client{clientOf([2]int64{0, 10}, [2]int64{100, 20}, [2]int64{200, 10})}, 50, 300, 0, false},
		{"one is late", []*client{clientOf([2]int64{0, 10}, [2]int64{100, 75}, [2]int64{200, 10})}, 50, 300, 65, false},
		{"several wait for the same moment", []*client{clientOf([2]int64{100, 400}, [2]int64{200, 300}, [2]int64{300, 200})}, 50, 900, 390, false},
		{"what came before the fault isn't its cost", []*client{clientOf([2]int64{100, 400})}, 250, 900, 250, false},
		{"a later request's answer ends it", []*client{clientOf([2]int64{100, 800}, [2]int64{200, 100})}, 50, 950, 190, false},
		{"an overtaken timeout is no longer waited for", []*client{clientOf([2]int64{100, -1}, [2]int64{200, 10}, [2]int64{300, 10})}, 50, 900, 100, false},
		{"it isn't over", []*client{clientOf([2]int64{0, 10}, [2]int64{100, -1}, [2]int64{200, -1})}, 50, 900, 790, true},
		{"answered after the end counts as not over", []*client{clientOf([2]int64{100, 1000})}, 50, 900, 790, true},
		{"due too late to tell", []*client{clientOf([2]int64{100, 10}, [2]int64{885, -1})}, 50, 900, 0, false},
		{"the worst client's", []*client{clientOf([2]int64{100, 40}), clientOf([2]int64{101, 10}, [2]int64{150, 300}), clientOf([2]int64{120, 10})},
			50, 900, 290, false},
		{"the longest of two", []*client{clientOf([2]int64{100, 50}, [2]int64{200, 90}, [2]int64{300, 70})}, 50, 900, 80, false},
		{"open, though a shorter one", []*client{clientOf([2]int64{100, 500}), clientOf([2]int64{850, -1})}, 50, 900, 490, true},
		{"nobody asks", nil, 50, 900, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			trial := &brokenTrial{clients: test.clients, normal: tens()}
			got, open := trial.longestOutage(test.from*ms, test.to*ms)
			if got.lengthNS() != test.want*ms || open != test.open {
				t.Errorf("%d ms, open %t, want %d ms, %t", got.lengthNS()/ms, open, test.want, test.open)
			}
		})
	}
}

func TestBackToNormal(t *testing.T) {
	tests := []struct {
		name     string
		requests *client
		want     observation
	}{
		{"from the first request on", clientOf([2]int64{110, 10}, [2]int64{120, 10}, [2]int64{130, 90}), took(0)},
		{"5% is still normal", clientOf([2]int64{110, 10}, [2]int64{120, 11}), took(0)},
		{"more isn't", clientOf([2]int64{110, 12}, [2]int64{120, 10}, [2]int64{130, 10}), took(20 * ms)},
		{"faster is better than normal", clientOf([2]int64{110, 1}, [2]int64{120, 19}), took(0)},
		{"after timeouts", clientOf([2]int64{110, -1}, [2]int64{120, -1}, [2]int64{130, 10}, [2]int64{140, 10}), took(30 * ms)},
		{"never", clientOf([2]int64{110, 90}, [2]int64{120, -1}, [2]int64{130, 50}), longerThan(20 * ms)},
		{"too few to tell", clientOf([2]int64{110, 10}), longerThan(0)},
		{"too late to tell", clientOf([2]int64{110, 90}, [2]int64{181, 10}, [2]int64{182, 10}), longerThan(0)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			trial := &brokenTrial{requests: test.requests.requests, normal: tens()}
			if got := trial.backToNormal(100*ms, 200*ms); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func faultAt(ms_ int64) results.Fault {
	return results.Fault{ID: "f", Kind: "crash", AppliedNS: at(ms_ * ms)}
}

func TestWhatIsNormalIsMeasuredBeforeTheFirstFaultOfTheMeasuredPhase(t *testing.T) {
	requests := clientOf([2]int64{0, 90}, [2]int64{100, 10}, [2]int64{110, 12}, [2]int64{120, -1}, [2]int64{130, 14},
		[2]int64{140, 16}, [2]int64{150, 18}, [2]int64{160, 300}, [2]int64{170, -1}, [2]int64{180, 10}).requests
	trial := brokenTrial{requests: requests, measureNS: 100 * ms, endNS: 1000 * ms}
	for _, test := range []struct {
		name     string
		faults   []results.Fault
		n        int
		timeouts int
	}{
		{"a fault in the measured phase", []results.Fault{faultAt(175)}, 5, 1},
		{"one in the warm-up is part of it", []results.Fault{faultAt(50), faultAt(175)}, 5, 1},
		{"too early in the measured phase: since the load began", []results.Fault{faultAt(160)}, 5, 1},
		{"too early", []results.Fault{faultAt(115)}, 0, 0},
		{"no fault", nil, 7, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			trial.faults = test.faults
			b := newBaseline(&trial)
			if test.n == 0 {
				if b != nil {
					t.Errorf("%+v", b)
				}
				return
			}
			if b == nil || len(b.latenciesNS) != test.n || b.timeouts != test.timeouts {
				t.Errorf("%+v, want %d latencies, %d timeouts", b, test.n, test.timeouts)
			}
		})
	}
	trial.faults = []results.Fault{faultAt(175)}
	b := newBaseline(&trial)
	near(t, "mean", b.meanNS/1e6, 14, 1e-9)
	if b.typicalNS != 14*ms || b.lateNS != 36*ms {
		t.Errorf("%+v", b)
	}
	// Standard deviation root 10: two of these over 5% of 14 ms, squared.
	if b.window != 82 {
		t.Errorf("window %d, want 82", b.window)
	}
}
