// Package kv is the replicated key-value store: the application of the
// dissertation, section 3.2.2. It knows nothing of the protocols that replicate
// it; they carry its operations as bytes.
package kv

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Kind is what an operation does.
type Kind uint8

// The operations of table 3.1.
const (
	// Nop changes nothing and succeeds.
	Nop Kind = iota + 1
	// Create adds the pair if the key isn't present, else fails.
	Create
	// Update sets the value if the key is present, else fails.
	Update
	// Read returns the value if the key is present, else fails.
	Read
	// Remove removes the pair if the key is present, else fails.
	Remove
)

var kindNames = [...]string{Nop: "nop", Create: "create", Update: "update", Read: "read", Remove: "remove"}

// String is the operation's name in lower case.
func (k Kind) String() string {
	if k < Nop || k > Remove {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// ParseKind finds an operation by its name.
func ParseKind(name string) (Kind, bool) {
	for kind := Nop; kind <= Remove; kind++ {
		if kindNames[kind] == name {
			return kind, true
		}
	}
	return 0, false
}

// Status is how an operation ended.
type Status uint8

// The results of table 3.1.
const (
	// Success is an operation that did what it says.
	Success Status = iota + 1
	// Failure is an operation whose condition on the key didn't hold, or one
	// that couldn't be decoded; the state is unchanged.
	Failure
	// ReadSuccess is a read of a key that is present.
	ReadSuccess
)

// Operation is what a client wants done.
type Operation struct {
	Kind  Kind
	Key   uint64
	Value string
}

// Result is what came of it. Value is set for ReadSuccess only.
type Result struct {
	Status Status
	Value  string
}

// Store is the state of one replica. It implements consensus.StateMachine.
type Store struct {
	pairs map[uint64]string
}

// New is an empty store.
func New() *Store { return &Store{pairs: map[uint64]string{}} }

// Do carries out an operation.
func (s *Store) Do(operation Operation) Result {
	value, present := s.pairs[operation.Key]
	switch operation.Kind {
	case Nop:
		return Result{Status: Success}
	case Create:
		if !present {
			s.pairs[operation.Key] = operation.Value
			return Result{Status: Success}
		}
	case Update:
		if present {
			s.pairs[operation.Key] = operation.Value
			return Result{Status: Success}
		}
	case Read:
		if present {
			return Result{Status: ReadSuccess, Value: value}
		}
	case Remove:
		if present {
			delete(s.pairs, operation.Key)
			return Result{Status: Success}
		}
	}
	return Result{Status: Failure}
}

// Apply decodes an operation, carries it out and encodes its result. Bytes that
// are no operation fail, on every replica alike.
func (s *Store) Apply(operation []byte) []byte {
	decoded, err := DecodeOperation(operation)
	if err != nil {
		return encode(Result{Status: Failure})
	}
	return encode(s.Do(decoded))
}

// Hash fingerprints all pairs, whatever the order in which they came.
func (s *Store) Hash() [32]byte {
	h := sha256.New()
	var number [8]byte
	write := func(n uint64) {
		binary.BigEndian.PutUint64(number[:], n)
		h.Write(number[:])
	}
	for _, key := range slices.Sorted(maps.Keys(s.pairs)) {
		write(key)
		write(uint64(len(s.pairs[key])))
		h.Write([]byte(s.pairs[key]))
	}
	return [32]byte(h.Sum(nil))
}

// Len is the number of pairs.
func (s *Store) Len() int { return len(s.pairs) }

// Query answers a read and a nop; anything else fails.
func (s *Store) Query(operation []byte) []byte {
	decoded, err := DecodeOperation(operation)
	if err != nil || decoded.Kind != Read && decoded.Kind != Nop {
		return encode(Result{Status: Failure})
	}
	return encode(s.Do(decoded))
}

// AppendSnapshot appends all pairs in ascending order of their keys.
func (s *Store) AppendSnapshot(dst []byte) []byte {
	for _, key := range slices.Sorted(maps.Keys(s.pairs)) {
		dst = binary.AppendUvarint(dst, key)
		dst = binary.AppendUvarint(dst, uint64(len(s.pairs[key])))
		dst = append(dst, s.pairs[key]...)
	}
	return dst
}

// Restore replaces all pairs by a snapshot's; the error wraps ErrMalformed.
func (s *Store) Restore(snapshot []byte) error {
	pairs := map[uint64]string{}
	last := uint64(0)
	for rest := snapshot; len(rest) > 0; {
		key, n := binary.Uvarint(rest)
		if n <= 0 {
			return fmt.Errorf("%w snapshot: a key is cut off", ErrMalformed)
		}
		length, m := binary.Uvarint(rest[n:])
		rest = rest[n+max(m, 0):]
		if m <= 0 || length > uint64(len(rest)) {
			return fmt.Errorf("%w snapshot: the value of key %d is cut off", ErrMalformed, key)
		}
		if len(pairs) > 0 && key <= last {
			return fmt.Errorf("%w snapshot: key %d comes after key %d", ErrMalformed, key, last)
		}
		pairs[key], last, rest = string(rest[:length]), key, rest[length:]
	}
	s.pairs = pairs
	return nil
}
