package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCommandsAreHandledAndAnsweredUntilStop(t *testing.T) {
	input, commands := io.Pipe()
	output, write := io.Pipe()
	channel := NewChannel(input, write)
	served := make(chan error, 1)
	go func() {
		err := channel.Serve(func(command Command) Line {
			return Line{Status: &Status{Peers: int(command.ID)}}
		})
		channel.Close()
		write.Close()
		served <- err
	}()
	scanner := bufio.NewScanner(output)
	answers := map[uint64]Line{}
	read := func() bool {
		if !scanner.Scan() {
			return false
		}
		var line Line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil || line.Type != TypeAnswer {
			t.Fatalf("%q is no answer: %v", scanner.Bytes(), err)
		}
		answers[line.ID] = line
		return true
	}
	go io.WriteString(commands, `
{"id": 1, "command": "status"}

{"id": 2, "command": "dance"}
this is no JSON
{"id": 3, "command": "load"}
{"id": 7, "command": "reconfigure"}
{"id": 8, "command": "reconfigure", "reconfigure": {"leaders": []}}
{"id": 4, "command": "status", "a_later_version": "has more fields"}
`)
	for range 7 {
		read()
	}
	go io.WriteString(commands, `{"id": 5, "command": "stop"}
{"id": 6, "command": "status"}
`)
	for read() {
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	input.Close()
	for id, isError := range map[uint64]bool{0: true, 1: false, 2: true, 3: true, 4: false, 5: false, 7: true, 8: false} {
		answer, answered := answers[id]
		if !answered || (answer.Error != "") != isError {
			t.Errorf("command %d: answered %v: %+v", id, answered, answer)
		}
	}
	if answers[4].Status == nil || answers[4].Status.Peers != 4 {
		t.Errorf("the answer to 4 is %+v", answers[4])
	}
	if _, answered := answers[6]; answered {
		t.Error("a command after stop was answered")
	}
}

func TestTheEndOfTheInputEndsServing(t *testing.T) {
	channel := NewChannel(strings.NewReader(""), io.Discard)
	if err := channel.Serve(nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestALineThatIsTooLongIsAnError(t *testing.T) {
	channel := NewChannel(strings.NewReader(strings.Repeat("x", maxLineBytes+1)), io.Discard)
	if err := channel.Serve(nil); !errors.Is(err, bufio.ErrTooLong) {
		t.Errorf("got %v", err)
	}
}

// A controller that doesn't read must not hold up the node.
func TestLinesThatNobodyReadsAreDroppedAndCounted(t *testing.T) {
	output, write := io.Pipe() // nobody reads: the first write waits
	channel := NewChannel(strings.NewReader(""), write)
	const sent = maxWaitingLines + 100
	for i := range sent {
		channel.Send(Line{Type: TypeEvent, ID: uint64(i)})
	}
	dropped := int(channel.Dropped())
	// One line, or none yet, is with the writer.
	if dropped != 99 && dropped != 100 {
		t.Errorf("%d dropped, want 99 or 100", dropped)
	}
	channel.Close() // gives up, as nobody reads
	go func() {
		channel.lines <- waiting{}
		<-channel.written
		write.Close()
	}()
	arrived := 0
	for scanner := bufio.NewScanner(output); scanner.Scan(); arrived++ {
	}
	if arrived < sent-dropped {
		t.Errorf("%d lines arrived of %d that weren't dropped", arrived, sent-dropped)
	}
}

// Events may be dropped. A controller that asked waits for its answer.
func TestAnAnswerIsNotDroppedWhereTooManyLinesWait(t *testing.T) {
	input, commands := io.Pipe()
	output, write := io.Pipe()
	channel := NewChannel(input, write)
	for channel.Dropped() == 0 { // nobody reads
		channel.Send(Line{Type: TypeEvent})
	}
	handled := make(chan struct{})
	go func() {
		_ = channel.Serve(func(Command) Line {
			close(handled)
			return Line{}
		})
		channel.Close()
		write.Close()
	}()
	if _, err := io.WriteString(commands, `{"id": 5, "command": "status"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	<-handled
	time.Sleep(20 * time.Millisecond) // it may try in vain
	for scanner := bufio.NewScanner(output); scanner.Scan(); {
		if strings.Contains(scanner.Text(), `"id":5`) {
			commands.Close()
			return
		}
		if channel.Dropped() > 1 {
			t.Fatal("it was dropped")
		}
	}
}

func TestInjectionsAndSubscriptionsFollowOneAnotherAsTheyCameAndHoldNothingElseUp(t *testing.T) {
	const each = 100
	var commands strings.Builder
	for id := range each {
		fmt.Fprintf(&commands, "{\"id\": %d, \"command\": \"inject\", \"injection\": {}}\n", id)
		fmt.Fprintf(&commands, "{\"id\": %d, \"command\": \"subscribe\"}\n", id)
	}
	commands.WriteString("{\"command\": \"status\"}\n")
	channel := NewChannel(strings.NewReader(commands.String()), io.Discard)
	var mu sync.Mutex
	came := map[string][]uint64{}
	asked := make(chan struct{})
	var all sync.WaitGroup
	all.Add(2*each + 1)
	if err := channel.Serve(func(command Command) Line {
		defer all.Done()
		if command.Command == CommandStatus {
			close(asked)
			return Line{}
		}
		<-asked // the first of either waits for the status
		mu.Lock()
		defer mu.Unlock()
		came[command.Command] = append(came[command.Command], command.ID)
		return Line{}
	}); err != nil {
		t.Error(err)
	}
	all.Wait()
	for _, command := range []string{CommandInject, CommandSubscribe} {
		if ids := came[command]; len(ids) != each || !slices.IsSorted(ids) {
			t.Errorf("%s: %v", command, ids)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(`{"id":1,"command":"status"}`))
	f.Add([]byte(`{"id":2,"command":"load","load":{"start_ns":1}}`))
	f.Add([]byte(`{"id":3,"command":"probe","probe":{"peers":[{"name":"h"}]}}`))
	f.Add([]byte(`{"id":4,"command":"reconfigure","reconfigure":{"acceptors":["n1"]}}`))
	f.Add([]byte(`{"id":5,"command":"reconfigure","reconfigure":null}`))
	f.Add([]byte(`{"id":6,"command":"inject","injection":{"ignore":[{"share":0.5}],"failpoints":[{"id":"a","place":"after_send","action":"stall"}]}}`))
	f.Add([]byte(`{"id":7,"command":"subscribe","subscriptions":[{"kind":"commit","limit":1}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		command, err := ParseCommand(line)
		if err != nil {
			if !errors.Is(err, errNoCommand) {
				t.Errorf("%v isn't errNoCommand", err)
			}
			return
		}
		if command.Command == CommandLoad && command.Load == nil || command.Command == CommandProbe && command.Probe == nil ||
			command.Command == CommandReconfigure && !json.Valid(command.Reconfigure) ||
			command.Command == CommandInject && (command.Injection == nil || command.Injection.Check() != nil) {
			t.Error("a command without its orders was let through")
		}
	})
}

func TestBadInjectionsAreRefusedWithTheValueAndWhatWouldBeRight(t *testing.T) {
	good := Failpoint{ID: "a", Place: AfterSend, Action: ActionCrash}
	change := func(change func(*Failpoint)) Injection {
		bad := good
		change(&bad)
		return Injection{Failpoints: []Failpoint{bad}}
	}
	for want, injection := range map[string]Injection{
		"share is 1.5, want 0 to 1":            {Ignore: []Ignore{{Share: 0.5}, {Share: 1.5}}},
		"share is NaN":                         {Ignore: []Ignore{{Share: math.NaN()}}},
		"clock_rate is -1, want 0.001 to 1000": {ClockRate: -1},
		"clock_rate is 1e+06":                  {ClockRate: 1e6},
		"clock_rate is NaN":                    {ClockRate: math.NaN()},
		"clock_jump_ns is 9223372036854775807, want -1152921504606846976 to 1152921504606846976": {ClockJumpNS: math.MaxInt64},
		"clock_jump_ns is -9223372036854775808":                                                  {ClockJumpNS: math.MinInt64},
		"sync_delay_ns is -1":                                                                    {SyncDelayNS: -1},
		`id is "", want one of its own`:                                                          change(func(f *Failpoint) { f.ID = "" }),
		`id is "a"`:                                                                              {Failpoints: []Failpoint{good, good}},
		`place is "before", want one of before_persist, `:                                        change(func(f *Failpoint) { f.Place = "before" }),
		`action is "pause", want crash or stall`:                                                 change(func(f *Failpoint) { f.Action = "pause" }),
		"count is -1":                                                                            change(func(f *Failpoint) { f.Count = -1 }),
	} {
		if err := injection.Check(); !errors.Is(err, ErrInjection) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (Injection{ClockRate: 0.5, ClockJumpNS: -1, Failpoints: []Failpoint{good}}).Check(); err != nil {
		t.Error(err)
	}
	for _, line := range []string{
		`{"command": "inject"}`, `{"command": "inject", "injection": {"ignore": [{"share": 2}]}}`,
		`{"command": "subscribe", "subscriptions": [{"limit": 1}]}`, `{"command": "subscribe", "subscriptions": [{"kind": "a", "limit": -1}]}`,
	} {
		if _, err := ParseCommand([]byte(line)); !errors.Is(err, errNoCommand) {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{`{"command": "inject", "injection": {}}`, `{"command": "subscribe"}`, `{"command": "standing"}`} {
		if _, err := ParseCommand([]byte(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestALineThatIsSentSoonIsWrittenWhenSendSoonReturnsTrue(t *testing.T) {
	output, write := io.Pipe()
	channel := NewChannel(strings.NewReader(""), write)
	if channel.SendSoon(Line{Type: TypeEvent}, 10*time.Millisecond) {
		t.Error("it was written though nobody reads")
	}
	lines := bufio.NewScanner(output)
	if !lines.Scan() { // the first goes on waiting to be read
		t.Fatal("nothing came")
	}
	read := make(chan string, 1)
	go func() {
		lines.Scan()
		read <- lines.Text()
	}()
	if !channel.SendSoon(Line{Type: TypeEvent, Event: EventFailpoint}, 20*time.Second) {
		t.Fatal("it was not written though somebody reads")
	}
	if line := <-read; !strings.Contains(line, EventFailpoint) {
		t.Errorf("got %s", line)
	}
	channel.Close()
}
