package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leaderDies is a short experiment in which the leader dies, or an acceptor.
const leaderDies = `
version: 1
name: leader-dies
seed: 1
repeat: 2
engine: sim
system:
  protocol: multipaxos
  roles: {replicas: 2, leaders: 2, acceptors: 3}
topology: {kind: star, link: {delay: 5ms, rate: 1gbit}}
workload: {clients: 1, rate: 20/s, mix: {update: 0.5, read: 0.5}, keys: 10}
phases: {warmup: 1s, measure: 9s, drain: 10s}
faults:
  - {id: kill, name: crash, whom: leader, at: 5s}
sweep:
  faults.kill.whom: [leader, acceptor1]
`

func TestARunWithFaultsReportsAndPlotsWhatTheyCost(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "leader-dies.yaml"), []byte(leaderDies), 0o644); err != nil {
		t.Fatal(err)
	}
	got := bench(t, dir, "run", "leader-dies.yaml", "--out", "run")
	if got.status != exitGood {
		t.Fatalf("status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	table, plot, found := strings.Cut(got.stdout, "\ntrial 1: latency against time, SIMULATED\n")
	if !found || !strings.Contains(plot, "kill") || !strings.Contains(plot, "#>") {
		t.Fatalf("no plot of the first trial:\n%s", got.stdout)
	}
	for _, text := range []string{"leader1", "acceptor1", "unavailable", "detection", "5.00", "none", "100% of 4 faults within 5 ms"} {
		if !strings.Contains(table, text) {
			t.Errorf("the tables lack %q:\n%s", text, table)
		}
	}
	quiet := bench(t, dir, "run", "leader-dies.yaml", "--out", "quiet", "--quiet")
	if strings.Contains(quiet.stdout, "latency against time") {
		t.Errorf("--quiet plots:\n%s", quiet.stdout)
	}
	trace, err := os.ReadFile(filepath.Join(dir, "quiet", "trials", "0003", "trace.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(trace), "\n"); lines < 201 { // the load lasts a little longer than the phases
		t.Errorf("trace.csv has %d lines, want a header and 200 requests at least", lines)
	}
	again := bench(t, dir, "report", "run")
	if again.stdout != table || again.status != exitGood {
		t.Errorf("bench report: status %d\n%s\nwant\n%s", again.status, again.stdout, table)
	}
	traced := bench(t, dir, "report", "run", "--trace")
	if rest := strings.TrimPrefix(traced.stdout, table); strings.Count(rest, "latency against time") != 2 ||
		!strings.Contains(rest, "\ntrial 1:") || !strings.HasPrefix(rest, "\ntrial 1: latency against time, SIMULATED\n"+plot) {
		t.Errorf("--trace shows:\n%s", rest)
	}
	one := bench(t, dir, "report", "run", "--trial", "4")
	if !strings.Contains(one.stdout, "\ntrial 4: latency") || strings.Count(one.stdout, "latency against time") != 1 {
		t.Errorf("--trial 4 shows:\n%s", one.stdout)
	}
	path := filepath.Join(dir, "run", "trials", "0001", "faults.json")
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "\"schedule\": [\n    \"kill\"\n") {
		t.Errorf("faults.json lacks the schedule: %v\n%s", err, data)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	lost := bench(t, dir, "report", "run")
	if lost.status != exitFailed || lost.stdout != "" || !strings.Contains(lost.stderr, filepath.Join("0001", "faults.json")) {
		t.Errorf("without a faults.json: status %d\n%s%s", lost.status, lost.stdout, lost.stderr)
	}
}

func TestReportRefusesTracesThatThereAreNot(t *testing.T) {
	dir := t.TempDir()
	run := bench(t, dir, "run", shipped(t, "quickstart.yaml"), "--engine", "sim", "--repeat", "1", "--out", "run", "--quiet")
	if run.status != exitGood || strings.Contains(run.stdout, "latency against time") {
		t.Fatalf("status %d\n%s%s", run.status, run.stdout, run.stderr)
	}
	for _, test := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--trial", "2"}, "--trial 2: this run has no finished trial of that number, want one of 1 to 1"},
		{[]string{"--trial", "0"}, "--trial 0"},
		{[]string{"--trial", "x"}, `invalid argument "x" for "--trial" flag: want the number of a trial, such as 7 (`},
		{[]string{"--trace", "--json"}, "exclude each other"},
	} {
		got := bench(t, dir, append([]string{"report", "run"}, test.flags...)...)
		if got.status != exitUsage || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%v: status %d\n%s", test.flags, got.status, got.stderr)
		}
	}
	// Without faults there is a plot if it is asked for.
	if got := bench(t, dir, "report", "run", "--trace"); got.status != exitGood || !strings.Contains(got.stdout, "trial 1: latency against time") {
		t.Errorf("status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
}
