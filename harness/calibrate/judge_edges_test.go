package calibrate

import (
	"maps"
	"slices"
	"testing"
	"time"

	"quorumlab/harness/link"
	"quorumlab/results"
	"quorumlab/topologies"
)

func TestALinkThatShouldLoseAllFramesAndDoesNotFailsOnItsLossAlone(t *testing.T) {
	nothing := with(normal, func(p *topologies.Parameters) { p.Loss, p.RateBPS = 1, 10_000_000 })
	if got := failed(judged(judgeOf(nothing), with(nothing, func(p *topologies.Parameters) { p.Loss = 0.5 }), 1)); !slices.Equal(got, []string{"loss"}) {
		t.Errorf("%v failed, want loss", got)
	}
}

func TestALinkThatLosesNearlyAllFramesAsDeclaredPasses(t *testing.T) {
	for _, loss := range []float64{0.97, 1} {
		p := with(slow, func(p *topologies.Parameters) { p.Loss = loss })
		train := judgeOf(p).train(measured(p, p, planTrain(p, shortTrain), 1))
		if train.Finding != results.LinkNotTested || train.Reason == "" {
			t.Errorf("loss of %v: %+v, want its rate not tested", loss, train)
		}
	}
	// A link without loss that carries next to nothing isn't excused.
	dead := measured(with(slow, func(p *topologies.Parameters) { p.Loss = 1 }), slow, planTrain(slow, shortTrain), 1)
	if train := judgeOf(slow).train(dead); train.Finding != results.LinkFail {
		t.Errorf("no frame came: %+v", train)
	}
}

func TestFramesWithoutRoomAtTheReceiverExcuseNoMoreThanThemselves(t *testing.T) {
	o := planStreams([]topologies.Parameters{plain}, time.Second)[0]
	for overflowed, want := range map[int]string{0: results.LinkFail, 2: results.LinkFail, 5: results.LinkNotTested} {
		r := measured(plain, plain, o, 1)
		r.arrivals = r.arrivals[5:]
		r.overflowed = overflowed
		if row := find(t, judgeOf(plain).stream(r, o), "loss"); row.Finding != want {
			t.Errorf("5 frames missing, no room for %d: %+v, want %s", overflowed, row, want)
		}
	}
	burst, _ := planBurst(slow, kindBurst)
	for overflowed, want := range map[int]string{0: results.LinkFail, 50: results.LinkNotTested} {
		r := measured(slow, slow, burst, 1)
		r.arrivals = r.arrivals[50:]
		r.overflowed = overflowed
		if row := judgeOf(slow).queue(r, false); row.Finding != want {
			t.Errorf("50 more frames of a burst missing, no room for %d: %+v, want %s", overflowed, row, want)
		}
	}
}

func find(t *testing.T, rows []results.LinkCheck, parameter string) results.LinkCheck {
	t.Helper()
	for _, c := range rows {
		if c.Parameter == parameter {
			return c
		}
	}
	t.Fatalf("no row about %s in %+v", parameter, rows)
	return results.LinkCheck{}
}

func TestATraceIsPlayedFromWhereItIsWhenTheFramesAreSent(t *testing.T) {
	// Ten seconds of answers, ten without, then again: a stream is in one or the other.
	silent := topologies.Trace{
		Times: []time.Duration{0, 10 * time.Second}, Excess: []time.Duration{0, -1}, Gap: topologies.GapLose,
		GapAfter: time.Minute, Period: 20 * time.Second,
	}
	const seed = 7
	for _, align := range []string{topologies.AlignStart, topologies.AlignRandom} {
		trace := silent
		trace.Align = align
		p := topologies.Parameters{Delay: ms, Trace: &trace}
		o := planStreams([]topologies.Parameters{p}, time.Second)[0]
		for _, phase := range []time.Duration{3 * time.Second, 13 * time.Second} {
			r := nominal(o)
			begins := -int64(phase)
			started := begins + (begins - link.TraceBegins(&trace, seed, begins))
			r.cutNS = int64(time.Minute)
			r = carry(link.NewModel(p, seed, started), r)
			if came := len(r.arrivals) > 0; came != (phase < 10*time.Second) {
				t.Fatalf("%s, %v into the trace: frames come %v", align, phase, came)
			}
			j := judgeOf(p)
			j.seed, j.earliestNS, j.latestNS = seed, started-int64(100*ms), started+int64(100*ms)
			// A clock that began long ago, as that of a machine has.
			shift(r, int64(time.Hour))
			j.earliestNS, j.latestNS = j.earliestNS+int64(time.Hour), j.latestNS+int64(time.Hour)
			if row := find(t, j.stream(r, o), "loss"); row.Finding != results.LinkPass {
				t.Errorf("%s, %v into the trace: %+v", align, phase, row)
			}
			wrong := *r
			wrong.arrivals = nil
			if phase > 10*time.Second {
				for i, at := range r.sentNS {
					wrong.arrivals = append(wrong.arrivals, arrival{i, at + int64(ms)})
				}
			}
			if row := find(t, j.stream(&wrong, o), "loss"); row.Finding != results.LinkFail {
				t.Errorf("%s, %v into the trace, the other way round: %+v", align, phase, row)
			}
		}
	}
}

// shift moves a record in time.
func shift(r *record, byNS int64) {
	r.cutNS += byNS
	for i := range r.sentNS {
		r.sentNS[i] += byNS
	}
	for i := range r.arrivals {
		r.arrivals[i].atNS += byNS
	}
}

func TestOnlyTheEndsOfWhatIsMeasuredNeedAProcess(t *testing.T) {
	star := topologies.Star(3, plain)
	short := Options{Short: true, Budget: ShortBudget, Tries: 1}
	stations := func(options Options) map[string]bool {
		t.Helper()
		found, err := Stations(Lab{Topology: star.WithMonitors(), Seed: 1}, options)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if got := stations(short); len(got) != 0 {
		t.Errorf("links that are steady: %v", got)
	}
	star.Links[1].BToA = lossy
	if got := stations(short); !maps.Equal(got, map[string]bool{"@s1": true, "h2": true}) {
		t.Errorf("one direction that loses: %v", got)
	}
	star.Links[1].BToA = slow
	if got := stations(short); !maps.Equal(got, map[string]bool{"@s1": true, "h2": true}) {
		t.Errorf("one direction with a rate: %v", got)
	}
	if got := stations(Options{Budget: Budget}); len(got) != 4 {
		t.Errorf("everything: %v", got)
	}
}

// half loses what is sent in half of its time.
func half(start int64) (p topologies.Parameters, j *judge) {
	p = with(slow, func(p *topologies.Parameters) {
		p.Trace = &topologies.Trace{Times: []time.Duration{0, time.Second}, Excess: []time.Duration{0, -1}, Gap: topologies.GapLose,
			GapAfter: time.Minute, Period: 2 * time.Second, Align: topologies.AlignStart}
	})
	j = judgeOf(p)
	j.earliestNS, j.latestNS = start-int64(100*ms), start+int64(100*ms)
	return p, j
}

func TestWhereATraceIsComesFromWhatItLetThrough(t *testing.T) {
	const start = int64(time.Hour)
	p, j := half(start)
	o := order{kind: kindStream, frames: 1000, interval: 3 * ms, bytes: smallBytes}
	r := measured(p, p, o, 1)
	rows := j.stream(r, o)
	loss := find(t, rows, "loss")
	if loss.Finding != results.LinkPass || loss.High-loss.Low > 0.15 {
		t.Errorf("as declared: %+v", loss)
	}
	if row := find(t, rows, "trace"); row.Finding != results.LinkPass || row.Unit != "share" {
		t.Errorf("as declared: %+v", row)
	}
	_, j = half(start)
	worse := measured(with(p, func(p *topologies.Parameters) { p.Loss = 0.3 }), p, o, 1)
	if row := find(t, j.stream(worse, o), "loss"); row.Finding != results.LinkFail {
		t.Errorf("with losses in between: %+v", row)
	}
}

func TestATraceNobodyKnowsTheStartOfIsNotTested(t *testing.T) {
	p, j := half(int64(time.Hour))
	j.earliestNS, j.latestNS = 0, 0
	o := order{kind: kindStream, frames: 300, interval: ms, bytes: smallBytes}
	rows := j.stream(measured(p, p, o, 1), o)
	for _, row := range []results.LinkCheck{find(t, rows, "trace"), find(t, rows, "loss")} {
		if row.Finding != results.LinkNotTested || row.Reason != whyUnknown {
			t.Errorf("%+v", row)
		}
	}
}

func TestATrainWaitsUntilTheTraceLetsItThrough(t *testing.T) {
	const start = int64(time.Hour)
	p, j := half(start)
	train := planTrain(p, trainTime)
	for _, c := range []struct {
		into, most, atLeast, atMost time.Duration
		ok                          bool
	}{
		{300 * ms, 0, 0, 0, true},
		{1500 * ms, 5 * time.Second, 500 * ms, 800 * ms, true},  // not before the gap has ended
		{950 * ms, 5 * time.Second, 1050 * ms, 1350 * ms, true}, // nor into the gap
		{1500 * ms, 100 * ms, 0, 0, false},
	} {
		wait, ok := j.opening(train, start+int64(c.into), c.most)
		if ok != c.ok || wait < c.atLeast || wait > c.atMost {
			t.Errorf("%v into the trace: %v, %v, want from %v to %v, %v", c.into, wait, ok, c.atLeast, c.atMost, c.ok)
		}
	}
	_, steady := half(start)
	steady.direction.declared = slow
	if wait, ok := steady.opening(train, start+int64(1500*ms), 0); wait != 0 || !ok {
		t.Errorf("without a trace: %v, %v", wait, ok)
	}
}
