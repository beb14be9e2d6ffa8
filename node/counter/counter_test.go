package counter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"

	"quorumlab/node/consensus"
)

var _ consensus.StateMachine = (*Counters)(nil)

func TestOperationsCountPerKeyAndReturnTheNewValue(t *testing.T) {
	c := New()
	for i, step := range []struct {
		operation Operation
		want      Result
	}{
		{Operation{Read, 1}, Result{true, "0"}},
		{Operation{Increment, 1}, Result{true, "1"}},
		{Operation{Increment, 1}, Result{true, "2"}},
		{Operation{Decrement, 2}, Result{true, "-1"}},
		{Operation{Read, 1}, Result{true, "2"}},
		{Operation{Kind: Nop}, Result{OK: true}},
		{Operation{Decrement, 1}, Result{true, "1"}},
		{Operation{Increment, 2}, Result{true, "0"}},
		{Operation{Read, 2}, Result{true, "0"}},
		{Operation{Read, math.MaxUint64}, Result{true, "0"}},
	} {
		got, err := DecodeResult(c.Apply(AppendOperation(nil, step.operation)))
		if err != nil || got != step.want {
			t.Errorf("step %d, %v %d: %+v, %v, want %+v", i, step.operation.Kind, step.operation.Key, got, err, step.want)
		}
	}
}

func TestACounterGoesOnBeyondItsEnds(t *testing.T) {
	c := New()
	c.set(1, math.MaxInt64)
	if got := c.Do(Operation{Increment, 1}).Value; got != fmt.Sprint(math.MinInt64) {
		t.Errorf("after the largest comes %s", got)
	}
	if got := c.Do(Operation{Decrement, 1}).Value; got != fmt.Sprint(math.MaxInt64) {
		t.Errorf("before the smallest comes %s", got)
	}
}

func TestACounterBackAtZeroIsAsOneThatWasNeverUsed(t *testing.T) {
	c := New()
	for key := range uint64(100) {
		c.Do(Operation{Increment, key})
		c.Do(Operation{Decrement, key})
	}
	if c.Hash() != New().Hash() || len(c.AppendSnapshot(nil)) != 0 || len(c.values) != 0 {
		t.Errorf("%d counters are kept, want none", len(c.values))
	}
}

func TestQueriesReadAndChangeNothing(t *testing.T) {
	c := New()
	c.Do(Operation{Increment, 1})
	before := c.Hash()
	for _, q := range []struct {
		operation Operation
		want      Result
	}{
		{Operation{Kind: Nop}, Result{OK: true}},
		{Operation{Read, 1}, Result{true, "1"}},
		{Operation{Read, 2}, Result{true, "0"}},
		{Operation{Increment, 1}, Result{}},
		{Operation{Decrement, 1}, Result{}},
		{Operation{Kind: 99}, Result{}},
	} {
		got, err := DecodeResult(c.Query(AppendOperation(nil, q.operation)))
		if err != nil || got != q.want {
			t.Errorf("%v: %+v, %v, want %+v", q.operation, got, err, q.want)
		}
		if c.Hash() != before {
			t.Fatalf("%v changed the state", q.operation)
		}
	}
}

func TestGarbageIsAFailureThatChangesNothing(t *testing.T) {
	c := New()
	c.Do(Operation{Increment, 1})
	before := c.Hash()
	for _, garbage := range [][]byte{nil, {0, 1}, {99, 1}, {byte(Increment)}, {byte(Increment), 0x80}, {byte(Increment), 1, 0}} {
		result, err := DecodeResult(c.Apply(garbage))
		if err != nil || result.OK {
			t.Errorf("%v: %+v, %v, want a failure", garbage, result, err)
		}
	}
	if result := c.Do(Operation{Kind: 99, Key: 1}); result.OK {
		t.Errorf("an unknown kind gives %+v", result)
	}
	if c.Hash() != before {
		t.Error("garbage changed the state")
	}
}

func TestKindsHaveNames(t *testing.T) {
	for kind := Nop; kind <= Read; kind++ {
		if got, ok := ParseKind(kind.String()); !ok || got != kind {
			t.Errorf("%v: ParseKind gives %v, %v", kind, got, ok)
		}
	}
	for _, name := range []string{"", "update", "kind(0)"} {
		if _, ok := ParseKind(name); ok {
			t.Errorf("%q is no operation of counters", name)
		}
	}
	if got := Kind(0).String() + Kind(9).String(); got != "kind(0)kind(9)" {
		t.Errorf("kinds that aren't are named %s", got)
	}
}

// filled has counters above and below zero, made in another order for each step.
func filled(step uint64) *Counters {
	c := New()
	for i := range uint64(101) {
		key := i * step % 101
		for range key % 5 {
			c.Do(Operation{Decrement - Kind(key%2), key * 1000})
		}
	}
	c.Do(Operation{Increment, math.MaxUint64})
	c.Do(Operation{Increment, 0})
	return c
}

func TestASnapshotRestoresTheStateAndEqualStatesHaveEqualOnes(t *testing.T) {
	a, b := filled(1), filled(37)
	snapshot := a.AppendSnapshot([]byte("before"))[len("before"):]
	if len(snapshot) < 100 || !bytes.Equal(snapshot, b.AppendSnapshot(nil)) || a.Hash() != b.Hash() {
		t.Error("the same counters, made in another order, give other bytes")
	}
	restored := New()
	restored.Do(Operation{Increment, 77})
	if err := restored.Restore(snapshot); err != nil || restored.Hash() != a.Hash() {
		t.Errorf("restored with %v to another state", err)
	}
	b.Do(Operation{Increment, 5000})
	if b.Hash() == a.Hash() || bytes.Equal(b.AppendSnapshot(nil), snapshot) {
		t.Error("another value looks alike")
	}
	if err := restored.Restore(nil); err != nil || restored.Hash() != New().Hash() {
		t.Errorf("the empty snapshot: %v", err)
	}
	if restored.Do(Operation{Increment, 3}).Value != "1" {
		t.Error("restored counters don't count")
	}
}

func TestWhatIsNoSnapshotLeavesTheStateAlone(t *testing.T) {
	c := filled(1)
	before := c.Hash()
	for name, snapshot := range map[string][]byte{
		"a key cut off":     {0x80},
		"no value":          {1},
		"a value cut off":   {1, 0x80},
		"a value of zero":   {1, 0},
		"a value too long":  {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"keys out of order": {2, 2, 1, 2},
		"a key twice":       {0, 2, 0, 2},
	} {
		if err := c.Restore(snapshot); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
		if c.Hash() != before {
			t.Fatalf("%s: the state has changed", name)
		}
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte{})
	f.Add(filled(1).AppendSnapshot(nil))
	f.Add([]byte{0, 2, 0x81, 0, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := New()
		c.Do(Operation{Increment, 9})
		before := c.Hash()
		if err := c.Restore(data); err != nil {
			if !errors.Is(err, ErrMalformed) || c.Hash() != before {
				t.Errorf("error %v, state changed: %v", err, c.Hash() != before)
			}
			return
		}
		again := New()
		snapshot := c.AppendSnapshot(nil)
		if err := again.Restore(snapshot); err != nil || again.Hash() != c.Hash() || len(snapshot) > len(data) {
			t.Errorf("%d bytes of snapshot from %d, restored with %v", len(snapshot), len(data), err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(AppendOperation(nil, Operation{Decrement, 300}))
	f.Add(AppendResult(nil, Result{OK: true, Value: "-12"}))
	f.Add(AppendResult(nil, Result{}))
	f.Add([]byte{success, '0', '1'})
	f.Add(binary.AppendUvarint([]byte{byte(Read)}, math.MaxUint64))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := DecodeOperation(data)
		if err == nil {
			again, err := DecodeOperation(AppendOperation(nil, o))
			if err != nil || again != o {
				t.Errorf("operation %+v came back as %+v, %v", o, again, err)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Errorf("operation: error %v isn't ErrMalformed", err)
		}
		r, err := DecodeResult(data)
		if err == nil && !bytes.Equal(AppendResult(nil, r), data) {
			t.Errorf("result %+v encodes to other bytes", r)
		} else if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("result: error %v isn't ErrMalformed", err)
		}
	})
}
