package check

import (
	"math"
	"strconv"

	"quorumlab/results"
)

// knowledge is how much is known of a state.
type knowledge uint8

const (
	// exact is a state whose value is known; absent is one.
	exact knowledge = iota
	// present is a key that has some value.
	present
	// nothing is any state at all.
	nothing
)

// absent is the value of a key that isn't present.
const absent = 0

// state is that of one key. It is comparable, as porcupine wants it.
type state struct {
	known knowledge
	// ended is true once the end is ordered.
	ended bool
	// used counts the interchangeable operations that took effect, by class.
	used [classes]int32
	// value numbers a text (kv), or is the counter's.
	value int64
}

// application is a sequential specification of what is done to one key.
type application struct {
	name    string
	kinds   map[string]kind
	initial state
	// record notes a row's values in an operation.
	record func(*recording, *operation, results.Row)
	// apply carries out an operation, or fails if the operation can't have this
	// outcome in the state. Where the state isn't known exactly, the operation's
	// outcome tells more of it. A pending operation is applied as one that
	// succeeds.
	apply func(state, *task) (state, bool)
	// explain and follow replay the log's order: explain has pending operations
	// take effect until the operation can have its outcome, and follow applies it.
	explain func(*witness, *operation, int64) bool
	follow  func(*witness, *operation)
	// after is the value that an operation surely leaves, whatever came before.
	after func(*task) (value int64, sure bool)
	// enough is how many pending tasks of a class suffice for any linearization.
	enough func(*problem) int32
	// describe gives a value in words.
	describe func(values *names, value int64) string
}

// applications have a model here.
var applications = map[string]*application{"": &kv, kv.name: &kv, counter.name: &counter}

var kv = application{
	name: "kv",
	kinds: map[string]kind{
		"nop": nop, "create": create, "update": update, "read": read, "remove": remove,
	},
	record: recordKV, apply: applyKV, explain: explainKV, follow: followKV, after: afterKV,
	enough: enoughKV,
	describe: func(values *names, value int64) string {
		if value == absent {
			return "absent"
		}
		return values.text(value)
	},
}

var counter = application{
	name: "counter",
	kinds: map[string]kind{
		"nop": nop, "increment": increment, "decrement": decrement, "read": read,
	},
	record: recordCounter, apply: applyCounter, explain: explainCounter, follow: followCounter, after: afterCounter,
	enough:   enoughCounter,
	describe: func(_ *names, value int64) string { return strconv.FormatInt(value, 10) },
}

// needsAbsence tells whether the operation's outcome is that of an absent key;
// all others of the key-value store are those of a present one.
func needsAbsence(kind kind, failed bool) bool { return (kind == create) != failed }

// applyKV is table 3.1 of the dissertation.
func applyKV(s state, t *task) (state, bool) {
	switch {
	case t.garbled:
		return s, false
	case needsAbsence(t.kind, t.failed):
		if s.known == present || s.known == exact && s.value != absent {
			return s, false
		}
		s.known, s.value = exact, absent
	case t.kind == read:
		if s.known == exact && s.value != t.result || s.known != exact && !t.possible {
			return s, false
		}
		s.known, s.value = exact, t.result
	default:
		if s.known == exact && s.value == absent {
			return s, false
		}
		if s.known == nothing {
			s.known = present
		}
	}
	if t.failed {
		return s, true
	}
	switch t.kind {
	case create, update:
		s.known, s.value = exact, t.argument
	case remove:
		s.known, s.value = exact, absent
	}
	return s, true
}

func afterKV(t *task) (int64, bool) {
	switch {
	case t.kind == read && !t.failed:
		return t.result, true
	case (t.kind == create || t.kind == update) && !t.failed:
		return t.argument, true
	case t.kind == create: // of a key with a value that isn't told
		return 0, false
	}
	return absent, true
}

// enoughKV allows one before each other task. A creation that nothing reads and
// a removal next to each other can both be left out: if the key was absent, it
// is so again; if it was present, it stays so, with a value that hurts nobody
// since nobody reads the one created. Two creations or two removals next to each
// other have no effect, so of any number next to each other one suffices.
func enoughKV(p *problem) int32 { return int32(p.others()) }

// applyCounter is a counter whose operations never fail.
func applyCounter(s state, t *task) (state, bool) {
	if t.failed || t.garbled {
		return s, false
	}
	s.value += t.kind.step()
	if t.pending {
		return s, true
	}
	if s.known == exact && s.value != t.result {
		return s, false
	}
	s.known, s.value = exact, t.result
	return s, true
}

func afterCounter(t *task) (int64, bool) { return t.result, !t.failed && !t.garbled }

// enoughCounter allows as many before each other task as the values returned, and
// the initial one, are apart, and one more. An increment and a decrement next to
// each other can both be left out. What remains between two answers, all
// increments or all decrements, makes up for the difference of their values.
func enoughCounter(p *problem) int32 {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	note := func(value int64) { least, most = min(least, value), max(most, value) }
	if p.initial.known == exact {
		note(p.initial.value)
	}
	for i := range p.tasks {
		if t := &p.tasks[i]; !t.pending && !t.garbled && !t.failed {
			note(t.result)
		}
	}
	others := int64(p.others())
	apart := uint64(most) - uint64(least) // right even if the difference has 64 bits
	if least > most || apart > math.MaxInt32 || (int64(apart)+1)*others > math.MaxInt32 {
		return math.MaxInt32
	}
	return int32((int64(apart) + 1) * others)
}

// step is what a counter's operation adds.
func (k kind) step() int64 {
	switch k {
	case increment:
		return 1
	case decrement:
		return -1
	}
	return 0
}
