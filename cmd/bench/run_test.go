//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorumlab/results"
)

// The thin slice from the file to the table, as a user would run it.
func TestARunReportsAValidatedLatency(t *testing.T) {
	needNetns(t)
	dir := t.TempDir()
	arguments := append([]string{"run", shipped(t, "quickstart.yaml"), "--out", "run", "--repeat", "2"}, short...)
	got := benchWhileIdle(t, dir, arguments...)
	if got.status != exitGood {
		t.Fatalf("status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	for _, text := range []string{"quickstart", "240.00 ms", "valid", "run"} {
		if !strings.Contains(got.stdout, text) {
			t.Errorf("the table lacks %q:\n%s", text, got.stdout)
		}
	}
	folder, err := results.Open(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	summary, err := folder.ReadSummary()
	if err != nil {
		t.Fatal(err)
	}
	point := summary.Points[0]
	if point.Trials != 2 || point.Latency.CI95 == nil || *point.PredictedMS != 240 || point.Outcomes.Timeout != 0 || point.Agreement != "ok" {
		t.Errorf("summary: %+v", point)
	}
	// Physics: no request is faster than the links; the links were proved.
	if *point.Latency.Min < 240 {
		t.Errorf("a request took %v ms over a path of 240 ms", *point.Latency.Min)
	}
	if requests := point.Outcomes.OK + point.Outcomes.Fail; requests != 40 {
		t.Errorf("%d requests answered, want 20 in each of two trials", requests)
	}
	expectFiles(t, filepath.Join(dir, "run"), "manifest.json", "summary.json", "summary.csv",
		"trials/0001/requests.csv.gz", "trials/0001/events.jsonl.gz", "trials/0001/links.json", "trials/0001/verdict.json",
		"trials/0001/nodes/leader1.log", "trials/0001/nodes/leader1.exit.json")
	again := bench(t, dir, "report", "run", "--json")
	var derived results.Summary
	if err := json.Unmarshal([]byte(again.stdout), &derived); err != nil || *derived.Points[0].Latency.Mean != *point.Latency.Mean {
		t.Errorf("bench report derives something else: %v\n%s", err, again.stdout)
	}
	if refused := bench(t, dir, arguments...); refused.status != exitUsage || !strings.Contains(refused.stderr, "run") {
		t.Errorf("a second run into the same folder: status %d, %s", refused.status, refused.stderr)
	}
}

func expectFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: missing or empty (%v)", name, err)
		}
	}
}

func TestJSONOutputIsTheSummaryAlone(t *testing.T) {
	needNetns(t)
	got := benchWhileIdle(t, t.TempDir(), append([]string{"run", shipped(t, "quickstart.yaml"), "--json", "--quiet", "--repeat", "1"}, short...)...)
	var summary results.Summary
	if err := json.Unmarshal([]byte(got.stdout), &summary); err != nil || got.stderr != "" || got.status != exitGood {
		t.Fatalf("status %d, %v\n%s%s", got.status, err, got.stdout, got.stderr)
	}
	if l := summary.Points[0].Latency; l.CI95 != nil || l.Stddev != nil {
		t.Error("one trial has an interval")
	}
}

func TestTwoLabsRunAtOnce(t *testing.T) {
	needNetns(t)
	done := make(chan finished, 2)
	for i := range 2 {
		go func() {
			done <- bench(t, t.TempDir(), append([]string{"run", shipped(t, "quickstart.yaml"), "--seed", strconv.Itoa(i), "--repeat", "1"}, short...)...)
		}()
	}
	for range 2 {
		// Two labs may be too much for a small machine, but not disturb each other.
		if got := <-done; got.status != exitGood && !busy(got) {
			t.Errorf("status %d\n%s%s", got.status, got.stdout, got.stderr)
		}
	}
}

func TestCtrlCKeepsTheFinishedTrials(t *testing.T) {
	needNetns(t)
	dir := t.TempDir()
	cmd := exec.Command(filepath.Join(binaries, "bench"), append([]string{"run", shipped(t, "quickstart.yaml"), "--out", "run", "--repeat", "50"}, short...)...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "two finished trials", func() bool {
		_, err := os.Stat(filepath.Join(dir, "run/trials/0002/verdict.json"))
		return err == nil
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != exitInterrupted {
		t.Errorf("exit status %d, want 130\n%s", status, stderr.String())
	}
	folder, err := results.Open(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	summary, err := folder.ReadSummary()
	if err != nil || !summary.Interrupted || summary.Points[0].Attempted < 2 || summary.Points[0].Latency.Mean == nil {
		t.Errorf("summary: %v, %+v", err, summary)
	}
	if !strings.Contains(stdout.String(), "quickstart") {
		t.Errorf("no table was printed:\n%s", stdout.String())
	}
}

// While the first lab is being built there is nothing to keep, but the status
// is that of an interruption all the same.
func TestCtrlCWhileTheLabIsBuiltIsAnInterruption(t *testing.T) {
	needNetns(t)
	dir := t.TempDir()
	cmd := exec.Command(filepath.Join(binaries, "bench"), append([]string{"run", shipped(t, "quickstart.yaml"), "--out", "run"}, short...)...)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the run folder", func() bool {
		_, err := os.Stat(filepath.Join(dir, "run/manifest.json"))
		return err == nil
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != exitInterrupted {
		t.Errorf("exit status %d, want 130", status)
	}
}

func TestSIGKILLAtRandomInstantsLeavesNothing(t *testing.T) {
	needNetns(t)
	users := []*syscall.Credential{nil}
	if os.Getuid() == 0 {
		users = append(users, &syscall.Credential{Uid: 54321, Gid: 54321})
	}
	kills := 30
	if testing.Short() {
		kills = 6
	}
	for _, user := range users {
		name := "as this user"
		if user != nil {
			name = "as an ordinary user"
		}
		t.Run(name, func(t *testing.T) {
			before := footprint(t)
			most := 0
			for i := range kills {
				after := time.Duration(rand.Int64N(int64(2 * time.Second)))
				most = max(most, killRun(t, user, after))
				if i == kills-1 || i%10 == 9 {
					expectNothingLeft(t, before)
				}
			}
			if most < 10 {
				t.Errorf("at most %d processes of a run were seen: the labs were not up", most)
			}
		})
	}
}

// killRun starts a run and kills its controller after a while; it returns how
// many processes of the run there were.
func killRun(t *testing.T, user *syscall.Credential, after time.Duration) (processes int) {
	t.Helper()
	dir := t.TempDir()
	makeReachable(t, dir)
	spec := filepath.Join(dir, "spec.yaml")
	data, err := os.ReadFile(shipped(t, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spec, data, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(binaries, "bench"), append([]string{"run", spec, "--out", "run"}, short...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), marker)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	seen := len(marked())
	_ = cmd.Process.Kill() // an error shows in how it ended
	_ = cmd.Wait()
	if how := cmd.ProcessState.Sys().(syscall.WaitStatus); !how.Signaled() || how.Signal() != syscall.SIGKILL {
		t.Errorf("the run ended by itself (%v) before it was killed", cmd.ProcessState)
	}
	return seen
}

// makeReachable lets every user work in a test's folder.
func makeReachable(t *testing.T, dir string) {
	t.Helper()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

// marker is in the environment of every process that a killed run started.
const marker = "QUORUMLAB_TEST_MARKER=sigkill"

// footprint is what of the machine a lab could leave something in.
type machineState struct{ mounts, interfaces string }

func footprint(t *testing.T) machineState {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	links, err := filepath.Glob("/sys/class/net/*")
	if err != nil {
		t.Fatal(err)
	}
	return machineState{string(mounts), strings.Join(links, " ")}
}

func expectNothingLeft(t *testing.T, before machineState) {
	t.Helper()
	// The kernel takes a moment to end a PID namespace; nothing of ours acts.
	deadline := time.Now().Add(10 * time.Second)
	for len(marked()) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if left := marked(); len(left) > 0 {
		t.Fatalf("processes left: %v", left)
	}
	if after := footprint(t); after != before {
		t.Fatalf("mounts or interfaces changed:\nbefore %s\nafter %s", before, after)
	}
}

// marked lists the live processes that a killed run started. A namespace lives
// as long as a process is in it, as nothing of ours has a name in a file system.
func marked() []string {
	var found []string
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environments {
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(marker)) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			found = append(found, filepath.Base(filepath.Dir(path))+" "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}

// A timeout shorter than the path: nothing can be answered in time.
func TestAVoidRunSaysWhyAndWhatToDoAndKeepsItsData(t *testing.T) {
	needNetns(t)
	dir := t.TempDir()
	got := bench(t, dir, append([]string{"run", shipped(t, "quickstart.yaml"), "--out", "run", "--repeat", "1", "--set", "workload.timeout=100ms"}, short...)...)
	if got.status != exitVoid {
		t.Errorf("exit status %d, want 3", got.status)
	}
	for _, text := range []string{"VOID", "none of the 20 requests", "to mend it:", "run"} {
		if !strings.Contains(got.stdout, text) {
			t.Errorf("the table lacks %q:\n%s", text, got.stdout)
		}
	}
	again := bench(t, dir, "report", "run")
	if again.status != exitVoid || again.stdout != got.stdout {
		t.Errorf("bench report: status %d\n%s", again.status, again.stdout)
	}
	expectFiles(t, filepath.Join(dir, "run"), "trials/0001/requests.csv.gz", "trials/0001/verdict.json")
}
