package consensus

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
)

// history is a log of several clients' commands, some finished, some decided
// twice, some in batches.
func history(length int) []Command {
	random := rand.New(rand.NewPCG(1, 2))
	one := func() Command {
		sequence := random.Uint64N(50) + 1
		return command(NewClientID(NodeID(random.IntN(5)+1), 1), sequence, sequence-min(sequence-1, 8), string(rune('a'+random.IntN(26))))
	}
	var log []Command
	for i := range length {
		switch c := one(); {
		case i%7 == 0:
			log = append(log, Command{})
		case i%5 == 0:
			log = append(log, NewBatch([]Command{c, one(), one()}))
		case i%11 == 0:
			c.Kind = KindReconfigure
			log = append(log, c)
		default:
			log = append(log, c)
		}
	}
	return log
}

// replay applies a log from the application's slot on.
func replay(a *Application, log []Command) (given []Response) {
	for _, c := range log[a.Slot():] {
		given = append(given, responses(a, a.Slot()+1, c)...)
	}
	return given
}

func TestARestoredApplicationGoesOnAsTheFirstDoes(t *testing.T) {
	log := history(300)
	for _, cut := range []int{0, 1, 10, 150, 299, 300} {
		a, b := NewApplication(&tape{}), NewApplication(&tape{})
		replay(a, log[:cut])
		replay(b, log[:min(cut, 5)]) // is replaced
		if err := b.Restore(a.Snapshot()); err != nil {
			t.Fatalf("at %d: %v", cut, err)
		}
		if b.Slot() != uint64(cut) || b.Hash() != a.Hash() || b.Prefix() != a.Prefix() {
			t.Errorf("at %d: slot %d, hashes differ: %v", cut, b.Slot(), b.Hash() != a.Hash())
		}
		for _, c := range log {
			first, known := a.Answer(c)
			second, same := b.Answer(c)
			if known != same || first.Slot != second.Slot || first.Index != second.Index || string(first.Result) != string(second.Result) {
				t.Fatalf("at %d: %+v is answered %+v, then %+v", cut, c, first, second)
			}
		}
		first, second := replay(a, log), replay(b, log)
		if len(first) != len(second) || a.Hash() != b.Hash() || string(a.Snapshot()) != string(b.Snapshot()) {
			t.Errorf("at %d: the two part ways", cut)
		}
		for i := range first {
			first[i].Result, second[i].Result = append([]byte{}, first[i].Result...), append([]byte{}, second[i].Result...)
			if !reflect.DeepEqual(first[i], second[i]) {
				t.Fatalf("at %d: response %d is %+v, then %+v", cut, i, first[i], second[i])
			}
		}
	}
}

func TestEqualApplicationsHaveEqualSnapshots(t *testing.T) {
	log := history(200)
	a := NewApplication(&tape{})
	replay(a, log)
	first := a.Snapshot()
	for range 10 { // maps give their keys in ever new orders
		b := NewApplication(&tape{})
		replay(b, log)
		if string(b.Snapshot()) != string(first) {
			t.Fatal("the same log gives other bytes")
		}
	}
	replay(a, append(log, Command{}))
	if string(a.Snapshot()) == string(first) {
		t.Error("another slot gives the same bytes")
	}
}

func TestASnapshotSharesNoMemory(t *testing.T) {
	log := history(50)
	a, b := NewApplication(&tape{}), NewApplication(&tape{})
	replay(a, log)
	snapshot := a.Snapshot()
	if err := b.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	clear(snapshot)
	if string(b.Snapshot()) != string(a.Snapshot()) {
		t.Error("clearing the snapshot cleared the application")
	}
}

func TestWhatIsNoSnapshotLeavesTheApplicationAlone(t *testing.T) {
	a := NewApplication(&tape{})
	replay(a, history(50))
	before := string(a.Snapshot())
	state := len(a.machine.AppendSnapshot(nil))
	for cut := range len(before) {
		want := ErrSnapshot
		if cut >= len(before)-state {
			want = errTape
		}
		// A tape may end after any of its operations.
		if err := a.Restore([]byte(before[:cut])); !errors.Is(err, want) && (want == ErrSnapshot || err != nil) {
			t.Fatalf("cut at %d of %d: error %v, want %v", cut, len(before), err, want)
		} else if err == nil {
			if err := a.Restore([]byte(before)); err != nil {
				t.Fatal(err)
			}
		}
		if string(a.Snapshot()) != before {
			t.Fatalf("cut at %d: the application has changed", cut)
		}
	}
}

func TestAnIndexBeyondItsRangeIsNoSnapshot(t *testing.T) {
	a := NewApplication(&tape{})
	with := func(index uint64) []byte {
		snapshot := append([]byte{1}, make([]byte, 32)...)
		snapshot = append(snapshot, 1, 7, 1, 1, 1, 1) // one client, 7, awaits from 1; one result, of 1, at slot 1
		return append(binary.AppendUvarint(snapshot, index), 0)
	}
	if err := a.Restore(with(1 << 32)); !errors.Is(err, ErrSnapshot) {
		t.Errorf("error %v, want ErrSnapshot", err)
	}
	if err := a.Restore(with(1<<32 - 1)); err != nil {
		t.Error(err)
	}
	if r, ok := a.Answer(command(7, 1, 1, "")); !ok || r.Index != 1<<32-1 {
		t.Errorf("restored %+v, %v", r, ok)
	}
}

// Numbers that lie must not cost the memory, or the time, that they announce.
func TestASnapshotThatLiesIsRefusedAtOnce(t *testing.T) {
	head := append([]byte{1}, make([]byte, 32)...)
	huge := binary.AppendUvarint(nil, 1<<60)
	lies := [][]byte{
		slices.Concat(head, huge),                              // clients
		slices.Concat(head, []byte{1, 7, 1}, huge),             // results
		slices.Concat(head, []byte{1, 7, 1, 1, 1, 1, 0}, huge), // a result's bytes
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i, lie := range lies {
		if err := NewApplication(constant{}).Restore(lie); !errors.Is(err, ErrSnapshot) {
			t.Errorf("lie %d: error %v, want ErrSnapshot", i, err)
		}
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
		t.Errorf("%d bytes were allocated for less than 150 received", allocated)
	}
}

func FuzzApplicationRestore(f *testing.F) {
	a := NewApplication(&tape{})
	f.Add(a.Snapshot())
	replay(a, history(12))
	f.Add(a.Snapshot())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := NewApplication(&tape{}), NewApplication(&tape{})
		replay(a, history(3))
		before := string(a.Snapshot())
		if err := a.Restore(data); err != nil {
			if !errors.Is(err, ErrSnapshot) && !errors.Is(err, errTape) || string(a.Snapshot()) != before {
				t.Errorf("error %v, or the application has changed", err)
			}
			return
		}
		snapshot := a.Snapshot()
		if err := b.Restore(snapshot); err != nil || string(b.Snapshot()) != string(snapshot) || b.Hash() != a.Hash() {
			t.Errorf("what was restored can't be again: %v", err)
		}
		responses(a, a.Slot()+1, command(7, 60, 60, "next"))
		if a.Slot() != b.Slot()+1 {
			t.Errorf("slot %d comes after %d", a.Slot(), b.Slot())
		}
	})
}
