package driver

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/node/driver/logfile"
	"quorumlab/node/kv"
)

// arrived are the numbers that the machine was given.
func (p *process) arrived() []uint64 { return numbersOf(p.machine.of(consensus.InputMessage)) }

func TestAShareOfTheMessagesAndRequestsOfOthersIsIgnored(t *testing.T) {
	const count = 3000
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), nil, &scripted{}, func(config *Config) {
		config.Names = testNames
		config.Initially.Injection.Ignore = []control.Ignore{
			{Kinds: []string{"number"}, From: []string{"n3"}, Share: 1. / 3, Seed: 1},
			{Kinds: []string{"request"}, Share: 1, Seed: 2},
		}
	})
	for n := range number(count) {
		var inputs []consensus.Input
		for _, from := range []consensus.NodeID{1, 3, 4} {
			inputs = append(inputs, consensus.Input{Kind: consensus.InputMessage, From: from, Message: count*number(from) + n})
		}
		inputs = append(inputs,
			consensus.Input{Kind: consensus.InputCommand, From: 7, Command: command(7, uint64(n+1))},
			consensus.Input{Kind: consensus.InputCommand, From: 1, Command: command(1, uint64(n+1))})
		p.driver.Deliver(inputs)
	}
	eventually(t, "all has come", func() bool { return p.machine.count(consensus.InputCommand) == count })
	from := map[consensus.NodeID]int{}
	for _, input := range append(p.machine.of(consensus.InputMessage), p.machine.of(consensus.InputCommand)...) {
		from[input.From]++
	}
	injected := p.driver.Standing().Injected
	// Five standard deviations around two thirds.
	if from[1] != 2*count || from[4] != count || from[7] != 0 || from[3] < 2*count/3-130 || from[3] > 2*count/3+130 {
		t.Errorf("came: %v", from)
	}
	if injected.Considered != 2*count || injected.Ignored != uint64(2*count-from[3]) {
		t.Errorf("%+v, %d were ignored", injected, 2*count-from[3])
	}
	p.driver.Inject(control.Injection{})
	p.driver.Deliver([]consensus.Input{{Kind: consensus.InputCommand, From: 7, Command: command(7, 1)}})
	eventually(t, "nothing is ignored any more", func() bool { return p.machine.count(consensus.InputCommand) == count+1 })
}

// A machine that sets its timer at the start, for an hour, and again when it fires.
func hourly() *scripted {
	return &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		if input.Kind == consensus.InputStart || input.Kind == consensus.InputTimer {
			out.SetTimer(consensus.Timer{Kind: 1}, time.Hour)
		}
	}}
}

func TestTimersFollowTheMachinesClock(t *testing.T) {
	p := start(t, 1, listen(t, "127.0.0.1:0"), nil, hourly())
	fired := func() int { return p.machine.count(consensus.InputTimer) }
	ahead := func() time.Duration {
		s := p.driver.Standing()
		return time.Duration(s.MachineNS - s.ClockNS)
	}
	if ahead() != 0 {
		t.Errorf("at the start the clock is ahead by %v", ahead())
	}
	p.driver.Inject(control.Injection{ClockJumpNS: int64(time.Hour)})
	eventually(t, "the timer fires after a jump of an hour", func() bool { return fired() == 1 })
	if ahead() != time.Hour {
		t.Errorf("ahead by %v, want an hour", ahead())
	}
	p.driver.Inject(control.Injection{}) // back: now it is due in two hours
	p.driver.Inject(control.Injection{ClockJumpNS: int64(time.Hour)})
	time.Sleep(20 * time.Millisecond)
	if fired() != 1 {
		t.Error("the timer has fired an hour early")
	}
	p.driver.Inject(control.Injection{ClockJumpNS: int64(2 * time.Hour)})
	eventually(t, "the timer fires again", func() bool { return fired() == 2 })

	p.driver.Inject(control.Injection{ClockJumpNS: int64(3*time.Hour) - int64(20*time.Second), ClockRate: control.MaxClockRate})
	eventually(t, "20 s pass a thousand times as fast", func() bool { return fired() == 3 })
	p.driver.Inject(control.Injection{ClockJumpNS: int64(3*time.Hour) - int64(20*time.Second)})
	gained := ahead()
	if gained < 3*time.Hour-20*time.Second+19*time.Second {
		t.Errorf("a clock that ran fast is ahead by %v only", gained)
	}
	time.Sleep(5 * time.Millisecond)
	if ahead() != gained {
		t.Errorf("a clock that is right again still runs away: %v, then %v", gained, ahead())
	}
}

func TestWhatIsSubscribedToIsReportedFromTheFirstStepOn(t *testing.T) {
	var mu sync.Mutex
	var traces []string
	var began consensus.Time
	two := start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{})
	machine := &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		switch input.Kind {
		case consensus.InputStart:
			out.Trace(consensus.Event{Label: consensus.Label{Kind: "started", Round: 7}})
		case consensus.InputMessage:
			n := input.Message.(number)
			if input.From == 1 {
				return
			}
			out.Trace(consensus.Event{Label: consensus.Label{Kind: "asked", Slot: uint64(n)}})
			out.Send(2, n)
			out.Send(1, n+100)
			out.Commit(uint64(n), create(uint64(n)))
		}
	}}
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: two.address}, machine, func(config *Config) {
		config.Names, began = testNames, clock.Now()
		config.Initially.Subscriptions = []control.Subscription{
			{Kind: "started", Round: 7}, {Kind: "asked", Limit: 2}, {Kind: "number", Slot: 3}, {Kind: "number", Slot: 101}, {Kind: control.TraceCommit, Slot: 4, Limit: 1},
		}
		config.OnTrace = func(trace control.Trace) {
			mu.Lock()
			defer mu.Unlock()
			if at := consensus.Time(trace.TimeNS); at < began || at > clock.Now() {
				t.Errorf("%+v isn't of now", trace)
			}
			traces = append(traces, strings.TrimSpace(fmt.Sprintf("%s %d %s", trace.Label.Kind, trace.Label.Slot, trace.To)))
		}
	})
	all := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(traces)
	}
	want := []string{"started 0"}
	for n := number(1); n <= 6; n++ {
		p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: n}})
		// The events of a step come after what it sends and applies.
		want = append(want, map[number][]string{
			1: {"number 101 n1", "asked 1"}, 2: {"asked 2"}, 3: {"number 3 n2"}, 4: {"commit 4"},
		}[n]...)
	}
	eventually(t, "all are handled", func() bool { return p.machine.count(consensus.InputMessage) == 12 })
	if got := all(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	p.driver.Subscribe(nil)
	p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: number(7)}})
	eventually(t, "the last is handled", func() bool { return p.machine.count(consensus.InputMessage) == 14 })
	if got := all(); len(got) != len(want) {
		t.Errorf("nothing was subscribed to, and %q came", got[len(want):])
	}
}

func TestAPeerIsHeardAgainAfterASilence(t *testing.T) {
	began := clock.Now()
	path := filepath.Join(t.TempDir(), "events.jsonl")
	file, err := logfile.Create(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	machine := &scripted{}
	transport := NewTransport(TransportConfig{
		Self: 1, Protocol: "numbers", Codec: numberCodec{}, Listener: listen(t, "127.0.0.1:0"),
		Members: []consensus.NodeID{1, 2, 3}, Events: NewEventLog(file, "n1"), Log: log.New(io.Discard, "", 0),
	})
	driver, err := New(Config{Machine: machine, Application: consensus.NewApplication(kv.New()), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	transport.Start(driver, nil)
	driver.Start()
	defer transport.Close()
	defer driver.Close()
	address := transport.config.Listener.Addr().String()
	sent := 0
	// send has the process, whose connection is new or not, heard several times in a row.
	send := func(p *process) {
		t.Helper()
		out := p.NewSender()
		for range 3 {
			out.Send(1, number(sent))
			out.Flush()
			sent++
			eventually(t, "it arrives", func() bool { return machine.count(consensus.InputMessage) == sent })
		}
	}
	peer := func(id consensus.NodeID) *process {
		return start(t, id, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{1: address}, &scripted{})
	}
	two, three := peer(2), peer(3)
	send(two) // the first that is heard of it
	time.Sleep(consensus.MinSilence)
	send(three) // the first that is heard of this one
	send(two)
	two.close()
	time.Sleep(consensus.MinSilence)
	send(peer(2)) // on another connection
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, `"role":"transport","kind":"heard"`) {
			heard = append(heard, line[strings.Index(line, `"peer"`):])
		}
	}
	// The machine may be slow, so that there are more; the two are there at least.
	var ofTwo int
	for _, line := range heard {
		var peer uint64
		var silence int64
		if n, err := fmt.Sscanf(line, `"peer":%d,"silence_ns":%d}`, &peer, &silence); n != 2 ||
			silence < int64(consensus.MinSilence) || silence > int64(clock.Now().Sub(began)) {
			t.Errorf("%q: %v", line, err)
		}
		if peer == 2 {
			ofTwo++
		}
	}
	if ofTwo < 2 || len(heard) > 4 {
		t.Errorf("heard: %q", heard)
	}
}
