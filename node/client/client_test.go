package client

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"quorumlab/node/application"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/kv"
	"quorumlab/results"
)

func load(change func(*control.Load)) control.Load {
	l := control.Load{
		DurationNS: int64(time.Second), TimeoutNS: int64(500 * time.Millisecond), RateRPS: 10,
		Arrivals: "fixed", Mix: map[string]float64{"nop": 1}, Keys: 5, ValueBytes: 16, Seed: 1,
	}
	if change != nil {
		change(&l)
	}
	return l
}

func all(t *testing.T, l control.Load, first bool) []Due {
	t.Helper()
	s, err := NewSchedule(l, "client1", first)
	if err != nil {
		t.Fatal(err)
	}
	var dues []Due
	for due, ok := s.Next(); ok; due, ok = s.Next() {
		dues = append(dues, due)
	}
	return dues
}

func TestAFixedScheduleIsEvenlySpaced(t *testing.T) {
	dues := all(t, load(nil), true)
	if len(dues) != 10 {
		t.Fatalf("%d requests in 1 s at 10 a second", len(dues))
	}
	for i, due := range dues {
		if due.At != time.Duration(i)*100*time.Millisecond || due.Sequence != uint64(i+1) || due.Operation != (application.Operation{Kind: "nop"}) || due.Reads {
			t.Errorf("request %d: %+v", i, due)
		}
	}
}

func TestAScheduleFollowsFromItsLoadAlone(t *testing.T) {
	l := load(func(l *control.Load) {
		l.Arrivals, l.RateRPS, l.Mix = "poisson", 500, map[string]float64{"read": 0.3, "update": 0.7}
	})
	if a, b := all(t, l, true), all(t, l, true); fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the same load gave two schedules")
	}
	l2 := l
	l2.Seed = 2
	if a, b := all(t, l, true), all(t, l2, true); fmt.Sprint(a) == fmt.Sprint(b) {
		t.Error("another seed gave the same schedule")
	}
}

func TestPoissonArrivalsHaveExponentialGaps(t *testing.T) {
	l := load(func(l *control.Load) { l.Arrivals, l.RateRPS, l.DurationNS = "poisson", 1000, int64(50*time.Second) })
	dues := all(t, l, false)
	if n := float64(len(dues)); math.Abs(n-50_000) > 4*math.Sqrt(50_000) {
		t.Errorf("%v arrivals, want 50000 within four standard deviations", n)
	}
	var sum, squares float64
	for i := 1; i < len(dues); i++ {
		gap := (dues[i].At - dues[i-1].At).Seconds()
		if gap < 0 {
			t.Fatal("the schedule goes back in time")
		}
		sum += gap
		squares += gap * gap
	}
	n := float64(len(dues) - 1)
	mean := sum / n
	deviation := math.Sqrt(squares/n - mean*mean)
	if math.Abs(deviation/mean-1) > 0.03 {
		t.Errorf("the gaps' standard deviation is %v of their mean, want 1", deviation/mean)
	}
}

func TestTheMixHasItsSharesAndKeysAreUniform(t *testing.T) {
	l := load(func(l *control.Load) {
		l.RateRPS, l.DurationNS, l.Keys = 10_000, int64(5*time.Second), 10
		l.Mix = map[string]float64{"read": 0.2, "update": 0.5, "remove": 0.3}
	})
	kinds, keys := map[string]int{}, map[uint64]int{}
	values := map[string]bool{}
	for _, due := range all(t, l, false) {
		kinds[due.Operation.Kind]++
		keys[due.Operation.Key]++
		if due.Operation.Kind == "update" {
			if values[due.Operation.Value] || len(due.Operation.Value) != 16 {
				t.Fatalf("value %q is not new or not 16 bytes", due.Operation.Value)
			}
			values[due.Operation.Value] = true
		}
	}
	for kind, share := range map[string]float64{"read": 0.2, "update": 0.5, "remove": 0.3} {
		if got := float64(kinds[kind]) / 50_000; math.Abs(got-share) > 4*math.Sqrt(share*(1-share)/50_000) {
			t.Errorf("%v: share %v, want %v", kind, got, share)
		}
	}
	for key := range uint64(10) {
		if math.Abs(float64(keys[key])-5000) > 4*math.Sqrt(5000) {
			t.Errorf("key %d chosen %d times of 50000", key, keys[key])
		}
	}
}

func TestTheFirstClientCreatesTheKeysBesideTheMix(t *testing.T) {
	l := load(func(l *control.Load) { l.Mix = map[string]float64{"update": 1} })
	var created []uint64
	last := time.Duration(-1)
	for _, due := range all(t, l, true) {
		if due.At < last {
			t.Fatal("not in the order in which requests are due")
		}
		last = due.At
		if due.Operation.Kind == "create" {
			created = append(created, due.Operation.Key)
		}
	}
	if fmt.Sprint(created) != "[0 1 2 3 4]" {
		t.Errorf("created %v", created)
	}
	if n := len(all(t, l, false)); n != 10 {
		t.Errorf("another client has %d requests, want the mix's 10", n)
	}
}

func TestOrdersThatMakeNoSenseAreRefusedWithWhatIsRight(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*control.Load)
		says   string
	}{
		"rate 0":         {func(l *control.Load) { l.RateRPS = 0 }, "rate_rps is 0"},
		"rate NaN":       {func(l *control.Load) { l.RateRPS = math.NaN() }, "rate_rps is NaN"},
		"arrivals":       {func(l *control.Load) { l.Arrivals = "bursty" }, "fixed or poisson"},
		"duration":       {func(l *control.Load) { l.DurationNS = 0 }, "duration_ns is 0"},
		"timeout":        {func(l *control.Load) { l.TimeoutNS = -1 }, "timeout_ns is -1"},
		"keys":           {func(l *control.Load) { l.Keys = 0 }, "keys is 0"},
		"value size":     {func(l *control.Load) { l.ValueBytes = -1 }, "value_bytes is -1"},
		"an application": {func(l *control.Load) { l.Application = "sql" }, `"sql", want counter or kv`},
		"unknown op": {func(l *control.Load) { l.Mix = map[string]float64{"increment": 1} },
			`"increment", want nop or create or update or read or remove`},
		"an operation of the other": {func(l *control.Load) {
			l.Application, l.Mix = "counter", map[string]float64{"increment": 0.5, "update": 0.5}
		}, `"update", want nop or increment or decrement or read`},
		"shares":       {func(l *control.Load) { l.Mix = map[string]float64{"nop": 0.5} }, "sum to 0.5, want 1"},
		"negative":     {func(l *control.Load) { l.Mix = map[string]float64{"nop": 2, "read": -1} }, "read: -1, want"},
		"NaN":          {func(l *control.Load) { l.Mix = map[string]float64{"nop": math.NaN()} }, "nop: NaN, want"},
		"infinite":     {func(l *control.Load) { l.Mix = map[string]float64{"nop": math.Inf(1)} }, "sum to +Inf"},
		"an empty mix": {func(l *control.Load) { l.Mix = nil }, "sum to 0"},
	} {
		if err := CheckLoad(load(c.change)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one that says %s", name, err, c.says)
		}
		if _, err := New(Config{Load: load(c.change)}); err == nil {
			t.Errorf("%s: New takes it", name)
		}
	}
}

// drive runs a machine in virtual time; answer says after how long a request is
// answered by each target, nothing for never.
func drive(t *testing.T, l control.Load, answer func(c consensus.Command) []time.Duration) (rows []results.Row, commands []consensus.Command) {
	t.Helper()
	m, err := New(Config{Self: 9, Name: "client1", Targets: []consensus.NodeID{1, 2}, Load: l,
		Record: func(row results.Row) { rows = append(rows, row) }})
	if err != nil {
		t.Fatal(err)
	}
	type arrival struct {
		at       consensus.Time
		response consensus.Response
	}
	var arrivals []arrival
	now, timer := consensus.Time(0), consensus.Time(0)
	input := consensus.Input{Kind: consensus.InputStart}
	for steps := 0; !m.Done(); steps++ {
		if steps > 100_000 {
			t.Fatal("the load never ends")
		}
		var out consensus.Outbox
		m.Step(now, input, &out)
		for _, change := range out.Timers {
			timer = now.Add(change.After)
		}
		for _, sent := range out.Messages {
			c := sent.Message.(consensus.Request).Command
			if sent.To != 1 {
				continue
			}
			commands = append(commands, c)
			for _, after := range answer(c) {
				result := kv.AppendResult(nil, kv.Result{Status: kv.Success})
				arrivals = append(arrivals, arrival{now.Add(after), consensus.Response{Client: c.Client, Sequence: c.Sequence, Result: result}})
			}
		}
		first := -1
		for i, a := range arrivals {
			if first < 0 || a.at < arrivals[first].at {
				first = i
			}
		}
		if first >= 0 && arrivals[first].at <= timer {
			now = arrivals[first].at
			input = consensus.Input{Kind: consensus.InputMessage, From: 1, Message: arrivals[first].response}
			arrivals = append(arrivals[:first:first], arrivals[first+1:]...)
		} else {
			now, input = timer, consensus.Input{Kind: consensus.InputTimer, Timer: wake}
		}
	}
	return rows, commands
}

func TestTheFirstAnswerCountsFromTheIntendedTime(t *testing.T) {
	rows, commands := drive(t, load(nil), func(consensus.Command) []time.Duration {
		return []time.Duration{80 * time.Millisecond, 30 * time.Millisecond}
	})
	if len(rows) != 10 || len(commands) != 10 {
		t.Fatalf("%d rows, %d commands", len(rows), len(commands))
	}
	for i, row := range rows {
		intended := int64(i) * int64(100*time.Millisecond)
		if row.IntendedNS != intended || row.DoneNS != intended+int64(30*time.Millisecond) || row.Outcome != results.OutcomeOK {
			t.Errorf("row %d: %+v", i, row)
		}
	}
}

func TestRequestsWithoutAnAnswerAreTimeouts(t *testing.T) {
	rows, _ := drive(t, load(nil), func(c consensus.Command) []time.Duration {
		if c.Sequence%2 == 0 {
			return nil
		}
		return []time.Duration{10 * time.Millisecond}
	})
	timeouts := 0
	for _, row := range rows {
		if row.Outcome == results.OutcomeTimeout {
			timeouts++
			if row.DoneNS != 0 {
				t.Errorf("a timeout was done at %d", row.DoneNS)
			}
		}
	}
	if len(rows) != 10 || timeouts != 5 {
		t.Errorf("%d rows, %d timeouts, want 10 and 5", len(rows), timeouts)
	}
}

func TestFirstUnansweredIsTheLowestStillAwaited(t *testing.T) {
	_, commands := drive(t, load(nil), func(c consensus.Command) []time.Duration {
		if c.Sequence == 2 {
			return nil // given up after 500 ms, when 6 has been sent
		}
		return []time.Duration{time.Millisecond}
	})
	want := []uint64{1, 2, 2, 2, 2, 2, 7, 8, 9, 10}
	for i, c := range commands {
		if c.FirstUnanswered != want[i] {
			t.Errorf("command %d: first unanswered %d, want %d", c.Sequence, c.FirstUnanswered, want[i])
		}
	}
}

func TestALateAnswerToARequestThatWasGivenUpChangesNothing(t *testing.T) {
	rows, _ := drive(t, load(nil), func(consensus.Command) []time.Duration {
		return []time.Duration{600 * time.Millisecond}
	})
	for _, row := range rows {
		if row.Outcome != results.OutcomeTimeout {
			t.Errorf("%+v, want a timeout", row)
		}
	}
	if len(rows) != 10 {
		t.Errorf("%d rows", len(rows))
	}
}
