package check

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"quorumlab/node/consensus"
	"quorumlab/results"
)

// requestLine is one request of a test's history, such as
//
//	a 0..10 create(x) @1.0      client a wrote x to key 0, at slot 1, index 0
//	b 20..30 k2/read=x @5.r     a read of key 2 that took no slot, after slot 5
//	c 5..6 remove fail @4.0     it failed
//	d 7.. update(y)             no answer
var requestLine = regexp.MustCompile(`^(\w+) (\d+)\.\.(\d*) (?:k(\d+)/)?(\w+)(?:\((\S*)\))?(?:=(\S*))?( fail)?(?: @(\d+)\.(\d+|r))?$`)

// parse reads a history, one request a line.
func parse(t testing.TB, text string) []results.Row {
	t.Helper()
	var rows []results.Row
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		m := requestLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("test history: %q", line)
		}
		number := func(text string) int64 {
			n, _ := strconv.ParseInt(text, 10, 64) // 0 if there is none
			return n
		}
		row := results.Row{
			Client: m[1], Sequence: uint64(len(rows) + 1), SentNS: number(m[2]), DoneNS: number(m[3]),
			Key: uint64(number(m[4])), Operation: m[5], Value: m[6], Result: m[7], Outcome: results.OutcomeOK,
			Slot: uint64(number(m[9])), Index: uint32(number(m[10])),
		}
		if m[10] == "r" {
			row.Index = consensus.IndexRead
		}
		switch {
		case m[3] == "":
			row.Outcome = results.OutcomeTimeout
		case m[8] != "":
			row.Outcome = results.OutcomeFail
		}
		rows = append(rows, row)
	}
	return rows
}

func sequence(rows []results.Row) iter.Seq2[results.Row, error] {
	return func(yield func(results.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// checker is what judges histories.
type checker func(application string, rows []results.Row) string

func judge(t testing.TB, application string, rows []results.Row) *Result {
	t.Helper()
	result, err := Linearizable(context.Background(), sequence(rows), Options{Application: application})
	if err != nil {
		t.Fatalf("%v: %+v", err, rows)
	}
	return result
}

// withoutPlaces is the history of a system that doesn't tell the log's order.
func withoutPlaces(rows []results.Row) []results.Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Slot, rows[i].Index = 0, 0
	}
	return rows
}

// record is the recording of a history.
func record(t testing.TB, application string, rows []results.Row) *recording {
	t.Helper()
	recorded := newRecording(applications[application])
	for _, row := range rows {
		if err := recorded.add(row); err != nil {
			t.Fatal(err)
		}
	}
	return recorded
}

// plainModel is the textbook's model of an application, with nothing in common
// with the checker's: the state is a number, pending operations take effect
// where they can and never fail.
func plainModel(application string, initial int64) porcupine.Model {
	step := func(value int64, o operation) (bool, int64) {
		if application == "counter" {
			value += map[kind]int64{increment: 1, decrement: -1}[o.kind]
			return o.pending() || !o.failed && !o.garbled && value == o.result, value
		}
		if o.garbled {
			return false, value
		}
		here := value != absent
		can := map[kind]bool{create: !here, update: here, remove: here, read: here}[o.kind]
		if !o.pending() && can == o.failed || o.observes() && !o.pending() && o.result != value {
			return false, value
		}
		switch {
		case !can || o.kind == read:
			return true, value
		case o.kind == remove:
			return true, absent
		}
		return true, o.argument
	}
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(s, input, _ any) (bool, any) { return step(s.(int64), input.(operation)) },
	}
}

// plainlyLinearizable has porcupine check a whole history, from any of the
// initial states that it may have.
func plainlyLinearizable(t testing.TB, h *history) bool {
	t.Helper()
	initials := []int64{h.initial.value}
	if h.initial.known != exact {
		initials = initialStates(h)
	}
	var operations []porcupine.Operation
	for _, o := range h.operations {
		operations = append(operations, porcupine.Operation{Input: o, Call: o.call, Return: o.done})
	}
	for _, initial := range initials {
		switch porcupine.CheckOperationsTimeout(plainModel(h.application.name, initial), operations, time.Minute) {
		case porcupine.Ok:
			return true
		case porcupine.Unknown:
			t.Fatal("porcupine needs more than a minute for a test's history")
		}
	}
	return false
}

// initialStates are all that make a difference.
func initialStates(h *history) []int64 {
	const other = -1 // a value that nothing reads
	states := []int64{absent, other}
	for _, o := range h.operations {
		if h.application.name == "kv" && o.observes() && h.possible(o.result) {
			states = append(states, o.result)
		}
		if h.application.name == "counter" && !o.pending() && !o.garbled {
			for off := int64(-len(h.operations)); off <= int64(len(h.operations)); off++ {
				states = append(states, o.result+off)
			}
		}
	}
	slices.Sort(states)
	return slices.Compact(states)
}

// plainVerdict is what the definitions say of a history: porcupine for each key,
// and each pair of places.
func plainVerdict(t testing.TB, application string, rows []results.Row) string {
	t.Helper()
	for i, a := range rows {
		for _, b := range rows[:i] {
			if placed(a) && placed(b) && contradict(a, b) {
				return results.FindingViolation
			}
		}
	}
	recorded := record(t, application, rows)
	for _, object := range recorded.objects {
		h := object.history(recorded.application)
		if !plainlyLinearizable(t, &h) {
			return results.FindingViolation
		}
	}
	if recorded.answers == 0 {
		return results.FindingNotChecked
	}
	return results.FindingOK
}

func placed(row results.Row) bool {
	return row.Outcome != results.OutcomeTimeout && row.Slot > 0 && row.Index != consensus.IndexRead
}

func contradict(a, b results.Row) bool {
	if a.Slot > b.Slot || a.Slot == b.Slot && a.Index > b.Index {
		a, b = b, a
	}
	return a.Slot == b.Slot && a.Index == b.Index || b.DoneNS < a.SentNS
}

// generator makes histories that are linearizable by construction: each request
// takes effect at an instant between its call and its answer.
type generator struct {
	random      *rand.Rand
	application string
	requests    int
	clients     int
	keys        int
	// values is how many different values are written; 0 makes all different.
	values int
	// timeouts is the share of requests without an answer.
	timeouts float64
	// span is the longest time that a request takes.
	span int
}

// due is a request and when it takes effect; never is not at all.
type due struct {
	row results.Row
	at  int64
}

var kindsOf = map[string][]string{
	"kv":      {"create", "create", "update", "update", "update", "read", "read", "read", "remove", "nop"},
	"counter": {"increment", "increment", "increment", "decrement", "read", "nop"},
}

// history generates one. Requests that took no slot are reads of the state after
// the last one.
func (g *generator) history() []results.Row {
	var all []due
	clock := make([]int64, g.clients)
	for i := range g.requests {
		client := g.random.IntN(g.clients)
		d := g.request(uint64(i+1), clock[client])
		d.row.Client = fmt.Sprintf("client%d", client+1)
		if d.row.Outcome != results.OutcomeTimeout {
			clock[client] = d.row.DoneNS
		}
		clock[client] += int64(g.random.IntN(g.span + 1))
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b due) int { return int(max(min(a.at-b.at, 1), -1)) })
	g.carryOut(all)
	rows := make([]results.Row, len(all))
	for i := range all {
		rows[i] = all[i].row
	}
	g.random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

// request draws one that is called at an instant.
func (g *generator) request(sequence uint64, call int64) due {
	kinds := kindsOf[g.application]
	row := results.Row{
		Sequence: sequence, Operation: kinds[g.random.IntN(len(kinds))], Key: uint64(g.random.IntN(g.keys)), SentNS: call,
	}
	if row.Operation == "create" || row.Operation == "update" {
		row.Value = fmt.Sprintf("v%d", sequence)
		if g.values > 0 {
			row.Value = fmt.Sprintf("v%d", g.random.IntN(g.values))
		}
	}
	row.DoneNS = call + int64(g.random.IntN(g.span+1))
	at := call + g.random.Int64N(row.DoneNS-call+1)
	if g.random.Float64() < g.timeouts {
		row.Outcome, row.DoneNS = results.OutcomeTimeout, 0
		at = call + int64(g.random.IntN(4*g.span+1))
		if g.random.IntN(3) == 0 {
			at = never
		}
	}
	return due{row: row, at: at}
}

// carryOut applies the requests one after the other and notes what came of them.
func (g *generator) carryOut(all []due) {
	states := map[uint64]string{}
	slot, index := uint64(1), uint32(0)
	for i := range all {
		if all[i].at == never {
			continue
		}
		row := &all[i].row
		outcome, result := carryOut(g.application, states, *row)
		if row.Outcome == results.OutcomeTimeout {
			continue
		}
		row.Outcome, row.Result = outcome, result
		if row.Operation == "read" && g.random.IntN(2) == 0 && index == 0 {
			row.Slot, row.Index = slot, consensus.IndexRead
			continue
		}
		if index++; g.random.IntN(3) > 0 {
			slot, index = slot+1+uint64(g.random.IntN(2)), 0
		}
		row.Slot, row.Index = slot, index
	}
}

// carryOut is the applications once more, as simply as can be.
func carryOut(application string, states map[uint64]string, row results.Row) (outcome, result string) {
	value, here := states[row.Key]
	if application == "counter" {
		number, _ := strconv.Atoi(value)
		number += map[string]int{"increment": 1, "decrement": -1}[row.Operation]
		states[row.Key] = strconv.Itoa(number)
		if row.Operation == "nop" {
			return results.OutcomeOK, ""
		}
		return results.OutcomeOK, states[row.Key]
	}
	if row.Operation == "nop" {
		return results.OutcomeOK, ""
	}
	if here == (row.Operation == "create") {
		return results.OutcomeFail, ""
	}
	switch row.Operation {
	case "create", "update":
		states[row.Key] = row.Value
	case "remove":
		delete(states, row.Key)
	case "read":
		return results.OutcomeOK, value
	}
	return results.OutcomeOK, ""
}
