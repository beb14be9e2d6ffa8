package harness

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quorumlab/harness/engine/sim"
	"quorumlab/harness/experiment"
)

// planned are the lines about one experiment, simulated, without those of single trials.
func planned(t *testing.T, text string) ([]string, error) {
	t.Helper()
	source, err := experiment.Parse("x.yaml", []byte(text), experiment.Overrides{Engine: sim.Name})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := PlanLines(t.Context(), source)
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "trial ") }), err
}

// uncut reads an experiment of the repository as it is.
func uncut(t *testing.T, file string) *experiment.Source {
	t.Helper()
	source, err := experiment.Load(filepath.Join("../experiments", file), experiment.Overrides{Engine: sim.Name})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestThePlanSaysTheScheduleInWords(t *testing.T) {
	lines, err := planned(t, `version: 1
system: {storage: disk}
faults:
  - {id: kill, name: crash, whom: leader, at: 30s, for: 2s}
  - {name: pause, whom: followers, after: {fault: kill, from: healed, by: 5s}, for: 1s}
sweep:
  faults.kill.whom: [replica1, leader]
  faults.kill.at: [30s, 40s]
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range lines {
		if strings.HasPrefix(line, "fault ") {
			got = append(got, line)
		}
	}
	want := []string{
		"fault kill: crash of replica1, at 30s, for 2s (point 1)",
		"fault pause1: pause of followers, 5s after kill was healed, for 1s",
		"fault kill: crash of replica1, at 40s, for 2s (point 2)",
		"fault kill: crash of leader, at 30s, for 2s (point 3)",
		"fault kill: crash of leader, at 40s, for 2s (point 4)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	swept, err := planned(t, "version: 1\nfaults: [{name: crash, whom: leader, at: 30s}]\nsweep: {workload.rate: [1/s, 2/s]}\n")
	if err != nil || !slices.Contains(swept, "fault crash1: crash of leader, at 30s, for good") {
		t.Errorf("a fault that all points share isn't said once: %v\n%s", err, strings.Join(swept, "\n"))
	}
}

// What breaks costs no time of its own.
func TestFaultsDoNotChangeTheEstimate(t *testing.T) {
	first := func(faults string) string {
		lines, err := planned(t, "version: 1\nname: x\nsystem: {storage: disk}\n"+faults)
		if err != nil {
			t.Fatal(err)
		}
		return lines[0]
	}
	if with, without := first("faults: [{name: crash, whom: leader, at: 30s, every: 5s, for: 2s}]\n"), first(""); with != without {
		t.Errorf("with faults %q, without %q", with, without)
	}
}

// Chaos is one fault in two seconds in the mean, none of which is required to hit.
func TestChaosFiresOnceInTwoSeconds(t *testing.T) {
	spec := uncut(t, "soak/chaos.yaml").Spec
	rate := 0.0
	for i, fault := range spec.Faults {
		if fault.Random == nil || !fault.Optional || fault.For == nil {
			t.Errorf("entry %d is %+v, want it random, optional and to end", i, fault)
			continue
		}
		rate += 1e9 / float64(fault.Random.Mean)
	}
	if rate < 0.49 || rate > 0.51 {
		t.Errorf("%.3f faults a second", rate)
	}
}

// A protocol added later joins by a line, or by two: so none of these name its roles.
func TestTheNetworkIsReliableForEveryProtocol(t *testing.T) {
	files, err := filepath.Glob("../experiments/network-is-reliable/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatal("want five experiments", files, err)
	}
	foreign := regexp.MustCompile(`(?m)^[^#]*(replica|acceptor|leader\d|leaders|options|roles)`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := foreign.Find(data); found != nil {
			t.Errorf("%s is about one protocol: %q", file, found)
		}
		name := strings.TrimPrefix(file, "../experiments/")
		source := uncut(t, name)
		if i := slices.IndexFunc(source.Spec.Sweep, func(a experiment.Axis) bool { return a.Path == "system.protocol" }); i < 0 {
			t.Errorf("%s doesn't sweep the protocol", file)
		}
		if source.Spec.Repeat != 5 || len(source.Spec.Faults) == 0 {
			t.Errorf("%s: %d repeats, %d faults", file, source.Spec.Repeat, len(source.Spec.Faults))
		}
	}
}

// The dissertation's section 4.2.2.
func TestTheDissertationsFailures(t *testing.T) {
	source := uncut(t, "multipaxos-dissertation/failures.yaml")
	if s := source.Spec; s.Repeat != 5 || s.Phases.Warmup+s.Phases.Measure != 120e9 || s.Workload.Rate != 1 || len(source.Points) != 3 {
		t.Errorf("%d repeats of %d points, phases %+v, rate %s", s.Repeat, len(source.Points), s.Phases, s.Workload.Rate)
	}
	for i, whom := range []string{"replica1", "leader", "acceptor1"} {
		want := "kill: crash of " + whom + ", at 1m, for good"
		if got := source.Points[i].Spec.ScheduleLines(); !slices.Equal(got, []string{want}) {
			t.Errorf("point %s: %q, want %q", strconv.Itoa(i), got, want)
		}
	}
}
