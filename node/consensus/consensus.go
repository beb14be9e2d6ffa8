// Package consensus is the contract between a replication protocol and
// whoever drives it.
//
// A protocol is a pure state machine. It takes one input at a time and appends
// to an Outbox what must happen as a consequence; it never reads a clock, opens
// a socket, starts a goroutine or draws from a shared source of randomness. The
// same state and the same input give the same outbox, bit for bit.
//
// A driver answers a client's command from Application.Answer if it was applied
// before, else it hands it to the machine. After each Step it has these duties,
// in this order:
//
//  1. append Outbox.Records to the process's storage. They become durable later,
//     in order; the driver goes on stepping meanwhile;
//  2. send Outbox.Messages to their destinations, messages to oneself too;
//     a message may be lost, duplicated or delayed, never altered. What is marked
//     AfterSync leaves, in order, only once the records of this step and of all
//     before it are durable;
//  3. restore the application from Outbox.Install, if there is one; a checkpoint
//     follows the step, before any of its messages that wait for a sync leaves;
//  4. apply Outbox.Committed, in order, through Application.Apply, and send
//     each result to the client that issued the command;
//  5. answer Outbox.Reads by Application.Read; send Outbox.Transfers as
//     Snapshots;
//  6. set and cancel the timers of Outbox.Timers, in order;
//  7. publish Outbox.Events.
//
// From time to time a driver makes a checkpoint, between two steps, once the
// application has all that the machine committed: it gives the machine
// InputCheckpoint, and what the machine then adds to Outbox.Records replaces,
// together with the application's snapshot, all that was persisted before.
// After a restart the driver restores the application from the last checkpoint
// and starts the machine with the application's slot and with the records since.
//
// The driver, not the message's body, says who sent a message. Machines assume
// that messages are lost, duplicated and reordered: each answer that a machine
// awaits has a timer that asks again.
package consensus

import (
	"strconv"
	"time"
)

// Time is an instant in nanoseconds since an origin that the driver chooses:
// the host's CLOCK_MONOTONIC in real time, zero at start in virtual time. Only
// differences between two Times of one driver mean anything.
type Time int64

// Add returns the instant d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the time elapsed from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// NodeID identifies a process of the cluster; it is unique, stable and at
// least 1. Identifiers are totally ordered, as leaders' ballots need.
type NodeID uint32

// String gives the identifier in decimal.
func (id NodeID) String() string { return strconv.FormatUint(uint64(id), 10) }

// Machine is one process's share of a protocol.
type Machine interface {
	// Step consumes one input and appends what must happen to out, which it
	// neither reads nor clears. It never blocks and never fails: an input that
	// makes no sense to the machine is ignored and counted in its Status.
	Step(now Time, input Input, out *Outbox)

	// Status says where the machine stands. It may be called between steps.
	Status() Status
}

// InputKind says which fields of an Input carry meaning.
type InputKind uint8

// The kinds of input.
const (
	// InputStart is the first input of a machine's life.
	InputStart InputKind = iota + 1
	// InputMessage delivers Message, sent by From.
	InputMessage
	// InputTimer says that Timer, set earlier and not cancelled since, fired.
	InputTimer
	// InputCommand hands over Command, received from the client From.
	InputCommand
	// InputCheckpoint asks the machine to persist, as records, all that it would
	// need to be started with beside the application's present state. It adds
	// nothing else to the outbox.
	InputCheckpoint
)

// Input is what a machine consumes in one step.
type Input struct {
	Kind    InputKind
	From    NodeID
	Message Message
	Timer   Timer
	Command Command
	// Recovered are the records since the last checkpoint, in order, and Slot is
	// the slot of the application's restored state (InputStart). Both are zero in
	// a process that never ran before.
	Recovered []Message
	Slot      uint64
}

// Message is what one machine sends to another: a plain struct of the
// protocol's package. A sent message is never modified afterwards, neither by
// its sender nor by its receiver, so that drivers may share it.
type Message interface {
	// Label names the message for traces, failpoints and faults.
	Label() Label
}

// Label names a message or an event by the terms of its protocol. Fields that
// don't apply are zero.
type Label struct {
	// Kind is the message's name in the paper, such as "phase2a".
	Kind string `json:"kind"`
	// Slot is the slot, log index or op number.
	Slot uint64 `json:"slot,omitempty"`
	// Round is the ballot's round, the term or the view.
	Round uint64 `json:"round,omitempty"`
	// Leader is the process that the ballot belongs to, where it names one.
	Leader NodeID `json:"leader,omitempty"`
}

// Event is something that a machine reports of itself, for traces and triggers.
type Event struct {
	// Role is the role that the event happened in, such as "leader".
	Role string `json:"role"`
	// Label names the event, such as "adopted", and what it was about.
	Label
	// Hash is Application.Prefix at Slot, in hexadecimal (EventPrefix only).
	Hash string `json:"hash,omitempty"`
	// Peer is who was heard, SilenceNS for how long it hadn't been (EventHeard only).
	Peer      NodeID `json:"peer,omitempty"`
	SilenceNS int64  `json:"silence_ns,omitempty"`
}

// EventHeard is what a driver reports, in the role RoleTransport, when something comes
// from a peer for the first time after at least MinSilence: it tells when connections
// work again after an outage, apart from what the protocol makes of it.
const (
	EventHeard    = "heard"
	RoleTransport = "transport"
	MinSilence    = 250 * time.Millisecond
)

// EventPrefix is what a driver reports, in the role RoleApplication, whenever its
// application has applied a slot that ReportsPrefix: replicas whose hashes differ at
// one slot have decided differently, dead ones included.
const (
	EventPrefix     = "prefix"
	RoleApplication = "application"
)

// ReportsPrefix is true for each 1,000th slot, and for each 10th of the first 1,000:
// of a replica that dies early something can be compared too.
func ReportsPrefix(slot uint64) bool {
	return slot%1000 == 0 || slot < 1000 && slot%10 == 0
}

// Timer identifies a timer of a machine. Setting one that is set moves it.
type Timer struct {
	// Kind is the machine's own name for what the timer is for.
	Kind uint8
	// Key tells timers of one kind apart.
	Key uint64
}

// Status is where a machine stands.
type Status struct {
	// Leading is true while the machine believes that it may decide slots.
	Leading bool `json:"leading"`
	// Round is that of the ballot, the term or the view that the machine is in.
	Round uint64 `json:"round,omitempty"`
	// Learner is true if the machine commits commands.
	Learner bool `json:"learner"`
	// Slot is the number of slots committed without a gap (learners only).
	Slot uint64 `json:"slot"`
	// Configuration is the number of the configuration in force, from 0.
	Configuration uint64 `json:"configuration,omitempty"`
	// Counters counts what happened since start, by the protocol's own names.
	Counters map[string]uint64 `json:"counters,omitempty"`
}
