package sim

import (
	"math/bits"

	"quorumlab/node/consensus"
)

// trace fingerprints every event of a trial in its order.
type trace struct {
	hash   uint64
	events uint64
}

// Marks tell the traced events apart.
const (
	markMessage uint64 = iota + 1
	markTimer
	markStart
	markCommit
	markLoss
	markKill
	markRestart
	markSync
	markCheckpoint
	markReconfigure
	markLoad
	markDrain
	markRow
	markEnd
	markLink
	markDown
	markCorrupted
	markDuplicate
	markOrder
	markEvidence
	markPair
	markIgnored
	markHalt
)

// Odd constants with as many ones as zeros, as of wyhash.
const (
	traceA = 0xa0761d6478bd642f
	traceB = 0xe7037ed1a0b428db
)

// mix chains two words into the hash.
func (t *trace) mix(a, b uint64) {
	high, low := bits.Mul64(t.hash^a^traceA, bits.RotateLeft64(t.hash, 32)^b^traceB)
	t.hash ^= high ^ bits.RotateLeft64(low, 17)
}

// event chains an event that isn't a message's.
func (t *trace) event(at int64, mark uint64, process int32, detail uint64) {
	t.events++
	t.mix(uint64(at), mark<<56|uint64(uint32(process)))
	t.mix(detail, t.events)
}

// message chains the handling of a message.
func (t *trace) message(at int64, from, to, size int32) {
	t.events++
	t.mix(uint64(at)^uint64(uint32(size))<<40, markMessage<<56|uint64(uint32(from))<<28^uint64(uint32(to)))
}

// label chains what a message that is sent says; that isn't an event.
func (t *trace) label(message consensus.Message) {
	label := message.Label()
	first, last := ends(label.Kind)
	t.mix(label.Slot^bits.RotateLeft64(first, 24), label.Round<<24^uint64(label.Leader)<<48^last)
}

// text chains a string and a number.
func (t *trace) text(s string, number uint64) {
	first, last := ends(s)
	t.mix(first, last^number)
}

// ends are the first and the last eight bytes of a string, or all of it and its
// length.
func ends(s string) (first, last uint64) {
	switch length := len(s); {
	case length >= 8: // the two may overlap
		return word(s[:8]), word(s[length-8:])
	case length >= 4:
		return half(s[:4])<<32 ^ half(s[length-4:]), uint64(length)
	default:
		for i := range length {
			first ^= uint64(s[i]) << (8 * i)
		}
		return first, uint64(length)
	}
}

// word is eight bytes of a string, half four.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func half(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
