package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorumlab/results"
)

// Whatever is derived from a simulation says so.
func TestASimulatedQuickstartIsFastAsPredictedAndLabelled(t *testing.T) {
	dir := t.TempDir()
	best := time.Hour
	var got finished
	for range 3 { // a shared machine may have no time just then
		if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		got = bench(t, dir, "run", shipped(t, "quickstart.yaml"), "--engine", "sim", "--out", "run")
		best = min(best, time.Since(began))
	}
	if best > 2*time.Second {
		t.Errorf("it took %v, want less than 2s", best)
	}
	if got.status != exitGood {
		t.Fatalf("status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	headline, _, _ := strings.Cut(got.stdout, "\n\n")
	if !strings.Contains(headline, "SIMULATED") || !strings.Contains(got.stderr, "SIMULATED") {
		t.Errorf("the headline is %q, the progress %q", headline, got.stderr)
	}
	for _, text := range []string{"240.02 ms", "linearizable: ok", "valid", "5/5 ok"} {
		if !strings.Contains(got.stdout, text) {
			t.Errorf("the table lacks %q:\n%s", text, got.stdout)
		}
	}
	again := bench(t, dir, "report", "run")
	if again.stdout != got.stdout || again.status != exitGood {
		t.Errorf("bench report: status %d\n%s", again.status, again.stdout)
	}
	var summary results.Summary
	derived := bench(t, dir, "report", "run", "--json")
	if err := json.Unmarshal([]byte(derived.stdout), &summary); err != nil {
		t.Fatal(err)
	}
	if !summary.Simulated || summary.Label != "SIMULATED" || math.Abs(*summary.Points[0].Latency.Mean-240) > 0.03*240 {
		t.Errorf("summary %+v", summary)
	}
}

func TestASimulationHasNoLinksToChoose(t *testing.T) {
	got := bench(t, t.TempDir(), "run", shipped(t, "quickstart.yaml"), "--engine", "sim", "--links", "kernel")
	expectUsageError(t, got, "no kernel ones")
}

func TestCtrlCKeepsTheFinishedSimulations(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(filepath.Join(binaries, "bench"), "run", shipped(t, "quickstart.yaml"), "--engine", "sim",
		"--out", "run", "--repeat", "20000", "--set", "phases.measure=60s")
	cmd.Dir = dir
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a finished trial", func() bool {
		_, err := os.Stat(filepath.Join(dir, "run/trials/0002/verdict.json"))
		return err == nil
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != exitInterrupted {
		t.Errorf("exit status %d, want 130", status)
	}
	folder, err := results.Open(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	summary, err := folder.ReadSummary()
	if err != nil || !summary.Interrupted || summary.Points[0].Trials < 1 || !strings.Contains(stdout.String(), "SIMULATED") {
		t.Errorf("summary: %v, %+v\n%s", err, summary, stdout.String())
	}
}

// A run folder whose trial found a violation, whatever made it.
func TestAViolationExitsWithItsStatusAndSaysWhereToLook(t *testing.T) {
	dir := t.TempDir()
	folder, err := results.Create(filepath.Join(dir, "run"), results.Manifest{
		Experiment: "broken", Repeat: 1, Engine: "sim", Simulated: true,
		Plan: []results.PlannedTrial{{Trial: 1, Params: json.RawMessage(`{}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.CreateTrial(1); err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteRequests(1, func(*results.RowWriter) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteEvents(1, func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	err = folder.WriteVerdict(results.Verdict{
		Trial: 1, Params: json.RawMessage(`{}`), Linearizable: results.FindingViolation, Agreement: results.FindingOK,
		Reasons: []results.VoidReason{{Code: "linearizability", Text: "the history isn't linearizable", Mend: "Report it."}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := bench(t, dir, "report", "run")
	if got.status != exitViolation {
		t.Errorf("exit status %d, want 4", got.status)
	}
	page := filepath.Join("run", "trials", "0001", results.ViolationPage)
	for _, text := range []string{"NOT LINEARIZABLE", "see " + page, "VOID", "SIMULATED"} {
		if !strings.Contains(got.stdout, text) {
			t.Errorf("the table lacks %q:\n%s", text, got.stdout)
		}
	}
}

// Ctrl-C after a violation must not hide it from scripts.
func TestAViolationOutranksWhatStoppedTheRun(t *testing.T) {
	folder, err := results.Create(filepath.Join(t.TempDir(), "run"), results.Manifest{Experiment: "x", Repeat: 1})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is full")
	for _, c := range []struct {
		finding string
		stopped error
		status  int
		says    string
	}{
		{results.FindingViolation, errInterrupted, exitViolation, "bench: interrupted"},
		{results.FindingViolation, broken, exitViolation, "bench: the disk is full"},
		{results.FindingViolation, nil, exitViolation, ""},
		{results.FindingOK, errInterrupted, exitInterrupted, "bench: interrupted"},
		{results.FindingOK, broken, exitFailed, "bench: the disk is full"},
		{results.FindingOK, nil, exitVoid, ""},
	} {
		summary := &results.Summary{Points: []results.Point{{Attempted: 1, Linearizable: c.finding, Agreement: results.FindingOK}}}
		var stdout, stderr bytes.Buffer
		status := statusOf(finish(folder, summary, c.stopped, false, &stdout, &stderr), &stderr)
		if status != c.status || strings.TrimSpace(stderr.String()) != c.says || stdout.Len() == 0 {
			t.Errorf("%s, stopped by %v: status %d, want %d\n%s", c.finding, c.stopped, status, c.status, stderr.String())
		}
	}
}
