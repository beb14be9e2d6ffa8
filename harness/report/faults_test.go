package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"

	"quorumlab/results"
)

func interval(mean, half float64) *results.Estimate {
	return &results.Estimate{Mean: value(mean), CI95: &[2]float64{mean - half, mean + half}, CIMethod: "t",
		Median: value(mean), N: 5, Occurrences: 5}
}

func censoredIn(mean float64, n int) *results.Estimate {
	return &results.Estimate{Mean: value(mean), LowerBound: true, N: 5, Occurrences: 5, Censored: n}
}

func noneIn(n int) *results.Estimate { return &results.Estimate{None: n} }

func phaseOf(mean float64) *results.PhaseLatency {
	return &results.PhaseLatency{Trials: 5, Requests: 300, Mean: value(mean), P50: value(mean), P99: value(mean * 1.02)}
}

func appliedAt(seconds float64) *results.Range {
	return &results.Range{N: 5, Mean: seconds, Min: seconds - 0.0001, Max: seconds + 0.0003}
}

func killedLeader() (results.FaultEntry, results.Recovery) {
	detection := interval(1003.2, 12.5)
	detection.Occurrences, detection.None = 4, 1
	return results.FaultEntry{ID: "kill-leader", Kind: "crash", Occurrences: 5, Proved: 5,
			Hit:        []results.Hit{{What: "leader1", Times: 4}, {What: "leader2", Times: 1}},
			AppliedS:   appliedAt(60),
			Evidence:   "leader1: pid 4711 is gone",
			Trigger:    "at 60s",
			ActiveS:    nil,
			NeverFired: 0,
		}, results.Recovery{Trials: 5, Occurrences: 5, UnavailableMS: interval(2061.4, 120.2), DetectionMS: detection,
			ElectionMS: interval(1800.4, 118), FirstCommitMS: interval(2110, 121.7), BackMS: interval(3000, 0),
			Rounds: interval(1.2, 0.5), Elections: interval(1, 0), Timeouts: interval(0, 0), Late: interval(2, 0.4),
			Requests: results.FaultRequests{Requests: 300, Late: 10},
			Before:   phaseOf(240.1), During: phaseOf(1260.5), After: phaseOf(240.2)}
}

func isolated() (results.FaultEntry, results.Recovery) {
	during := phaseOf(14000)
	during.Timeouts, during.Mean, during.P99 = 40, nil, nil
	return results.FaultEntry{ID: "isolate", Kind: "isolate", Occurrences: 5, Proved: 4, Unproved: 1, NeverFired: 1,
			Hit:      []results.Hit{{What: "acceptor1+acceptor2", Times: 3}, {What: "acceptor2+acceptor3", Times: 2}},
			AppliedS: &results.Range{N: 5, Mean: 80, Min: 70.25, Max: 91.5}, ActiveS: appliedAt(10),
			Missing: "acceptor2: 3 of 5 probes got through",
		}, results.Recovery{Trials: 5, Occurrences: 5, UnavailableMS: censoredIn(14200, 2), DetectionMS: noneIn(5),
			ElectionMS: noneIn(5), FirstCommitMS: censoredIn(15000, 5), BackMS: censoredIn(16000, 2),
			Rounds: interval(0, 0), Timeouts: interval(8, 1.4), TCPMS: interval(210.4, 33.1), ProtocolMS: interval(12.4, 2.25),
			Requests: results.FaultRequests{Requests: 100, Late: 30, Timeout: 40},
			Before:   phaseOf(240.1), During: during}
}

func failures() *results.Summary {
	summary := summaryOf(point(`{"faults.kill.whom": "leader"}`, 240.31), point(`{"faults.kill.whom": "acceptor1"}`, 240.77))
	summary.Experiment = "failures"
	kill, cost := killedLeader()
	cut, cutCost := isolated()
	summary.Points[0].Faults = []results.FaultEntry{kill, cut}
	summary.Points[0].Recovery = map[string]results.Recovery{"kill-leader": cost, "isolate": cutCost}
	kill.Hit = []results.Hit{{What: "acceptor1", Times: 5}}
	cost.DetectionMS, cost.ElectionMS = noneIn(5), noneIn(5)
	cost.UnavailableMS, cost.BackMS, cost.FirstCommitMS = interval(0, 0), interval(0, 0), interval(240, 0.3)
	summary.Points[1].Faults = []results.FaultEntry{kill}
	summary.Points[1].Recovery = map[string]results.Recovery{"kill-leader": cost}
	summary.FaultTiming = &results.FaultTiming{Faults: 15, Within5MS: 14.0 / 15, MaxMS: 6.337}
	return summary
}

func oneFault() *results.Summary {
	summary := summaryOf(point(`{}`, 240.31))
	kill, cost := killedLeader()
	summary.Points[0].Faults = []results.FaultEntry{kill}
	summary.Points[0].Recovery = map[string]results.Recovery{"kill-leader": cost}
	summary.FaultTiming = &results.FaultTiming{Faults: 5, Within5MS: 1, MaxMS: 0.42}
	return summary
}

func TestTableOfFaults(t *testing.T) {
	for _, test := range []struct {
		name    string
		summary *results.Summary
		options Options
	}{
		{"faults", failures(), Options{Width: 120}},
		{"faults_narrow", failures(), Options{Width: 60}},
		{"faults_color", oneFault(), Options{Width: 100, Color: true}},
		{"one_fault", oneFault(), Options{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Table(&out, test.summary, "results/runs/failures-20261121-101500", test.options); err != nil {
				t.Fatal(err)
			}
			golden(t, test.name, out.String())
		})
	}
}

func TestATableOfManyFaultsIsCutShort(t *testing.T) {
	summary := oneFault()
	for range 100 {
		summary.Points[0].Faults = append(summary.Points[0].Faults, summary.Points[0].Faults[0])
	}
	var out bytes.Buffer
	if err := Table(&out, summary, "run", Options{}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "... and 41 rows more"); got != 3 {
		t.Errorf("%d tables were cut short, want 3:\n%s", got, out.String())
	}
}

// outageTrace has a request a tenth of a second: 240 ms, an outage from 60 s to 63 s, then
// two timeouts a second from 90 s on.
func outageTrace() *results.Trace {
	trace := &results.Trace{Trial: 7, Valid: true, LengthS: 120, MeasureS: 5, Faults: []results.TraceFault{
		{ID: "kill-leader", FromS: 60, ToS: 63, Healed: true},
		{ID: "flap", FromS: 80, ToS: 81, Healed: true},
		{ID: "cut-everything-off", FromS: 90, ToS: 120},
		{ID: "flap", FromS: 100, ToS: 101, Healed: true},
	}}
	for i := range 1200 {
		request := results.TraceRequest{DueS: float64(i) / 10, LatencyMS: 240, Outcome: results.OutcomeOK}
		switch {
		case request.DueS >= 60 && request.DueS < 63:
			request.LatencyMS = 240 + (63-request.DueS)*1000
		case request.DueS >= 90 && i%5 == 0:
			request.LatencyMS, request.Outcome = 0, results.OutcomeTimeout
		}
		trace.Requests = append(trace.Requests, request)
	}
	return trace
}

func plotOf(t *testing.T, trace *results.Trace, options Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := Trace(&out, trace, options); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPlotOfATrace(t *testing.T) {
	golden(t, "trace", plotOf(t, outageTrace(), Options{}))
	golden(t, "trace_unicode", plotOf(t, outageTrace(), Options{Width: 80, Unicode: true}))
	golden(t, "trace_color", plotOf(t, outageTrace(), Options{Width: 60, Unicode: true, Color: true}))
	long := outageTrace()
	for i := range long.Requests {
		long.Requests[i].LatencyMS /= 300
	}
	long.Requests[700].LatencyMS = 2500
	long.Valid, long.Simulated = false, true
	golden(t, "trace_logarithmic", plotOf(t, long, Options{Width: 80}))
}

func TestAPlotFitsTheTerminalWhateverItShows(t *testing.T) {
	many := outageTrace()
	for _, id := range []string{"a", "b", "c", "d", "ein-langer-N\u00e4me-\u4e16\u754c-und-mehr", "\x1b[2J"} {
		many.Faults = append(many.Faults, results.TraceFault{ID: id, FromS: 119, ToS: 130, Healed: true})
	}
	silent := outageTrace()
	for i := range silent.Requests {
		silent.Requests[i].Outcome = results.OutcomeTimeout
	}
	moment := &results.Trace{Trial: 1, Requests: []results.TraceRequest{{LatencyMS: 0.3, Outcome: results.OutcomeOK}}}
	for name, trace := range map[string]*results.Trace{"many": many, "silent": silent, "a moment": moment, "empty": {}} {
		for _, width := range []int{40, 79, 100, 250} {
			for _, unicode := range []bool{false, true} {
				text := plotOf(t, trace, Options{Width: width, Unicode: unicode})
				lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
				if len(lines) > 20 {
					t.Errorf("%s: %d lines", name, len(lines))
				}
				for _, line := range lines {
					if runewidth.StringWidth(line) > width || strings.Contains(line, "\x1b") {
						t.Errorf("%s at %d: %q", name, width, line)
					}
				}
			}
		}
	}
}

func TestEveryRequestIsPlottedWhereItBelongs(t *testing.T) {
	trace := &results.Trace{LengthS: 10, Requests: []results.TraceRequest{
		{DueS: 0, LatencyMS: 0, Outcome: results.OutcomeOK},
		{DueS: 5, LatencyMS: 50, Outcome: results.OutcomeFail},
		{DueS: 9.99, LatencyMS: 100, Outcome: results.OutcomeOK},
		{DueS: 2.5, Outcome: results.OutcomeTimeout},
	}}
	lines := strings.Split(plotOf(t, trace, Options{Width: leastMargin + 2 + 40}), "\n")[1:]
	at := func(line, column int) string {
		text := lines[line] + strings.Repeat(" ", 60)
		return text[leastMargin+2+column : leastMargin+3+column]
	}
	if at(0, 10) != "x" || at(1, 39) != "'" || at(6, 20) != "'" && at(6, 20) != "." || at(11, 0) != "." {
		t.Errorf("wrong places:\n%s", strings.Join(lines, "\n"))
	}
	if got := strings.Count(strings.Join(lines[1:12], ""), ".") + strings.Count(strings.Join(lines[1:12], ""), "'"); got != 3 {
		t.Errorf("%d dots, want 3:\n%s", got, strings.Join(lines, "\n"))
	}
}

func TestLocalesWithUTF8(t *testing.T) {
	for _, test := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", false}, {"", "", "C", false}, {"", "", "en_US.UTF-8", true}, {"C", "", "en_US.UTF-8", false},
		{"", "de_DE.utf8", "C", true}, {"C.UTF-8", "C", "", true},
	} {
		environment := map[string]string{"LC_ALL": test.all, "LC_CTYPE": test.ctype, "LANG": test.lang}
		if got := utf8Locale(func(name string) string { return environment[name] }); got != test.want {
			t.Errorf("%+v: %t", test, got)
		}
	}
}
