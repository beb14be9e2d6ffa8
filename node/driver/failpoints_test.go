package driver

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/logfile"
)

var testNames = map[consensus.NodeID]string{1: "n1", 2: "n2", 3: "n3", 4: "n4", 7: "n7"}

// Message n has the machine persist n; send 1000+n to process 2 once that is durable;
// 2000+n to itself and 4000+n to process 4 at once; and commit a command of client 7 for
// slot n.
func persistSendCommit() *scripted {
	return &scripted{step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
		n, ok := input.Message.(number)
		if !ok || input.From == 1 {
			return
		}
		out.Persist(n)
		out.SendAfterSync(2, 1000+n)
		out.Send(1, 2000+n)
		out.Send(4, 4000+n)
		out.Commit(uint64(n), create(uint64(n)))
		out.Trace(consensus.Event{Role: "tester", Label: consensus.Label{Kind: "done", Slot: uint64(n)}})
	}}
}

// stage is such a machine, the processes around it, and what has become of messages 1
// and 2.
type stage struct {
	t         *testing.T
	p         *process
	two, four *process
	client    *process
	dir       string
	end       func()
	reached   chan control.Reached
	// late is true if what is persisted decides when the failpoint is reached.
	late bool
}

func newStage(t *testing.T, failpoint control.Failpoint) *stage {
	s := &stage{t: t, dir: t.TempDir(), reached: make(chan control.Reached, 10)}
	s.two = start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{})
	s.four = start(t, 4, listen(t, "127.0.0.1:0"), nil, &scripted{})
	s.client = start(t, 7, listen(t, "127.0.0.1:0"), nil, &scripted{})
	kept, _, end := openStorage(t, s.dir)
	s.end = end
	peers := map[consensus.NodeID]string{2: s.two.address, 4: s.four.address, 7: s.client.address}
	s.p = startWith(t, 1, listen(t, "127.0.0.1:0"), peers, persistSendCommit(), func(config *Config) {
		config.Storage, config.Names = kept, testNames
		config.Initially.Injection.Failpoints = []control.Failpoint{failpoint}
		config.OnFailpoint = func(f control.Failpoint, reached control.Reached) {
			// Message n's record is the n-th.
			if durable := kept.Durable(); f.Place == control.AfterPersist && durable < reached.Label.Slot {
				t.Errorf("only %d records are durable", durable)
			}
			s.reached <- reached
		}
	})
	eventually(t, "all are connected", func() bool { return s.p.Counts().Connected == 3 })
	return s
}

func (s *stage) deliver(n number) {
	s.p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: n}})
}

// seen is what anybody has seen of message 2, or of the only one given.
func (s *stage) seen(applied uint64) string {
	var seen []string
	note := func(what string, there bool) {
		if there {
			seen = append(seen, what)
		}
	}
	note("itself", !s.late && slices.Contains(numbersOf(s.p.machine.of(consensus.InputMessage)), 2002))
	note("n2", slices.Contains(numbersOf(s.two.machine.of(consensus.InputMessage)), 1002))
	note("n4", slices.Contains(numbersOf(s.four.machine.of(consensus.InputMessage)), 4002))
	note("applied", applied == 2)
	note("answered", len(s.client.client.all()) == 2)
	return strings.Join(seen, " ")
}

// standing is what is seen while the machine lives.
func (s *stage) standing() string {
	var applied uint64
	s.p.driver.call(func() { applied = s.p.driver.config.Application.Slot() })
	return s.seen(applied)
}

// persisted ends the process and tells which records it leaves.
func (s *stage) persisted() string {
	s.p.close()
	s.end()
	return fmt.Sprint(reopen(s.t, s.dir).Records)
}

const everything = "itself n2 n4 applied answered"

// placeCases are failpoints about message 2, and what has been done when they are
// reached. A message that waits for its record comes after all others; whether the one
// to itself has been handled by then depends on the disk, and isn't looked at.
var placeCases = map[string]struct {
	failpoint control.Failpoint
	seen      string
	records   string
	reached   string
}{
	"before_persist":        {control.Failpoint{Place: control.BeforePersist, Kind: "number", Slot: 2}, "", "[1]", "number 2 "},
	"after_persist":         {control.Failpoint{Place: control.AfterPersist, Kind: "number", Slot: 2}, "", "[1 2]", "number 2 "},
	"before_send":           {control.Failpoint{Place: control.BeforeSend, Slot: 4002}, "", "[1 2]", "number 4002 n4"},
	"before_send, the last": {control.Failpoint{Place: control.BeforeSend, To: "n2", Count: 2}, "n4 applied answered", "[1 2]", "number 1002 n2"},
	"before_send to itself": {control.Failpoint{Place: control.BeforeSend, Kind: "number", To: "n1", Count: 2}, "", "[1 2]", "number 2002 n1"},
	"before an answer":      {control.Failpoint{Place: control.BeforeSend, Kind: "response", Slot: 2}, "n4 applied", "[1 2]", "response 2 n7"},
	"after_send":            {control.Failpoint{Place: control.AfterSend, Slot: 4002}, "n4", "[1 2]", "number 4002 n4"},
	"after_send to itself":  {control.Failpoint{Place: control.AfterSend, Slot: 2002}, "", "[1 2]", "number 2002 n1"},
	"after_send, the last":  {control.Failpoint{Place: control.AfterSend, Slot: 1002}, "n2 n4 applied answered", "[1 2]", "number 1002 n2"},
	"before_apply":          {control.Failpoint{Place: control.BeforeApply, Slot: 2}, "n4", "[1 2]", "commit 2 "},
	"after_apply":           {control.Failpoint{Place: control.AfterApply, Slot: 2}, "n4 applied", "[1 2]", "commit 2 "},
}

func TestAtAStallWhatComesBeforeThePlaceIsDoneAndTheRestOnceTheFailpointIsGone(t *testing.T) {
	for name, c := range placeCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.failpoint.ID, c.failpoint.Action = "stall", control.ActionStall
			s := newStage(t, c.failpoint)
			s.late = strings.HasSuffix(name, "the last")
			s.deliver(1)
			s.deliver(2)
			checkReached(t, receive(t, "the failpoint", s.reached), "stall", c.reached)
			eventually(t, "what comes before the place: "+c.seen, func() bool { return s.standing() == c.seen })
			s.deliver(3) // waits
			time.Sleep(20 * time.Millisecond)
			if got := s.standing(); got != c.seen {
				t.Errorf("a moment later there is %q, want %q", got, c.seen)
			}
			if status, _ := s.p.driver.Status(); !status.Learner || s.p.driver.Standing().ClockNS == 0 {
				t.Error("a machine that stalls doesn't say where it stands")
			}
			// Another injection that has the failpoint doesn't end it.
			s.p.driver.Inject(control.Injection{Failpoints: []control.Failpoint{c.failpoint}, ClockJumpNS: 1})
			if got := s.standing(); got != c.seen {
				t.Errorf("after another injection there is %q, want %q", got, c.seen)
			}
			s.p.driver.Inject(control.Injection{})
			s.late = false
			eventually(t, "message 3 is handled", func() bool { return len(s.client.client.all()) == 3 })
			eventually(t, "all of message 2 is done", func() bool {
				return strings.TrimSuffix(s.seen(2), " answered")+" answered" == everything
			})
			if got := s.persisted(); got != "[1 2 3]" {
				t.Errorf("records %s", got)
			}
			if len(s.reached) > 0 {
				t.Errorf("reached again: %+v", <-s.reached)
			}
		})
	}
}

func TestAtACrashWhatComesBeforeThePlaceIsDoneAndNothingElse(t *testing.T) {
	for name, c := range placeCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.failpoint.ID, c.failpoint.Action = "crash", control.ActionCrash
			s := newStage(t, c.failpoint)
			s.late = strings.HasSuffix(name, "the last")
			s.deliver(1)
			s.deliver(2)
			checkReached(t, receive(t, "the failpoint", s.reached), "crash", c.reached)
			s.deliver(3)
			s.p.driver.group.Wait() // for the loop's end
			slot := s.p.driver.config.Application.Slot()
			eventually(t, "what comes before the place: "+c.seen, func() bool { return s.seen(slot) == c.seen })
			time.Sleep(20 * time.Millisecond)
			if got := s.seen(slot); got != c.seen || slot > 2 {
				t.Errorf("there is %q and slot %d, want %q", got, slot, c.seen)
			}
			if got := s.persisted(); got != c.records {
				t.Errorf("records %s, want %s", got, c.records)
			}
		})
	}
}

func checkReached(t *testing.T, reached control.Reached, id, want string) {
	t.Helper()
	got := fmt.Sprintf("%s %d %s", reached.Label.Kind, reached.Label.Slot, reached.To)
	if reached.ID != id || got != want || reached.TimeNS == 0 || reached.Unacknowledged {
		t.Errorf("reached %+v, want %s at %q", reached, id, want)
	}
}

func TestADriverThatStallsCanBeClosed(t *testing.T) {
	s := newStage(t, control.Failpoint{ID: "stall", Place: control.AfterPersist, Slot: 2, Action: control.ActionStall})
	s.deliver(1)
	s.deliver(2)
	receive(t, "the failpoint", s.reached)
	if got := s.persisted(); got != "[1 2]" {
		t.Errorf("records %s", got)
	}
	if got := s.seen(0); got != "" {
		t.Errorf("after the end there is %q", got)
	}
}

// The events of the step are in the log when its failpoint is reached, and only once.
func TestTheEventsOfAStepAreWrittenBeforeItsFailpointAndOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	file, err := logfile.Create(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	events := func() int {
		if err := file.Flush(); err != nil {
			t.Error(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		return strings.Count(string(content), `"done"`)
	}
	reached := make(chan int, 1)
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), nil, persistSendCommit(), func(config *Config) {
		config.Events = NewEventLog(file, "n1")
		config.Initially.Injection.Failpoints = []control.Failpoint{{ID: "a", Place: control.BeforePersist, Action: control.ActionStall}}
		config.OnFailpoint = func(control.Failpoint, control.Reached) { reached <- events() }
	})
	p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: number(1)}})
	if n := receive(t, "the failpoint", reached); n != 1 {
		t.Errorf("%d events at the failpoint, want 1", n)
	}
	p.driver.Inject(control.Injection{})
	p.close()
	if n := events(); n != 1 {
		t.Errorf("%d events in all, want 1", n)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

func TestAMessageWhoseReceiverIsNotThereOrDoesNotReadIsReportedAsUnacknowledged(t *testing.T) {
	// A process whose kernel takes connections, and the little that it has room for.
	narrow := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	deaf, err := narrow.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	absent := listen(t, "127.0.0.1:0")
	absent.Close()
	reached := make(chan control.Reached, 2)
	peers := map[consensus.NodeID]string{2: deaf.Addr().String(), 4: absent.Addr().String()}
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), peers, &scripted{
		step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
			if n, ok := input.Message.(number); ok {
				out.Send(consensus.NodeID(input.From), n)
			}
		},
	}, func(config *Config) {
		config.Names = testNames
		config.Initially.Injection.Failpoints = []control.Failpoint{
			{ID: "absent", Place: control.AfterSend, To: "n4", Action: control.ActionStall},
			{ID: "deaf", Place: control.AfterSend, Slot: large + 500, Action: control.ActionStall},
		}
		config.OnFailpoint = func(_ control.Failpoint, r control.Reached) { reached <- r }
	})
	eventually(t, "one is connected", func() bool { return p.Counts().Connected == 1 })
	send := func(to consensus.NodeID, n number) {
		p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: to, Message: n}})
	}
	send(4, 1)
	if r := receive(t, "the failpoint", reached); r.ID != "absent" || !r.Unacknowledged {
		t.Errorf("%+v", r)
	}
	p.driver.Inject(control.Injection{Failpoints: []control.Failpoint{{ID: "deaf", Place: control.AfterSend, Slot: large + 500, Action: control.ActionStall}}})
	for n := range number(501) { // more than that
		send(2, large+n)
	}
	if r := receive(t, "the failpoint", reached); r.ID != "deaf" || !r.Unacknowledged {
		t.Errorf("%+v", r)
	}
}

// The connection ends, with the message in it, before its acknowledgement is awaited, and
// there is another one by then.
func TestWhatANewConnectionHasAcknowledgedSaysNothingOfWhatTheOldOneHasLost(t *testing.T) {
	receiver := listen(t, "127.0.0.1:0")
	defer receiver.Close()
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			conn, err := receiver.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	reached := make(chan control.Reached, 1)
	var p *process
	p = startWith(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.Addr().String()}, &scripted{
		step: func(_ consensus.Time, input consensus.Input, out *consensus.Outbox) {
			if n, ok := input.Message.(number); ok {
				out.Send(2, n)
			}
		},
	}, func(config *Config) {
		config.Names = testNames
		config.Initially = control.Initially{
			Injection: control.Injection{Failpoints: []control.Failpoint{
				{ID: "a", Place: control.AfterSend, To: "n2", Action: control.ActionStall},
			}},
			Subscriptions: []control.Subscription{{Kind: "number"}},
		}
		config.OnTrace = func(control.Trace) { // after it was queued
			p.driver.sender.Flush()
			to := p.Transport.peers[2]
			old := to.current()
			(<-accepted).Close()
			for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond) {
				if l := to.current(); l != nil && l != old {
					return
				}
			}
			t.Error("there is no new connection")
		}
		config.OnFailpoint = func(_ control.Failpoint, r control.Reached) { reached <- r }
	})
	eventually(t, "they are connected", func() bool { return p.Counts().Connected == 1 })
	p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: number(1)}})
	if r := receive(t, "the failpoint", reached); !r.Unacknowledged {
		t.Errorf("%+v was lost", r)
	}
}

// committing is a machine that has committed what it was told of.
type committing struct {
	*scripted
	slot uint64
}

func (c *committing) Step(now consensus.Time, input consensus.Input, out *consensus.Outbox) {
	if n, ok := input.Message.(number); ok {
		c.slot = uint64(n)
		out.Commit(c.slot, create(c.slot))
	}
}

func (c *committing) Status() consensus.Status { return consensus.Status{Learner: true, Slot: c.slot} }

func TestTheStatusAtAFailpointIsOfTheSlotThatItsHashIsOf(t *testing.T) {
	reached := make(chan control.Reached, 1)
	p := startWith(t, 1, listen(t, "127.0.0.1:0"), nil, nil, func(config *Config) {
		config.Machine = &committing{}
		config.Initially.Injection.Failpoints = []control.Failpoint{{ID: "a", Place: control.BeforeApply, Slot: 2, Action: control.ActionStall}}
		config.OnFailpoint = func(_ control.Failpoint, r control.Reached) { reached <- r }
	})
	for n := range number(2) {
		p.driver.Deliver([]consensus.Input{{Kind: consensus.InputMessage, From: 3, Message: n + 1}})
	}
	receive(t, "the failpoint", reached)
	want := applied(1).Hash()
	if status, hash := p.driver.Status(); status.Slot != 1 || hash != hex.EncodeToString(want[:]) {
		t.Errorf("slot %d and the hash %s, want slot 1 and %x", status.Slot, hash, want)
	}
	p.driver.Inject(control.Injection{})
	eventually(t, "it goes on", func() bool { status, _ := p.driver.Status(); return status.Slot == 2 })
}
