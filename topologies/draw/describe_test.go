package draw

import (
	"math"
	"slices"
	"testing"
	"time"

	"quorumlab/topologies"
)

func TestALinkIsDescribedInAFewWords(t *testing.T) {
	jitter := func(distribution string) topologies.Parameters {
		p := ms(20)
		p.Jitter, p.JitterDistribution = 2*time.Millisecond, distribution
		return p
	}
	impaired := withRate(ms(0.25), 64_000)
	impaired.Loss, impaired.LossCorrelation, impaired.Duplicate = 0.001, 0.25, 0.01
	impaired.Corrupt, impaired.Reorder, impaired.QueueFrames, impaired.QueueBytes = 0.0001, 0.02, 100, 64_000
	bursts := ms(1)
	bursts.GilbertElliott = &topologies.GilbertElliott{GoodToBad: 0.01, BadToGood: 0.09, LossBad: 1}
	steady := ms(1)
	steady.GilbertElliott = &topologies.GilbertElliott{BadToGood: 1, LossGood: 0.01, LossBad: 1}
	table, trace := ms(5), ms(5)
	table.JitterTable = &topologies.Table{Name: "a/rtts.csv"}
	trace.Trace = &topologies.Trace{Name: "a/b.csv"}
	lossy := ms(5)
	lossy.Loss = 0.01
	lossy.Trace = &topologies.Trace{Name: "c.csv", Times: []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second},
		Excess: []time.Duration{0, 1, -1, 2}, Gap: topologies.GapLose, GapAfter: 2 * time.Second, Period: 4 * time.Second}
	endless := ms(1)
	endless.QueueFrames = 10_000_000
	for _, c := range []struct {
		p    topologies.Parameters
		want string
	}{
		{topologies.Parameters{}, "no delay"},
		{topologies.Parameters{Down: true, Delay: time.Second}, "down"},
		{withRate(ms(20), 1e9), "20 ms, 1 Gbit/s"},
		{jitter(topologies.JitterUniform), "20 ms ± 2 ms"},
		{jitter(topologies.JitterNormal), "20 ms ± 2 ms (s.d.)"},
		{jitter(topologies.JitterExponential), "20 ms + exp. 2 ms"},
		{jitter(topologies.JitterPareto), "20 ms + Pareto 2 ms"},
		{impaired, "0.25 ms, 64 kbit/s, 0.1% correlated loss, 1% doubled, 0.01% corrupted, 2% reordered, queue 100, queue 64 kB"},
		{bursts, "1 ms, 10% loss in bursts"},
		{steady, "1 ms, 1% loss"}, // never leaves the good state
		{table, "5 ms + table rtts.csv"},
		{trace, "trace b.csv from 5 ms"},
		{lossy, "trace c.csv from 5 ms, 1% loss, 25% lost in gaps"},
		{endless, "1 ms"},
	} {
		if got := Describe(c.p); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestNumbersAreShortAndHaveUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Time(0), "0 ms"}, {Time(-time.Second), "-1000 ms"}, {Time(999), "999 ns"}, {Time(1500), "1.5 µs"},
		{Time(123456), "0.1235 ms"}, {Time(time.Minute), "60 s"}, {Time(time.Hour), "3600 s"},
		{Rate(1e12), "1 Tbit/s"}, {Rate(1234), "1.234 kbit/s"}, {Rate(1e15), "1000 Tbit/s"},
		{Bytes(0), "0 B"}, {Bytes(213_750), "214 kB"}, {Bytes(999_999), "1 MB"},
		{Share(0.0142857), "1.43%"}, {Share(1), "100%"}, {Share(1e-7), "0.00001%"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

func TestNamesWithConsecutiveNumbersAreJoined(t *testing.T) {
	for _, c := range []struct{ names, want []string }{
		{[]string{"h1", "h2", "h3", "h5"}, []string{"h1-3", "h5"}},
		{[]string{"replica1", "leader2", "leader3"}, []string{"replica1", "leader2-3"}},
		{[]string{"a01", "a02", "x", "9", "10"}, []string{"a01", "a02", "x", "9-10"}},
		{nil, nil},
	} {
		if got := ranges(c.names); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.names, got, c.want)
		}
	}
}

func TestTheDeviationIsThatOfTheDistribution(t *testing.T) {
	const j = 3 * time.Millisecond
	rows := []time.Duration{0, 2e6, 4e6}
	for _, c := range []struct {
		p    topologies.Parameters
		want float64
	}{
		{topologies.Parameters{Delay: j}, 0},
		{topologies.Parameters{Jitter: j, JitterDistribution: topologies.JitterUniform}, 3e6 / math.Sqrt(3)},
		{topologies.Parameters{Jitter: j, JitterDistribution: topologies.JitterNormal}, 3e6},
		{topologies.Parameters{Jitter: j, JitterDistribution: topologies.JitterExponential}, 3e6},
		{topologies.Parameters{Jitter: j, JitterDistribution: topologies.JitterPareto}, 3e6 * math.Sqrt(3)},
		{topologies.Parameters{Jitter: j, JitterDistribution: topologies.JitterPareto, JitterShape: 4}, 3e6 * math.Sqrt(2)},
		{topologies.Parameters{Jitter: j, JitterDistribution: topologies.JitterPareto, JitterShape: 2}, math.Inf(1)},
		{topologies.Parameters{JitterTable: &topologies.Table{Excess: rows}}, 1e6 * math.Sqrt(8.0/3)},
		// 2 ms for 1 s, 4 ms for 3 s; the row without an answer doesn't count.
		{topologies.Parameters{Trace: &topologies.Trace{Excess: []time.Duration{2e6, 4e6, -1},
			Times: []time.Duration{0, 1e9, 4e9}, Period: 6e9}}, 1e6 * math.Sqrt(0.75)},
	} {
		if got := Deviation(c.p); math.Abs(got-c.want) > 1 && got != c.want {
			t.Errorf("%+v: %.0f, want %.0f", c.p, got, c.want)
		}
	}
}

func TestRolesHaveLettersOfTheirOwn(t *testing.T) {
	p := Picture{Topology: starOf(4, ms(1)).Topology, Processes: roles("leader", "learner", "log", "l")}
	n, err := newNetwork(p)
	if err != nil {
		t.Fatal(err)
	}
	var letters []string
	for _, r := range n.roles {
		letters = append(letters, r.letter)
	}
	if !slices.Equal(letters, []string{"L", "Le", "Lo", "4"}) {
		t.Errorf("letters %q", letters)
	}
}
