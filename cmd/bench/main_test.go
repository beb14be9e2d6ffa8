package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/netns"
)

// playProgram runs a program that tests run in labs, if this process was started as one.
var playProgram = func() {}

// binaries is a folder that every user can read, with bench and bench-node.
var binaries string

func TestMain(m *testing.M) {
	netns.RunIfChild()
	playProgram()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quorumlab-bin-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir, ".", "../bench-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binaries: %v\n%s", err, out)
		return 1
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	binaries = dir
	return m.Run()
}

// needNetns skips where the engine can't work, with its reason.
var needNetns = func() func(t *testing.T) {
	check := sync.OnceValue(func() engine.Readiness {
		e, _ := engine.Lookup("netns")
		return e.Check(context.Background())[0]
	})
	return func(t *testing.T) {
		t.Helper()
		if r := check(); !r.OK {
			t.Skipf("engine netns: %s", r.Reason)
		}
	}
}()

// short makes an experiment of the shipped files take a second or two.
var short = []string{
	"--set", "phases.warmup=300ms", "--set", "phases.measure=1s", "--set", "workload.rate=20/s",
}

type finished struct {
	stdout, stderr string
	status         int
}

// bench runs the real program in a folder and waits for its end.
func bench(t *testing.T, dir string, arguments ...string) finished {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries, "bench"), arguments...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return finished{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// busy tells a run that is void because this machine had no time for it, from
// one that is void because of what the program did.
func busy(got finished) bool {
	return got.status == exitVoid && strings.Contains(got.stdout, "while the machine is idle")
}

// benchWhileIdle is bench for runs that must be valid. On a shared machine
// others may need the processors just then: such a run is tried again, and the test is
// skipped if that doesn't help.
func benchWhileIdle(t *testing.T, dir string, arguments ...string) finished {
	t.Helper()
	for range 3 {
		if got := bench(t, dir, arguments...); !busy(got) {
			return got
		}
		if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil {
			t.Fatal(err)
		}
	}
	got := bench(t, dir, arguments...)
	if busy(got) {
		t.Skipf("four times the machine was too busy for a run that counts:\n%s", got.stdout)
	}
	return got
}

// shipped is the absolute path of an experiment file of the repository.
func shipped(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../experiments", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Every bad spec: one clear error with its place, exit status 2, nothing made.
func TestABadSpecGivesOneErrorAndCreatesNothing(t *testing.T) {
	good, err := os.ReadFile(shipped(t, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("quickstart.yaml doesn't contain %q", old)
		}
		return strings.Replace(string(good), old, new, 1)
	}
	for _, c := range []struct{ name, content, want string }{
		{"unknown key", replace("rate: 20/s", "rat: 20/s"), "bad.yaml:19:3: unknown key workload.rat: did you mean workload.rate?"},
		{"negative delay", replace("delay: 20ms", "delay: -20ms"), "bad.yaml:15:17: topology.link.delay is -20ms: want a duration from 0 to 1h"},
		{"loss 110%", replace("rate: 1gbit", "loss: 110%"), "bad.yaml:15:29: topology.link.loss is 110%: want a probability from 0 to 1"},
		{"zero acceptors", replace("acceptors: 3", "acceptors: 0"), "bad.yaml:11:47: system.roles.acceptors is 0: want at least 1"},
		{"a rate of fast", replace("rate: 20/s", "rate: fast"), "bad.yaml:19:9: workload.rate is fast: want requests a second"},
		{"10,000 hosts", replace("acceptors: 3", "acceptors: 10000"), "bad.yaml:11:"},
		{"not YAML", "\x00\x01\x02 no {[ yaml", "bad.yaml"},
		{"a bad option", replace("roles:", "options: {window: 0}\n  roles:"), "bad.yaml:11:21: system.options.window is 0: want"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			got := bench(t, dir, "run", "bad.yaml")
			expectUsageError(t, got, c.want)
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
				t.Errorf("created %v", left)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) { expectUsageError(t, bench(t, t.TempDir(), "run", "."), "directory") })
	t.Run("a missing file", func(t *testing.T) { expectUsageError(t, bench(t, t.TempDir(), "run", "x.yaml"), "x.yaml") })
	t.Run("a bad flag", func(t *testing.T) { expectUsageError(t, bench(t, t.TempDir(), "run", "--sed", "3", "x.yaml"), "--sed") })
	t.Run("bad links", func(t *testing.T) {
		expectUsageError(t, bench(t, t.TempDir(), "run", "--links", "magic", "x.yaml"), "userspace")
	})
	t.Run("no spec", func(t *testing.T) { expectUsageError(t, bench(t, t.TempDir(), "run"), "accepts 1 arg") })
}

func expectUsageError(t *testing.T, got finished, want string) {
	t.Helper()
	if got.status != exitUsage || got.stdout != "" {
		t.Errorf("exit status %d, stdout %q", got.status, got.stdout)
	}
	if !strings.Contains(got.stderr, want) || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("stderr, want one line with %q:\n%s", want, got.stderr)
	}
}

func TestInitWritesASpecThatRuns(t *testing.T) {
	dir := t.TempDir()
	spec := bench(t, dir, "init")
	if err := os.WriteFile(filepath.Join(dir, "my.yaml"), []byte(spec.stdout), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := bench(t, dir, "plan", "my.yaml"); got.status != exitGood || !strings.Contains(got.stdout, "trial 1:") {
		t.Errorf("plan: status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
}

func TestEveryShippedExperimentHasAPlan(t *testing.T) {
	files, err := filepath.Glob("../../experiments/*.yaml")
	more, err2 := filepath.Glob("../../experiments/*/*.yaml")
	if err != nil || err2 != nil || len(files) == 0 || len(more) == 0 {
		t.Fatal("no experiments found", err, err2)
	}
	for _, file := range append(files, more...) {
		path, _ := filepath.Abs(file)
		if got := bench(t, t.TempDir(), "plan", path); got.status != exitGood || !strings.Contains(got.stdout, " of disk") {
			t.Errorf("%s: status %d\n%s%s", file, got.status, got.stdout, got.stderr)
		}
	}
}

func TestHelpVersionAndCompletion(t *testing.T) {
	for _, c := range []struct {
		arguments []string
		says      string
	}{
		{nil, "bench run experiments/quickstart.yaml"},
		{[]string{"--help"}, "doctor"},
		{[]string{"--help"}, "simulates all that in virtual time"},
		{[]string{"run", "--help"}, "Exit status"},
		{[]string{"run", "--help"}, "the links of engine netns"},
		{[]string{"run", "--help"}, "which engine netns runs"},
		{[]string{"version"}, "bench 0."},
		{[]string{"completion", "bash"}, "bash completion"},
	} {
		if got := bench(t, t.TempDir(), c.arguments...); got.status != exitGood || !strings.Contains(got.stdout, c.says) {
			t.Errorf("bench %v: status %d\n%s%s", c.arguments, got.status, got.stdout, got.stderr)
		}
	}
}

func TestDoctorNamesEveryEngineAndLinkExecutor(t *testing.T) {
	got := bench(t, t.TempDir(), "doctor")
	for _, name := range []string{"netns", "userspace", "kernel", "sim "} {
		if !strings.Contains(got.stdout, name) {
			t.Errorf("doctor doesn't mention %s:\n%s", name, got.stdout)
		}
	}
	if got := bench(t, t.TempDir(), "doctor", "--json"); !strings.HasPrefix(got.stdout, "[") {
		t.Errorf("doctor --json printed %q", got.stdout)
	}
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30s for %s", what)
		}
	}
}
