package consensus

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

// tape is a state machine that remembers what was applied.
type tape struct{ applied []string }

func (t *tape) Apply(operation []byte) []byte {
	t.applied = append(t.applied, string(operation))
	return append([]byte("did "), operation...)
}

func (t *tape) Query([]byte) []byte { return []byte("read") }

func (t *tape) AppendSnapshot(dst []byte) []byte {
	for _, operation := range t.applied {
		dst = append(append(dst, operation...), 0)
	}
	return dst
}

// errTape is what a tape says of a snapshot that doesn't end.
var errTape = errors.New("no end")

func (t *tape) Restore(snapshot []byte) error {
	operations := strings.SplitAfter(string(snapshot), "\x00")
	last := len(operations) - 1
	if operations[last] != "" {
		return errTape
	}
	t.applied = nil
	for _, operation := range operations[:last] {
		t.applied = append(t.applied, strings.TrimSuffix(operation, "\x00"))
	}
	return nil
}

func (t *tape) Hash() [32]byte {
	h := sha256.New()
	for _, s := range t.applied {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return [32]byte(h.Sum(nil))
}

// apply applies a command and returns its response, if there is one.
func apply(a *Application, slot uint64, command Command) (response Response, ok bool) {
	a.Apply(slot, command, func(r Response) { response, ok = r, true })
	return response, ok
}

func command(client ClientID, sequence, firstUnanswered uint64, operation string) Command {
	return Command{Client: client, Sequence: sequence, FirstUnanswered: firstUnanswered, Operation: []byte(operation)}
}

func TestACommandChosenInTwoSlotsIsAppliedOnceAndAnsweredTwice(t *testing.T) {
	m := &tape{}
	a := NewApplication(m)
	c := command(7, 1, 1, "x")
	first, ok := apply(a, 1, c)
	if !ok || first.Slot != 1 || string(first.Result) != "did x" {
		t.Fatalf("first: %+v %v", first, ok)
	}
	again, ok := apply(a, 2, c)
	if !ok || again.Slot != 1 || string(again.Result) != "did x" {
		t.Errorf("again: %+v %v, want the first answer", again, ok)
	}
	if len(m.applied) != 1 {
		t.Errorf("applied %q, want it once", m.applied)
	}
	if asked, ok := a.Answer(c); !ok || asked.Slot != 1 {
		t.Errorf("asked again: %+v %v, want the first answer", asked, ok)
	}
	if _, ok := a.Answer(command(7, 2, 1, "x")); ok {
		t.Error("a command that was never applied has an answer")
	}
}

func TestCommandsOfOneClientMayBeDecidedOutOfOrder(t *testing.T) {
	m := &tape{}
	a := NewApplication(m)
	apply(a, 1, command(7, 3, 1, "c"))
	apply(a, 2, command(7, 1, 1, "a"))
	apply(a, 3, command(8, 1, 1, "other"))
	apply(a, 4, command(7, 2, 1, "b"))
	apply(a, 5, command(7, 1, 1, "a"))
	want := []string{"c", "a", "other", "b"}
	if len(m.applied) != len(want) {
		t.Fatalf("applied %q, want %q", m.applied, want)
	}
	for i := range want {
		if m.applied[i] != want[i] {
			t.Fatalf("applied %q, want %q", m.applied, want)
		}
	}
}

func TestACommandDeclaredFinishedIsNeverAppliedAgain(t *testing.T) {
	m := &tape{}
	a := NewApplication(m)
	apply(a, 1, command(7, 1, 1, "a"))
	apply(a, 2, command(7, 3, 3, "c")) // 1 was answered, 2 given up
	for slot, c := range []Command{command(7, 1, 1, "a"), command(7, 2, 1, "b")} {
		if _, ok := apply(a, uint64(slot+3), c); ok {
			t.Errorf("command %d was answered after the client had declared it finished", c.Sequence)
		}
	}
	if len(m.applied) != 2 {
		t.Errorf("applied %q, want a and c", m.applied)
	}
}

func TestSessionsForgetWhatTheClientNoLongerAwaits(t *testing.T) {
	a := NewApplication(&tape{})
	for i := uint64(1); i <= 1000; i++ {
		first := uint64(1)
		if i > 8 {
			first = i - 8
		}
		apply(a, i, command(7, i, first, "x"))
	}
	if n := len(a.sessions[7].results); n > 9 {
		t.Errorf("the session holds %d results, want at most the 9 awaited", n)
	}
	apply(a, 1001, command(7, 1<<60, 1<<60, "far ahead")) // must not take for ever
}

func TestANoOpOfTheProtocolChangesNothing(t *testing.T) {
	m := &tape{}
	a := NewApplication(m)
	if _, ok := apply(a, 1, Command{}); ok || len(m.applied) != 0 || a.Slot() != 1 {
		t.Errorf("a no-op was applied: %v, slot %d", m.applied, a.Slot())
	}
}

func TestSlotsOutOfOrderPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("applying slot 2 first did not panic")
		}
	}()
	apply(NewApplication(&tape{}), 2, Command{})
}

func TestTheHashTellsLogsApartThatLeadToTheSameState(t *testing.T) {
	hash := func(commands ...Command) [32]byte {
		a := NewApplication(constant{})
		for i, c := range commands {
			apply(a, uint64(i+1), c)
		}
		return a.Hash()
	}
	x, y := command(7, 1, 1, "nop"), command(8, 1, 1, "nop")
	same := hash(x, y)
	if again := hash(x, y); again != same {
		t.Error("the same log hashes differently")
	}
	for name, other := range map[string][32]byte{
		"another order": hash(y, x), "another client": hash(x, command(9, 1, 1, "nop")),
		"a no-op between": hash(x, Command{}, y), "fewer": hash(x),
	} {
		if other == same {
			t.Errorf("%s hashes alike", name)
		}
	}
}

// constant is a state machine that nothing changes.
type constant struct{}

func (constant) Apply([]byte) []byte              { return nil }
func (constant) Query([]byte) []byte              { return nil }
func (constant) AppendSnapshot(dst []byte) []byte { return dst }
func (constant) Restore([]byte) error             { return nil }
func (constant) Hash() [32]byte                   { return [32]byte{1} }

func TestAFarLeapOfFirstUnansweredTakesNoTime(t *testing.T) {
	a := NewApplication(&tape{})
	apply(a, 1, command(7, 5, 1, "x"))
	apply(a, 2, command(7, 1<<62, 1<<62, "y")) // hangs if it counts up
	apply(a, 3, command(7, 1<<63, 1<<62+1, "z"))
	if n := len(a.sessions[7].results); n != 1 {
		t.Errorf("%d results remembered, want that of the last", n)
	}
}
