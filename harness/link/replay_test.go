package link

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"

	"quorumlab/topologies"
)

// aTrace has a row each time given; negative delays are rows without an answer.
func aTrace(gap string, times, excess []time.Duration) *topologies.Trace {
	return &topologies.Trace{
		Times: times, Excess: excess, Align: topologies.AlignStart, Gap: gap, GapAfter: 15,
		Period: times[len(times)-1] + 10,
	}
}

func TestTracesHoldBetweenRowsAndGoByTheirPolicyInGaps(t *testing.T) {
	times := []time.Duration{0, 10, 20, 50, 60, 70, 80}
	excess := []time.Duration{100, 200, 300, 400, -1, -1, 500}
	const lost = -1
	for _, c := range []struct {
		at                      int64
		hold, interpolate, lose int64
	}{
		{0, 100, 100, 100},
		{9, 100, 100, 100},
		{10, 200, 200, 200},
		// From 20 to 50 it is farther than 15.
		{20, 300, 300, lost},
		{26, 300, 320, lost},
		{49, 300, 396, lost},
		{50, 400, 400, 400},
		// From 60 to 80 there was no answer.
		{60, 400, 400, lost},
		{69, 400, 445, lost},
		{75, 400, 475, lost},
		{80, 500, 500, 500},
		{89, 500, 500, 500},
		// And again.
		{90, 100, 100, 100},
		{90*1000 + 26, 300, 320, lost},
		{90*2000 + 70, 400, 450, lost},
	} {
		for _, policy := range []struct {
			gap  string
			want int64
		}{{topologies.GapHold, c.hold}, {topologies.GapInterpolate, c.interpolate}, {topologies.GapLose, c.lose}} {
			m := NewModel(topologies.Parameters{Delay: 7, Trace: aTrace(policy.gap, times, excess)}, 1, 1000)
			atNS, verdict := transmit(m, 1000+c.at, 100)
			got := atNS - 1000 - c.at - 7
			if verdict == LostByLoss {
				got = lost
			}
			if got != policy.want {
				t.Errorf("%s at %d: %d more than the delay, want %d (-1: lost)", policy.gap, c.at, got, policy.want)
			}
		}
	}
}

func TestGapsGoRoundTheEndOfATrace(t *testing.T) {
	// There was no answer from 20 on, until 10 of the next round: 30 in all.
	trace := aTrace(topologies.GapInterpolate, []time.Duration{0, 10, 20, 30}, []time.Duration{-1, 400, -1, -1})
	for at, want := range map[int64]int64{10: 400, 19: 400, 20: 400, 39: 400, 40: 400, 49: 400, 50: 400} {
		m := NewModel(topologies.Parameters{Trace: trace}, 1, 0)
		if got, _ := transmit(m, at, 100); got-at != want {
			t.Errorf("at %d: %d, want %d", at, got-at, want)
		}
	}
	trace = aTrace(topologies.GapInterpolate, []time.Duration{0, 10, 20, 30}, []time.Duration{-1, 400, 100, -1})
	for at, want := range map[int64]int64{29: 100, 30: 100, 35: 175, 40: 250, 45: 325, 50: 400, 0: 250, 5: 325, 10: 400} {
		m := NewModel(topologies.Parameters{Trace: trace}, 1, 0)
		if got, _ := transmit(m, at, 100); got-at != want {
			t.Errorf("at %d: %d, want %d", at, got-at, want)
		}
	}
}

// excessSlowly looks a trace up as its definition says; ok is false where it loses.
func excessSlowly(t *topologies.Trace, at time.Duration) (excess time.Duration, ok bool) {
	n := len(t.Times)
	at = (at%t.Period + t.Period) % t.Period
	// Three rounds, so that gaps may go round either end.
	type row struct{ time, excess time.Duration }
	var rows []row
	for round := time.Duration(-1); round <= 1; round++ {
		for i := range n {
			rows = append(rows, row{t.Times[i] + round*t.Period, t.Excess[i]})
		}
	}
	i := n
	for i+1 < 2*n && rows[i+1].time <= at {
		i++
	}
	gapAfter := func(i int) bool { return rows[i+1].time-rows[i].time > t.GapAfter }
	if rows[i].excess >= 0 && !gapAfter(i) {
		return rows[i].excess, true
	}
	if t.Gap == topologies.GapLose {
		return 0, false
	}
	first, answered := i, i
	for rows[answered].excess < 0 {
		answered--
		if rows[answered].excess < 0 || gapAfter(answered) {
			first = answered
		}
	}
	next := i + 1
	for rows[next].excess < 0 {
		next++
	}
	if t.Gap == topologies.GapHold {
		return rows[answered].excess, true
	}
	part := float64(at-rows[first].time) / float64(rows[next].time-rows[first].time)
	return rows[answered].excess + time.Duration(part*float64(rows[next].excess-rows[answered].excess)), true
}

func TestReplayingAgreesWithLookingUp(t *testing.T) {
	generator := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		trace := randomTrace(generator)
		r := newReplay(trace, 17, generator)
		at := time.Duration(r.originNS)
		for range 200 {
			// Mostly a little ahead, at times by rounds, at times back.
			switch generator.IntN(20) {
			case 0:
				at += time.Duration(generator.Int64N(3 * int64(trace.Period)))
			case 1:
				at -= time.Duration(generator.Int64N(int64(trace.Period)))
			default:
				at += time.Duration(generator.Int64N(int64(trace.Period)/int64(len(trace.Times)) + 1))
			}
			want, ok := excessSlowly(trace, at-time.Duration(r.originNS))
			got, lost := r.at(int64(at))
			if lost == ok || ok && got != int64(want) {
				t.Fatalf("%+v at %d: %d, lost %v; want %d, %v", trace, at-time.Duration(r.originNS), got, lost, want, !ok)
			}
		}
	}
}

// randomTrace makes a trace with gaps and rows without an answer.
func randomTrace(generator *rand.Rand) *topologies.Trace {
	policies := []string{topologies.GapHold, topologies.GapInterpolate, topologies.GapLose}
	trace := &topologies.Trace{Align: topologies.AlignStart, Gap: policies[generator.IntN(3)], GapAfter: time.Duration(1 + generator.IntN(60))}
	if generator.IntN(2) == 0 {
		trace.Align = topologies.AlignRandom
	}
	at := time.Duration(0)
	for range 1 + generator.IntN(12) {
		trace.Times = append(trace.Times, at)
		at += time.Duration(1 + generator.IntN(50))
		excess := time.Duration(generator.IntN(1000))
		if generator.IntN(3) == 0 {
			excess = -1
		}
		trace.Excess = append(trace.Excess, excess)
	}
	trace.Excess[generator.IntN(len(trace.Excess))] = 5
	trace.Period = at
	return trace
}

func TestATraceKeepsItsAutocorrelation(t *testing.T) {
	const rows = 2000
	generator := rand.New(rand.NewPCG(1, 2))
	trace := &topologies.Trace{
		Align: topologies.AlignStart, Gap: topologies.GapHold, GapAfter: time.Second, Period: rows * time.Millisecond,
	}
	level := 10e6
	for i := range rows {
		level = 10e6 + 0.9*(level-10e6) + generator.NormFloat64()*1e5
		trace.Times = append(trace.Times, time.Duration(i)*time.Millisecond)
		trace.Excess = append(trace.Excess, time.Duration(level))
	}
	m := NewModel(topologies.Parameters{Delay: time.Millisecond, Trace: trace, JitterReorders: true}, 1, 0)
	var want, got []float64
	for i := range 3 * rows {
		nowNS := int64(i) * 1e6
		atNS, _ := transmit(m, nowNS, 100)
		got = append(got, float64(atNS-nowNS-1e6))
		want = append(want, float64(trace.Excess[i%rows]))
	}
	if !slices.Equal(got, want) {
		t.Error("the delays aren't the trace's")
	}
	lag := func(series []float64) float64 {
		return stat.Correlation(series[1:], series[:len(series)-1], nil)
	}
	if lag(got) != lag(want) || lag(got) < 0.8 {
		t.Errorf("the autocorrelation is %v, want %v", lag(got), lag(want))
	}
}

func TestRandomAlignmentFollowsTheSeed(t *testing.T) {
	trace := &topologies.Trace{
		Times: []time.Duration{0, 250, 500, 750}, Excess: []time.Duration{0, 1, 2, 3},
		Align: topologies.AlignRandom, Gap: topologies.GapHold, GapAfter: time.Second, Period: 1000,
	}
	begins := map[int64]int{}
	for seed := range uint64(400) {
		atNS, _ := transmit(NewModel(topologies.Parameters{Trace: trace}, seed, 5000), 5000, 100)
		again, _ := transmit(NewModel(topologies.Parameters{Trace: trace}, seed, 9000), 9000, 100)
		if atNS-5000 != again-9000 {
			t.Fatalf("seed %d begins with %d and with %d", seed, atNS-5000, again-9000)
		}
		begins[atNS-5000]++
	}
	for row := range int64(4) {
		if begins[row] < 60 || begins[row] > 140 {
			t.Errorf("of 400 seeds %d begin with row %d, want about 100", begins[row], row)
		}
	}
}
