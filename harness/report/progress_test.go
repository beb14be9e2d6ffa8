package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/harness/engine"
)

// lockedBuffer may be written to and read by several goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(data)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func twoTrials(p Progress) {
	p.Plan([]string{"2 trials, about 2 m"})
	for i := 1; i <= 2; i++ {
		p.TrialStart(i, 2, "replicas=3")
		p.TrialPhase("measure")
		for second := range 50 {
			p.TrialLive(time.Duration(second)*time.Second, time.Minute, 19.9, 240*time.Millisecond)
		}
		p.Fault("20.0 s: crash1 hit leader1")
		p.TrialEnd("valid")
	}
	p.Close()
	p.Close()
	p.Fault("after the end")
	p.TrialStart(3, 2, "after the end")
	p.TrialLive(time.Second, time.Minute, 1, 1)
	p.TrialEnd("after the end")
}

func TestLineProgressIsOneLineAtStartAndEnd(t *testing.T) {
	var out bytes.Buffer
	twoTrials(NewProgress(&out, false, false))
	want := "2 trials, about 2 m\n" +
		"trial 1/2 replicas=3: started\ntrial 1/2 replicas=3: 20.0 s: crash1 hit leader1\ntrial 1/2 replicas=3: valid\n" +
		"trial 2/2 replicas=3: started\ntrial 2/2 replicas=3: 20.0 s: crash1 hit leader1\ntrial 2/2 replicas=3: valid\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestOfManyFaultsOfATrialOnlyTheFirstGetLines(t *testing.T) {
	for _, isTerminal := range []bool{false, true} {
		out := &lockedBuffer{}
		p := NewProgress(out, isTerminal, false)
		for trial := 1; trial <= 2; trial++ {
			p.TrialStart(trial, 2, "")
			for range 1000 {
				p.Fault("FAULT")
			}
			p.TrialEnd("valid")
		}
		p.Close()
		if got := strings.Count(screen(out.String()), "FAULT"); got != 2*maxFaultLines {
			t.Errorf("terminal %t: %d lines about faults, want %d", isTerminal, got, 2*maxFaultLines)
		}
	}
}

func TestQuietProgressIsSilent(t *testing.T) {
	for _, isTerminal := range []bool{false, true} {
		var out bytes.Buffer
		twoTrials(NewProgress(&out, isTerminal, true))
		if out.Len() > 0 {
			t.Errorf("terminal %t: wrote %q", isTerminal, out.String())
		}
	}
}

func TestBarProgressLeavesOnlyVerdicts(t *testing.T) {
	out := &lockedBuffer{}
	twoTrials(NewProgress(out, true, false))
	var left []string
	for line := range strings.Lines(screen(out.String())) {
		left = append(left, strings.TrimSpace(line))
	}
	want := []string{"2 trials, about 2 m",
		"trial 1/2 replicas=3: 20.0 s: crash1 hit leader1", "trial 1/2 replicas=3: valid",
		"trial 2/2 replicas=3: 20.0 s: crash1 hit leader1", "trial 2/2 replicas=3: valid"}
	if fmt.Sprint(left) != fmt.Sprint(want) {
		t.Errorf("the screen shows %q, want %q", left, want)
	}
}

func TestBarProgressShowsRateAndLatency(t *testing.T) {
	out := &lockedBuffer{}
	p := NewProgress(out, true, false)
	p.TrialStart(3, 15, "replicas=3")
	p.TrialPhase("warmup")
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(out.String(), "240.31 ms") && time.Now().Before(deadline) {
		p.TrialLive(12*time.Second, 70*time.Second, 19.9, 240310*time.Microsecond)
		time.Sleep(10 * time.Millisecond)
	}
	p.Close()
	for _, want := range []string{"trial 3/15", "warmup", "12/70 s", "19.90/s", "240.31 ms"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the bar lacks %q: %q", want, out.String())
		}
	}
	if left := strings.TrimSpace(screen(out.String())); left != "" {
		t.Errorf("an interrupted bar left %q", left)
	}
}

// sideBySide ends twelve trials, one of them void.
func sideBySide(p Progress) {
	p.Plan([]string{"12 trials"})
	p.TrialsStart(12)
	for i := 1; i <= 12; i++ {
		p.TrialsLive(i, time.Second, 2*time.Second)
		verdict := "valid"
		if i == 5 {
			verdict = "VOID: h1 is slow"
		}
		p.TrialsDone(i, "replicas=3", verdict, i != 5)
	}
	p.Close()
	p.TrialsLive(1, time.Second, time.Second)
	p.TrialsDone(13, "after the end", "valid", true)
}

func TestTrialsSideBySideAreALineATenthAndOneForEachVoidOne(t *testing.T) {
	var out bytes.Buffer
	sideBySide(NewProgress(&out, false, false))
	want := "12 trials\n" +
		"2 of 12 trials done\n3 of 12 trials done\n4 of 12 trials done\n" +
		"trial 5/12 replicas=3: VOID: h1 is slow\n5 of 12 trials done, 1 void\n" +
		"6 of 12 trials done, 1 void\n8 of 12 trials done, 1 void\n9 of 12 trials done, 1 void\n" +
		"10 of 12 trials done, 1 void\n11 of 12 trials done, 1 void\n12 of 12 trials done, 1 void\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestOfManyVoidTrialsOnlyTheFirstAreNamed(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, false, false)
	p.TrialsStart(1000)
	for i := 1; i <= 1000; i++ {
		p.TrialsDone(i, "", "VOID: slow", false)
	}
	if got := strings.Count(out.String(), "\n"); got != maxVoidLines+1+10 {
		t.Errorf("%d lines for 1,000 void trials", got)
	}
	if !strings.HasSuffix(out.String(), "1000 of 1000 trials done, 1000 void\n") {
		t.Errorf("the end is missing:\n%s", out.String())
	}
}

func TestTheBarOfTrialsSideBySideLeavesTheVoidOnesAndTheCount(t *testing.T) {
	out := &lockedBuffer{}
	sideBySide(NewProgress(out, true, false))
	want := "12 trials\ntrial 5/12 replicas=3: VOID: h1 is slow\n12 of 12 trials done, 1 void"
	var left []string
	for line := range strings.Lines(screen(out.String())) {
		left = append(left, strings.TrimSpace(line))
	}
	if got := strings.Join(left, "\n"); got != want {
		t.Errorf("the screen shows\n%s\nwant\n%s", got, want)
	}
}

func TestTheBarOfTrialsSideBySideMovesWithinATrial(t *testing.T) {
	out := &lockedBuffer{}
	p := NewProgress(out, true, false).(*barProgress)
	p.TrialsStart(2)
	p.TrialsLive(1, time.Second, 4*time.Second)
	p.TrialsLive(2, 3*time.Second, 4*time.Second)
	p.TrialsLive(2, 9*time.Second, 4*time.Second)
	p.TrialsLive(2, 0, 4*time.Second)
	if p.sum != 250+1000 {
		t.Errorf("%d thousandths are done, want 1250", p.sum)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(out.String(), "0 of 2 trials done") && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	p.Close()
	if !strings.Contains(out.String(), "0 of 2 trials done") {
		t.Errorf("the bar says %q", out.String())
	}
}

func TestProgressFromManyGoroutines(t *testing.T) {
	for _, isTerminal := range []bool{false, true} {
		p := NewProgress(&lockedBuffer{}, isTerminal, false)
		var wait sync.WaitGroup
		for i := range 8 {
			wait.Go(func() {
				for n := range 20 {
					p.TrialStart(i, 8, "x")
					p.TrialPhase("measure")
					p.TrialLive(time.Duration(n), time.Minute, 1, 1)
					p.TrialEnd("valid")
				}
				p.TrialsStart(20)
				for n := range 20 {
					p.TrialsLive(n, time.Second, time.Minute)
					p.TrialsDone(n, "x", "VOID", false)
				}
			})
		}
		wait.Go(func() {
			time.Sleep(time.Millisecond)
			p.Close()
		})
		wait.Wait()
		p.Close()
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestProgressOutlivesABrokenTerminal(t *testing.T) {
	twoTrials(NewProgress(brokenWriter{}, true, false))
}

// screen plays the two sequences that bars use, cursor up and erase below, and
// returns what is left to see.
func screen(output string) string {
	lines := []string{""}
	for len(output) > 0 {
		var up int
		switch {
		case strings.HasPrefix(output, "\x1b["):
			end := strings.IndexAny(output, "AJ")
			if output[end] == 'A' {
				if _, err := fmt.Sscanf(output, "\x1b[%dA", &up); err != nil {
					panic(err)
				}
				lines = lines[:len(lines)-up]
				lines[len(lines)-1] = ""
			}
			output = output[end+1:]
		case output[0] == '\n':
			lines = append(lines, "")
			output = output[1:]
		default:
			lines[len(lines)-1] += output[:1]
			output = output[1:]
		}
	}
	return strings.TrimSuffix(strings.Join(lines, "\n"), "\n")
}

func TestDoctorGolden(t *testing.T) {
	rows := []engine.Readiness{
		{Name: "netns", OK: true, Reason: "user and network namespaces can be made"},
		{Name: "netns kernel links", Reason: "this kernel has no sch_netem",
			Mend: []string{"# as root, load the module", "sudo modprobe sch_netem"}},
		{Name: "netns userspace links", OK: true, Reason: "frames arrive when they should"},
		{Name: "mininet", Reason: "there is no program mn"},
	}
	var out bytes.Buffer
	if err := Doctor(&out, rows, Options{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "doctor", out.String())
}

func TestNoTerminalNoColor(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if options := TerminalOptions(file); options.Color || options.Width != DefaultWidth {
		t.Errorf("a file has %+v", options)
	}
}

func TestProgressLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		twoTrials(NewProgress(&lockedBuffer{}, true, false))
		sideBySide(NewProgress(&lockedBuffer{}, true, false))
		sideBySide(NewProgress(brokenWriter{}, true, false))
		p := NewProgress(brokenWriter{}, true, false)
		p.TrialStart(1, 1, "interrupted")
		p.Close()
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
