package driver

import (
	"sync"

	"quorumlab/node/consensus"
)

// maxInboxInputs bounds the inputs that wait for the machine. More make the
// connections' readers wait, and so, by TCP's flow control, the senders.
const maxInboxInputs = 1 << 14

// inbox is the queue of inputs from the connections to the machine's loop.
type inbox struct {
	// wake receives a value when there is something to take.
	wake chan struct{}

	mu      sync.Mutex
	room    sync.Cond
	waiting []consensus.Input
	closed  bool
}

func newInbox() *inbox {
	b := &inbox{wake: make(chan struct{}, 1)}
	b.room.L = &b.mu
	return b
}

// put adds inputs, waiting for room first. After close they are discarded.
func (b *inbox) put(inputs []consensus.Input) {
	b.mu.Lock()
	for len(b.waiting) >= maxInboxInputs && !b.closed {
		b.room.Wait()
	}
	first := len(b.waiting) == 0
	if !b.closed {
		b.waiting = append(b.waiting, inputs...)
	}
	b.mu.Unlock()
	if first {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// take returns all inputs; the inbox goes on with the empty slice spare.
func (b *inbox) take(spare []consensus.Input) []consensus.Input {
	b.mu.Lock()
	inputs := b.waiting
	b.waiting = spare[:0]
	if len(inputs) >= maxInboxInputs {
		b.room.Broadcast()
	}
	b.mu.Unlock()
	return inputs
}

// close releases those that wait for room.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.room.Broadcast()
	b.mu.Unlock()
}
