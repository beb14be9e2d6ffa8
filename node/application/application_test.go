package application

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"quorumlab/node/kv"
)

func TestTheStoreAndTheCountersAreRegistered(t *testing.T) {
	if got := Names(); !slices.Equal(got, []string{"counter", "kv"}) {
		t.Fatalf("names %q", got)
	}
	for _, name := range Names() {
		found, ok := Lookup(name)
		if !ok || found.Name() != name {
			t.Errorf("%s: found %v, %v", name, found, ok)
		}
	}
	if _, ok := Lookup(""); ok {
		t.Error("an application has no name")
	}
}

func TestFindTakesTheDefaultForNoNameAndSaysWhatThereIs(t *testing.T) {
	for name, want := range map[string]string{"": "kv", "kv": "kv", "counter": "counter"} {
		if found, err := Find(name); err != nil || found.Name() != want {
			t.Errorf("%q: %v, %v, want %s", name, found, err, want)
		}
	}
	if _, err := Find("sql"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "counter or kv") {
		t.Errorf("error %v, want ErrUnknown with the names", err)
	}
}

// What the registry says of the kinds is held against the state machines.
func TestKindsAreAsTheStateMachinesBehave(t *testing.T) {
	for _, name := range Names() {
		app, _ := Lookup(name)
		for _, kind := range app.Kinds() {
			t.Run(name+" "+kind.Name, func(t *testing.T) {
				checkKind(t, app, kind)
			})
		}
	}
}

// checkKind tries a kind on key 1, absent and present.
func checkKind(t *testing.T, app Application, kind Kind) {
	absent, present := app.New(), app.New()
	for _, k := range app.Kinds() {
		if k.Creates {
			do(t, app, present.Apply, Operation{Kind: k.Name, Key: 1, Value: "old"})
		}
	}
	before := present.Hash()
	operation := Operation{Kind: kind.Name, Key: 1, Value: "new"}
	if got := do(t, app, absent.Apply, operation); got.OK == kind.NeedsKey {
		t.Errorf("of an absent key: %+v, needs key %v", got, kind.NeedsKey)
	}
	if after := do(t, app, present.Query, operation); kind.Reads && !after.OK || !kind.Reads && kind.Keyed && after.OK {
		t.Errorf("as a query: %+v, reads %v", after, kind.Reads)
	}
	if present.Hash() != before {
		t.Error("a query changed the state")
	}
	got := do(t, app, present.Apply, operation)
	if got.OK == kind.Creates {
		t.Errorf("of a present key: %+v, creates %v", got, kind.Creates)
	}
	if changed := present.Hash() != before; changed != (kind.Keyed && !kind.Reads && !kind.Creates) {
		t.Errorf("changed a present key: %v, %+v", changed, kind)
	}
	other := app.New()
	operation.Key = 2
	do(t, app, other.Apply, operation)
	if same := other.Hash() == absent.Hash(); same != (!kind.Keyed || kind.Reads || kind.NeedsKey) {
		t.Errorf("another key gives the same state: %v, %+v", same, kind)
	}
}

func do(t *testing.T, app Application, carryOut func([]byte) []byte, operation Operation) Result {
	t.Helper()
	encoded, err := app.AppendOperation(nil, operation)
	if err != nil {
		t.Fatal(err)
	}
	result, err := app.DecodeResult(carryOut(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestValuesGoInAndComeOut(t *testing.T) {
	store, _ := Lookup("kv")
	machine := store.New()
	for _, c := range []struct {
		operation Operation
		want      Result
	}{
		{Operation{"create", 3, "a"}, Result{OK: true}},
		{Operation{"read", 3, ""}, Result{true, "a"}},
		{Operation{"update", 3, "b"}, Result{OK: true}},
		{Operation{"read", 3, ""}, Result{true, "b"}},
		{Operation{"remove", 3, ""}, Result{OK: true}},
		{Operation{"read", 3, ""}, Result{}},
	} {
		if got := do(t, store, machine.Apply, c.operation); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.operation, got, c.want)
		}
	}
	counters, _ := Lookup("counter")
	machine = counters.New()
	for i, kind := range []string{"increment", "increment", "decrement", "read"} {
		want := Result{true, []string{"1", "2", "1", "1"}[i]}
		if got := do(t, counters, machine.Apply, Operation{Kind: kind, Key: 3}); got != want {
			t.Errorf("%s: %+v, want %+v", kind, got, want)
		}
	}
}

// Clusters of other versions must understand each other.
func TestTheStoresEncodingIsThatOfPackageKV(t *testing.T) {
	store, _ := Lookup("kv")
	got, err := store.AppendOperation([]byte("before"), Operation{"update", 300, "v"})
	want := kv.AppendOperation([]byte("before"), kv.Operation{Kind: kv.Update, Key: 300, Value: "v"})
	if err != nil || string(got) != string(want) || string(want) != "before\x03\xac\x02v" {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestUnknownKindsAndResultsAreNamedErrors(t *testing.T) {
	for _, name := range Names() {
		app, _ := Lookup(name)
		if dst, err := app.AppendOperation([]byte("before"), Operation{Kind: "drop"}); !errors.Is(err, ErrKind) || string(dst) != "before" {
			t.Errorf("%s: %q, %v, want dst as it was and ErrKind", name, dst, err)
		}
		for _, garbage := range [][]byte{nil, {0}, {9}, {2, 'x'}} {
			if result, err := app.DecodeResult(garbage); !errors.Is(err, ErrResult) || result != (Result{}) {
				t.Errorf("%s, %v: %+v, %v, want ErrResult", name, garbage, result, err)
			}
		}
	}
}

func TestKeysAreCreatedOnlyForMixesThatNeedThem(t *testing.T) {
	for _, c := range []struct {
		application string
		mix         map[string]float64
		want        bool
	}{
		{"kv", map[string]float64{"nop": 1}, false},
		{"kv", map[string]float64{"create": 1}, false},
		{"kv", map[string]float64{"nop": 0.9, "read": 0.1}, true},
		{"kv", map[string]float64{"nop": 1, "read": 0}, false},
		{"kv", map[string]float64{"update": 1}, true},
		{"kv", map[string]float64{"remove": 1}, true},
		{"counter", map[string]float64{"increment": 0.5, "read": 0.5}, false},
	} {
		app, _ := Lookup(c.application)
		if got := NeedsKeys(app, c.mix); got != c.want {
			t.Errorf("%s, %v: %v, want %v", c.application, c.mix, got, c.want)
		}
	}
}

func TestKindsAreFoundByName(t *testing.T) {
	app, _ := Lookup("counter")
	if kind, ok := KindNamed(app, "read"); !ok || !kind.Reads {
		t.Errorf("read: %+v, %v", kind, ok)
	}
	if _, ok := KindNamed(app, "update"); ok {
		t.Error("counters have no update")
	}
}

// odd is an application that may not be registered.
type odd struct {
	store
	name  string
	kinds []Kind
}

func (o odd) Name() string  { return o.name }
func (o odd) Kinds() []Kind { return o.kinds }

func TestWhatMustNotBeRegisteredPanics(t *testing.T) {
	for _, o := range []odd{
		{name: "kv"},
		{name: "keyless", kinds: []Kind{{Name: "get", NeedsKey: true}}},
	} {
		func() {
			defer func() {
				if says := fmt.Sprint(recover()); !strings.Contains(says, o.name) {
					t.Errorf("%s: the panic says %s", o.name, says)
				}
			}()
			Register(o)
		}()
	}
	if len(Names()) != 2 {
		t.Errorf("registered are %q", Names())
	}
}
