package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"quorumlab/node/consensus"
)

var _ consensus.StateMachine = (*Store)(nil)

// filled is a store with pairs of all sorts, made in another order for each
// step.
func filled(step uint64) *Store {
	s := New()
	for i := range uint64(101) {
		key := i * step % 101
		s.Do(Operation{Create, key * 1000, strings.Repeat("v", int(key))})
	}
	s.Do(Operation{Create, 1<<64 - 1, ""})
	return s
}

func TestASnapshotRestoresTheState(t *testing.T) {
	for name, s := range map[string]*Store{"empty": New(), "filled": filled(1)} {
		snapshot := s.AppendSnapshot([]byte("before"))
		if !bytes.HasPrefix(snapshot, []byte("before")) {
			t.Errorf("%s: AppendSnapshot doesn't append", name)
		}
		snapshot = snapshot[len("before"):]
		restored := New()
		restored.Do(Operation{Create, 77, "replaced"})
		if err := restored.Restore(snapshot); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if restored.Hash() != s.Hash() || restored.Len() != s.Len() {
			t.Errorf("%s: %d pairs restored, want the same %d", name, restored.Len(), s.Len())
		}
		clear(snapshot) // the store must not share its memory
		if restored.Hash() != s.Hash() {
			t.Errorf("%s: the store shares the snapshot's memory", name)
		}
		restored.Do(Operation{Create, 5, "new"})
		if restored.Do(Operation{Kind: Read, Key: 5}).Value != "new" {
			t.Errorf("%s: the restored store takes no operations", name)
		}
	}
}

func TestEqualStatesHaveEqualSnapshots(t *testing.T) {
	a, b := filled(1), filled(37)
	b.Do(Operation{Create, 3, "passing"})
	b.Do(Operation{Kind: Remove, Key: 3})
	if !bytes.Equal(a.AppendSnapshot(nil), b.AppendSnapshot(nil)) {
		t.Error("the same pairs, made in another order, give other bytes")
	}
	b.Do(Operation{Update, 1000, "w"})
	if bytes.Equal(a.AppendSnapshot(nil), b.AppendSnapshot(nil)) {
		t.Error("another value gives the same bytes")
	}
}

func TestWhatIsNoSnapshotLeavesTheStateAlone(t *testing.T) {
	pair := func(key uint64, value string) []byte {
		s := New()
		s.Do(Operation{Create, key, value})
		return s.AppendSnapshot(nil)
	}
	s := filled(1)
	before := s.Hash()
	for name, bytes := range map[string][]byte{
		"a key cut off":       {0x80},
		"no length":           {1},
		"a length cut off":    {1, 0x80},
		"a value cut off":     {1, 3, 'a', 'b'},
		"a huge length":       binary.AppendUvarint([]byte{1}, 1<<64-1),
		"a key of 11 bytes":   {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"keys out of order":   append(pair(2, "b"), pair(1, "a")...),
		"a key twice":         append(pair(2, "b"), pair(2, "a")...),
		"the key 0 twice":     append(pair(0, "b"), pair(0, "a")...),
		"a tail after a pair": append(pair(2, "b"), 0x80),
	} {
		if err := s.Restore(bytes); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
		if s.Hash() != before {
			t.Fatalf("%s: the state has changed", name)
		}
	}
}

func TestQueriesReadAndChangeNothing(t *testing.T) {
	s := New()
	s.Do(Operation{Create, 1, "v"})
	before := s.Hash()
	for _, c := range []struct {
		operation Operation
		want      Result
	}{
		{Operation{Kind: Nop}, Result{Status: Success}},
		{Operation{Kind: Read, Key: 1}, Result{ReadSuccess, "v"}},
		{Operation{Kind: Read, Key: 2}, Result{Status: Failure}},
		{Operation{Create, 2, "w"}, Result{Status: Failure}},
		{Operation{Update, 1, "w"}, Result{Status: Failure}},
		{Operation{Kind: Remove, Key: 1}, Result{Status: Failure}},
		{Operation{Kind: 99}, Result{Status: Failure}},
	} {
		got, err := DecodeResult(s.Query(AppendOperation(nil, c.operation)))
		if err != nil || got != c.want {
			t.Errorf("%v: %+v, %v, want %+v", c.operation, got, err, c.want)
		}
		if s.Hash() != before {
			t.Fatalf("%v changed the state", c.operation)
		}
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0x81, 1, 3, 'a', 'b', 'c'})
	f.Add(binary.AppendUvarint([]byte{1}, 1<<40))
	f.Add([]byte{0, 1, 'a', 0x81, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := New()
		s.Do(Operation{Create, 9, "old"})
		before := s.Hash()
		if err := s.Restore(data); err != nil {
			if !errors.Is(err, ErrMalformed) || s.Hash() != before {
				t.Errorf("error %v, state changed: %v", err, s.Hash() != before)
			}
			return
		}
		again := New()
		snapshot := s.AppendSnapshot(nil)
		if err := again.Restore(snapshot); err != nil || again.Hash() != s.Hash() || len(snapshot) > len(data) {
			t.Errorf("%d bytes of snapshot from %d, restored with %v", len(snapshot), len(data), err)
		}
	})
}

// A length that is a lie must not cost the memory that it announces.
func TestRestoreAllocatesInProportionToTheBytesThatCame(t *testing.T) {
	lies := [][]byte{
		binary.AppendUvarint([]byte{1}, 1<<40),
		append(binary.AppendUvarint([]byte{1}, 1<<30), make([]byte, 1000)...),
	}
	s := New()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, lie := range lies {
		if err := s.Restore(lie); err == nil {
			t.Error("a cut-off value was accepted")
		}
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
		t.Errorf("%d bytes were allocated for 1,020 received", allocated)
	}
}
