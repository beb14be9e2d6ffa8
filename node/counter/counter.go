// Package counter is a replicated application: one counter for each key, all
// zero at first. It knows nothing of the protocols that replicate it; they carry
// its operations as bytes. An increment returns the new value, so that a command
// applied twice, lost or reordered shows in the answers.
package counter

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Kind is what an operation does.
type Kind uint8

// The operations. All succeed on any key.
const (
	// Nop changes nothing and returns nothing.
	Nop Kind = iota + 1
	// Increment adds one and returns the new value. Beyond the largest int64 it
	// goes on from the smallest.
	Increment
	// Decrement takes one away and returns the new value. Beyond the smallest
	// int64 it goes on from the largest.
	Decrement
	// Read returns the value.
	Read
)

var kindNames = [...]string{Nop: "nop", Increment: "increment", Decrement: "decrement", Read: "read"}

// String is the operation's name in lower case.
func (k Kind) String() string {
	if k < Nop || k > Read {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// ParseKind finds an operation by its name.
func ParseKind(name string) (Kind, bool) {
	for kind := Nop; kind <= Read; kind++ {
		if kindNames[kind] == name {
			return kind, true
		}
	}
	return 0, false
}

// Operation is what a client wants done. Key means nothing for a Nop.
type Operation struct {
	Kind Kind
	Key  uint64
}

// Result is what came of it. Value is a counter's value in decimal, empty for
// a Nop and if OK is false.
type Result struct {
	// OK is false for an operation that couldn't be decoded, or that Query
	// refused; the state is unchanged.
	OK    bool
	Value string
}

// Counters is the state of one replica. It implements consensus.StateMachine.
type Counters struct {
	// values has no zeros.
	values map[uint64]int64
}

// New is a set of counters that are all zero.
func New() *Counters { return &Counters{values: map[uint64]int64{}} }

// Do carries out an operation.
func (c *Counters) Do(operation Operation) Result {
	value := c.values[operation.Key]
	switch operation.Kind {
	case Nop:
		return Result{OK: true}
	case Increment:
		value++
	case Decrement:
		value--
	case Read:
		return Result{OK: true, Value: strconv.FormatInt(value, 10)}
	default:
		return Result{}
	}
	c.set(operation.Key, value)
	return Result{OK: true, Value: strconv.FormatInt(value, 10)}
}

func (c *Counters) set(key uint64, value int64) {
	if value == 0 {
		delete(c.values, key)
		return
	}
	c.values[key] = value
}

// Apply decodes an operation, carries it out and encodes its result. Bytes that
// are no operation fail, on every replica alike.
func (c *Counters) Apply(operation []byte) []byte {
	decoded, err := DecodeOperation(operation)
	if err != nil {
		return AppendResult(nil, Result{})
	}
	return AppendResult(nil, c.Do(decoded))
}

// Query answers a read and a nop; anything else fails.
func (c *Counters) Query(operation []byte) []byte {
	decoded, err := DecodeOperation(operation)
	if err != nil || decoded.Kind != Read && decoded.Kind != Nop {
		return AppendResult(nil, Result{})
	}
	return AppendResult(nil, c.Do(decoded))
}

// Hash fingerprints all counters that aren't zero.
func (c *Counters) Hash() [32]byte { return sha256.Sum256(c.AppendSnapshot(nil)) }

// AppendSnapshot appends the counters that aren't zero, in ascending order of
// their keys: the key and the value, as varints.
func (c *Counters) AppendSnapshot(dst []byte) []byte {
	for _, key := range slices.Sorted(maps.Keys(c.values)) {
		dst = binary.AppendUvarint(dst, key)
		dst = binary.AppendVarint(dst, c.values[key])
	}
	return dst
}

// Restore replaces all counters by a snapshot's; the error wraps ErrMalformed.
func (c *Counters) Restore(snapshot []byte) error {
	values := map[uint64]int64{}
	last := uint64(0)
	for rest := snapshot; len(rest) > 0; {
		key, n := binary.Uvarint(rest)
		if n <= 0 {
			return fmt.Errorf("%w snapshot: a key is cut off", ErrMalformed)
		}
		value, m := binary.Varint(rest[n:])
		if m <= 0 || value == 0 {
			return fmt.Errorf("%w snapshot: the value of key %d is zero or cut off", ErrMalformed, key)
		}
		if len(values) > 0 && key <= last {
			return fmt.Errorf("%w snapshot: key %d comes after key %d", ErrMalformed, key, last)
		}
		values[key], last, rest = value, key, rest[n+m:]
	}
	c.values = values
	return nil
}
