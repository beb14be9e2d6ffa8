package calibrate

import (
	"strings"
	"testing"

	"quorumlab/results"
)

func TestTheTableSaysWhichLinkIsOffByHowMuch(t *testing.T) {
	check := func(parameter, unit string, declared, measured, low, high float64, finding string) results.LinkCheck {
		return results.LinkCheck{Link: "a-b", From: "a", To: "b", Parameter: parameter, Unit: unit, Declared: declared,
			Measured: measured, Low: low, High: high, Frames: 100, Finding: finding}
	}
	untested := check("queue", "frames", 0, 0, 0, 0, results.LinkNotTested)
	untested.Reason = "it is too large\x1b[2J to be filled"
	again := untested
	again.From, again.To = "b", "a"
	r := &Result{Experiment: "wan", Engine: "netns", Links: "userspace", LinksReason: "asked for", Seed: 7, Complete: true, Checks: []results.LinkCheck{
		check("delay", "ms", 20, 20.05, 19.95, 20.5, results.LinkPass), check("loss", "share", 0.01, 0.0531, 0.004, 0.02, results.LinkFail),
		check("rate", "bit/s", 1e7, 9.9e6, 9.8e6, 1.02e7, results.LinkPass), untested, again,
	}}
	var text strings.Builder
	if err := Table(&text, r); err != nil {
		t.Fatal(err)
	}
	want := `wan: engine netns, userspace links (asked for), seed 7

link  direction  parameter    declared   measured                 allowed        off by  frames  finding
a-b   a > b      delay       20.000 ms  20.050 ms        19.950 to 20.500        +0.050     100  pass
a-b   a > b      loss               1%      5.31%              0.4% to 2%        +4.31%     100  FAIL
a-b   a > b      rate       10.000mbit  9.900mbit  9.800mbit to 10.200mbit  -100.000kbit     100  pass
a-b   a > b      queue               -          -                       -             -     100  not tested
a-b   b > a      queue               -          -                       -             -     100  not tested

a-b a > b and 1 more, queue: it is too large?[2J to be filled

2 of 5 checks pass, 2 not tested, 1 FAIL: the links aren't as declared
`
	if squeeze(text.String()) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
	if want := "link a-b from a to b: the loss is 5.31%, declared 1% (0.4% to 2% would do)"; Describe(r.Checks[1]) != want {
		t.Errorf("%q, want %q", Describe(r.Checks[1]), want)
	}
}

// squeeze makes spaces in a row one.
func squeeze(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestTheVerdictSaysWhatWasNotTestedOrNotFinished(t *testing.T) {
	pass, untested := results.LinkCheck{Finding: results.LinkPass}, results.LinkCheck{Finding: results.LinkNotTested}
	for want, r := range map[string]Result{
		"1 of 1 checks pass: the links are as declared":                                 {Pass: true, Complete: true, Checks: []results.LinkCheck{pass}},
		"1 of 2 checks pass, 1 not tested: what was tested is as declared":              {Pass: true, Complete: true, Checks: []results.LinkCheck{pass, untested}},
		"1 of 1 checks pass; INCOMPLETE: the calibration wasn't finished":               {Checks: []results.LinkCheck{pass}},
		"0 of 1 checks pass, 1 not tested: what was tested is as declared":              {Pass: true, Complete: true, Checks: []results.LinkCheck{untested}},
		"1 of 2 checks pass, 1 not tested; INCOMPLETE: the calibration wasn't finished": {Checks: []results.LinkCheck{pass, untested}},
	} {
		if got := r.verdict(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAnInterruptedCalibrationSaysHowFarItCame(t *testing.T) {
	for _, checks := range [][]results.LinkCheck{nil, {{Finding: results.LinkPass}}} {
		var text strings.Builder
		if err := Table(&text, &Result{Experiment: "wan", Engine: "netns", Seed: 7, Phase: "building the lab", Checks: checks}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"wan: engine netns, seed 7\nINCOMPLETE: the calibration ended while building the lab\n", "; INCOMPLETE: the calibration wasn't finished\n"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%d rows: %q lacks %q", len(checks), text.String(), want)
			}
		}
	}
}
