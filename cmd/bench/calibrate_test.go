//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorumlab/harness/calibrate"
	"quorumlab/results"
)

// few is an experiment with few links, of little rate.
const few = `
version: 1
name: few
system: {protocol: multipaxos, roles: {replicas: 1, leaders: 1, acceptors: 1}}
topology: {kind: star, link: {delay: 2ms, rate: 10mbit, queue: 20}}
`

func writeFew(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "few.yaml"), []byte(few), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCalibratePrintsEachLinkAndKeepsItsRows(t *testing.T) {
	needNetns(t)
	dir := writeFew(t)
	got := bench(t, dir, "calibrate", "few.yaml", "--time", "4s", "--out", "out")
	if got.status != exitGood && got.status != exitVoid {
		t.Fatalf("status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	for _, text := range []string{"few: engine netns", "h1-s1  h1 > s1    delay", "s1 > h4    queue", " checks pass"} {
		if !strings.Contains(got.stdout, text) {
			t.Errorf("the table lacks %q:\n%s", text, got.stdout)
		}
	}
	if !strings.Contains(got.stderr, "measuring train on h4-s1 (s1 to h4)") {
		t.Errorf("the progress: %s", got.stderr)
	}
	var result calibrate.Result
	data, err := os.ReadFile(filepath.Join(dir, "out", calibrationFile))
	if err == nil {
		err = json.Unmarshal(data, &result)
	}
	// Delay, loss, rate and queue of both directions of four links.
	if err != nil || len(result.Checks) < 32 || result.Pass != (got.status == exitGood) || result.Pass != (result.Count(results.LinkFail) == 0) || !result.Complete {
		t.Errorf("%d rows, pass %v, status %d, %v", len(result.Checks), result.Pass, got.status, err)
	}
	if again := bench(t, dir, "calibrate", "few.yaml", "--out", "out"); again.status != exitUsage {
		t.Errorf("a folder that is there: status %d\n%s", again.status, again.stderr)
	}
}

func TestCtrlCPrintsWhatWasCalibratedByThen(t *testing.T) {
	needNetns(t)
	cmd := exec.Command(filepath.Join(binaries, "bench"), "calibrate", "few.yaml", "--json", "--time", "1m")
	cmd.Dir = writeFew(t)
	var stdout strings.Builder
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "measuring train") {
			break
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(stderr)
	_ = cmd.Wait()
	var result calibrate.Result
	if err := json.Unmarshal([]byte(stdout.String()), &result); err != nil || len(result.Checks) < 16 || result.Pass || result.Complete || !strings.HasPrefix(result.Phase, "measuring train on ") {
		t.Errorf("%d rows, pass %v, complete %v, phase %q, %v", len(result.Checks), result.Pass, result.Complete, result.Phase, err)
	}
	if status := cmd.ProcessState.ExitCode(); status != exitInterrupted {
		t.Errorf("status %d\n%s", status, rest)
	}
}

// timeout sends a signal to its child, and then one to the whole group.
func TestTwoSignalsTogetherLeaveNothingBehind(t *testing.T) {
	needNetns(t)
	temporary := t.TempDir()
	cmd := exec.Command(filepath.Join(binaries, "bench"), "calibrate", "few.yaml", "--time", "1m")
	cmd.Dir, cmd.Env = writeFew(t), append(os.Environ(), "TMPDIR="+temporary)
	var stdout strings.Builder
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "measuring delay") {
	}
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // two of the same kind that are pending are one
	}
	rest, _ := io.ReadAll(stderr)
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != exitInterrupted || !strings.Contains(stdout.String(), "INCOMPLETE: the calibration ended while measuring delay") {
		t.Errorf("status %d\n%s%s", status, stdout.String(), rest)
	}
	if left, err := filepath.Glob(filepath.Join(temporary, "quorumlab-calibrate-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatCannotBeCalibratedIsBadUsage(t *testing.T) {
	dir := writeFew(t)
	for what, c := range map[string]struct {
		arguments string
		want      string
	}{
		"the simulator": {"few.yaml --engine sim", "nothing to measure"},
		"no time":       {"few.yaml --time 1ms", "--time is 1ms"},
		"no such point": {"few.yaml --point 2", "--point is 2"},
		"links":         {"few.yaml --links tin", "--links is \"tin\""},
		"no spec":       {"", "arg"},
	} {
		got := bench(t, dir, append([]string{"calibrate"}, strings.Fields(c.arguments)...)...)
		if got.status != exitUsage || !strings.Contains(got.stderr, c.want) {
			t.Errorf("%s: status %d, %q, want %q", what, got.status, got.stderr, c.want)
		}
	}
}
