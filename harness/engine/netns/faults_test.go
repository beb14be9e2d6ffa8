//go:build linux

package netns

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

func TestTheStateOfAProcessIsTheKernels(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	p := start(t, l, "h1", "burn")
	line(t, p)
	until := func(when string, want ...string) (state engine.ProcessState) {
		t.Helper()
		for range 1000 {
			var err error
			if state, err = p.State(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, one := range want {
				if state.Letter == one {
					return state
				}
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("%s: %+v, want one of %q", when, state, want)
		return state
	}
	first := until("busy", "R", "S")
	for later := first; later.CPUNS < first.CPUNS+int64(5*time.Millisecond); later = until("busy", "R", "S") {
		if later.CPUNS < first.CPUNS {
			t.Fatalf("it used %d ns of processors, then %d", first.CPUNS, later.CPUNS)
		}
	}
	send(t, p, syscall.SIGSTOP)
	still := until("stopped", "T")
	time.Sleep(20 * time.Millisecond)
	later := until("stopped", "T")
	// Of its threads some may have run on for a moment.
	if later.CPUNS > still.CPUNS+int64(5*time.Millisecond) || later.StoppedNS < still.StoppedNS+int64(15*time.Millisecond) {
		t.Errorf("while it was stopped %+v became %+v", still, later)
	}
	send(t, p, syscall.SIGCONT)
	if on := until("going on", "R", "S"); on.StoppedNS < later.StoppedNS {
		t.Errorf("going on it forgot some of %d ns for which it was stopped: %+v", later.StoppedNS, on)
	}
	send(t, p, syscall.SIGKILL)
	gone := until("killed", "")
	if got := exit(t, p); gone.CPUNS != got.UserNS+got.SystemNS || gone.CPUNS < still.CPUNS-int64(10*time.Millisecond) {
		t.Errorf("killed it used %d ns, stopped %d ns, by its exit %+v", gone.CPUNS, still.CPUNS, got)
	}
	l.Close()
	if state, err := p.State(t.Context()); state != gone || err != nil {
		t.Errorf("of a closed lab: %+v, %v", state, err)
	}
}

// TestSlowCommandsDoNotHoldUpWhatConcernsAProcess asks while the init has lots to do.
func TestSlowCommandsDoNotHoldUpWhatConcernsAProcess(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	p := start(t, l, "h1", "stay")
	const slow = 5
	var answered atomic.Int32
	var callers sync.WaitGroup
	for range slow {
		callers.Go(func() {
			if _, err := l.init.call(t.Context(), request{Probe: &probeRequest{}}); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		})
	}
	for waiting := 0; waiting < slow-int(answered.Load()); time.Sleep(time.Millisecond) {
		l.init.mutex.Lock()
		waiting = len(l.init.pending)
		l.init.mutex.Unlock()
	}
	time.Sleep(5 * time.Millisecond) // what is pending is sent
	if letter(t, p) == "" {
		t.Error("it has ended")
	}
	send(t, p, syscall.SIGSTOP)
	throttleTo(t, p, 0.5)
	if done := answered.Load(); done == slow {
		t.Errorf("it was answered only after %d slow commands", done)
	}
	callers.Wait()
}

// TestASignalWaitsForTheStartOfItsProcess: who no longer waits for a start has the process
// killed, though it may have yet to be started.
func TestASignalWaitsForTheStartOfItsProcess(t *testing.T) {
	token := newToken()
	t.Setenv(tokenVariable, token)
	l := buildStar(t, 1, topologies.Parameters{})
	before := len(marked(t, token))
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Microsecond)
		p, err := l.Start(ctx, "h1", engine.Command{Name: "stay", Arguments: []string{"stay"}})
		cancel()
		if err == nil {
			send(t, p.(*process), syscall.SIGKILL)
			exit(t, p)
		}
	}
	untilFewer(t, "processes of the lab", before, func() int { return len(marked(t, token)) })
}

func TestAProcessIsStartedAgainManyTimesWithoutLeaks(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	again := func() {
		p := start(t, l, "h1", "leave")
		var nothing [1]byte
		for _, err := p.Stdout().Read(nothing[:]); err == nil; _, err = p.Stdout().Read(nothing[:]) {
		}
		exit(t, p)
	}
	for range 20 {
		again()
	}
	ours, goroutines := len(descriptors(t)), runtime.NumGoroutine()
	inits, threads := initDescriptors(t, l), initThreads(t, l)
	for i := range 200 {
		if i%4 != 0 {
			again()
			continue
		}
		p := start(t, l, "h1", "stay")
		send(t, p, syscall.SIGKILL)
		if got := exit(t, p); got.Signal != "SIGKILL" {
			t.Errorf("exit %+v", got)
		}
		var nothing [1]byte
		if n, err := p.Stdout().Read(nothing[:]); n != 0 || err == nil {
			t.Errorf("read %d bytes of one that was killed, %v", n, err)
		}
	}
	untilFewer(t, "descriptors of the controller", ours, func() int { return len(descriptors(t)) })
	untilFewer(t, "goroutines of the controller", goroutines, runtime.NumGoroutine)
	untilFewer(t, "descriptors of the init", inits, func() int { return initDescriptors(t, l) })
	untilFewer(t, "threads of the init", threads+5, func() int { return initThreads(t, l) })
	if len(l.outputs) != 0 || len(l.processes) != boolCount(l.emulator != nil) || len(l.init.pending) != 0 {
		t.Errorf("the lab remembers %d outputs, %d processes, %d calls", len(l.outputs), len(l.processes), len(l.init.pending))
	}
}

func boolCount(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestAProcessHasItsNumberInAnyProc(t *testing.T) {
	own := os.Getpid()
	// The test's own /proc is of its own PID namespace: both ways lead to the same.
	for name, number := range map[string]func(int) (string, error){"itself": numberInProc, "by a descriptor": numberByDescriptor} {
		if got, err := number(own); got != strconv.Itoa(own) || err != nil {
			t.Errorf("%s: %q, %v, want %d", name, got, err, own)
		}
	}
	if got, err := numberByDescriptor(1 << 30); err == nil {
		t.Errorf("nobody's number is %q", got)
	}
}

func TestAProcessThatNobodyHasWaitedForYetHasEnded(t *testing.T) {
	command := exec.Command(self, "leave")
	command.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	r := &reaper{children: map[uint64]*child{1: {process: 1, pid: command.Process.Pid}}}
	for range 2000 {
		state, err := r.state(1)
		if err != nil {
			t.Fatal(err)
		}
		if state.Letter == "" {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("a process that has ended still has a state")
}

func TestStatsAreRead(t *testing.T) {
	const tail = " 1 2 3 4 5 6 7 8 9 10 150 25 16"
	for _, test := range []struct {
		text string
		want engine.ProcessState
	}{
		{"12 (bench-node) S" + tail, engine.ProcessState{Letter: "S", CPUNS: 1_750_000_000}},
		{"12 (a) R (b) T" + tail + "\n", engine.ProcessState{Letter: "T", CPUNS: 1_750_000_000}},
		{"12 (a b) Z" + tail, engine.ProcessState{Letter: "Z", CPUNS: 1_750_000_000}},
	} {
		if got, err := parseStat([]byte(test.text)); got != test.want || err != nil {
			t.Errorf("%q: %+v, %v", test.text, got, err)
		}
	}
	for _, text := range []string{"", "12 bench-node S" + tail, "12 (a) S 1 2", "12 (a) SS" + tail, "12 (a) S 1 2 3 4 5 6 7 8 9 10 -1 25", "12 (a) S 1 2 3 4 5 6 7 8 9 10 x 25"} {
		if got, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("12 (a) R (b) T 1 2 3 4 5 6 7 8 9 10 150 25 16"))
	f.Add([]byte("12 (a) S 1 2 3 4 5 6 7 8 9 10 9223372036854775807 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if state, err := parseStat(data); err == nil && (len(state.Letter) != 1 || state.CPUNS < 0) {
			t.Errorf("%q: %+v", data, state)
		}
	})
}

// buildUserspace builds a lab whose emulator carries the frames, of links that won't do
// more than delay.
func buildUserspace(t *testing.T, topology *topologies.Topology) *lab {
	t.Helper()
	b := blueprint(1, topologies.Parameters{})
	b.Topology, b.Links = topology, engine.LinksUserspace
	l, err := netnsEngine{}.Build(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*lab)
}

// reported finds the counters of a direction or a pair.
func reported(t *testing.T, l *lab, from, to string) engine.DirectionReport {
	t.Helper()
	report, err := l.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range slices.Concat(report.Pairs, report.Directions) {
		if one.From == from && one.To == to {
			return one
		}
	}
	t.Fatalf("nothing from %s to %s in %+v", from, to, report)
	return engine.DirectionReport{}
}

// untilDropped waits until a direction or a pair has dropped so many frames because it is
// down.
func untilDropped(t *testing.T, l *lab, from, to string, drops uint64) {
	t.Helper()
	var last engine.DirectionReport
	for range 1000 {
		if last = reported(t, l, from, to); last.DownDrops >= drops {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if last.DownDrops != drops {
		t.Errorf("%+v, want %d frames dropped because it is down", last, drops)
	}
}

func TestAPairIsCutOneWayAndHealed(t *testing.T) {
	l := buildUserspace(t, topologies.Star(3, topologies.Parameters{Delay: time.Millisecond}))
	p := newPinger(t, l) // from h1 to h2
	set := func(from, to string, p *topologies.Parameters) {
		t.Helper()
		if err := l.SetPairs(t.Context(), onePair(from, to, p)); err != nil {
			t.Fatal(err)
		}
	}
	set("h2", "h1", &topologies.Parameters{Down: true})
	p.send()
	untilDropped(t, l, "h2", "h1", 1) // so it came to h2
	if got := line(t, start(t, l, "h3", "ask", "udp", "198.18.0.2:7000", "hello")); got != "hello" {
		t.Errorf("from a host that isn't cut off: %q", got)
	}
	set("h2", "h1", nil)
	p.rtt()
	if got := reported(t, l, "h2", "h1"); got.Link != "h2>h1" || got.DownDrops != 1 || got.Frames != 0 {
		t.Errorf("after its end: %+v", got)
	}
	slow := &topologies.Parameters{Delay: 200 * time.Millisecond}
	set("h1", "h2", slow)
	if rtt := p.rtt(); rtt < slow.Delay || rtt >= 2*slow.Delay {
		t.Errorf("slowed down one way: a round trip of %v", rtt)
	}
}

func TestFramesWithoutAWayAreCountedAtTheFirstLinkThatIsDownAndTheLabHeals(t *testing.T) {
	l := buildUserspace(t, ring(time.Millisecond, 5*time.Millisecond))
	p := newPinger(t, l)
	up, down := topologies.Parameters{Delay: time.Millisecond}, topologies.Parameters{Delay: time.Millisecond, Down: true}
	set := func(link string, aToB, bToA topologies.Parameters) {
		t.Helper()
		if err := l.SetLink(t.Context(), link, aToB, bToA); err != nil {
			t.Fatal(err)
		}
	}
	for round := range uint64(3) {
		// The host's own link.
		set("h1-s1", down, down)
		p.send()
		untilDropped(t, l, "h1", "s1", round+1)
		set("h1-s1", up, up)
		p.rtt()
		// Its switch's links: what it sends gets as far as that.
		set("s1-s2", down, down)
		set("s1-s3", down, down)
		p.send()
		untilDropped(t, l, "s1", "s2", round+1)
		set("s1-s3", up, up) // the longer way
		p.rtt()
		// One way only: the answer is lost.
		set("h1-s1", up, down)
		p.send()
		untilDropped(t, l, "s1", "h1", round+1)
		set("h1-s1", up, up)
		set("s1-s2", up, up)
		p.rtt()
	}
	report, err := l.Report(t.Context())
	if err != nil || report.EmulatorDrops != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestNothingGrowsHoweverManyFaultsThereAre looks at the controller, the init and the
// emulator while links, pairs and processes change all the time.
func TestNothingGrowsHoweverManyFaultsThereAre(t *testing.T) {
	l := buildUserspace(t, topologies.Star(4, topologies.Parameters{Delay: time.Millisecond}))
	p := start(t, l, "h1", "stay")
	up, down := topologies.Parameters{Delay: time.Millisecond}, topologies.Parameters{Down: true}
	rounds := func(count int) {
		for range count {
			for _, err := range []error{
				l.SetLink(t.Context(), "h1-s1", down, down), l.SetPairs(t.Context(), onePair("h2", "h3", &down)),
				p.Signal(syscall.SIGSTOP), p.Throttle(t.Context(), 0.5),
				l.SetLink(t.Context(), "h1-s1", up, up), l.SetPairs(t.Context(), onePair("h2", "h3", nil)),
				p.Signal(syscall.SIGCONT), p.Throttle(t.Context(), 1),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			letter(t, p)
		}
	}
	rounds(100)
	ours, goroutines := len(descriptors(t)), runtime.NumGoroutine()
	inits, memory := initDescriptors(t, l), initMemory(t, l)
	rounds(200)
	untilFewer(t, "descriptors of the controller", ours, func() int { return len(descriptors(t)) })
	untilFewer(t, "goroutines of the controller", goroutines, runtime.NumGoroutine)
	untilFewer(t, "descriptors of the init", inits, func() int { return initDescriptors(t, l) })
	if grown := initMemory(t, l) - memory; grown > 16<<20 {
		t.Errorf("the init's memory grew by %d MB from %d MB", grown>>20, memory>>20)
	}
}

// initMemory is how much memory the init holds, in bytes.
func initMemory(t *testing.T, l *lab) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(l.init.process.Pid) + "/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func TestPairsThatCannotBeChangedAreRefused(t *testing.T) {
	l := buildUserspace(t, topologies.Star(2, topologies.Parameters{Delay: time.Millisecond}))
	for name, test := range map[string]struct {
		from, to string
		p        *topologies.Parameters
		want     string
		is       error
	}{
		"from nobody":       {"h9", "h1", &topologies.Parameters{}, `"h9"`, ErrNoHost},
		"to nobody":         {"h1", "s1", nil, `"s1"`, ErrNoHost},
		"to itself":         {"h1", "h1", nil, "itself", nil},
		"nonsense":          {"h1", "h2", &topologies.Parameters{Loss: 2}, "loss is 2", nil},
		"loss, not built":   {"h1", "h2", &topologies.Parameters{Loss: 0.5}, "Changing", engine.ErrUnsupported},
		"jitter, not built": {"h1", "h2", &topologies.Parameters{Delay: 2, Jitter: 1, JitterDistribution: "uniform"}, "Changing", engine.ErrUnsupported},
	} {
		err := l.SetPairs(t.Context(), onePair(test.from, test.to, test.p))
		if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := engine.PairChange{From: "h1", To: "h2", Parameters: &topologies.Parameters{Delay: time.Second}}
	bad := engine.PairChange{From: "h1", To: "h9", Parameters: good.Parameters}
	if err := l.SetPairs(t.Context(), []engine.PairChange{good, bad}); !errors.Is(err, ErrNoHost) {
		t.Errorf("one of two: %v", err)
	}
	if report, err := l.Report(t.Context()); err != nil || len(report.Pairs) != 0 {
		t.Errorf("after all that was refused: %+v, %v", report.Pairs, err)
	}
}

func TestTheKernelsLinksDoNotTellPairsApart(t *testing.T) {
	b := blueprint(2, topologies.Parameters{})
	b.Links = engine.LinksKernel
	l, err := netnsEngine{}.Build(t.Context(), b)
	if errors.Is(err, link.ErrKernelCannot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = l.SetPairs(t.Context(), onePair("h1", "h2", &topologies.Parameters{Down: true}))
	if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "--links userspace") {
		t.Errorf("%v", err)
	}
}

// onePair is a change of one pair of hosts.
func onePair(from, to string, parameters *topologies.Parameters) []engine.PairChange {
	return []engine.PairChange{{From: from, To: to, Parameters: parameters}}
}
