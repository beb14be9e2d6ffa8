package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
)

// visited lists what Each visits, with the indices that it gives.
func visited(t testing.TB, c Command) (commands []Command, err error) {
	t.Helper()
	err = c.Each(func(index uint32, command Command) {
		if int(index) != len(commands) {
			t.Errorf("index %d comes after %d commands", index, len(commands))
		}
		commands = append(commands, command)
	})
	return commands, err
}

var batched = []Command{
	command(7, 1, 1, "x"),
	{Kind: KindRead, Client: math.MaxUint64, Sequence: math.MaxUint64, FirstUnanswered: math.MaxUint64, Operation: []byte{}},
	{Kind: KindReconfigure, Client: 8, Sequence: 300, FirstUnanswered: 200, Operation: make([]byte, 1000)},
	{Operation: []byte{}},
}

func TestTheCommandsOfABatchComeBackInOrder(t *testing.T) {
	batch := NewBatch(batched)
	if batch.Kind != KindBatch || batch.Client != 0 || batch.Sequence != 0 {
		t.Errorf("the batch is %+v", batch)
	}
	got, err := visited(t, batch)
	if err != nil || !reflect.DeepEqual(got, batched) {
		t.Errorf("%+v, %v, want %+v", got, err, batched)
	}
	for _, c := range got {
		if cap(c.Operation) != len(c.Operation) {
			t.Errorf("appending to operation %d would write to the batch", c.Sequence)
		}
	}
	if got, err := visited(t, NewBatch(nil)); err != nil || len(got) != 0 {
		t.Errorf("the empty batch has %+v, %v", got, err)
	}
}

func TestACommandThatIsNoBatchIsVisitedItself(t *testing.T) {
	for _, c := range batched {
		if got, err := visited(t, c); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], c) {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
}

func TestABatchWithinABatchPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was made")
		}
	}()
	NewBatch([]Command{NewBatch(batched)})
}

func TestAFaultyBatchHasTheCommandsBeforeTheFault(t *testing.T) {
	good := NewBatch(batched[:1]).Operation
	for name, fault := range map[string][]byte{
		"only a kind":           {0},
		"a batch within":        {byte(KindBatch), 7, 1, 1, 0},
		"an unknown kind":       {99, 7, 1, 1, 0},
		"a number cut off":      {0, 7, 0x80},
		"a number too long":     append([]byte{0}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"an operation cut off":  {0, 7, 1, 1, 2, 'x'},
		"a length beyond bytes": binary.AppendUvarint([]byte{0, 7, 1, 1}, math.MaxUint64),
	} {
		got, err := visited(t, Command{Kind: KindBatch, Operation: slices.Concat(good, good, fault)})
		if !errors.Is(err, ErrBatch) || len(got) != 2 {
			t.Errorf("%s: %d commands, %v, want the two before and ErrBatch", name, len(got), err)
		}
	}
}

func TestABatchCutAnywhereHasItsFirstCommandsAndAnErrorUnlessBetweenTwo(t *testing.T) {
	whole := NewBatch(batched).Operation
	ends := map[int]int{}
	for i := range batched {
		ends[len(NewBatch(batched[:i]).Operation)] = i
	}
	for cut := range whole {
		got, err := visited(t, Command{Kind: KindBatch, Operation: whole[:cut]})
		between, whole := ends[cut]
		if whole && (err != nil || len(got) != between) || !whole && !errors.Is(err, ErrBatch) {
			t.Errorf("cut at %d: %d commands, %v", cut, len(got), err)
		}
		if len(got) > 0 && !reflect.DeepEqual(got, batched[:len(got)]) {
			t.Errorf("cut at %d: %+v", cut, got)
		}
	}
}

func TestBatchesAreTheSameIfTheirBytesAre(t *testing.T) {
	read := command(7, 1, 1, "x")
	read.Kind = KindRead
	for _, c := range []struct {
		a, b Command
		want bool
	}{
		{NewBatch(batched), NewBatch(slices.Clone(batched)), true},
		{NewBatch(batched), NewBatch(batched[1:]), false},
		{NewBatch(nil), Command{}, false},
		{command(7, 1, 1, "x"), command(7, 1, 2, "y"), true}, // the client numbers them
		{command(7, 1, 1, "x"), command(7, 2, 1, "x"), false},
		{command(7, 1, 1, "x"), command(8, 1, 1, "x"), false},
		{command(7, 1, 1, "x"), read, false},
	} {
		if c.a.Same(c.b) != c.want || c.b.Same(c.a) != c.want {
			t.Errorf("%+v and %+v: same %v, want %v", c.a, c.b, c.a.Same(c.b), c.want)
		}
	}
}

func FuzzEach(f *testing.F) {
	f.Add(NewBatch(batched).Operation)
	f.Add([]byte{0, 7, 1, 1, 2, 'x'})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := visited(t, Command{Kind: KindBatch, Operation: data})
		if err != nil && !errors.Is(err, ErrBatch) {
			t.Errorf("error %v isn't ErrBatch", err)
		}
		again, err := visited(t, NewBatch(first)) // panics if a batch was within
		if err != nil || fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("%v came back as %v, %v", first, again, err)
		}
	})
}

// responses applies a command and lists the responses to it.
func responses(a *Application, slot uint64, c Command) (given []Response) {
	a.Apply(slot, c, func(r Response) { given = append(given, r) })
	return given
}

func TestEachCommandOfABatchIsAppliedOnceAtItsIndex(t *testing.T) {
	m := &tape{}
	a := NewApplication(m)
	x, y, z := command(7, 1, 1, "x"), command(8, 1, 1, "y"), command(7, 2, 1, "z")
	responses(a, 1, y)
	given := responses(a, 2, NewBatch([]Command{x, {}, y, z, x}))
	want := []struct {
		client ClientID
		slot   uint64
		index  uint32
		result string
	}{{7, 2, 0, "did x"}, {8, 1, 0, "did y"}, {7, 2, 3, "did z"}, {7, 2, 0, "did x"}}
	if len(given) != len(want) {
		t.Fatalf("%d responses, want %d: %+v", len(given), len(want), given)
	}
	for i, w := range want {
		if r := given[i]; r.Client != w.client || r.Slot != w.slot || r.Index != w.index || string(r.Result) != w.result {
			t.Errorf("response %d is %+v, want %+v", i, r, w)
		}
	}
	if !slices.Equal(m.applied, []string{"y", "x", "z"}) || a.Slot() != 2 {
		t.Errorf("applied %q at slot %d, want y, x, z at 2", m.applied, a.Slot())
	}
	if asked, ok := a.Answer(z); !ok || asked.Slot != 2 || asked.Index != 3 {
		t.Errorf("asked again: %+v, %v", asked, ok)
	}
}

func TestReplicasAgreeOnAFaultyBatch(t *testing.T) {
	faulty := NewBatch([]Command{command(7, 1, 1, "x")})
	faulty.Operation = append(faulty.Operation, 99)
	m, other := &tape{}, NewApplication(&tape{})
	a := NewApplication(m)
	if given := responses(a, 1, faulty); len(given) != 1 || len(m.applied) != 1 || a.Slot() != 1 {
		t.Errorf("%d responses, applied %q, slot %d; want the command before the fault", len(given), m.applied, a.Slot())
	}
	responses(other, 1, faulty)
	if a.Hash() != other.Hash() || a.Prefix() != other.Prefix() {
		t.Error("two replicas differ")
	}
	responses(a, 2, command(7, 2, 1, "y")) // goes on
	if !slices.Equal(m.applied, []string{"x", "y"}) {
		t.Errorf("applied %q", m.applied)
	}
}

func TestTheLogsFingerprintTellsABatchFromItsCommands(t *testing.T) {
	x, y := command(7, 1, 1, "x"), command(8, 1, 1, "y")
	prefix := func(commands ...Command) [32]byte {
		a := NewApplication(constant{})
		for i, c := range commands {
			responses(a, uint64(i+1), c)
		}
		return a.Prefix()
	}
	seen := map[[32]byte]string{}
	for name, p := range map[string][32]byte{
		"x, y": prefix(x, y), "batch of both": prefix(NewBatch([]Command{x, y})), "turned": prefix(NewBatch([]Command{y, x})),
		"two batches": prefix(NewBatch([]Command{x}), NewBatch([]Command{y})), "empty": prefix(NewBatch(nil)), "no-op": prefix(Command{}),
	} {
		if other, taken := seen[p]; taken {
			t.Errorf("%s and %s have one fingerprint", name, other)
		}
		seen[p] = name
	}
}

func TestTheApplicationIsNotToldOfReconfigurations(t *testing.T) {
	m := &tape{}
	a := NewApplication(m)
	change := Command{Kind: KindReconfigure, Client: 7, Sequence: 1, FirstUnanswered: 1, Operation: []byte("change")}
	for slot := uint64(1); slot <= 2; slot++ {
		given := responses(a, slot, change)
		if len(given) != 1 || given[0].Slot != 1 || given[0].Result != nil {
			t.Errorf("slot %d: %+v, want one response without a result, of slot 1", slot, given)
		}
	}
	if len(m.applied) != 0 {
		t.Errorf("applied %q", m.applied)
	}
	if p := a.Prefix(); p == ([32]byte{}) {
		t.Error("the log's fingerprint leaves the change out")
	}
}

func TestAReadWithoutASlotSeesThePresentAndLeavesNoTrace(t *testing.T) {
	m := &tape{}
	a := NewApplication(m)
	responses(a, 1, command(7, 1, 1, "x"))
	before, prefix := string(a.Snapshot()), a.Prefix()
	read := Command{Kind: KindRead, Client: 8, Sequence: 4, FirstUnanswered: 2, Operation: []byte("r")}
	want := Response{Client: 8, Sequence: 4, Slot: 1, Index: IndexRead, Result: []byte("read")}
	if got := a.Read(read); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if string(a.Snapshot()) != before || a.Prefix() != prefix || len(m.applied) != 1 {
		t.Error("the read left a trace")
	}
	if _, ok := a.Answer(read); ok {
		t.Error("a read's answer is remembered")
	}
	if given := responses(a, 2, read); len(given) != 1 || given[0].Slot != 2 || given[0].Index != 0 {
		t.Errorf("the same read by way of the log: %+v", given)
	}
}
