package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
	"quorumlab/topologies"
)

// scriptedLab starts processes that do what a test says.
type scriptedLab struct {
	engine.Lab
	mu      sync.Mutex
	started []*scriptedProcess
}

func (*scriptedLab) ClockOffset(context.Context, string) (offset, bound time.Duration, err error) {
	return 0, 0, nil
}

func (l *scriptedLab) Start(_ context.Context, _ string, command engine.Command) (engine.Process, error) {
	p := &scriptedProcess{name: command.Name, done: make(chan struct{})}
	stdin, commands := io.Pipe()
	lines, stdout := io.Pipe()
	p.stdin, p.stdout, p.says = commands, lines, stdout
	go p.serve(stdin)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = append(l.started, p)
	return p, nil
}

// life is the process of one of the node's lives, counted from 0; nil if that hasn't begun.
func (l *scriptedLab) life(name string, number int) *scriptedProcess {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.started {
		if p.name == name {
			if number == 0 {
				return p
			}
			number--
		}
	}
	return nil
}

type scriptedProcess struct {
	name   string
	stdin  *io.PipeWriter
	stdout *io.PipeReader
	says   *io.PipeWriter
	done   chan struct{}

	mu       sync.Mutex
	standing control.Standing
	// killed is called in the place of dying by a signal, injected before an injection is
	// answered.
	killed, injected func()
}

func (p *scriptedProcess) say(line control.Line) {
	data, _ := json.Marshal(line)
	_, _ = p.says.Write(append(data, '\n'))
}

func (p *scriptedProcess) serve(commands *io.PipeReader) {
	hello := control.Line{Type: control.TypeHello, Hello: &control.Hello{}}
	hello.Hello.Version = control.Version
	p.say(hello)
	for scanner := bufio.NewScanner(commands); scanner.Scan(); {
		var command control.Command
		if json.Unmarshal(scanner.Bytes(), &command) != nil {
			continue
		}
		p.mu.Lock()
		standing, injected := p.standing, p.injected
		p.mu.Unlock()
		if command.Command == control.CommandInject && injected != nil {
			injected()
		}
		p.say(control.Line{Type: control.TypeAnswer, ID: command.ID, Standing: &standing})
	}
}

// die ends the process.
func (p *scriptedProcess) die() {
	p.says.Close()
	_ = p.stdin.CloseWithError(os.ErrClosed)
	p.mu.Lock()
	defer p.mu.Unlock()
	closeOnce(p.done)
}

func (p *scriptedProcess) Name() string          { return p.name }
func (p *scriptedProcess) Stdin() io.WriteCloser { return p.stdin }
func (p *scriptedProcess) Stdout() io.Reader     { return p.stdout }
func (p *scriptedProcess) Signal(signal os.Signal) error {
	if signal != os.Kill {
		return nil
	}
	p.mu.Lock()
	killed := p.killed
	p.mu.Unlock()
	if killed != nil {
		killed()
	}
	p.die()
	return nil
}

func (*scriptedProcess) State(context.Context) (engine.ProcessState, error) {
	return engine.ProcessState{}, nil
}
func (*scriptedProcess) Throttle(context.Context, float64) error { return nil }
func (p *scriptedProcess) Done() <-chan struct{}                 { return p.done }
func (*scriptedProcess) Exit() engine.Exit                       { return engine.Exit{} }

// scripted is a breaker whose loop runs, in a lab of scripted processes; its trial has
// never begun.
func scripted(t *testing.T, entries ...string) (*breaker, *scriptedLab) {
	t.Helper()
	source := load(t, "sim", "--set", "repeat=1", "--set", "system.storage=fsync", "--set", withFaults(entries...))
	folder, plan := newFolder(t, source)
	lab := &scriptedLab{}
	trial := &labTrial{trial: newTrial(folder, plan[0]), lab: lab, progress: quiet()}
	trial.network = trial.topology
	trial.breaker = newBreaker(trial)
	if err := trial.breaker.run(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trial.breaker.close)
	for _, node := range trial.cluster.Nodes {
		if err := os.MkdirAll(filepath.Join(trial.nodesDir(), node.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		s, err := trial.startNode(t.Context(), node.Name, control.Injection{})
		if err != nil {
			t.Fatal(err)
		}
		trial.members.born(node.Name, s)
		trial.breaker.listen(node.Name, s)
	}
	return trial.breaker, lab
}

// inAnHour is a load's beginning by which nothing is due but what a test advances to.
func inAnHour() int64 { return int64(clock.Now().Add(time.Hour)) }

// eventually waits for something that others do.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal(what)
		}
	}
}

// orderNow has the loop carry out an order about a node, and waits until it is.
func (b *breaker) orderNow(t *testing.T, want faults.NodeState) error {
	t.Helper()
	n, p := b.nodes[want.Node], &parts{b: b}
	if want.Down {
		n.note(func(n *brokenNode) { n.killing++ })
	}
	result := make(chan error, 1)
	if err := b.ask(t.Context(), func() []faults.Order {
		b.thing("node "+want.Node).add(&b.working, func() { result <- n.set(t.Context(), p, want) })
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return <-result
}

func TestAProcessThatItsDiskHasEndedIsStartedAgainOnlyOnceThatIsHealed(t *testing.T) {
	b, lab := scripted(t, "{id: full, name: full_disk, whom: acceptor1, at: 0s, for: 1s}")
	failing := control.Injection{FullDisk: true}
	if err := b.begin(t.Context(), inAnHour()); err != nil {
		t.Fatal(err)
	}
	if err := b.ask(t.Context(), func() []faults.Order { b.director.Advance(0); return nil }); err != nil {
		t.Fatal(err)
	}
	first := lab.life("acceptor1", 0)
	if err := b.orderNow(t, faults.NodeState{Node: "acceptor1", CPUShare: 1, Injection: failing}); err != nil {
		t.Fatal(err)
	}
	first.die()
	// An order that comes before the end is known, and one that comes after it.
	if err := b.orderNow(t, faults.NodeState{Node: "acceptor1", CPUShare: 0.5, Injection: failing}); err != nil {
		t.Errorf("an order about something else failed: %v", err)
	}
	eventually(t, "nobody has noticed the end", func() bool { return b.t.members.live("acceptor1") == nil })
	if err := b.orderNow(t, faults.NodeState{Node: "acceptor1", CPUShare: 1, Injection: failing}); err != nil || lab.life("acceptor1", 1) != nil {
		t.Errorf("an order about something else has started the process again, or failed: %v", err)
	}
	if err := b.orderNow(t, faults.NodeState{Node: "acceptor1", CPUShare: 1, Start: true}); err != nil || lab.life("acceptor1", 1) == nil {
		t.Errorf("healing the disk has not started the process again: %v", err)
	}
}

func TestAProcessThatIsAboutToEndWhenItsDiskIsHealedIsStartedAgain(t *testing.T) {
	b, lab := scripted(t, "{id: full, name: full_disk, whom: acceptor1, at: 0s, for: 1s}")
	if err := b.orderNow(t, faults.NodeState{Node: "acceptor1", CPUShare: 1, Injection: control.Injection{FullDisk: true}}); err != nil {
		t.Fatal(err)
	}
	first := lab.life("acceptor1", 0)
	first.mu.Lock()
	first.standing.Injected.RefusedBytes = 1
	first.mu.Unlock()
	time.AfterFunc(20*time.Millisecond, first.die)
	if err := b.orderNow(t, faults.NodeState{Node: "acceptor1", CPUShare: 1, Start: true}); err != nil || lab.life("acceptor1", 1) == nil {
		t.Errorf("it has ended since and was not started again: %v", err)
	}
}

func TestAProcessThatCrashesAtTheFailpointThatItIsGivenIsNoFailure(t *testing.T) {
	b, lab := scripted(t, "{id: full, name: full_disk, whom: acceptor1, at: 0s, for: 1s}")
	for _, c := range []struct {
		node, action string
		explained    bool
	}{{"acceptor1", control.ActionCrash, true}, {"acceptor2", control.ActionStall, false}} {
		p := lab.life(c.node, 0)
		p.mu.Lock()
		p.injected = p.die
		p.mu.Unlock()
		point := control.Failpoint{ID: "x#1", Place: control.BeforeSend, Kind: "phase2b", Action: c.action}
		err := b.orderNow(t, faults.NodeState{Node: c.node, CPUShare: 1, Injection: control.Injection{Failpoints: []control.Failpoint{point}}})
		if (err == nil) != c.explained || err != nil && !errors.Is(err, errEnded) {
			t.Errorf("%s: %v", c.action, err)
		}
	}
}

func TestAnEndThatWasOrderedAndTakenBackIsNotTakenForOneByItself(t *testing.T) {
	b, lab := scripted(t, "{id: kill, name: crash, whom: acceptor1, at: 0s, for: 1ms}", "{id: again, name: crash, whom: acceptor1, at: 1s, for: 1s}")
	if err := b.begin(t.Context(), inAnHour()); err != nil {
		t.Fatal(err)
	}
	p := lab.life("acceptor1", 0)
	p.mu.Lock()
	p.killed = func() { // the loop learns of the end before the line goes on
		p.die()
		s := b.t.members.live("acceptor1")
		b.ended(t.Context(), "acceptor1", s)
		if err := b.ask(t.Context(), func() []faults.Order { return nil }); err != nil {
			t.Error(err)
		}
	}
	p.mu.Unlock()
	if err := b.ask(t.Context(), func() []faults.Order {
		return append(b.director.Advance(0), b.director.Advance(time.Millisecond)...)
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process was not started again", func() bool { return lab.life("acceptor1", 1) != nil })
	var again []faults.Order
	if err := b.ask(t.Context(), func() []faults.Order { again = b.director.Advance(time.Second); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(again) != 1 || len(again[0].Nodes) != 1 || !again[0].Nodes[0].Down {
		t.Errorf("the process that lives again isn't hit by another fault: %+v", again)
	}
}

func TestAFailpointThatIsReachedBeforeTheTimesRunIsReachedThen(t *testing.T) {
	b, lab := scripted(t, "{id: kill, name: crash, whom: leader1, failpoint: {place: before_send, kind: phase1a}, for: 1h}")
	var arming []faults.Order
	if err := b.ask(t.Context(), func() []faults.Order { arming = b.director.Begin(); return nil }); err != nil || len(arming) != 1 {
		t.Fatal(arming, err)
	}
	id := arming[0].Nodes[0].Injection.Failpoints[0].ID
	startNS := inAnHour()
	lab.life("leader1", 0).say(control.Line{Type: control.TypeEvent, Event: control.EventFailpoint,
		Reached: &control.Reached{ID: id, TimeNS: startNS - int64(time.Second), Label: consensus.Label{Kind: "phase1a"}}})
	early := func() (n int) {
		_ = b.ask(t.Context(), func() []faults.Order { n = len(b.early); return nil })
		return n
	}
	eventually(t, "it is told of before times are known", func() bool { return early() == 1 })
	if err := b.begin(t.Context(), startNS); err != nil {
		t.Fatal(err)
	}
	var records []results.Fault
	if err := b.ask(t.Context(), func() []faults.Order { records = b.director.Records(); return nil }); err != nil {
		t.Fatal(err)
	}
	if at := records[0].RequestedNS; at == nil || *at != -int64(time.Second) {
		t.Errorf("%+v", records)
	}
}

func TestTheLastWordsOfAProcessAreKeptThoughItsEndIsKnown(t *testing.T) {
	b, _ := scripted(t, "{id: full, name: full_disk, whom: acceptor1, at: 0s, for: 1s}")
	s := b.t.members.live("acceptor1")
	words := control.Line{Type: control.TypeEvent, Event: control.EventFailed, Error: "no space"}
	b.fell("acceptor1", s)
	b.heard(t.Context(), "acceptor1", s, words)
	if life := b.nodes["acceptor1"].lastLife(); life.session != s || life.failed.Error != "no space" {
		t.Errorf("%+v", life)
	}
}

func TestAFaultThatChangesLittleIsNotProvedByWhatWouldBeWithoutIt(t *testing.T) {
	for _, c := range []struct {
		share, want float64
		proved      bool
	}{{0, 0.1, false}, {0.1, 0.1, true}, {0.2, 0.1, true}, {0.3, 0.1, false}, {0.1, 0, false}, {0, 0, true}, {0.8, 0.9, true}, {0.7, 0.9, false}} {
		if got := stoppedEnough(c.share, c.want); got != c.proved {
			t.Errorf("stopped for %v of the time, %v is wanted: %v", c.share, c.want, got)
		}
	}
	for _, c := range []struct {
		rate, want     float64
		healed, proved bool
	}{{1, 1.04, false, false}, {1.04, 1.04, false, true}, {1.98, 2, false, true}, {1, 0.98, false, false}, {1.04, 1, true, false}, {1.001, 1, true, true}} {
		if got := clockFits(c.rate, c.want, c.healed); got != c.proved {
			t.Errorf("a clock at %v times its rate, %v is wanted: %v", c.rate, c.want, got)
		}
	}
	at := func(rate int64) topologies.Parameters { return topologies.Parameters{RateBPS: rate} }
	apart := time.Duration(trainBytes * 8 * int64(time.Second) / 10_000_000)
	for _, c := range []struct {
		before, now int64
		least, was  time.Duration
	}{
		{0, 10_000_000, apart, 0}, {10_000_000, 0, 0, apart}, {10_000_000, 100_000_000, apart / 10, apart},
		{100_000_000, 10_000_000, apart, 0}, {10_000_000, 9_000_000, apart * 10 / 9, 0}, {0, 500_000_000, 0, 0}, {100_000_000, 0, 0, 0},
	} {
		least, was := spacings(at(c.before), at(c.now), []topologies.Parameters{at(c.now)})
		if (least-c.least).Abs() > time.Microsecond || (was-c.was).Abs() > time.Microsecond {
			t.Errorf("from %d to %d bit/s: %v at least, %v before", c.before, c.now, least, was)
		}
	}
}
