//go:build linux

package netns

import (
	"crypto/sha256"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

func init() {
	parts["burn"] = nodeBurn
	parts["leave"] = func([]string) error { return nil }
}

// nodeBurn keeps a processor busy until standard input ends.
func nodeBurn([]string) error {
	var one [1]byte
	go func() {
		os.Stdin.Read(one[:])
		os.Exit(0)
	}()
	os.Stdout.WriteString("ready\n")
	for sum := [32]byte{}; ; sum = sha256.Sum256(sum[:]) {
	}
}

// TestTheShareIsRightInTheMeanHoweverLateSignalsAre plays a throttle in virtual time.
func TestTheShareIsRightInTheMeanHoweverLateSignalsAre(t *testing.T) {
	for _, late := range []struct{ stop, goOn time.Duration }{
		{0, 0}, {100 * time.Microsecond, 100 * time.Microsecond}, {2 * time.Millisecond, 10 * time.Microsecond}, {0, 5 * time.Millisecond},
	} {
		for _, share := range []float64{0.01, 0.05, 0.1, 0.5, 0.9, 0.99} {
			generator := rand.New(rand.NewPCG(1, 2))
			throttled := throttle{share: share}
			began := time.Unix(0, 0)
			now := began
			throttled.restart(now)
			var ran time.Duration
			turns := 0
			for now.Sub(began) < time.Minute {
				by := late.goOn
				if throttled.running {
					by = late.stop
				}
				next := throttled.due.Add(time.Duration(generator.Float64() * 2 * float64(by)))
				if throttled.running {
					ran += next.Sub(now)
				}
				now = next
				throttled.turn(now)
				turns++
			}
			got := float64(ran) / float64(now.Sub(began))
			// Who is always late by more than what is corrected can't have the share.
			if correctable := float64(late.stop)*(1-share) < maxDebtPeriods*throttled.fullNS()/4; correctable && math.Abs(got-share) > 0.005*share+0.0005 {
				t.Errorf("late by %v and %v: a share of %.4f, want %v", late.stop, late.goOn, got, share)
			}
			if period := now.Sub(began) / time.Duration(turns/2); late.stop == 0 && late.goOn == 0 && share >= 0.05 && share <= 0.95 && (period-throttlePeriod).Abs() > throttlePeriod/1000 {
				t.Errorf("a share of %v: a period of %v", share, period)
			}
		}
	}
}

func TestAMachineThatStoodStillIsNotFollowedByALongPause(t *testing.T) {
	for _, share := range []float64{0.1, 0.9} {
		throttled := throttle{share: share}
		now := time.Unix(0, 0)
		throttled.restart(now)
		for range 2 { // while it runs, and while it is stopped
			now = now.Add(time.Minute)
			throttled.turn(now)
			if wait := throttled.due.Sub(now); wait > (maxDebtPeriods+2)*throttlePeriod || wait < 0 {
				t.Errorf("a share of %v, running %v: the next signal is sent after %v", share, throttled.running, wait)
			}
		}
	}
}

// stoppedShare is the share of the time in which a process is seen stopped, at random
// times. Whether it gets a processor in the rest doesn't matter.
func stoppedShare(t *testing.T, p engine.Process, samples int) float64 {
	t.Helper()
	stopped := 0
	for range samples {
		if letter(t, p) == "T" {
			stopped++
		}
		time.Sleep(time.Duration(rand.Int64N(int64(5 * time.Millisecond))))
	}
	return float64(stopped) / float64(samples)
}

func letter(t *testing.T, p engine.Process) string {
	t.Helper()
	state, err := p.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state.Letter
}

func throttleTo(t *testing.T, p engine.Process, share float64) {
	t.Helper()
	if err := p.Throttle(t.Context(), share); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, p engine.Process, signal syscall.Signal) {
	t.Helper()
	if err := p.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

func TestAThrottledProcessIsStoppedForTheRestOfTheTime(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	p := start(t, l, "h1", "burn")
	line(t, p)
	for _, share := range []float64{0.1, 0.7} {
		throttleTo(t, p, share)
		before, err := p.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		// Who samples on a busy machine gets to run most when the process doesn't.
		if got := stoppedShare(t, p, 120); got < 0.15 || got > 0.98 {
			t.Errorf("a share of %v: seen stopped %.3f of the time", share, got)
		}
		after, err := p.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		if got := float64(after.StoppedNS-before.StoppedNS) / float64(took); math.Abs(got-(1-share)) > 0.2 { // a busy machine lets init be late
			t.Errorf("a share of %v: stopped for %.3f of the time", share, got)
		}
		// It has one thread that works; the Go runtime's others do next to nothing.
		if used := float64(after.CPUNS-before.CPUNS) / float64(took); used > share+0.1 || used <= 0 {
			t.Errorf("a share of %v: it used %.3f of a processor", share, used)
		}
	}
	throttleTo(t, p, 1)
	if got := stoppedShare(t, p, 20); got != 0 {
		t.Errorf("with all of a processor it is stopped for %.3f of the time", got)
	}
}

func TestWhatSignalStoppedAThrottleDoesNotLetGo(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	p := start(t, l, "h1", "burn")
	line(t, p)
	stopped := func(when string) {
		t.Helper()
		for range 1000 { // a signal to a thread that runs takes a moment
			if letter(t, p) == "T" {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if got := stoppedShare(t, p, 20); got != 1 {
			t.Errorf("%s: stopped for %.2f of the time, want all of it", when, got)
		}
	}
	throttleTo(t, p, 0.5)
	send(t, p, syscall.SIGSTOP)
	stopped("stopped while throttled")
	send(t, p, syscall.SIGCONT)
	if got := stoppedShare(t, p, 50); got < 0.05 || got > 0.95 {
		t.Errorf("told to go on it is stopped for %.2f of the time, want half of it", got)
	}
	send(t, p, syscall.SIGSTOP)
	throttleTo(t, p, 0.9)
	stopped("throttled otherwise while stopped")
	throttleTo(t, p, 1)
	stopped("no longer throttled while stopped")
	send(t, p, syscall.SIGCONT)
	if got := stoppedShare(t, p, 10); got != 0 {
		t.Errorf("neither throttled nor stopped, it is for %.2f of the time", got)
	}
}

func TestAThrottleEndsWithItsProcess(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	warm := start(t, l, "h1", "stay")
	throttleTo(t, warm, 0.5)
	send(t, warm, syscall.SIGKILL)
	exit(t, warm)
	before := initDescriptors(t, l)
	for i := range 10 {
		p := start(t, l, "h1", "stay")
		throttleTo(t, p, 0.05)
		throttleTo(t, p, 0.95)
		if i%2 == 0 {
			send(t, p, syscall.SIGSTOP)
		}
		send(t, p, syscall.SIGKILL)
		if got := exit(t, p); got.Signal != "SIGKILL" {
			t.Errorf("exit %+v", got)
		}
		if err := p.Throttle(t.Context(), 0.5); err == nil {
			t.Error("a process that has ended was throttled")
		}
	}
	untilFewer(t, "descriptors of the init", before, func() int { return initDescriptors(t, l) })
	// Each throttle has a thread.
	if names := initThreads(t, l); names > 40 {
		t.Errorf("the init has %d threads", names)
	}
}

func TestSharesThatMakeNoSenseAreRefused(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	p := start(t, l, "h1", "stay")
	for _, share := range []float64{0, -0.5, 1.5} {
		if err := p.Throttle(t.Context(), share); err == nil {
			t.Errorf("a share of %v was taken", share)
		}
	}
	if got := stoppedShare(t, p, 10); got != 0 {
		t.Errorf("refused, but stopped for %.2f of the time", got)
	}
}

// initDescriptors counts the init's open files, initThreads its threads.
func initDescriptors(t *testing.T, l *lab) int { return initEntries(t, l, "fd") }
func initThreads(t *testing.T, l *lab) int     { return initEntries(t, l, "task") }

func initEntries(t *testing.T, l *lab, folder string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(l.init.process.Pid) + "/" + folder)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// untilFewer waits until a number isn't above a limit.
func untilFewer(t *testing.T, what string, limit int, count func() int) {
	t.Helper()
	got := 0
	for range 200 {
		if got = count(); got <= limit {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: %d, before %d", what, got, limit)
}
