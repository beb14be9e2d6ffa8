package link

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"quorumlab/topologies"
)

func TestFramesDoNotOvertakeThoseThatALongerDelayHolds(t *testing.T) {
	m := NewModel(topologies.Parameters{Delay: 100}, 1, 0)
	if at, _ := transmit(m, 50, 100); at != 150 {
		t.Fatalf("arrived at %d", at)
	}
	m.Update(60, topologies.Parameters{Delay: 10})
	if m.DelayOnly() {
		t.Error("DelayOnly, though frames have to wait for those before the change")
	}
	if !m.CarriesSegments() {
		t.Error("frames of several segments are refused, though all that happens to them is a delay")
	}
	for _, c := range []struct {
		now, want int64
		delayOnly bool
	}{
		{60, 160, false}, // the last one before may have come just now
		{149, 160, false},
		{150, 160, true},
		{140, 160, true}, // any order will do
		{151, 161, true},
		{300, 310, true},
	} {
		if at, _ := transmit(m, c.now, 100); at != c.want || m.DelayOnly() != c.delayOnly {
			t.Errorf("sent at %d: %d, then DelayOnly %v, want %d, %v", c.now, at, m.DelayOnly(), c.want, c.delayOnly)
		}
	}
}

func TestWithoutAFrameOnTheWayAShorterDelayHoldsAtOnce(t *testing.T) {
	m := NewModel(topologies.Parameters{Delay: 100}, 1, 0)
	m.update(70, 150, topologies.Parameters{Delay: 10})
	for _, c := range [][2]int64{{70, 150}, {145, 155}} {
		if at, _ := transmit(m, c[0], 100); at != c[1] {
			t.Errorf("sent at %d: %d, want %d: the one before arrives at 150", c[0], at, c[1])
		}
	}
	unused := NewModel(topologies.Parameters{Delay: 100}, 1, 0)
	unused.update(70, math.MinInt64, topologies.Parameters{Delay: 10})
	if at, _ := transmit(unused, 70, 100); at != 80 || !unused.DelayOnly() {
		t.Errorf("arrived at %d, want 80: nothing was on the way", at)
	}
}

func TestALongerDelayHoldsFromTheChangeOn(t *testing.T) {
	m := NewModel(topologies.Parameters{Delay: 10}, 1, 0)
	m.Transmit(0, 100)
	m.Update(5, topologies.Parameters{Delay: 100})
	if at, _ := transmit(m, 5, 100); at != 105 || !m.DelayOnly() {
		t.Errorf("arrived at %d, DelayOnly %v, want 105, true", at, m.DelayOnly())
	}
}

func TestTheQueueCarriesOverAChangeOfTheRate(t *testing.T) {
	const bytes = 1000
	slow := topologies.Parameters{RateBPS: 8_000_000} // 1 ms a frame
	for _, c := range []struct {
		name string
		to   topologies.Parameters
		// What becomes of frames that come at 0.5 ms, after four that came at 0.
		want []int64
	}{
		{"the same", slow, []int64{5e6, 6e6, 7e6}},
		{"twice the rate", topologies.Parameters{RateBPS: 16_000_000}, []int64{4.5e6, 5e6, 5.5e6}},
		{"unlimited", topologies.Parameters{}, []int64{4e6, 4e6, 4e6}},
		{"unlimited, with jitter that may reorder", topologies.Parameters{Delay: 1, Jitter: 1, JitterDistribution: "uniform", JitterReorders: true}, []int64{4e6, 4e6, 4e6}},
		{"a queue of four", topologies.Parameters{RateBPS: 8_000_000, QueueFrames: 4}, []int64{5e6, -1, -1}},
		{"a queue of 4500 bytes", topologies.Parameters{RateBPS: 8_000_000, QueueBytes: 4500}, []int64{5e6, -1, -1}},
		{"a queue of two", topologies.Parameters{RateBPS: 8_000_000, QueueFrames: 2}, []int64{-1, -1, -1}},
		{"down", topologies.Parameters{Down: true}, []int64{-1, -1, -1}},
	} {
		m := NewModel(slow, 1, 0)
		for i := range int64(4) {
			if at, _ := transmit(m, 0, bytes); at != (i+1)*1e6 {
				t.Fatalf("frame %d arrives at %d", i, at)
			}
		}
		m.Update(500_000, c.to)
		for i, want := range c.want {
			at, verdict := transmit(m, 500_000, bytes)
			if verdict != Delivered {
				at = -1
			}
			if at < want || at > want+2 || want < 0 && at != want {
				t.Errorf("%s, frame %d: arrives at %d, want %d (-1: never)", c.name, i, at, want)
			}
		}
	}
}

func TestAnUpdateToTheSameChangesNothing(t *testing.T) {
	generator := rand.New(rand.NewPCG(7, 8))
	for range 400 {
		p := randomParameters(generator)
		if p.DelayOnly() {
			continue
		}
		seed := generator.Uint64()
		steady, updated := NewModel(p, seed, 3), NewModel(p, seed, 3)
		for now := int64(0); now < 200_000; now += generator.Int64N(4000) {
			bytes := 60 + generator.IntN(1500)
			if want, got := steady.Transmit(now, bytes), updated.Transmit(now, bytes); want != got {
				t.Fatalf("%+v: at %d %+v became %+v", p, now, want, got)
			}
			if generator.IntN(5) == 0 {
				same := p
				if p.Trace != nil {
					copied := *p.Trace
					same.Trace = &copied
				}
				updated.Update(now, same)
			}
		}
	}
}

func TestNothingOnTheWayIsOvertakenByWhatComesAfterAChange(t *testing.T) {
	generator := rand.New(rand.NewPCG(9, 10))
	for range 400 {
		m := NewModel(inOrder(randomParameters(generator)), generator.Uint64(), 0)
		now, latest := int64(0), int64(0)
		for range 300 {
			now += generator.Int64N(4000)
			if generator.IntN(20) == 0 {
				m.Update(now, inOrder(randomParameters(generator)))
			}
			fate := m.Transmit(now, 60+generator.IntN(1500))
			for _, a := range fate.Arrivals[:fate.Count] {
				if a.Reordered {
					continue
				}
				if a.AtNS < latest || a.AtNS < now {
					t.Fatalf("%+v: sent at %d it arrives at %d, the one before at %d", m.parameters, now, a.AtNS, latest)
				}
				latest = a.AtNS
			}
		}
	}
}

func TestWhatMayBeOvertakenHoldsNobodyUpAfterAChange(t *testing.T) {
	table := &topologies.Table{Excess: []time.Duration{time.Hour}}
	outliers := topologies.Parameters{JitterTable: table, JitterDistribution: topologies.JitterTable, JitterReorders: true}
	m := NewModel(outliers, 1, 0)
	if at, _ := transmit(m, 0, 100); at != int64(time.Hour) {
		t.Fatalf("arrived at %d", at)
	}
	m.Update(10, topologies.Parameters{Delay: 5})
	if at, _ := transmit(m, 10, 100); at != 15 {
		t.Errorf("arrives at %d, want 15", at)
	}
	// What waits for its serialisation isn't overtaken: that is no jitter.
	queued := outliers
	queued.RateBPS = 8_000_000
	m = NewModel(queued, 1, 0)
	for range 3 {
		m.Transmit(0, 1000)
	}
	m.Update(500_000, topologies.Parameters{})
	if at, _ := transmit(m, 500_000, 100); at != 3e6 {
		t.Errorf("arrives at %d, want 3 ms, when the last one before has left", at)
	}
}

// inOrder keeps jitter from reordering.
func inOrder(p topologies.Parameters) topologies.Parameters {
	p.JitterReorders = false
	return p
}

func TestStatesCarryOverWhereTheyStillMeanSomething(t *testing.T) {
	bursts := &topologies.GilbertElliott{GoodToBad: 1, BadToGood: 0, LossBad: 1}
	m := NewModel(topologies.Parameters{GilbertElliott: bursts}, 1, 0)
	m.Transmit(0, 100) // into the bad state
	m.Update(1, topologies.Parameters{GilbertElliott: bursts, Delay: 5})
	if !isLost(m.Transmit(1, 100)) {
		t.Error("the bad state is forgotten by a change of the delay")
	}
	m.Update(2, topologies.Parameters{Delay: 5})
	m.Update(3, topologies.Parameters{GilbertElliott: bursts})
	if isLost(m.Transmit(3, 100)) {
		t.Error("after a time without losses it doesn't begin in the good state")
	}

	correlated := topologies.Parameters{Loss: 0.5, LossCorrelation: 1 - 1e-9}
	m = NewModel(correlated, 1, 0)
	first := isLost(m.Transmit(0, 100))
	correlated.Delay = 5
	m.Update(1, correlated)
	for i := range int64(100) {
		if isLost(m.Transmit(i+1, 100)) != first {
			t.Fatal("the frame before is forgotten by a change of the delay")
		}
	}

	m = NewModel(topologies.Parameters{Delay: 9, Reorder: 1, ReorderGap: 3}, 1, 0)
	m.Transmit(0, 100)
	m.Transmit(1, 100)
	m.Update(2, topologies.Parameters{Delay: 8, Reorder: 1, ReorderGap: 3})
	if !isReordered(m.Transmit(2, 100)) {
		t.Error("the frames since the last reordered one are forgotten by a change of the delay")
	}
}

func TestATraceGoesOnAndANewOneRunsFromTheNetworksStart(t *testing.T) {
	first := &topologies.Trace{
		Times: []time.Duration{0, 10, 20}, Excess: []time.Duration{100, 200, 300},
		Align: topologies.AlignStart, Gap: topologies.GapHold, GapAfter: time.Second, Period: 30,
	}
	other := *first
	other.Excess = []time.Duration{1000, 2000, 3000}
	m := NewModel(topologies.Parameters{Trace: first, JitterReorders: true}, 1, 7)
	for _, c := range []struct {
		now  int64
		to   *topologies.Trace
		want int64
	}{{7, nil, 100}, {17, nil, 200}, {18, first, 200}, {28, &other, 3000}, {38, &other, 1000}, {40, first, 100}} {
		if c.to != nil {
			m.Update(c.now, topologies.Parameters{Trace: c.to, JitterReorders: true})
		}
		if at, _ := transmit(m, c.now, 100); at-c.now != c.want {
			t.Errorf("at %d a delay of %d, want %d", c.now, at-c.now, c.want)
		}
	}
}
