package driver

import (
	"quorumlab/node/consensus"
	"quorumlab/node/wire"
)

// Bounds of the queue to one peer. When it is full the oldest message goes: a
// protocol's later messages make its earlier ones obsolete, seldom the other
// way round.
const (
	maxQueuedMessages = 1 << 16
	maxQueuedBytes    = 16 << 20
)

// keptBufferBytes is the largest buffer that is kept for reuse.
const keptBufferBytes = 1 << 20

// frameQueue holds encoded frames, one after the other, first in first out. The
// newest frame always fits, however large.
type frameQueue struct {
	bytes []byte
	// head is where the oldest frame begins.
	head int
	// sizes are those of the queued frames, from first on.
	sizes []int32
	first int
	// maxMessages and maxBytes bound the queue.
	maxMessages, maxBytes int
}

func (q *frameQueue) messages() int { return len(q.sizes) - q.first }

// push encodes a message at the end and returns how many were dropped for it.
func (q *frameQueue) push(codec consensus.Codec, message consensus.Message) (dropped int, err error) {
	before := len(q.bytes)
	if q.bytes, err = wire.AppendMessage(q.bytes, codec, message); err != nil {
		return 0, err
	}
	q.sizes = append(q.sizes, int32(len(q.bytes)-before))
	for q.messages() > 1 && (q.messages() > q.maxMessages || len(q.bytes)-q.head > q.maxBytes) {
		q.head += int(q.sizes[q.first])
		q.first++
		dropped++
	}
	if dropped > 0 && q.head >= len(q.bytes)/2 {
		q.bytes = q.bytes[:copy(q.bytes, q.bytes[q.head:])]
		q.sizes = q.sizes[:copy(q.sizes, q.sizes[q.first:])]
		q.head, q.first = 0, 0
	}
	return dropped, nil
}

// take empties the queue and returns its frames; the queue goes on with the
// buffer spare.
func (q *frameQueue) take(spare []byte) []byte {
	frames := q.bytes[q.head:]
	q.bytes, q.head = spare[:0], 0
	q.sizes, q.first = q.sizes[:0], 0
	return frames
}
