package sim

import (
	"math/bits"
	"unsafe"

	"quorumlab/node/consensus"
	"quorumlab/node/wire"
)

// unsized stands for a size that wasn't needed yet.
const unsized = -1

// note fingerprints what a message says. One that a step sends to many, one after
// the other, is fingerprinted and measured once.
func (s *trial) note(message consensus.Message) {
	if !identical(message, s.latest.message) {
		s.latest = waitingMessage{unsized, message}
		s.trace.label(message)
	}
}

// size is the size of the latest message that was noted, framed.
func (s *trial) size() int32 {
	if s.latest.size == unsized {
		s.latest.size = int32(size(s.protocol.Codec, s.latest.message))
	}
	return s.latest.size
}

// identical tells whether two values are the same in memory. Comparing them by
// == panics if they are of a type that can't be compared.
func identical(a, b consensus.Message) bool {
	type words [2]unsafe.Pointer
	return *(*words)(unsafe.Pointer(&a)) == *(*words)(unsafe.Pointer(&b))
}

// size is wire.Size. Those of requests and responses, which are many, are
// computed here without making the messages that they are encoded from; a test
// compares the two.
func size(codec consensus.Codec, message consensus.Message) int {
	switch m := message.(type) {
	case consensus.Request:
		c := &m.Command
		command := field(uint64(c.Client)) + field(c.Sequence) + field(c.FirstUnanswered) +
			bytesField(len(c.Operation)) + field(uint64(c.Kind))
		return frameHeader + 1 + varint(uint64(command)) + command
	case *consensus.Response:
		return frameHeader + field(uint64(m.Client)) + field(m.Sequence) + field(m.Slot) +
			bytesField(len(m.Result)) + field(uint64(m.Index))
	case *consensus.Snapshot:
		return wire.Size(codec, message)
	}
	return frameHeader + codec.Size(message)
}

// frameHeader is the length and the kind of a frame of package wire.
const frameHeader = 5

// varint is the size of a number in protobuf, field that of a field with it and
// bytesField that of a field of bytes; a field that is zero is left out.
func varint(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

func field(n uint64) int {
	if n == 0 {
		return 0
	}
	return 1 + varint(n)
}

func bytesField(length int) int {
	if length == 0 {
		return 0
	}
	return 1 + varint(uint64(length)) + length
}
