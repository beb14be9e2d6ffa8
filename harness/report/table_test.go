package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"

	"quorumlab/results"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

func value(v float64) *float64 { return &v }

// point has five valid trials near the given latency.
func point(params string, meanMS float64) results.Point {
	p := results.Point{Trials: 5, Attempted: 5, Agreement: "ok", Linearizable: "ok", CheckedOperations: 8400}
	if err := json.Unmarshal([]byte(params), &p.Params); err != nil {
		panic(err)
	}
	p.Latency = &results.Latency{Trials: 5, Requests: 6000, Mean: value(meanMS), Stddev: value(0.21),
		CI95: &[2]float64{meanMS - 0.26, meanMS + 0.26}, CIMethod: "t",
		P50: value(meanMS - 0.1), P99: value(meanMS + 4.5), Max: value(meanMS + 9)}
	p.PredictedMS = value(240)
	p.Throughput = &results.Throughput{Trials: 5, Offered: 20, Mean: value(19.98), Stddev: value(0.01),
		CI95: &[2]float64{19.97, 19.99}, CIMethod: "t"}
	p.Outcomes = results.Outcomes{OK: 6000}
	p.Links = results.LinkErrors{RTTErrorMSP50: value(0.02), RTTErrorMSP99: value(0.047)}
	return p
}

func summaryOf(points ...results.Point) *results.Summary {
	return &results.Summary{Experiment: "system-size", Seed: 1, Engine: "netns", Links: "userspace", Repeat: 5,
		Valid: true, VoidReasons: []string{}, Points: points}
}

func replicaSweep() *results.Summary {
	return summaryOf(
		point(`{"system.roles.replicas": 2}`, 240.31),
		point(`{"system.roles.replicas": 3}`, 240.77),
		point(`{"system.roles.replicas": 10}`, 1041.5))
}

func voidRun() *results.Summary {
	summary := replicaSweep()
	summary.Valid, summary.Interrupted = false, true
	summary.VoidReasons = []string{
		"interrupted: 5 of 15 trials without a verdict",
		"too few trials: 2 of 3 points with fewer than 5 valid",
		"rtt (2 trials): h1 to h4 took 83.1 ms instead of 80 ms, more than the 0.5 ms that are allowed for links of this kind (and others like it)",
	}
	summary.Mend = "close other programs, or run with fewer hosts"
	summary.Points[1].Trials, summary.Points[1].Void = 3, 2
	summary.Points[2] = results.Point{Params: summary.Points[2].Params, Linearizable: "not_checked", Agreement: "not_checked"}
	return summary
}

func backoffSweep() *results.Summary {
	none := point(`{"system.options.backoff": {"strategy": "none"}, "system.roles.leaders": 2}`, 2811.123)
	none.Outcomes = results.Outcomes{OK: 5998, Fail: 1, Timeout: 1}
	none.BallotsPerDecision = value(14.5)
	none.Latency.P99, none.Latency.Max = nil, nil
	random := point(`{"system.options.backoff": {"max": "250ms", "strategy": "random"}, "system.roles.leaders": 2}`, 351)
	random.BallotsPerDecision = value(0.0031)
	random.ClientLimited = true
	return summaryOf(none, random)
}

func singleTrial() *results.Summary {
	p := point(`{}`, 0.8126)
	p.Trials, p.Attempted = 1, 1
	p.Latency.CI95, p.Throughput.CI95 = nil, nil
	summary := summaryOf(p)
	summary.Repeat, summary.Simulated, summary.Engine, summary.Links = 1, true, "sim", "model"
	summary.EngineReason = "netns doesn't work here: this kernel has no network namespaces"
	summary.Points[0].Linearizable, summary.Points[0].CheckedOperations = "not_checked", 0
	return summary
}

func violation() *results.Summary {
	summary := replicaSweep()
	summary.Points[1].Agreement = "violation"
	summary.Points[1].Linearizable = "violation"
	summary.Points[1].Violations = []string{"trials/0007/violation.html", "trials/0009/violation.html", "trials/0009/verdict.json"}
	summary.Valid, summary.VoidReasons = false, []string{"linearizability (2 trials): the history isn't linearizable"}
	summary.Points[0].Links.LateFrames, summary.Points[0].Links.DroppedByEmulator = 12, 1
	return summary
}

// firstLeaders has two points whose trials end with the first leader.
func firstLeaders() *results.Summary {
	summary := summaryOf(point(`{"system.roles.leaders": 2}`, 1), point(`{"system.roles.leaders": 3}`, 1))
	for i := range summary.Points {
		p := &summary.Points[i]
		p.Latency, p.Throughput, p.Outcomes, p.Linearizable = nil, nil, results.Outcomes{}, "not_checked"
		p.CheckedOperations = 0
		p.FirstLeader = &results.Spread{Trials: 5, Mean: value(120.5), CI95: &[2]float64{118.5, 122.5}}
	}
	summary.Engine, summary.Links, summary.Simulated, summary.EngineReason = "sim", "model", true, "asked for"
	return summary
}

// What was not checked, or came to no end, mustn't read as if it had been checked.
func TestOnlyAFindingSaysThatOperationsWereChecked(t *testing.T) {
	for finding, want := range map[string]string{
		results.FindingOK: "linearizable: ok, 150 operations checked", results.FindingViolation: "linearizable: VIOLATION, 150 operations checked",
		results.FindingUnknown: "linearizable: unknown, 150 operations", results.FindingNotChecked: "linearizable: not checked, 150 operations",
	} {
		p := point(`{}`, 1)
		p.Linearizable, p.CheckedOperations = finding, 150
		if got := historyNote(summaryOf(p)); got != want {
			t.Errorf("%s: %q, want %q", finding, got, want)
		}
	}
}

func wideSweep() *results.Summary {
	summary := summaryOf()
	for _, rate := range []string{"10/s", "1000/s", "25000/s"} {
		for _, delay := range []string{"1ms", "20ms"} {
			p := point(`{"workload.rate": "`+rate+`", "topology.link.delay": "`+delay+`"}`, 1240.31)
			p.Throughput.Mean, p.Throughput.CI95, p.Throughput.Offered = value(24871), &[2]float64{24801, 24941}, 25000
			summary.Points = append(summary.Points, p)
		}
	}
	return summary
}

func TestTableGolden(t *testing.T) {
	tests := []struct {
		name    string
		summary *results.Summary
		options Options
	}{
		{"one_point", summaryOf(point(`{}`, 240.31)), Options{}},
		{"sweep", replicaSweep(), Options{}},
		{"sweep_color", voidRun(), Options{Width: 140, Color: true}},
		{"sweep_narrow", replicaSweep(), Options{Width: 60}},
		{"sweep_wide_terminal", replicaSweep(), Options{Width: 140}},
		{"two_axes", wideSweep(), Options{}},
		{"void", voidRun(), Options{}},
		{"backoff", backoffSweep(), Options{}},
		{"single_trial", singleTrial(), Options{}},
		{"violation", violation(), Options{}},
		{"first_leaders", firstLeaders(), Options{}},
		{"nothing", &results.Summary{Experiment: "empty", Engine: "netns", VoidReasons: []string{}}, Options{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Table(&out, test.summary, "results/runs/system-size-20260102-030405", test.options); err != nil {
				t.Fatal(err)
			}
			golden(t, test.name, out.String())
		})
	}
}

func TestTableFitsWidth(t *testing.T) {
	summaries := map[string]*results.Summary{"sweep": replicaSweep(), "void": voidRun(),
		"backoff": backoffSweep(), "wide": wideSweep(), "single": singleTrial()}
	for name, summary := range summaries {
		for _, width := range []int{60, 80, 100, 120, 200} {
			var out bytes.Buffer
			if err := Table(&out, summary, "results/runs/x", Options{Width: width}); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if got := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); got > width {
					t.Errorf("%s at %d columns: a line of %d: %q", name, width, got, line)
				}
			}
		}
	}
}

func TestTableIsHarmless(t *testing.T) {
	summary := replicaSweep()
	summary.Valid = false
	summary.Experiment = "evil\x1b]0;title\x07"
	summary.VoidReasons = []string{"rtt (1 trial): \x1b[2Jgone"}
	summary.Points[0].Params["x.\x1b[1mname"] = json.RawMessage(`"\u001b[31mred"`)
	var out bytes.Buffer
	if err := Table(&out, summary, "runs/\x1b[0m", Options{}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\x07") {
		t.Errorf("control characters reached the terminal: %q", out.String())
	}
}

func TestAnsweredShareNeverRoundsUp(t *testing.T) {
	p := results.Point{Outcomes: results.Outcomes{OK: 999_999, Timeout: 1}}
	if got := answeredCell(p); got != "99.99%" {
		t.Errorf("answered = %s, want 99.99%%", got)
	}
}

func TestShortNames(t *testing.T) {
	tests := []struct{ paths, want string }{
		{"system.roles.replicas", "replicas"},
		{"system.roles.replicas workload.rate", "replicas rate"},
		{"topology.link.rate workload.rate", "link.rate workload.rate"},
		{"a.x b.a.x", "a.x b.a.x"},
		{"engine", "engine"},
	}
	for _, test := range tests {
		if got := strings.Join(shortNames(strings.Fields(test.paths)), " "); got != test.want {
			t.Errorf("shortNames(%s) = %s, want %s", test.paths, got, test.want)
		}
	}
}

func TestValuesKeepTheirKeys(t *testing.T) {
	tests := []struct{ raw, want string }{
		{`3`, "3"},
		{`"20ms"`, "20ms"},
		{`{"max": "250ms", "strategy": "random"}`, "{max: 250ms, strategy: random}"},
		{`{"strategy": "none"}`, "{strategy: none}"},
		{`{"update": 0.5, "read": 0.5}`, "{read: 0.5, update: 0.5}"},
		{`{"fast": true}`, "{fast: true}"},
		{`[1, 2]`, "[1, 2]"},
		{`{"delay": "10ms", "loss": "1%"}`, "{delay: 10ms, loss: 1%}"},
		{`{"delay": "10ms", "corrupt": "1%"}`, "{corrupt: 1%, delay: 10ms}"},
		{`{"gilbert_elliott": {"good_to_bad": "1%", "bad_to_good": 0.25}}`, "{gilbert_elliott: {bad_to_good: 0.25, good_to_bad: 1%}}"},
		{`9007199254740993`, "9007199254740993"},
		{`null`, "null"},
		{``, "-"},
	}
	for _, test := range tests {
		if got := Value(json.RawMessage(test.raw)); got != test.want {
			t.Errorf("Value(%s) = %q, want %q", test.raw, got, test.want)
		}
	}
}

func TestJSONIsTheSummary(t *testing.T) {
	var out bytes.Buffer
	if err := JSON(&out, voidRun()); err != nil {
		t.Fatal(err)
	}
	var back results.Summary
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Points) != 3 || back.Points[2].Latency != nil || *back.Points[0].Latency.Mean != 240.31 {
		t.Errorf("the summary changed: %s", out.String())
	}
}

func TestTheReportTellsLostFramesFromLostMessages(t *testing.T) {
	summary := summaryOf(point(`{}`, 240.3))
	summary.Points[0].Transport = &results.Transport{CongestionControl: "reno", SlowStartAfterIdle: true,
		SegmentsSent: 9000, Retransmitted: 1, FramesLost: 120, MessagesLost: 0}
	summary.Points[0].Captured = true
	for _, want := range []string{
		"loss: links lost 120 frames, TCP sent 1 segment again (reno, slow start after idle), nodes lost 0 messages",
		"CAPTURED: frames were written to files",
	} {
		var text bytes.Buffer
		if err := Table(&text, summary, "runs/x", Options{Width: 200}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report doesn't say %q:\n%s", want, text.String())
		}
	}
}
