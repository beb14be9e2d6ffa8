package measure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quorumlab/results"
)

func TestEntriesCountWhatBecameOfThem(t *testing.T) {
	folder := run(t, 1, 2)
	cut := results.Fault{ID: "cut", Kind: "partition", Pairs: []string{"h1>h2", "h2>h1", "h3>h1"}, Outcome: results.FaultProved,
		RequestedNS: at(10 * second), AppliedNS: at(10*second + 7*ms), HealedNS: at(12*second + 7*ms)}
	other := cut
	other.Pairs, other.Occurrence = []string{"h2>h1", "h1>h2", "h3>h1"}, 2
	nobody := results.Fault{ID: "kill", Kind: "crash", Outcome: results.FaultNobody, Reason: "leader matched nobody", RequestedNS: at(20 * second)}
	absent := results.Fault{ID: "late", Kind: "crash", Outcome: results.FaultNeverFired, Optional: true, Reason: "phase2a never came"}
	failed := results.Fault{ID: "cut", Kind: "partition", Outcome: results.FaultFailed, Reason: "no such stage"}
	broken{faults: []results.Fault{cut, nobody, other, absent}, hosts: map[string]string{"a": "h1", "b": "h2", "c": "h3", "d": "h3"}}.write(t, folder, 1)
	broken{faults: []results.Fault{absent, failed}}.write(t, folder, 2)
	summary := summarise(t, folder)
	var got []string
	for _, e := range summary.Points[0].Faults {
		got = append(got, fmt.Sprintf("%s %d: %d proved %d nobody %d failed %d never %v %q", e.ID, e.Occurrences, e.Proved,
			e.HitNobody, e.Failed, e.NeverFired, e.Hit, e.Missing))
	}
	want := []string{
		`cut 3: 2 proved 0 nobody 1 failed 0 never [{a<>b+h3>a 2}] "no such stage"`,
		`kill 1: 0 proved 1 nobody 0 failed 0 never [] "leader matched nobody"`,
		`late 0: 0 proved 0 nobody 0 failed 2 never [] "phase2a never came"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	entry := summary.Points[0].Faults[0]
	if entry.ActiveS.Mean != 2 || entry.ActiveS.N != 2 || entry.RequestedS.Max != 10 {
		t.Errorf("%+v %+v", entry.ActiveS, entry.RequestedS)
	}
	if _, ok := summary.Points[0].Recovery["kill"]; ok {
		t.Error("a fault that hit nobody has a recovery")
	}
	timing := summary.FaultTiming
	if timing.Faults != 2 || timing.Within5MS != 0 || timing.MaxMS != 7 {
		t.Errorf("%+v", timing)
	}
}

func TestEntriesComeInTheSchedulesOrder(t *testing.T) {
	folder := run(t, 1, 1)
	never := results.Fault{ID: "a", Kind: "crash", Outcome: results.FaultNeverFired, Optional: true}
	broken{
		faults:   []results.Fault{crash("c", 10*second, "leader1"), crash("b", 20*second, "leader2"), never},
		schedule: []string{"a", "b", "c"},
	}.write(t, folder, 1)
	var got []string
	for _, e := range summarise(t, folder).Points[0].Faults {
		got = append(got, e.ID)
	}
	if strings.Join(got, "") != "abc" {
		t.Errorf("got %v", got)
	}
}

func TestAMissingFileOfFaultsIsAnError(t *testing.T) {
	for _, file := range []string{"faults.json", "events.jsonl.gz"} {
		for _, recorded := range []int{1, 0} { // folders of earlier versions don't say
			folder := run(t, 1, 1)
			trial := leaderKilled(32150 * ms)
			trial.change = func(v *results.Verdict) { v.Faults = recorded }
			trial.write(t, folder, 1)
			path := filepath.Join(folder.TrialDir(1), file)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			_, err := Summarise(folder)
			if recorded == 0 && err != nil {
				t.Errorf("%s, an older folder: %v", file, err)
			}
			if recorded > 0 && (!errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "trial 1 is missing")) {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func TestFaultTimingCountsEachFaultOnce(t *testing.T) {
	var late timing
	for _, ns := range []int64{0, 100_000, 100_001, 5 * ms, 5*ms + 1, 2 * second, -10} {
		late.add(results.Fault{RequestedNS: at(second), AppliedNS: at(second + ns)})
	}
	late.add(results.Fault{RequestedNS: at(second)})
	summary := late.summary()
	near(t, "share", summary.Within5MS, 5.0/7, 1e-12)
	near(t, "most", summary.MaxMS, 2000, 1e-9)
	got := map[string]int{}
	sum := 0
	for _, bucket := range summary.Buckets {
		name := "more"
		if bucket.UpToMS != nil {
			name = fmt.Sprint(*bucket.UpToMS)
		}
		got[name] = bucket.Faults
		sum += bucket.Faults
	}
	if got["0.1"] != 3 || got["0.2"] != 1 || got["5"] != 1 || got["10"] != 1 || got["more"] != 1 || sum != summary.Faults {
		t.Errorf("%v", got)
	}
	if (&timing{}).summary() != nil {
		t.Error("a histogram of nothing")
	}
}

func TestARunWithoutFaultsHasNeitherEntriesNorTraces(t *testing.T) {
	folder := run(t, 1, 1)
	finish(t, folder, 1, 240*ms, nil)
	summary := summarise(t, folder)
	if p := summary.Points[0]; p.Faults != nil || p.Recovery != nil || summary.FaultTiming != nil {
		t.Errorf("%+v %+v", p.Faults, p.Recovery)
	}
	if err := WriteTraces(folder); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder.TrialDir(1), "trace.csv")); err == nil {
		t.Error("there is a trace")
	}
	verdicts, err := folder.Trials()
	if err != nil {
		t.Fatal(err)
	}
	trace, err := Trace(folder, verdicts[0])
	if err != nil || len(trace.Requests) != 70 || trace.Faults != nil || trace.LengthS != 69 || trace.MeasureS != 5 {
		t.Errorf("%+v, %v", trace, err)
	}
}

func TestTheTraceSaysWhatWasBrokenWhenEachRequestWasDue(t *testing.T) {
	trial := leaderKilled(32150 * ms)
	trial.faults[0].HealedNS = at(31 * second)
	trial.faults = append(trial.faults, crash("other", 30500*ms, "acceptor1"),
		results.Fault{ID: "absent", Outcome: results.FaultNeverFired},
		results.Fault{ID: "mend", Kind: kindHeal, AppliedNS: at(31 * second)})
	usual := trial.latencyNS
	trial.latencyNS = func(dueNS int64) int64 {
		if dueNS == 50*second {
			return -1
		}
		return usual(dueNS)
	}
	folder := run(t, 1, 1)
	trial.write(t, folder, 1)
	if err := WriteTraces(folder); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(folder.TrialDir(1), "trace.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 651 || lines[0] != "due_s,latency_ms,outcome,faults,label" {
		t.Errorf("%d lines, the first %q", len(lines), lines[0])
	}
	for second, want := range map[int]string{
		299: "29.900000000,2250.000000,ok,,",
		300: "30.000000000,2150.000000,ok,kill,",
		305: "30.500000000,1650.000000,ok,kill other,",
		310: "31.000000000,1150.000000,ok,other,",
		500: "50.000000000,,timeout,other,",
	} {
		if got := lines[1+second]; got != want {
			t.Errorf("line of %d tenths: %q, want %q", second, got, want)
		}
	}
}
