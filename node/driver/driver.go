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
//   - what depends on a record leaves only once that is durable, in order, while
//     the machine goes on stepping;
//   - timers fire under any load.
//
// What a controller injects (package injection) is carried out here, where inputs come in
// and outputs leave; a driver that nothing was injected into asks no more than whether
// that is so.
//
// Everything is done in batches, which grow by themselves as the load does. The
// loop writes to sockets itself while they take everything; a goroutine a peer
// takes over when they don't.
package driver

import (
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/node/storage"
	"quorumlab/node/timers"
)

// maxSteps is how many steps the loop makes between two looks at the timers and
// two flushes.
const maxSteps = 256

// Config is what a driver runs.
type Config struct {
	Machine consensus.Machine
	// Application applies what the machine commits. Nothing has been applied to
	// it yet.
	Application *consensus.Application
	// Storage persists the machine's records, and Recovered is what it held when
	// it was opened; nil keeps nothing. Whoever opened it closes it, after the
	// driver.
	Storage   Storage
	Recovered storage.Recovered
	// Transport carries the messages; whoever starts it gives it the driver as
	// its machine's handler.
	Transport *Transport
	// Events takes the machine's events; it may be nil.
	Events *EventLog
	// Names are those of all processes, for injections, failpoints and traces.
	Names map[consensus.NodeID]string
	// Initially is what is injected and subscribed to from before the first step on. What
	// it says of the disk is the storage's affair.
	Initially control.Initially
	// OnTrace takes what was subscribed to, OnFailpoint the failpoints that are reached,
	// from the loop's goroutine; they may be nil. Everything that was sent before a
	// failpoint has been handed to the kernel by then, as far as that took it, and the
	// step's events to Events. A crash is OnFailpoint's affair: if that returns, the machine
	// at least never steps again.
	OnTrace     func(control.Trace)
	OnFailpoint func(control.Failpoint, control.Reached)
	// OnError is called, from the loop's goroutine, with an error after which the
	// machine never steps again: a snapshot that the application can't be restored
	// from. It may be nil.
	OnError func(error)
}

// Storage is what a driver needs of a storage.Storage, whose methods these are.
type Storage interface {
	Keeps() bool
	Append(records []consensus.Message) (position uint64)
	Checkpoint(snapshot []byte, records []consensus.Message) (position uint64)
	CheckpointDue() bool
	Flush()
	Durable() (position uint64)
	Notify() <-chan struct{}
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
	timers timers.Set[consensus.Timer]
	outbox consensus.Outbox
	// itself holds messages of the machine to itself, in the order of sending.
	itself, spare []consensus.Input
	// position is that of the last record in the storage, held are the messages
	// that wait for the storage to become durable, in order.
	position   uint64
	held       []heldMessage
	checkpoint consensus.Outbox
	failed     bool
	hash       string
	hashedSlot uint64
	// injected is what goes wrong and what is reported; nil if nothing ever did or was.
	injected *injected
}

// New makes a driver that does nothing until Start. It restores the application
// from what the storage has recovered; the error is Application.Restore's.
func New(config Config) (*Driver, error) {
	if config.Storage == nil {
		config.Storage = storage.Memory()
	}
	if config.Recovered.Snapshot != nil {
		if err := config.Application.Restore(config.Recovered.Snapshot); err != nil {
			return nil, fmt.Errorf("the last checkpoint: %w", err)
		}
	}
	d := &Driver{
		config: config, inbox: newInbox(), sender: config.Transport.NewSender(),
		calls: make(chan func()), stop: make(chan struct{}),
	}
	d.inject(config.Initially.Injection)
	d.subscribe(config.Initially.Subscriptions)
	return d, nil
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

// call runs a function between two steps, or while the machine stalls. It does nothing
// after Close.
func (d *Driver) call(run func()) {
	done := make(chan struct{})
	select {
	case d.calls <- func() { run(); close(done) }:
		<-done
	case <-d.stop:
	}
}

// Status says where the machine stands and, if it is a learner, what its
// application's state hashes to. It is zero after Close.
func (d *Driver) Status() (status consensus.Status, stateHash string) {
	d.call(func() {
		status = d.config.Machine.Status()
		if status.Learner {
			// At a failpoint the machine may be ahead of what is applied.
			status.Slot = min(status.Slot, d.config.Application.Slot())
			stateHash = d.stateHash()
		}
	})
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
	d.step(d.now(), consensus.Input{
		Kind: consensus.InputStart, Recovered: d.config.Recovered.Records, Slot: d.config.Application.Slot(),
	})
	d.config.Recovered = storage.Recovered{}
	d.flush()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var set consensus.Time // what the runtime's timer is set to, in real time
	var received []consensus.Input
	for {
		if len(d.itself) == 0 {
			if at := d.nextTimer(); at != timers.Never && at != set {
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
			case <-d.config.Storage.Notify():
			}
		} else if !d.look() {
			return
		}
		itself := d.itself
		d.itself, d.spare = d.spare[:0], nil
		d.process(itself)
		d.spare = itself[:0]
		received = d.heed(d.inbox.take(received))
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
		now := d.now()
		d.release()
		d.fire(now)
		lot := rest[:min(len(rest), maxSteps)]
		for i := range lot {
			d.step(now, lot[i])
		}
		if !d.failed && d.config.Storage.CheckpointDue() {
			d.makeCheckpoint(now)
		}
		d.flush()
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
	for made := d.timers.Made(); ; {
		timer, due := d.timers.Pop(now, made)
		if !due {
			return
		}
		d.step(now, consensus.Input{Kind: consensus.InputTimer, Timer: timer})
	}
}

// flush has what the steps so far have left written and sent.
func (d *Driver) flush() {
	d.config.Storage.Flush()
	d.sender.Flush()
}

// step feeds the machine one input and carries out what it asks for. A command
// that was applied before is answered here.
func (d *Driver) step(now consensus.Time, input consensus.Input) {
	if d.failed {
		return
	}
	if input.Kind == consensus.InputCommand {
		if response, known := d.config.Application.Answer(input.Command); known {
			d.send(response.Client.Node(), response)
			return
		}
	}
	d.config.Machine.Step(now, input, &d.outbox)
	d.carryOut(now)
}

func (d *Driver) carryOut(now consensus.Time) {
	out := &d.outbox
	if d.injected != nil {
		d.beforePersist()
	}
	if out.Install != nil {
		if err := d.install(now); err != nil {
			d.fail(err)
			return
		}
	} else if len(out.Records) > 0 {
		d.position = d.config.Storage.Append(out.Records)
	}
	if d.injected != nil {
		d.afterPersist()
	}
	d.sendAll()
	d.apply()
	for _, read := range out.Reads {
		d.send(read.Client.Node(), d.config.Application.Read(read))
	}
	d.transfer()
	for _, change := range out.Timers {
		if change.Cancel {
			d.timers.Cancel(change.Timer)
		} else {
			d.timers.Set(change.Timer, now.Add(change.After))
		}
	}
	d.publish()
	out.Reset()
}
