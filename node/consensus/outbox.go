package consensus

import "time"

// Outgoing is a message to send.
type Outgoing struct {
	To      NodeID
	Message Message
	// AfterSync holds the message back until the records of this step, and of
	// all steps before it, are durable.
	AfterSync bool
}

// Transfer asks for the application's snapshot to be sent to a process.
type Transfer struct {
	To NodeID
	// With is what the protocol sends along, in Snapshot.With.
	With []Message
}

// Snapshot carries the state of an application from one process to another. As
// a message it is delivered like any of the protocol's.
type Snapshot struct {
	// Slot is the last slot that State includes.
	Slot uint64
	// State is Application.Snapshot's.
	State []byte
	With  []Message
}

// Label names the message.
func (s *Snapshot) Label() Label { return Label{Kind: "snapshot", Slot: s.Slot} }

// Committed is a command that the protocol has decided for a slot.
type Committed struct {
	// Slot is where in the log the command stands; slots come in order,
	// without a gap, starting from 1.
	Slot    uint64
	Command Command
}

// TimerChange sets a timer or cancels it.
type TimerChange struct {
	Timer Timer
	// After is how long from now the timer fires.
	After time.Duration
	// Cancel removes the timer instead.
	Cancel bool
}

// Outbox collects what must happen after a step. A driver reuses one: it
// carries out its contents, then calls Reset.
type Outbox struct {
	// Records are to be persisted: messages of the protocol, which InputStart
	// gives back after a restart.
	Records []Message
	// Messages may be marked to wait for the records.
	Messages []Outgoing
	// Install is a snapshot that replaces the application's state, before
	// Committed is applied; nil if there is none.
	Install   *Snapshot
	Committed []Committed
	// Reads are answered from the application's state after Committed has been
	// applied.
	Reads []Command
	// Transfers are sent from the application's state after Committed has been
	// applied.
	Transfers []Transfer
	Timers    []TimerChange
	Events    []Event
}

// Persist adds a record.
func (o *Outbox) Persist(record Message) { o.Records = append(o.Records, record) }

// SendAfterSync adds a message that waits until all records so far are durable.
func (o *Outbox) SendAfterSync(to NodeID, message Message) {
	o.Messages = append(o.Messages, Outgoing{To: to, Message: message, AfterSync: true})
}

// Read adds a command to answer from the application's state.
func (o *Outbox) Read(command Command) { o.Reads = append(o.Reads, command) }

// Send adds a message to one process, which may be the sender itself.
func (o *Outbox) Send(to NodeID, message Message) {
	o.Messages = append(o.Messages, Outgoing{To: to, Message: message})
}

// Broadcast adds the message once for each of the given processes.
func (o *Outbox) Broadcast(to []NodeID, message Message) {
	for _, id := range to {
		o.Send(id, message)
	}
}

// Commit adds a decided command.
func (o *Outbox) Commit(slot uint64, command Command) {
	o.Committed = append(o.Committed, Committed{Slot: slot, Command: command})
}

// SetTimer makes the timer fire after the given time.
func (o *Outbox) SetTimer(timer Timer, after time.Duration) {
	o.Timers = append(o.Timers, TimerChange{Timer: timer, After: after})
}

// CancelTimer removes a timer; one that isn't set is left alone.
func (o *Outbox) CancelTimer(timer Timer) {
	o.Timers = append(o.Timers, TimerChange{Timer: timer, Cancel: true})
}

// Trace adds an event.
func (o *Outbox) Trace(event Event) { o.Events = append(o.Events, event) }

// Reset empties the outbox and keeps its memory.
func (o *Outbox) Reset() {
	o.Records = emptied(o.Records)
	o.Messages = emptied(o.Messages)
	o.Install = nil
	o.Committed = emptied(o.Committed)
	o.Reads = emptied(o.Reads)
	o.Transfers = emptied(o.Transfers)
	o.Timers = o.Timers[:0]
	o.Events = o.Events[:0]
}

// emptied forgets what a slice refers to.
func emptied[T any](slice []T) []T {
	if len(slice) > 0 {
		clear(slice)
	}
	return slice[:0]
}
