package consensus

import (
	"bytes"
	"math"
)

// ClientID identifies a client of the replicated service. Its upper half is
// the process that the client lives in, so that whoever applies a command knows
// where to send the result; its lower half tells clients of one process apart.
type ClientID uint64

// NewClientID names the index-th client of a process.
func NewClientID(node NodeID, index uint32) ClientID {
	return ClientID(uint64(node)<<32 | uint64(index))
}

// Node is the process that the client lives in.
func (c ClientID) Node() NodeID { return NodeID(c >> 32) }

// CommandKind says what a command's operation is about.
type CommandKind uint8

const (
	// KindOperation is an operation of the application.
	KindOperation CommandKind = iota
	// KindRead is an operation that only reads. A protocol may have it answered
	// without a slot (Outbox.Read).
	KindRead
	// KindReconfigure is a change of the protocol's configuration, as its
	// Reconfigure function encodes it; the application is not told.
	KindReconfigure
	// KindBatch holds several commands (NewBatch).
	KindBatch
)

// Command is what a client wants done: the triple (kappa, cid, op) of the
// dissertation, section 2.1.5. The zero Command is a no-op of the protocol.
type Command struct {
	Kind CommandKind
	// Client and Sequence identify the command; a client numbers its commands
	// from 1.
	Client   ClientID
	Sequence uint64
	// FirstUnanswered is the lowest sequence number whose answer the client
	// still awaited when it issued this command. Results below it may be
	// forgotten, and commands below it are never applied any more.
	FirstUnanswered uint64
	// Operation is the application's encoding of what to do. It is never
	// modified.
	Operation []byte
}

// Same tells whether both are the same command of the same client, or the same
// batch.
func (c Command) Same(other Command) bool {
	return c.Client == other.Client && c.Sequence == other.Sequence && c.Kind == other.Kind &&
		(c.Kind != KindBatch || bytes.Equal(c.Operation, other.Operation))
}

// Request asks a replica to have a command decided and applied. Whatever the
// protocol, clients send it and drivers turn it into an InputCommand.
type Request struct {
	Command Command
}

// Label names the message.
func (Request) Label() Label { return Label{Kind: "request"} }

// Response gives a client the result of a command that has been applied.
type Response struct {
	Client   ClientID
	Sequence uint64
	// Slot is where the command was applied first; Index is its place in the
	// slot's batch, from 0. A read that took no slot saw the state after Slot:
	// its Index is IndexRead.
	Slot   uint64
	Index  uint32
	Result []byte
}

// IndexRead is the Index of a read that took no slot: it comes after all that
// the slot holds.
const IndexRead = math.MaxUint32

// Label names the message.
func (r Response) Label() Label { return Label{Kind: "response", Slot: r.Slot} }
