package driver

import (
	"runtime"
	"slices"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/node/injection"
)

const (
	// acknowledgeTimeout bounds how long a message's acknowledgement is awaited before
	// the failpoint after it, acknowledgePoll is how often the kernel is asked.
	acknowledgeTimeout = time.Second
	acknowledgePoll    = 200 * time.Microsecond
)

// injected is what goes wrong inside a driver, and what it reports.
type injected struct {
	filter        *injection.Filter
	clock         injection.Clock
	failpoints    *injection.Failpoints
	subscriptions *injection.Subscriptions
}

// Inject puts an injection in the place of the one before and returns once it is in force.
// What it says of the disk is the storage's affair.
func (d *Driver) Inject(injection control.Injection) { d.call(func() { d.inject(injection) }) }

// Subscribe puts subscriptions in the place of those before.
func (d *Driver) Subscribe(subscriptions []control.Subscription) {
	d.call(func() { d.subscribe(subscriptions) })
}

// Standing says where the machine stands, and what the driver's injections have done. It
// hashes nothing. It is zero after Close.
func (d *Driver) Standing() (standing control.Standing) {
	d.call(func() {
		status := d.config.Machine.Status()
		now := clock.Now()
		standing = control.Standing{
			Leading: status.Leading, Round: status.Round, Slot: status.Slot, Configuration: status.Configuration,
			ClockNS: int64(now), MachineNS: int64(now),
		}
		if i := d.injected; i != nil {
			standing.MachineNS = int64(i.clock.Local(now))
			standing.Injected.Ignoring = i.filter.Active()
			standing.Injected.Considered, standing.Injected.Ignored = i.filter.Counts()
			standing.Injected.SuppressedTraces = i.subscriptions.Suppressed()
		}
	})
	return standing
}

// inject never forgets that something was injected: a clock that went wrong stays so.
func (d *Driver) inject(in control.Injection) {
	if d.injected == nil {
		if len(in.Ignore) == 0 && len(in.Failpoints) == 0 && in.ClockRate == 0 && in.ClockJumpNS == 0 {
			return
		}
		d.injected = d.newInjected()
	}
	d.injected.filter.Set(in.Ignore)
	d.injected.clock.Set(clock.Now(), in.ClockRate, time.Duration(in.ClockJumpNS))
	d.injected.failpoints.Set(in.Failpoints)
}

func (d *Driver) subscribe(subscriptions []control.Subscription) {
	if d.injected == nil {
		if len(subscriptions) == 0 {
			return
		}
		d.injected = d.newInjected()
	}
	d.injected.subscriptions.Set(subscriptions)
}

func (d *Driver) newInjected() *injected {
	return &injected{
		filter: injection.NewFilter(nil, d.name), failpoints: injection.NewFailpoints(nil),
		subscriptions: injection.NewSubscriptions(nil),
	}
}

func (d *Driver) name(id consensus.NodeID) string { return d.config.Names[id] }

// now is what the machine takes the time for.
func (d *Driver) now() consensus.Time {
	now := clock.Now()
	if d.injected != nil {
		now = d.injected.clock.Local(now)
	}
	return now
}

// nextTimer is when the next timer is due, in real time.
func (d *Driver) nextTimer() consensus.Time {
	at := d.timers.Next()
	if d.injected != nil {
		at = d.injected.clock.Real(at)
	}
	return at
}

// heed leaves out the inputs that are ignored. What comes from this process isn't.
func (d *Driver) heed(inputs []consensus.Input) []consensus.Input {
	if d.injected == nil || !d.injected.filter.Active() {
		return inputs
	}
	self := d.config.Transport.config.Self
	return slices.DeleteFunc(inputs, func(input consensus.Input) bool {
		if input.From == self {
			return false
		}
		label := consensus.Request{}.Label()
		if input.Kind == consensus.InputMessage {
			label = input.Message.Label()
		}
		return d.injected.filter.Ignores(input.From, label)
	})
}

// beforePersist passes the failpoints before the step's records.
func (d *Driver) beforePersist() {
	if !d.injected.failpoints.Watches(control.BeforePersist) {
		return
	}
	for _, record := range d.outbox.Records {
		d.pass(control.BeforePersist, record.Label(), "")
	}
}

// afterPersist passes the failpoints after the step's records, which it has made durable
// first if one is reached. What depends on them waits for this to return.
func (d *Driver) afterPersist() {
	failpoints := d.injected.failpoints
	if !failpoints.Watches(control.AfterPersist) {
		return
	}
	for _, record := range d.outbox.Records {
		label := record.Label()
		reached, hit := failpoints.At(control.AfterPersist, label, "")
		if !hit {
			continue
		}
		d.config.Storage.Flush()
		for d.config.Storage.Durable() < d.position {
			d.serve(d.config.Storage.Notify(), nil)
		}
		d.reach(reached, control.Reached{Label: label})
	}
}

// sendInjected sends a message between its failpoints.
func (d *Driver) sendInjected(to consensus.NodeID, message consensus.Message) {
	label, name := message.Label(), d.name(to)
	d.pass(control.BeforeSend, label, name)
	over := d.linkTo(to)
	d.handOver(to, message)
	d.trace(label, name)
	if reached, hit := d.injected.failpoints.At(control.AfterSend, label, name); hit {
		acknowledged := d.awaitAcknowledged(to, over)
		d.reach(reached, control.Reached{Label: label, To: name, Unacknowledged: !acknowledged})
	}
}

// linkTo is the connection that a message which is about to be sent goes over at first, if
// a failpoint after sending may want to know; nil if there is none.
func (d *Driver) linkTo(to consensus.NodeID) *link {
	p := d.config.Transport.peers[to]
	if p == nil || !d.injected.failpoints.Watches(control.AfterSend) {
		return nil
	}
	return p.current()
}

// awaitAcknowledged has what was sent to a process acknowledged by its kernel. It is
// false if there was no connection, or that is lost or slow: what a new one has acknowledged
// says nothing of what the one before has lost. To the process itself there is nothing to
// wait for.
func (d *Driver) awaitAcknowledged(to consensus.NodeID, over *link) bool {
	if to == d.config.Transport.config.Self {
		return true
	}
	d.sender.Flush()
	p := d.config.Transport.peers[to]
	if p == nil {
		return false
	}
	deadline := time.Now().Add(acknowledgeTimeout)
	poll := time.NewTicker(acknowledgePoll)
	defer poll.Stop()
	for time.Now().Before(deadline) {
		acknowledged, lost := p.acknowledged(over)
		if acknowledged || lost {
			return acknowledged
		}
		d.serve(nil, poll.C)
	}
	return false
}

// applyInjected applies a command between its failpoints, and answers then.
func (d *Driver) applyInjected(c consensus.Committed) {
	label := consensus.Label{Kind: control.TraceCommit, Slot: c.Slot}
	d.pass(control.BeforeApply, label, "")
	var responses []consensus.Response
	d.config.Application.Apply(c.Slot, c.Command, func(response consensus.Response) {
		responses = append(responses, response)
	})
	d.trace(label, "")
	d.pass(control.AfterApply, label, "")
	for _, response := range responses {
		d.respond(response)
	}
}

// traceEvents reports the step's events.
func (d *Driver) traceEvents() {
	for _, event := range d.outbox.Events {
		d.trace(event.Label, "")
	}
}

// trace reports what was subscribed to.
func (d *Driver) trace(label consensus.Label, to string) {
	if d.config.OnTrace == nil || !d.injected.subscriptions.Any() {
		return
	}
	if now := clock.Now(); d.injected.subscriptions.Wants(now, label) {
		d.config.OnTrace(control.Trace{TimeNS: int64(now), Label: label, To: to})
	}
}

// pass stops at the failpoint that is reached, if one is.
func (d *Driver) pass(place string, label consensus.Label, to string) {
	if reached, hit := d.injected.failpoints.At(place, label, to); hit {
		d.reach(reached, control.Reached{Label: label, To: to})
	}
}

// reach carries out a failpoint. After a crash, and if the driver is closed during a
// stall, the loop's goroutine ends here and now: nothing of what comes after the place
// may happen.
func (d *Driver) reach(failpoint control.Failpoint, reached control.Reached) {
	d.publish()
	d.flush()
	reached.ID, reached.TimeNS = failpoint.ID, int64(clock.Now())
	if d.config.OnFailpoint != nil {
		d.config.OnFailpoint(failpoint, reached)
	}
	if failpoint.Action == control.ActionCrash {
		runtime.Goexit()
	}
	for d.injected.failpoints.Has(failpoint.ID) {
		d.serve(nil, nil)
	}
}

// serve answers a call in the middle of a step, or returns when something is ready.
func (d *Driver) serve(ready <-chan struct{}, at <-chan time.Time) {
	select {
	case <-d.stop:
		runtime.Goexit()
	case call := <-d.calls:
		call()
	case <-ready:
	case <-at:
	}
}
