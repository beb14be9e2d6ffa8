package sim

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// upLink is a scenario of one server and one client over datagrams, at 2,000 requests a
// second, with the parameters on the client's way up only. All else takes nothing.
func upLink(p topologies.Parameters, span time.Duration) *scenario {
	sc := oneServer(topologies.Parameters{})
	sc.Transport = engine.TransportDatagram
	sc.Topology.Links[1].AToB = p
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.Mix = 2000, int64(span), map[string]float64{"nop": 1}
	})
	return sc
}

// up is what the client's way up counted.
func up(r *engine.Simulated) engine.DirectionReport { return r.Links.Directions[2] }

// about fails the test unless a share is what was declared, within 4.4 standard
// deviations (one of 100,000 good runs), which successes that cluster widen.
func about(t *testing.T, what string, hits, of uint64, declared, clustering float64) {
	t.Helper()
	share := float64(hits) / float64(of)
	if off := 4.4 * math.Sqrt(declared*(1-declared)/float64(of)*clustering); math.Abs(share-declared) > off {
		t.Errorf("%s: %d of %d are %.4f, declared is %.4f, which may be %.4f off", what, hits, of, share, declared, off)
	}
}

func TestEachImpairmentHasTheShareThatWasDeclared(t *testing.T) {
	const delay, span = 5 * time.Millisecond, 20 * time.Second
	const sent = 40_000
	lost := func(d engine.DirectionReport) uint64 { return d.LossDrops }
	for name, c := range map[string]struct {
		p          topologies.Parameters
		count      func(engine.DirectionReport) uint64
		share      float64
		clustering float64
	}{
		"loss": {topologies.Parameters{Loss: 0.03}, lost, 0.03, 1},
		// A chain's counts vary (1 + correlation) / (1 - correlation) times as much.
		"correlated loss": {topologies.Parameters{Loss: 0.1, LossCorrelation: 0.5}, lost, 0.1, 3},
		"bursts of loss": {topologies.Parameters{GilbertElliott: &topologies.GilbertElliott{
			GoodToBad: 0.01, BadToGood: 0.19, LossBad: 1,
		}}, lost, 0.05, 9},
		"duplicates": {topologies.Parameters{Duplicate: 0.2}, func(d engine.DirectionReport) uint64 { return d.Duplicates }, 0.2, 1},
		"corruption": {topologies.Parameters{Corrupt: 0.07}, func(d engine.DirectionReport) uint64 { return d.Corrupted }, 0.07, 1},
		"reordering": {topologies.Parameters{Reorder: 0.25}, func(d engine.DirectionReport) uint64 { return d.Reordered }, 0.25, 1},
		// Each fifth frame at the earliest: of 4 + 1/0.5 frames one.
		"reordering with a gap": {topologies.Parameters{Reorder: 0.5, ReorderGap: 5}, func(d engine.DirectionReport) uint64 { return d.Reordered }, 1.0 / 6, 1},
	} {
		c.p.Delay = delay
		sc := upLink(c.p, span)
		r := sc.run(t)
		d := up(r)
		about(t, name, c.count(d), sent, c.share, c.clustering)
		if offered := d.Frames - d.Duplicates + d.LossDrops + d.QueueDrops + d.DownDrops; offered != sent {
			t.Errorf("%s: of %d frames %d are accounted for: %+v", name, sent, offered, d)
		}
		// What the next link carries is what came out of this one.
		if next := r.Links.Directions[1]; next.Frames != d.Frames {
			t.Errorf("%s: %d frames came out, %d went on", name, d.Frames, next.Frames)
		}
		gone := d.LossDrops + d.Corrupted
		if timeouts := uint64(sc.outcomes()[results.OutcomeTimeout]); timeouts != gone {
			t.Errorf("%s: %d frames were lost or corrupted, and %d requests unanswered", name, gone, timeouts)
		}
		early := uint64(0)
		for _, row := range sc.rows {
			if row.Outcome != results.OutcomeTimeout && latency(row) == 0 {
				early++
			}
		}
		if early != d.Reordered {
			t.Errorf("%s: %d frames were let go at once, %d requests took no time", name, d.Reordered, early)
		}
	}
}

func TestADoubledDatagramComesTwiceAndOneOfSeveralFramesOnce(t *testing.T) {
	for bytes, want := range map[int]uint64{
		16: 200,
		// Each frame comes beside its double: the second ones find a whole message or
		// one that has them already.
		4000: 100,
	} {
		sc := upLink(topologies.Parameters{Delay: time.Millisecond, Duplicate: 1}, time.Second)
		sc.load(func(load *control.Load) {
			load.RateRPS, load.ValueBytes, load.Mix = 100, bytes, map[string]float64{"create": 1}
		})
		r := sc.run(t)
		agree(t, r)
		if answers := r.Links.Directions[0].Frames; answers != want || len(sc.rows) != 100 || r.Statuses["n1"].Slot < 100 {
			t.Errorf("%d bytes: %d rows, answered %d times, want 100 and %d", bytes, len(sc.rows), answers, want)
		}
	}
}

// farFrom is the largest distance between the distribution of samples and a distribution
// function (Kolmogorov and Smirnov).
func farFrom(samples []time.Duration, distribution func(time.Duration) float64) (distance float64) {
	slices.Sort(samples)
	for i, x := range samples {
		at := distribution(x)
		distance = max(distance, math.Abs(at-float64(i)/float64(len(samples))), math.Abs(float64(i+1)/float64(len(samples))-at))
	}
	return distance
}

func TestJitterHasTheDistributionThatWasDeclared(t *testing.T) {
	const delay, jitter = 50 * time.Millisecond, 10 * time.Millisecond
	table := []time.Duration{0, 0, 0, time.Millisecond, 30 * time.Millisecond}
	excess := func(x time.Duration) float64 { return float64(x-delay) / float64(jitter) }
	for name, c := range map[string]struct {
		p            topologies.Parameters
		distribution func(time.Duration) float64
	}{
		topologies.JitterUniform: {topologies.Parameters{}, func(x time.Duration) float64 { return (excess(x) + 1) / 2 }},
		topologies.JitterNormal: {topologies.Parameters{}, func(x time.Duration) float64 {
			return math.Erfc(-excess(x)/math.Sqrt2) / 2
		}},
		topologies.JitterExponential: {topologies.Parameters{}, func(x time.Duration) float64 { return 1 - math.Exp(-excess(x)) }},
		topologies.JitterPareto: {topologies.Parameters{JitterShape: 4}, func(x time.Duration) float64 {
			return 1 - math.Pow(1+excess(x)/3, -4)
		}},
	} {
		c.p.Delay, c.p.Jitter, c.p.JitterDistribution, c.p.JitterReorders = delay, jitter, name, true
		samples := upLink(c.p, 10*time.Second).latencies(t)
		// 1.63/sqrt(n) is exceeded by one in a hundred good runs, 2.5/sqrt(n) by one in 100,000.
		if far := farFrom(samples, c.distribution); far > 2.5/math.Sqrt(float64(len(samples))) {
			t.Errorf("%s: the latencies of %d requests are %.4f from what was declared", name, len(samples), far)
		}
	}
	counts := map[time.Duration]uint64{}
	samples := upLink(topologies.Parameters{
		Delay: delay, JitterDistribution: topologies.JitterTable, JitterTable: &topologies.Table{Excess: table}, JitterReorders: true,
	}, 10*time.Second).latencies(t)
	for _, sample := range samples {
		counts[sample-delay]++
	}
	if len(counts) != 3 {
		t.Errorf("a table of 3 values makes %d", len(counts))
	}
	about(t, "a table", counts[0], uint64(len(samples)), 0.6, 1)
	about(t, "a table", counts[30*time.Millisecond], uint64(len(samples)), 0.2, 1)
}

// latencies runs the scenario, whose requests must all be answered.
func (sc *scenario) latencies(t *testing.T) (latencies []time.Duration) {
	t.Helper()
	sc.run(t)
	for _, row := range sc.rows {
		if row.Outcome == results.OutcomeTimeout {
			t.Fatalf("request %d wasn't answered", row.Sequence)
		}
		latencies = append(latencies, latency(row))
	}
	return latencies
}

func TestFramesOvertakeEachOtherOnlyWhereTheyMay(t *testing.T) {
	for reorders, want := range map[bool]bool{false: false, true: true} {
		sc := upLink(topologies.Parameters{
			Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, JitterDistribution: topologies.JitterUniform, JitterReorders: reorders,
		}, time.Second)
		sc.run(t)
		// Rows come in the order of their answers.
		ordered := slices.IsSortedFunc(sc.rows, func(a, b results.Row) int { return int(int64(a.Sequence) - int64(b.Sequence)) })
		if ordered == want {
			t.Errorf("jitter_reorders %v: in order %v", reorders, ordered)
		}
	}
}

func TestATraceIsReplayedFromTheBeginningOfTheNetwork(t *testing.T) {
	const ms = time.Millisecond
	trace := &topologies.Trace{
		Times:  []time.Duration{0, 100 * ms, 200 * ms, 300 * ms},
		Excess: []time.Duration{5 * ms, 40 * ms, 0, -1},
		Align:  topologies.AlignStart, Gap: topologies.GapLose, GapAfter: time.Second, Period: 400 * ms,
	}
	sc := upLink(topologies.Parameters{Delay: 10 * ms, Trace: trace, JitterReorders: true}, 4*time.Second)
	r := sc.run(t)
	lost := 0
	for _, row := range sc.rows {
		at := time.Duration(row.IntendedNS) % trace.Period
		excess := trace.Excess[at/(100*ms)]
		switch {
		case (excess < 0) != (row.Outcome == results.OutcomeTimeout):
			t.Fatalf("a request %v into the trace: %s", at, row.Outcome)
		case excess < 0:
			lost++
		case latency(row) != 10*ms+excess:
			t.Fatalf("a request %v into the trace took %v, want %v", at, latency(row), 10*ms+excess)
		}
	}
	if drops := up(r).LossDrops; lost != 2000 || drops != 2000 {
		t.Errorf("%d of %d requests, %d frames were lost in the gap, want 2000 of 8000", lost, len(sc.rows), drops)
	}
}

func TestConnectionsAreModelledUnlessAllFramesFareAlike(t *testing.T) {
	const delay, rate = time.Millisecond, 1_000_000_000
	for name, c := range map[string]struct {
		p        topologies.Parameters
		modelled bool
	}{
		"nothing":              {topologies.Parameters{}, false},
		"a rate":               {topologies.Parameters{RateBPS: rate}, false},
		"a queue without rate": {topologies.Parameters{QueueFrames: 10, QueueBytes: 10_000}, false},
		"a very long queue":    {topologies.Parameters{RateBPS: rate, QueueFrames: unboundedQueueFrames}, false},
		"a queue":              {topologies.Parameters{RateBPS: rate, QueueFrames: 10_000}, true},
		"a queue of bytes":     {topologies.Parameters{RateBPS: rate, QueueBytes: 10_000_000}, true},
		"loss":                 {topologies.Parameters{Loss: 0.0001}, true},
		"bursts":               {topologies.Parameters{GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.0001, BadToGood: 1, LossBad: 1}}, true},
		"duplicates":           {topologies.Parameters{Duplicate: 0.0001}, true},
		"corruption":           {topologies.Parameters{Corrupt: 0.0001}, true},
		"reordering":           {topologies.Parameters{Reorder: 0.0001}, true},
		"jitter":               {topologies.Parameters{Jitter: 1, JitterDistribution: topologies.JitterUniform}, true},
		"a table": {topologies.Parameters{
			JitterDistribution: topologies.JitterTable, JitterTable: &topologies.Table{Excess: []time.Duration{0, 1}},
		}, true},
		"a trace": {topologies.Parameters{Trace: &topologies.Trace{
			Times: []time.Duration{0}, Excess: []time.Duration{0}, Align: topologies.AlignStart, Gap: topologies.GapHold,
			GapAfter: time.Hour, Period: time.Second,
		}}, true},
	} {
		c.p.Delay = 5 * delay
		for _, reverse := range []bool{false, true} { // the way back counts too
			sc := oneServer(topologies.Parameters{Delay: delay})
			if sc.Topology.Links[1].AToB = c.p; reverse {
				sc.Topology.Links[1].AToB, sc.Topology.Links[1].BToA = sc.Topology.Links[1].BToA, c.p
			}
			r := sc.run(t)
			agree(t, r)
			if modelled := len(r.Sockets) == 2; modelled != c.modelled || sc.outcomes()[results.OutcomeTimeout] > 0 {
				t.Errorf("%s: %d connections are modelled; outcomes %v", name, len(r.Sockets), sc.outcomes())
			}
			for _, socket := range r.Sockets { // the round trip is there and back
				if rtt := time.Duration(socket.SmoothedRTTNS); rtt < 8*delay || rtt > 8*delay+delay/10 {
					t.Errorf("%s: the round trip of %s and %s is %v", name, socket.Node, socket.Peer, rtt)
				}
			}
		}
	}
}

func TestPuttingOffThatFramesEnterALinkChangesNothing(t *testing.T) {
	const delay = 5 * time.Millisecond
	for name, p := range map[string]topologies.Parameters{
		"rate":              {RateBPS: 1_000_000},
		"queue":             {RateBPS: 1_000_000, QueueFrames: 40},
		"short queue":       {RateBPS: 1_000_000, QueueFrames: 1},
		"queue of bytes":    {RateBPS: 1_000_000, QueueBytes: 1100},
		"uniform jitter":    {Jitter: 2 * delay, JitterDistribution: topologies.JitterUniform},
		"normal jitter":     {Jitter: delay, JitterDistribution: topologies.JitterNormal, JitterReorders: true},
		"pareto jitter":     {Jitter: delay, JitterDistribution: topologies.JitterPareto, JitterReorders: true, RateBPS: 1_000_000},
		"reordering":        {Reorder: 0.3, RateBPS: 1_000_000},
		"duplicates":        {Duplicate: 0.3, Jitter: delay, JitterDistribution: topologies.JitterExponential, JitterReorders: true},
		"loss and rate":     {Loss: 0.3, RateBPS: 1_000_000, Corrupt: 0.1},
		"reordering, queue": {Reorder: 0.3, RateBPS: 1_000_000, QueueBytes: 3000, QueueFrames: 5},
	} {
		p.Delay = delay
		run := func(putOff bool) (string, engine.LinkReport) {
			sc := upLink(topologies.Parameters{}, 2*time.Second)
			sc.Topology.Switches = []string{"s1", "s2"}
			sc.Topology.Links[1].B = "s2"
			if p.Loss > 0 { // and another one behind it
				sc.Topology.Links[0].BToA = p
			}
			sc.Topology.Links = append(sc.Topology.Links, topologies.Link{Name: "s1-s2", A: "s1", B: "s2", BToA: p})
			sc.load(func(load *control.Load) { // twice as much as the link takes, in frames of 100 to 1000 bytes
				load.RateRPS, load.Arrivals, load.ValueBytes, load.TimeoutNS = 500, "poisson", 900, int64(time.Second)
				load.Mix = map[string]float64{"create": 0.5, "nop": 0.5}
			})
			s, err := newTrial(t.Context(), sc.Simulation)
			if err != nil {
				t.Fatal(err)
			}
			for i := range s.network.directions {
				if d := &s.network.directions[i]; !putOff {
					d.soonest, d.perByte = 0, 0
				}
			}
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(sc.rows), s.result().Links
		}
		rows, links := run(true)
		wantRows, wantLinks := run(false)
		if rows != wantRows || !reflect.DeepEqual(links, wantLinks) {
			t.Errorf("%s: requests or counts are others if each frame enters at its own event", name)
		}
		if p.QueueBytes+int64(p.QueueFrames) > 0 && links.Directions[5].QueueDrops < 100 {
			t.Errorf("%s: the queue dropped too few to tell", name)
		}
	}
}
