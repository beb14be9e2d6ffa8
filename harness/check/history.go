package check

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"quorumlab/node/consensus"
	"quorumlab/results"
)

// kind is what an operation does.
type kind uint8

const (
	nop kind = iota
	create
	update
	read
	remove
	increment
	decrement
	// end is no operation: what is ordered after it never took effect.
	end
)

var kindNames = [...]string{"nop", "create", "update", "read", "remove", "increment", "decrement", "end"}

// String is the operation's name.
func (k kind) String() string { return kindNames[k] }

// never is when an operation without an answer returned.
const never = math.MaxInt64

// maxTimeNS bounds times, so that there is room before never.
const maxTimeNS = 1 << 62

// operation is one request that is about a key. Strings are replaced by
// numbers, since there may be millions.
type operation struct {
	// call and done are closed: two operations of which one was called at the
	// nanosecond at which the other returned are concurrent.
	call, done int64
	// slot and index are both 0 where the log's place is unknown.
	slot     uint64
	sequence uint64
	// argument is the value written (kv). result is the value read (kv), or the
	// counter's value after the operation.
	argument, result int64
	index            uint32
	client           uint32
	kind             kind
	// failed is true for the application's Failure.
	failed bool
	// garbled is true for a result that no state of the application gives;
	// result numbers the text then.
	garbled bool
}

// pending tells whether the operation may have taken effect at any time after
// its call, or never.
func (o *operation) pending() bool { return o.done == never }

// mutates tells whether the operation may have changed the state.
func (o *operation) mutates() bool { return !o.failed && o.kind != read && o.kind != nop }

// writes tells whether the operation may have left its argument as the state.
func (o *operation) writes() bool { return !o.failed && (o.kind == create || o.kind == update) }

// observes tells whether the operation is a read that returned a value.
func (o *operation) observes() bool { return !o.failed && o.kind == read }

// placed tells whether the log's place is known. A read that took no place and
// saw what was there before the first slot has one: after slot 0.
func (o *operation) placed() bool { return o.slot > 0 || o.index == consensus.IndexRead }

// object is what was done to one key.
type object struct {
	key uint64
	// answered are the operations with an answer. pending have none; reads
	// without an answer are left out, since they tell nothing.
	answered, pending []operation
	// slotless is true if the log's place of an answered operation is unknown.
	slotless bool
}

// recording is the history of all keys.
type recording struct {
	application *application
	clients     names
	values      names
	indices     map[uint64]int
	objects     []*object
	// nops are answered operations that are about no key.
	nops []operation
	// operations counts those about keys, answers those of them with an answer.
	operations, answers int
}

func newRecording(application *application) *recording {
	return &recording{
		application: application, clients: newNames(), values: newNames(), indices: map[uint64]int{},
	}
}

// add records a request. The error wraps ErrHistory and names the request.
func (r *recording) add(row results.Row) error {
	kind, known := r.application.kinds[row.Operation]
	if !known {
		return malformed(row, "the application %s has no operation %q", r.application.name, row.Operation)
	}
	o := operation{
		call: row.SentNS, done: row.DoneNS, sequence: row.Sequence, slot: row.Slot, index: row.Index,
		client: r.clients.id(row.Client), kind: kind,
	}
	switch row.Outcome {
	case results.OutcomeOK:
	case results.OutcomeFail:
		o.failed = true
	case results.OutcomeTimeout:
		o.done, o.slot, o.index = never, 0, 0
	default:
		return malformed(row, "the outcome is %q", row.Outcome)
	}
	answered := row.Outcome != results.OutcomeTimeout
	if o.call < -maxTimeNS || o.call > maxTimeNS || answered && (o.done < o.call || o.done > maxTimeNS) {
		return malformed(row, "called at %d ns and answered at %d ns", row.SentNS, row.DoneNS)
	}
	if kind == nop {
		if !o.pending() {
			r.nops = append(r.nops, o)
		}
		return nil
	}
	r.operations++
	if !o.pending() {
		r.answers++
	}
	r.application.record(r, &o, row)
	r.object(row.Key).add(o)
	return nil
}

func malformed(row results.Row, format string, arguments ...any) error {
	return fmt.Errorf("%w: request %d of %s: %s", ErrHistory, row.Sequence, row.Client, fmt.Sprintf(format, arguments...))
}

// object finds or makes the object of a key.
func (r *recording) object(key uint64) *object {
	i, known := r.indices[key]
	if !known {
		i = len(r.objects)
		r.indices[key] = i
		r.objects = append(r.objects, &object{key: key})
	}
	return r.objects[i]
}

func (o *object) add(operation operation) {
	if !operation.pending() {
		o.answered = append(o.answered, operation)
		o.slotless = o.slotless || !operation.placed()
	} else if operation.mutates() {
		o.pending = append(o.pending, operation)
	}
}

// recordKV notes the values of a request to the key-value store.
func recordKV(r *recording, o *operation, row results.Row) {
	if o.kind == create || o.kind == update {
		o.argument = int64(r.values.id(row.Value))
	}
	switch {
	case o.pending() || o.failed:
	case o.kind == read:
		o.result = int64(r.values.id(row.Result))
	case row.Result != "": // they return nothing
		o.garbled, o.result = true, int64(r.values.id(row.Result))
	}
}

// recordCounter notes the value that a counter's request returned.
func recordCounter(r *recording, o *operation, row results.Row) {
	if o.pending() || o.failed {
		return
	}
	value, err := strconv.ParseInt(row.Result, 10, 64)
	if err != nil {
		o.garbled, o.result = true, int64(r.values.id(row.Result))
		return
	}
	o.result = value
}

// names numbers strings from 1.
type names struct {
	ids   map[string]uint32
	texts []string
}

func newNames() names { return names{ids: map[string]uint32{}, texts: []string{""}} }

// maxTextBytes is the length from which on a text is replaced by a digest, so
// that large values cost no memory.
const maxTextBytes = 64

// id numbers a text: equal numbers are equal texts.
func (n *names) id(text string) uint32 {
	if len(text) > maxTextBytes {
		// A digest is itself longer than maxTextBytes, so that no shorter text
		// can equal it.
		text = fmt.Sprintf("%s... (%d bytes, SHA-256 %x)", strings.ToValidUTF8(text[:16], "?"), len(text), sha256.Sum256([]byte(text)))
	}
	id, known := n.ids[text]
	if !known {
		id = uint32(len(n.texts))
		text = strings.Clone(text) // the row's strings may share a larger one
		n.ids[text] = id
		n.texts = append(n.texts, text)
	}
	return id
}

// text is the string that a number stands for.
func (n *names) text(id int64) string { return n.texts[id] }

// history is a part of what was done to one key, whose violation implies that
// of the whole.
type history struct {
	application *application
	key         uint64
	initial     state
	// cut is when the history begins, if the initial state is unknown: it holds
	// nothing that returned before.
	cut int64
	// written is when the first operation that may have written a value was
	// called, in the whole history of the key.
	written map[int64]int64
	// operations are in no particular order, pending ones included.
	operations []operation
}

// history is the whole one of the object.
func (o *object) history(application *application) history {
	h := history{
		application: application, key: o.key, initial: application.initial, cut: math.MinInt64,
		written:    map[int64]int64{},
		operations: slices.Concat(o.answered, o.pending),
	}
	for i := range h.operations {
		if op := &h.operations[i]; op.writes() {
			if first, seen := h.written[op.argument]; !seen || op.call < first {
				h.written[op.argument] = op.call
			}
		}
	}
	return h
}

// with is the history with other operations.
func (h history) with(operations []operation) history {
	h.operations = operations
	return h
}

// until is the history as it could be known at an instant: what was called
// later is left out; what returned later is pending.
//
// If it is a violation, so is h. Suppose h has a linearization L. Take L's
// shortest prefix P that holds all operations that returned by the instant. An
// operation called after the instant comes, in real time and so in L, after
// every operation that returned by it, hence isn't in P. So P orders what
// until keeps: all operations that returned by then, and some of those that it
// makes pending, which may take effect or not. (Those without effect are
// dropped: a linearization without them is one still.) The argument holds for
// any two instants, so that violations are monotone in the instant.
func (h history) until(instant int64) history {
	kept := make([]operation, 0, len(h.operations))
	for _, o := range h.operations {
		switch {
		case o.call > instant || o.done > instant && !o.mutates():
		case o.done > instant:
			kept = append(kept, o.withoutAnswer())
		default:
			kept = append(kept, o)
		}
	}
	return h.with(kept)
}

// since is the history from an instant on, whose state at that instant is
// unknown. What returned before is left out. What was under way is pending, or
// left out if it changed nothing.
//
// If it is a violation, so is h. Suppose h has a linearization L; let A be the
// operations that returned before the instant, B those under way, C those called
// at the instant or later. No operation of C precedes one of A in L, since in
// real time it comes after all of A. So L is P followed by S, where P ends with
// the last of A and holds all of A and some of B, S all of C and the rest of B. S
// is a linearization of what since keeps, from the state that P leaves: the
// part of B that is in P counts as never having taken effect. At an instant at
// which B is empty nothing is lost but the state.
//
// The state that P leaves can be a value only if an operation called before the
// instant may have written it (history.possible).
//
// An instant before the history's cut leaves it as it is.
func (h history) since(instant int64) history {
	if instant <= h.cut {
		return h
	}
	kept := make([]operation, 0, len(h.operations))
	for _, o := range h.operations {
		switch {
		case o.done < instant || o.call < instant && !o.mutates():
		case o.call < instant:
			kept = append(kept, o.withoutAnswer())
		default:
			kept = append(kept, o)
		}
	}
	h.initial, h.cut = state{known: nothing}, instant
	return h.with(kept)
}

// possible tells whether an unknown initial state may be this value.
func (h *history) possible(value int64) bool {
	written, ever := h.written[value]
	return ever && written < h.cut
}

// withoutAnswer is the operation had its answer never come.
func (o operation) withoutAnswer() operation {
	o.done, o.result, o.garbled = never, 0, false
	return o
}

// byCall orders operations by when they were called.
func byCall(a, b operation) int { return cmp.Compare(a.call, b.call) }
