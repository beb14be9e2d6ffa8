package consensus

import "time"

// Outgoing is a message to send.
type Outgoing struct {
	To      NodeID
	Message Message
}

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
	Messages  []Outgoing
	Committed []Committed
	Timers    []TimerChange
	Events    []Event
}

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
	clear(o.Messages)
	clear(o.Committed)
	o.Messages = o.Messages[:0]
	o.Committed = o.Committed[:0]
	o.Timers = o.Timers[:0]
	o.Events = o.Events[:0]
}
