package measure

import (
	"errors"
	"iter"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quorumlab/harness/engine"
	"quorumlab/results"
)

// second and ms are nanoseconds.
const (
	second = int64(1_000_000_000)
	ms     = int64(1_000_000)
)

// measured is a verdict whose measured phase is from 5 s to 65 s.
func measured(trial int) results.Verdict {
	return results.Verdict{Trial: trial, Valid: true, OfferedRPS: 1, PredictedNS: 240 * ms,
		MeasureStartNS: 5 * second, MeasureEndNS: 65 * second, Linearizable: "not_checked", Agreement: "ok"}
}

// answered is a request that was due at a time and took so long.
func answered(dueNS, latencyNS int64) results.Row {
	return results.Row{Client: "client1", Operation: "nop", IntendedNS: dueNS, SentNS: dueNS,
		DoneNS: dueNS + latencyNS, Outcome: results.OutcomeOK}
}

func timedOut(dueNS int64) results.Row {
	return results.Row{Client: "client1", Operation: "nop", IntendedNS: dueNS, SentNS: dueNS, Outcome: results.OutcomeTimeout}
}

func sequence(rows []results.Row) iter.Seq2[results.Row, error] {
	return func(yield func(results.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func sampleOf(t interface{ Fatal(...any) }, trials ...[]results.Row) *sample {
	s := &sample{}
	for i, rows := range trials {
		if err := s.addTrial(measured(i+1), sequence(rows)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestOnlyRequestsDueInTheMeasuredPhaseCount(t *testing.T) {
	failed := answered(20*second, 300*ms)
	failed.Outcome = results.OutcomeFail
	s := sampleOf(t, []results.Row{
		answered(5*second-1, 9*second),
		answered(5*second, 100*ms),
		failed,
		answered(65*second-1, 200*ms), // its answer comes after the phase
		answered(65*second, 9*second),
		timedOut(4 * second),
	})
	latency := s.latency()
	near(t, "mean", *latency.Mean, 200, 1e-9)
	near(t, "greatest", *latency.Max, 300, 1e-9)
	near(t, "throughput", *s.throughput().Mean, 3.0/60, 1e-12)
	if want := (results.Outcomes{OK: 2, Fail: 1}); s.outcomes != want || latency.Requests != 3 {
		t.Errorf("outcomes %+v of %d requests, want %+v", s.outcomes, latency.Requests, want)
	}
}

func TestLatencyIsTheMeanOfTheTrialsMeans(t *testing.T) {
	// The trials' means are 100 and 200 ms though most requests are fast.
	s := sampleOf(t,
		[]results.Row{answered(6*second, 100*ms), answered(7*second, 100*ms), answered(8*second, 100*ms)},
		[]results.Row{answered(6*second, 200*ms)})
	latency := s.latency()
	near(t, "mean", *latency.Mean, 150, 1e-9)
	near(t, "stddev", *latency.Stddev, 70.71067812, 1e-7)
	near(t, "high", latency.CI95[1], 150+12.7062047*50, 1e-5)
	near(t, "normal high", latency.CI95Normal[1], 150+1.96*50, 1e-9)
	near(t, "pooled median", *latency.P50, 100, 1e-9)
	if latency.Trials != 2 || latency.CIMethod != "t" {
		t.Errorf("%+v", latency)
	}
	near(t, "throughput", *s.throughput().Mean, 2.0/60, 1e-12)
}

func TestTimeoutsAreInfinitelyLate(t *testing.T) {
	rows := []results.Row{timedOut(6 * second)}
	for range 99 {
		rows = append(rows, answered(6*second, 10*ms))
	}
	latency := sampleOf(t, rows).latency()
	near(t, "mean over the answered", *latency.Mean, 10, 1e-9)
	near(t, "p99", *latency.P99, 10, 1e-9)
	if latency.P999 != nil || latency.Max != nil {
		t.Errorf("p99.9 %v and greatest %v are among the timeouts", latency.P999, latency.Max)
	}
	if latency.Requests != 100 {
		t.Errorf("%d requests", latency.Requests)
	}
}

func TestTrialsWithoutAnswers(t *testing.T) {
	empty := sampleOf(t, nil)
	if latency := empty.latency(); latency.Trials != 0 || latency.Mean != nil || latency.P50 != nil || latency.Requests != 0 {
		t.Errorf("no requests: %+v", latency)
	}
	near(t, "throughput", *empty.throughput().Mean, 0, 0)
	// A trial in which all timed out has a throughput but no mean latency.
	s := sampleOf(t, []results.Row{timedOut(6 * second)}, []results.Row{answered(6*second, 10*ms)})
	latency := s.latency()
	if latency.Trials != 1 || latency.CI95 != nil || s.throughput().Trials != 2 || s.throughput().CI95 == nil {
		t.Errorf("latency %+v, throughput %+v", latency, s.throughput())
	}
	if none := (&sample{}); none.latency() != nil || none.throughput() != nil {
		t.Error("no valid trial has statistics")
	}
}

func TestDamagedTrialsAreErrors(t *testing.T) {
	early, strange := answered(6*second, -1), answered(6*second, 1)
	strange.Outcome = "maybe"
	noPhase := measured(1)
	noPhase.MeasureEndNS = noPhase.MeasureStartNS
	tests := []struct {
		name    string
		verdict results.Verdict
		rows    iter.Seq2[results.Row, error]
		want    string
	}{
		{"answered before due", measured(1), sequence([]results.Row{early}), "before it was due"},
		{"unknown outcome", measured(1), sequence([]results.Row{strange}), `"maybe"`},
		{"no measured phase", noPhase, sequence(nil), "no length"},
		{"unreadable", measured(1), func(yield func(results.Row, error) bool) {
			yield(results.Row{}, errors.New("torn"))
		}, "torn"},
	}
	for _, test := range tests {
		err := (&sample{}).addTrial(test.verdict, test.rows)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "trial 1") {
			t.Errorf("%s: %v, want it to name trial 1 and %s", test.name, err, test.want)
		}
	}
}

func rowsGenerator() *rapid.Generator[[]results.Row] {
	return rapid.SliceOf(rapid.Custom(func(t *rapid.T) results.Row {
		due := rapid.Int64Range(0, 70*second).Draw(t, "due")
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			return timedOut(due)
		}
		return answered(due, rapid.Int64Range(0, 10*second).Draw(t, "latency"))
	}))
}

func TestOrderOfRowsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rowsGenerator().Draw(t, "rows")
		shuffled := rapid.Permutation(rows).Draw(t, "shuffled")
		a, b := sampleOf(t, rows, rows), sampleOf(t, shuffled, rows)
		if !reflect.DeepEqual(a.latency(), b.latency()) || !reflect.DeepEqual(a.throughput(), b.throughput()) {
			t.Fatalf("%+v and %+v differ", a.latency(), b.latency())
		}
	})
}

func TestPercentilesAscendAndEnclose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		latency := sampleOf(t, rowsGenerator().Draw(t, "rows")).latency()
		before := math.Inf(-1)
		for _, value := range []*float64{latency.Min, latency.P50, latency.P90, latency.P95, latency.P99, latency.P999, latency.Max} {
			now := math.Inf(1)
			if value != nil {
				now = *value
			}
			if now < before {
				t.Fatalf("percentiles don't ascend: %+v", latency)
			}
			before = now
		}
		if latency.Mean != nil && latency.Min != nil && *latency.Mean < *latency.Min*(1-1e-12) {
			t.Fatalf("the mean is below the least: %+v", latency)
		}
	})
}

func TestWorstFinding(t *testing.T) {
	tests := []struct{ findings, want string }{
		{"", "not_checked"},
		{"ok", "ok"},
		{"not_checked not_checked", "not_checked"},
		{"ok not_checked", "ok"},
		{"unknown ok not_checked", "unknown"},
		{"ok violation unknown", "violation"},
		{"ok -", "ok"},
		{"-", "not_checked"},
		{"ok strange", "unknown"},
	}
	for _, test := range tests {
		var verdicts []results.Verdict
		for _, finding := range strings.Fields(test.findings) {
			verdicts = append(verdicts, results.Verdict{Agreement: strings.Trim(finding, "-")})
		}
		if got := worst(verdicts, func(v results.Verdict) string { return v.Agreement }); got != test.want {
			t.Errorf("worst of %q is %s, want %s", test.findings, got, test.want)
		}
	}
}

func TestBallotsPerDecision(t *testing.T) {
	near(t, "ratio", *ballotsPerDecision(map[string]uint64{CounterBallots: 3, CounterDecided: 60}), 0.05, 1e-12)
	for name, counters := range map[string]map[string]uint64{
		"no counters": nil, "no ballots": {CounterDecided: 60}, "nothing decided": {CounterBallots: 3},
	} {
		if got := ballotsPerDecision(counters); got != nil {
			t.Errorf("%s: %g", name, *got)
		}
	}
}

func TestLateFrames(t *testing.T) {
	got := lateFrames([]engine.LatenessBucket{
		{UpToNS: ms / 2, Frames: 1}, {UpToNS: ms, Frames: 2}, {UpToNS: 2 * ms, Frames: 4}, {UpToNS: 0, Frames: 8}})
	if got != 12 {
		t.Errorf("%d late frames, want 12", got)
	}
}

// Under overload answers come long after their requests were due: those that
// come after the phase must not count as its throughput.
func TestThroughputCountsTheResponsesThatComeInThePhase(t *testing.T) {
	s := sampleOf(t, []results.Row{
		answered(4*second, 2*second),   // due before, answered in the phase
		answered(10*second, ms),        // both in
		answered(64*second, 2*second),  // due in the phase, answered after it
		answered(30*second, 40*second), // likewise
		answered(4*second, 500*ms),     // both before
		timedOut(20 * second),
	})
	if got, want := s.throughputsRPS[0], 2.0/60; math.Abs(got-want) > 1e-12 {
		t.Errorf("throughput %v, want two responses in 60 s", got)
	}
	if len(s.latenciesNS) != 3 || s.outcomes.Timeout != 1 {
		t.Errorf("%d latencies, %d timeouts, want those of the requests due in the phase", len(s.latenciesNS), s.outcomes.Timeout)
	}
}
