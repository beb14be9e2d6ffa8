package client

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// replicated carries out commands at once, as a cluster of one replica does.
type replicated struct {
	*consensus.Application
}

func replicate(t *testing.T, name string) replicated {
	t.Helper()
	app, err := application.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return replicated{consensus.NewApplication(app.New())}
}

func (r replicated) do(command consensus.Command) (response consensus.Response) {
	if command.Kind == consensus.KindRead {
		return r.Read(command)
	}
	r.Apply(r.Slot()+1, command, func(given consensus.Response) { response = given })
	return response
}

// start makes a machine for a load; its rows are added to those given.
func start(t testing.TB, l control.Load, rows *[]results.Row) *Machine {
	t.Helper()
	m, err := New(Config{Self: 9, Name: "client1", First: true, Targets: []consensus.NodeID{1, 2, 3}, Load: l,
		Record: func(row results.Row) { *rows = append(*rows, row) }})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run has each request answered by the replica as soon as it is sent.
func run(t *testing.T, l control.Load) (rows []results.Row, commands []consensus.Command) {
	t.Helper()
	m, replica := start(t, l, &rows), replicate(t, l.Application)
	input := consensus.Input{Kind: consensus.InputStart}
	var out consensus.Outbox
	for now := consensus.Time(0); !m.Done(); now += 1000 {
		m.Step(now, input, &out)
		for _, sent := range out.Messages {
			if sent.To == 1 {
				command := sent.Message.(consensus.Request).Command
				commands = append(commands, command)
				m.Step(now, consensus.Input{Kind: consensus.InputMessage, Message: replica.do(command)}, &out)
			}
		}
		for _, change := range out.Timers {
			now = max(now, now.Add(change.After)-1000)
		}
		out.Reset()
		input = consensus.Input{Kind: consensus.InputTimer, Timer: wake}
	}
	return rows, commands
}

func TestIncrementsReturnTheNewValueAndNeedNoCreates(t *testing.T) {
	l := load(func(l *control.Load) {
		l.Application, l.Keys, l.RateRPS = "counter", 1, 1000
		l.Mix = map[string]float64{"increment": 0.5, "decrement": 0.2, "read": 0.2, "nop": 0.1}
	})
	rows, commands := run(t, l)
	if len(rows) != 1000 {
		t.Fatalf("%d rows, want the mix's 1000 and no creates", len(rows))
	}
	value, seen := 0, map[string]int{}
	for i, row := range rows {
		seen[row.Operation]++
		switch row.Operation {
		case "increment":
			value++
		case "decrement":
			value--
		}
		want := fmt.Sprint(value)
		if row.Operation == "nop" {
			want = ""
		}
		if row.Outcome != results.OutcomeOK || row.Result != want || row.Value != "" {
			t.Fatalf("row %d: %+v, want result %q", i, row, want)
		}
		if reads := row.Operation == "read"; reads != (commands[i].Kind == consensus.KindRead) {
			t.Fatalf("%s was sent as kind %d", row.Operation, commands[i].Kind)
		}
	}
	if len(seen) != 4 {
		t.Errorf("operations %v, want all four", seen)
	}
}

func TestTheStoreIsWhatAnEmptyNameMeans(t *testing.T) {
	mix := func(name string) control.Load {
		return load(func(l *control.Load) {
			l.Application, l.RateRPS, l.Mix = name, 200, map[string]float64{"update": 0.5, "read": 0.5}
		})
	}
	unnamed, commands := run(t, mix(""))
	named, _ := run(t, mix("kv"))
	if !slices.Equal(unnamed, named) || len(named) != 205 {
		t.Errorf("%d rows and %d, want 205 equal ones", len(unnamed), len(named))
	}
	reads := 0
	for i, row := range named {
		if row.Operation == "read" {
			reads++
			if commands[i].Kind != consensus.KindRead || row.Index != consensus.IndexRead {
				t.Fatalf("command %+v gave row %+v", commands[i], row)
			}
		} else if commands[i].Kind != consensus.KindOperation || row.Index != 0 || row.Slot == 0 {
			t.Fatalf("command %+v gave row %+v", commands[i], row)
		}
	}
	if reads == 0 {
		t.Error("no reads in a mix of reads")
	}
}

// Every replica answers; what the row says of time, slot and result must all be
// the first one's, or the checker would be led astray.
func TestTheRowIsTheFirstResponsesWhateverTheOthersSay(t *testing.T) {
	app, _ := application.Lookup("counter")
	machine := app.New()
	increment, err := app.AppendOperation(nil, application.Operation{Kind: "increment", Key: 0})
	if err != nil {
		t.Fatal(err)
	}
	response := func(sequence, slot uint64, index uint32) consensus.Input {
		return consensus.Input{Kind: consensus.InputMessage, From: 1, Message: consensus.Response{
			Client: consensus.NewClientID(9, 1), Sequence: sequence, Slot: slot, Index: index, Result: machine.Apply(increment)}}
	}
	var rows []results.Row
	m := start(t, load(func(l *control.Load) {
		l.Application, l.Mix = "counter", map[string]float64{"read": 1}
	}), &rows)
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
	m.Step(consensus.Time(100*time.Millisecond), consensus.Input{Kind: consensus.InputTimer, Timer: wake}, &out)
	for i, input := range []consensus.Input{
		response(2, 70, 2), response(2, 71, consensus.IndexRead), // 2 before 1
		response(1, 50, consensus.IndexRead), response(1, 9, 0), response(2, 72, 5),
	} {
		m.Step(consensus.Time(100*time.Millisecond).Add(time.Duration(i)), input, &out)
	}
	want := []struct {
		sequence, slot uint64
		index          uint32
		done           int64
		result         string
	}{{2, 70, 2, 100_000_000, "1"}, {1, 50, consensus.IndexRead, 100_000_002, "3"}}
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d: %+v", len(rows), len(want), rows)
	}
	for i, w := range want {
		row := rows[i]
		if row.Sequence != w.sequence || row.Slot != w.slot || row.Index != w.index || row.DoneNS != w.done || row.Result != w.result {
			t.Errorf("row %d is %+v, want %+v", i, row, w)
		}
	}
}

func TestATimeoutHasNoSlotAndAFailureHas(t *testing.T) {
	l := load(func(l *control.Load) {
		l.DurationNS, l.Mix = int64(150*time.Millisecond), map[string]float64{"remove": 1}
		l.Keys = 1
	})
	m, err := New(Config{Self: 9, Name: "client2", Targets: []consensus.NodeID{1}, Load: l})
	if err != nil {
		t.Fatal(err)
	}
	var rows []results.Row
	m.config.Record = func(row results.Row) { rows = append(rows, row) }
	replica := replicate(t, "")
	var out consensus.Outbox
	m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
	removal := replica.do(out.Messages[0].Message.(consensus.Request).Command) // of a key that nobody made
	m.Step(5, consensus.Input{Kind: consensus.InputMessage, Message: removal}, &out)
	for _, now := range []time.Duration{100 * time.Millisecond, time.Hour} {
		m.Step(consensus.Time(now), consensus.Input{Kind: consensus.InputTimer, Timer: wake}, &out)
	}
	if len(rows) != 2 || rows[0].Outcome != results.OutcomeFail || rows[0].Slot != 1 || rows[0].Result != "" ||
		rows[1].Outcome != results.OutcomeTimeout || rows[1].Slot != 0 || rows[1].Index != 0 {
		t.Errorf("rows %+v, want a failure in slot 1 and a timeout without", rows)
	}
}

// A system that answers with garbage must not look like one that answered a read
// of an absent key.
func TestAnAnswerThatCannotBeDecodedIsNoFailure(t *testing.T) {
	for _, c := range []struct {
		application, kind string
		raw               []byte
		want              string
	}{
		{"kv", "read", []byte{9, 'x'}, `"\tx"`},
		{"kv", "read", nil, `""`},
		{"kv", "remove", []byte{2, 'x'}, `"\x02x"`},
		{"counter", "increment", []byte{9}, `"\t"`},
		{"kv", "read", []byte(strings.Repeat("z", 1000)), `"` + strings.Repeat("z", 64) + `"`},
	} {
		var rows []results.Row
		m := start(t, load(func(l *control.Load) {
			l.Application, l.Mix, l.RateRPS = c.application, map[string]float64{c.kind: 1}, 1
		}), &rows)
		var out consensus.Outbox
		m.Step(0, consensus.Input{Kind: consensus.InputStart}, &out)
		sent := out.Messages[0].Message.(consensus.Request).Command
		m.Step(5, consensus.Input{Kind: consensus.InputMessage, Message: consensus.Response{
			Client: sent.Client, Sequence: sent.Sequence, Slot: 1, Result: c.raw,
		}}, &out)
		if len(rows) != 1 || rows[0].Outcome != results.OutcomeOK || rows[0].Result != c.want {
			t.Errorf("%s %s answered by %q: %+v, want the result %s", c.application, c.kind, c.raw, rows, c.want)
		}
	}
}

// Operations share memory: none may show through in another.
func TestOperationsKeepTheirBytes(t *testing.T) {
	for _, size := range []int{0, 16, 1000, 10_000} {
		l := load(func(l *control.Load) {
			l.RateRPS, l.ValueBytes, l.Mix = 500, size, map[string]float64{"create": 1}
		})
		var rows []results.Row
		m := start(t, l, &rows)
		var out consensus.Outbox
		m.Step(consensus.Time(400*time.Millisecond), consensus.Input{Kind: consensus.InputStart}, &out)
		app, _ := application.Lookup("kv")
		schedule := all(t, l, true)
		if len(out.Messages) < 300 {
			t.Fatalf("%d messages, want three for each of 200 requests", len(out.Messages))
		}
		for i := 0; i < len(out.Messages); i += 3 {
			want, err := app.AppendOperation(nil, schedule[i/3].Operation)
			got := out.Messages[i].Message.(consensus.Request).Command.Operation
			if err != nil || string(got) != string(want) {
				t.Fatalf("values of %d bytes, request %d: operation %q, want %q, %v", size, i/3, got, want, err)
			}
			if cap(got) != len(got) {
				t.Fatalf("appending to request %d's operation would write to the next", i/3)
			}
		}
	}
}

// Many requests are outstanding, are answered in another order, and some never:
// each has its row, once, and the memory for them doesn't grow with their number.
func TestRequestsInFlightTakeNoMoreMemoryThanTheirNumber(t *testing.T) {
	const atOnce, total = 100, 20_000
	l := load(func(l *control.Load) {
		l.RateRPS, l.DurationNS, l.TimeoutNS = 1e6, int64(total*time.Microsecond), int64(time.Second)
	})
	var rows []results.Row
	m := start(t, l, &rows)
	var out consensus.Outbox
	var late []uint64
	input := consensus.Input{Kind: consensus.InputStart}
	now := consensus.Time(0)
	for ; m.more; now += consensus.Time(atOnce * time.Microsecond) {
		m.Step(now, input, &out)
		input = consensus.Input{Kind: consensus.InputTimer, Timer: wake}
		next := late
		late = nil
		for i := 0; i < len(out.Messages); i += 3 {
			if c := out.Messages[i].Message.(consensus.Request).Command; c.Sequence%2 == 0 {
				late = append(late, c.Sequence)
			} else {
				next = append(next, c.Sequence)
			}
		}
		out.Reset()
		slices.Reverse(next)
		for _, sequence := range next {
			m.Step(now, consensus.Input{Kind: consensus.InputMessage,
				Message: consensus.Response{Client: m.id, Sequence: sequence, Result: []byte{1}}}, &out)
		}
	}
	if capacity := cap(m.requests); capacity > 8*atOnce {
		t.Errorf("room for %d requests, %d were outstanding at a time", capacity, 2*atOnce)
	}
	m.Step(now.Add(time.Hour), input, &out)
	seen := map[uint64]bool{}
	for _, row := range rows {
		seen[row.Sequence] = true
	}
	if len(rows) != total || len(seen) != total || !m.Done() {
		t.Errorf("%d rows of %d requests, want one each of %d", len(rows), len(seen), total)
	}
}

// The simulator's speed depends on it.
func TestAStepAllocatesTheMessageAndTheValueAlone(t *testing.T) {
	for _, c := range []struct {
		application, kind string
		most              float64
	}{{"kv", "create", 2}, {"kv", "read", 1}, {"counter", "increment", 1}} {
		l := load(func(l *control.Load) {
			l.Application, l.Mix = c.application, map[string]float64{c.kind: 1}
			l.RateRPS, l.DurationNS, l.TimeoutNS = 1e6, math.MaxInt64, int64(time.Second)
		})
		m, step := stepper(t, l)
		for range 1000 {
			step()
		}
		before := m.progress.Sent
		// A share of the memory for operations is below one in ten.
		if got := testing.AllocsPerRun(10_000, step); got > c.most+0.1 {
			t.Errorf("%s %s: %v allocations a request, want %v", c.application, c.kind, got, c.most)
		}
		if sent := m.progress.Sent - before; sent < 10_000 {
			t.Errorf("%s %s: %d requests sent, want one each run", c.application, c.kind, sent)
		}
	}
}

// stepper returns a function that sends one request and answers it.
func stepper(t testing.TB, l control.Load) (*Machine, func()) {
	m, err := New(Config{Self: 9, Name: "client1", Targets: []consensus.NodeID{1, 2, 3}, Load: l, Record: func(results.Row) {}})
	if err != nil {
		t.Fatal(err)
	}
	var out consensus.Outbox
	now := consensus.Time(0)
	m.Step(now, consensus.Input{Kind: consensus.InputStart}, &out)
	failure := []byte{2}
	return m, func() {
		// An answer needs boxing too: the driver does that, not the machine.
		response := consensus.Response{Client: m.id, Sequence: m.outstanding[0].due.Sequence, Slot: 1, Result: failure}
		m.answer(now, &response)
		out.Reset()
		now = m.at(m.next)
		m.Step(now, consensus.Input{Kind: consensus.InputTimer, Timer: wake}, &out)
	}
}

func BenchmarkSchedule(b *testing.B) {
	s, err := NewSchedule(load(func(l *control.Load) { l.DurationNS = math.MaxInt64; l.RateRPS = 1e6 }), "client1", false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Next()
	}
}

func BenchmarkARequestAndItsAnswer(b *testing.B) {
	_, step := stepper(b, load(func(l *control.Load) {
		l.Mix = map[string]float64{"create": 0.5, "read": 0.5}
		l.RateRPS, l.DurationNS = 1e6, math.MaxInt64
	}))
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
