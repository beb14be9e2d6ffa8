// Package driver runs a protocol's machine in real time: over TCP, with timers,
// applying what the machine commits and answering the clients. It has the
// duties that package consensus lists.
//
//	connection -> receiver (accept.go) -> inbox -> Driver's loop -> machine
//	machine -> outbox -> Sender -> peer's queue -> connection (peer.go, dial.go)
//
// It promises that:
//   - a message is delivered as from the process that its connection's hello
//     names, and nothing that comes on a connection stops the process;
//   - messages between two processes keep their order, and are lost only with a
//     connection or when a queue is full, which is counted;
//   - messages to oneself aren't lost;
//   - timers fire under any load.
//
// Everything is done in batches, which grow by themselves as the load does. The
// loop writes to sockets itself while they take everything; a goroutine a peer
// takes over when they don't.
package driver

import (
	"encoding/hex"
	"sync"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/driver/clock"
)

// maxSteps is how many steps the loop makes between two looks at the timers and
// two flushes.
const maxSteps = 256

// Config is what a driver runs.
type Config struct {
	Machine consensus.Machine
	// Application applies what the machine commits.
	Application *consensus.Application
	// Transport carries the messages; whoever starts it gives it the driver as
	// its machine's handler.
	Transport *Transport
	// Events takes the machine's events; it may be nil.
	Events *EventLog
}

// Driver runs one machine.
type Driver struct {
	config Config
	inbox  *inbox
	calls  chan func()
	stop   chan struct{}
	group  sync.WaitGroup

	// The rest belongs to the loop's goroutine.
	sender *Sender
	timers *timers
	outbox consensus.Outbox
	// itself holds messages of the machine to itself, in the order of sending.
	itself, spare []consensus.Input
	hash          string
	hashedSlot    uint64
}

// New makes a driver that does nothing until Start.
func New(config Config) *Driver {
	return &Driver{
		config: config, inbox: newInbox(), timers: newTimers(), sender: config.Transport.NewSender(),
		calls: make(chan func()), stop: make(chan struct{}),
	}
}

// Start begins the machine's life.
func (d *Driver) Start() { d.group.Go(d.run) }

// Close stops the machine between two steps and releases whoever waits in
// Deliver.
func (d *Driver) Close() {
	d.inbox.close()
	close(d.stop)
	d.group.Wait()
}

// Deliver hands inputs to the machine; it waits while too many do so already.
func (d *Driver) Deliver(inputs []consensus.Input) { d.inbox.put(inputs) }

// Status says where the machine stands and, if it is a learner, what its
// application's state hashes to. It is zero after Close.
func (d *Driver) Status() (status consensus.Status, stateHash string) {
	done := make(chan struct{})
	call := func() {
		defer close(done)
		status = d.config.Machine.Status()
		if status.Learner {
			stateHash = d.stateHash()
		}
	}
	select {
	case d.calls <- call:
		<-done
	case <-d.stop:
	}
	return status, stateHash
}

// stateHash hashes the application's state unless it is as it was last time.
func (d *Driver) stateHash() string {
	if slot := d.config.Application.Slot(); d.hash == "" || slot != d.hashedSlot {
		hash := d.config.Application.Hash()
		d.hash, d.hashedSlot = hex.EncodeToString(hash[:]), slot
	}
	return d.hash
}

func (d *Driver) run() {
	d.step(clock.Now(), consensus.Input{Kind: consensus.InputStart})
	d.sender.Flush()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var set consensus.Time // what the runtime's timer is set to
	var received []consensus.Input
	for {
		if len(d.itself) == 0 {
			if at, any := d.timers.next(); any && at != set {
				timer.Reset(max(0, at.Sub(clock.Now())))
				set = at
			}
			select {
			case <-d.stop:
				return
			case call := <-d.calls:
				call()
			case <-timer.C:
				set = 0
			case <-d.inbox.wake:
			}
		} else if !d.look() {
			return
		}
		itself := d.itself
		d.itself, d.spare = d.spare[:0], nil
		d.process(itself)
		d.spare = itself[:0]
		received = d.inbox.take(received)
		d.process(received)
	}
}

// look answers calls without waiting; it is false once the driver is closed.
func (d *Driver) look() bool {
	select {
	case <-d.stop:
		return false
	case call := <-d.calls:
		call()
	default:
	}
	return true
}

// process steps through inputs, a limited number at a time, with the timers
// that are due before each lot. It forgets the inputs.
func (d *Driver) process(inputs []consensus.Input) {
	for rest := inputs; ; {
		now := clock.Now()
		d.fire(now)
		lot := rest[:min(len(rest), maxSteps)]
		for i := range lot {
			d.step(now, lot[i])
		}
		d.sender.Flush()
		rest = rest[len(lot):]
		if len(rest) == 0 {
			break
		}
		if !d.look() {
			return
		}
	}
	clear(inputs)
}

// fire steps through the timers that are due. A timer that a step sets to fire
// at once comes in the next round, so that none can starve the messages.
func (d *Driver) fire(now consensus.Time) {
	for made := d.timers.made; ; {
		if len(d.timers.heap) == 0 || d.timers.heap[0].made > made {
			return
		}
		timer, due := d.timers.pop(now)
		if !due {
			return
		}
		d.step(now, consensus.Input{Kind: consensus.InputTimer, Timer: timer})
	}
}

// step feeds the machine one input and carries out what it asks for. A command
// that was applied before is answered here.
func (d *Driver) step(now consensus.Time, input consensus.Input) {
	if input.Kind == consensus.InputCommand {
		if response, known := d.config.Application.Answer(input.Command); known {
			d.sender.Send(response.Client.Node(), response)
			return
		}
	}
	d.config.Machine.Step(now, input, &d.outbox)
	d.carryOut(now)
}

func (d *Driver) carryOut(now consensus.Time) {
	out := &d.outbox
	self := d.config.Transport.config.Self
	for _, m := range out.Messages {
		if m.To == self {
			d.itself = append(d.itself, consensus.Input{Kind: consensus.InputMessage, From: self, Message: m.Message})
		} else {
			d.sender.Send(m.To, m.Message)
		}
	}
	for _, c := range out.Committed {
		d.config.Application.Apply(c.Slot, c.Command, func(response consensus.Response) {
			d.sender.Send(response.Client.Node(), response)
		})
	}
	for _, change := range out.Timers {
		if change.Cancel {
			d.timers.cancel(change.Timer)
		} else {
			d.timers.set(change.Timer, now.Add(change.After))
		}
	}
	d.config.Events.Machine(out.Events)
	out.Reset()
}
