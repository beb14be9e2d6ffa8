package driver

import (
	"encoding/hex"
	"fmt"
	"slices"

	"quorumlab/node/consensus"
)

// heldMessage waits until the storage is durable up to a position.
type heldMessage struct {
	position uint64
	to       consensus.NodeID
	message  consensus.Message
}

// sendAll sends the outbox's messages, or holds them back.
func (d *Driver) sendAll() {
	// What is held already goes first, and is for later unless released.
	wait := d.position > d.config.Storage.Durable()
	if !wait {
		d.release()
	}
	for _, m := range d.outbox.Messages {
		if m.AfterSync && wait {
			d.held = append(d.held, heldMessage{d.position, m.To, m.Message})
		} else {
			d.send(m.To, m.Message)
		}
	}
}

// send sends a message. One to the machine itself takes no detours, a response to a client
// in this process does.
func (d *Driver) send(to consensus.NodeID, message consensus.Message) {
	if d.injected != nil {
		d.sendInjected(to, message)
		return
	}
	d.handOver(to, message)
}

func (d *Driver) handOver(to consensus.NodeID, message consensus.Message) {
	if self := d.config.Transport.config.Self; to == self {
		if _, response := message.(consensus.Response); !response {
			d.itself = append(d.itself, consensus.Input{Kind: consensus.InputMessage, From: self, Message: message})
			return
		}
	}
	d.sender.Send(to, message)
}

// release sends the held messages whose records are durable by now.
func (d *Driver) release() {
	if len(d.held) == 0 {
		return
	}
	durable := d.config.Storage.Durable()
	released := 0
	for released < len(d.held) && d.held[released].position <= durable {
		d.send(d.held[released].to, d.held[released].message)
		released++
	}
	d.held = slices.Delete(d.held, 0, released)
}

// apply applies what was committed and answers the clients.
func (d *Driver) apply() {
	application, respond := d.config.Application, d.respond
	for _, c := range d.outbox.Committed {
		if d.injected != nil {
			d.applyInjected(c)
		} else {
			application.Apply(c.Slot, c.Command, respond)
		}
		if consensus.ReportsPrefix(c.Slot) {
			prefix := application.Prefix()
			d.outbox.Trace(consensus.Event{
				Role: consensus.RoleApplication, Hash: hex.EncodeToString(prefix[:]),
				Label: consensus.Label{Kind: consensus.EventPrefix, Slot: c.Slot},
			})
		}
	}
}

func (d *Driver) respond(response consensus.Response) { d.send(response.Client.Node(), response) }

// publish writes the events of the step, as far as they weren't.
func (d *Driver) publish() {
	if d.injected != nil {
		d.traceEvents()
	}
	d.config.Events.Machine(d.outbox.Events)
	d.outbox.Events = d.outbox.Events[:0]
}

// install replaces the application's state by the outbox's snapshot. The step's
// records are part of the checkpoint that this takes: were they durable before
// it, they would refer to slots that the application hasn't got. So are its
// commands, as the machine believes them applied.
func (d *Driver) install(now consensus.Time) error {
	snapshot := d.outbox.Install
	if err := d.config.Application.Restore(snapshot.State); err != nil {
		return fmt.Errorf("a snapshot of slot %d from another process: %w", snapshot.Slot, err)
	}
	if slot := d.config.Application.Slot(); slot != snapshot.Slot {
		return fmt.Errorf("a snapshot of slot %d from another process: its state is that of slot %d", snapshot.Slot, slot)
	}
	d.apply()
	clear(d.outbox.Committed)
	d.outbox.Committed = d.outbox.Committed[:0]
	if d.config.Storage.Keeps() {
		d.makeCheckpoint(now)
	}
	return nil
}

// makeCheckpoint has the application's state, and what the machine needs beside
// it, take the place of all records. The storage writes it while the machine
// goes on.
func (d *Driver) makeCheckpoint(now consensus.Time) {
	d.config.Machine.Step(now, consensus.Input{Kind: consensus.InputCheckpoint}, &d.checkpoint)
	d.position = d.config.Storage.Checkpoint(d.config.Application.Snapshot(), d.checkpoint.Records)
	d.checkpoint.Reset()
}

// transfer sends the application's state to whom the outbox says.
func (d *Driver) transfer() {
	var state []byte
	for i, t := range d.outbox.Transfers {
		if i == 0 {
			state = d.config.Application.Snapshot()
		}
		d.send(t.To, &consensus.Snapshot{Slot: d.config.Application.Slot(), State: state, With: t.With})
	}
}

// fail ends the machine's life: it never steps again.
func (d *Driver) fail(err error) {
	d.failed = true
	if d.config.OnError != nil {
		d.config.OnError(err)
	}
}
