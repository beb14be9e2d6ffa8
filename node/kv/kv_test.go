package kv

import (
	"bytes"
	"testing"
)

// Table 3.1 of the dissertation, row by row, on a key that is present and on
// one that isn't.
func TestOperationsSucceedAndFailAsInTable31(t *testing.T) {
	for _, c := range []struct {
		name      string
		operation Operation
		present   bool
		want      Result
		after     string // the key's value afterwards; "" if absent
	}{
		{"nop, absent", Operation{Kind: Nop}, false, Result{Status: Success}, ""},
		{"nop, present", Operation{Kind: Nop}, true, Result{Status: Success}, "old"},
		{"create, absent", Operation{Create, 1, "new"}, false, Result{Status: Success}, "new"},
		{"create, present", Operation{Create, 1, "new"}, true, Result{Status: Failure}, "old"},
		{"update, absent", Operation{Update, 1, "new"}, false, Result{Status: Failure}, ""},
		{"update, present", Operation{Update, 1, "new"}, true, Result{Status: Success}, "new"},
		{"read, absent", Operation{Kind: Read, Key: 1}, false, Result{Status: Failure}, ""},
		{"read, present", Operation{Kind: Read, Key: 1}, true, Result{ReadSuccess, "old"}, "old"},
		{"remove, absent", Operation{Kind: Remove, Key: 1}, false, Result{Status: Failure}, ""},
		{"remove, present", Operation{Kind: Remove, Key: 1}, true, Result{Status: Success}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New()
			if c.present {
				s.Do(Operation{Create, 1, "old"})
			}
			got, err := DecodeResult(s.Apply(AppendOperation(nil, c.operation)))
			if err != nil || got != c.want {
				t.Errorf("result %+v, %v, want %+v", got, err, c.want)
			}
			after := s.Do(Operation{Kind: Read, Key: 1})
			if after.Value != c.after || (after.Status == ReadSuccess) != (c.after != "") {
				t.Errorf("afterwards the key reads %+v, want %q", after, c.after)
			}
		})
	}
}

func TestHashDependsOnThePairsAlone(t *testing.T) {
	a, b := New(), New()
	for key := range uint64(50) {
		a.Do(Operation{Create, key, "v"})
		b.Do(Operation{Create, 49 - key, "v"})
	}
	if a.Hash() != b.Hash() {
		t.Error("the same pairs in another order hash differently")
	}
	b.Do(Operation{Update, 7, "w"})
	if a.Hash() == b.Hash() {
		t.Error("another value hashes alike")
	}
	b.Do(Operation{Update, 7, "v"})
	b.Do(Operation{Kind: Remove, Key: 8})
	if a.Hash() == b.Hash() {
		t.Error("a missing pair hashes alike")
	}
}

func TestGarbageIsAFailureThatChangesNothing(t *testing.T) {
	s := New()
	s.Do(Operation{Create, 1, "v"})
	before := s.Hash()
	for _, garbage := range [][]byte{nil, {0}, {99, 1}, {byte(Update)}, {byte(Create), 0x80}} {
		result, err := DecodeResult(s.Apply(garbage))
		if err != nil || result.Status != Failure {
			t.Errorf("%v: %+v, %v, want Failure", garbage, result, err)
		}
	}
	if s.Hash() != before {
		t.Error("garbage changed the state")
	}
}

func TestKindsHaveNames(t *testing.T) {
	for kind := Nop; kind <= Remove; kind++ {
		if got, ok := ParseKind(kind.String()); !ok || got != kind {
			t.Errorf("%v: ParseKind gives %v, %v", kind, got, ok)
		}
	}
	if _, ok := ParseKind("increment"); ok {
		t.Error("increment is no operation of the store")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(AppendOperation(nil, Operation{Update, 300, "value"}))
	f.Add([]byte{byte(ReadSuccess), 'x'})
	f.Add([]byte{byte(Create), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, err := DecodeOperation(data); err == nil {
			again, err := DecodeOperation(AppendOperation(nil, o))
			if err != nil || again != o {
				t.Errorf("operation %+v came back as %+v, %v", o, again, err)
			}
		}
		if r, err := DecodeResult(data); err == nil && !bytes.Equal(AppendResult(nil, r), data) {
			t.Errorf("result %+v encodes to other bytes", r)
		}
	})
}
