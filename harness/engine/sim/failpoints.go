package sim

import (
	"slices"
	"time"

	"quorumlab/faults"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// deliveryTimeout is how long a process that has halted after a message was sent waits for
// that to reach its receiver.
const deliveryTimeout = int64(time.Second)

// halt is a process that stands still in the middle of a step, at a failpoint or because
// its disk has failed.
type halt struct {
	point   control.Failpoint
	reached control.Reached
	// refused is true if it is the disk that ends the process, not point.
	refused bool
	// over is true once a failpoint that stalls is gone.
	over bool
	// doneAt is when the process ends or, if it stalls, has done so.
	doneAt int64
	// awaited is the message that must reach the process numbered to before that, unless
	// it takes too long.
	awaited consensus.Message
	to      int32

	// What is left of the step: what has been posted, and what has to be carried out.
	posted []outgoing
	rest   consensus.Outbox
}

// stopping tells whether the step in hand has come to a halt.
func (p *process) stopping() bool { return p.condition != nil && p.condition.halt != nil }

// reach has the process halt at a failpoint.
func (p *process) reach(now int64, point control.Failpoint, label consensus.Label, to string) *halt {
	h := &halt{
		point: point, to: none,
		reached: control.Reached{ID: point.ID, TimeNS: now, Label: label, To: to},
	}
	p.condition.halt = h
	return h
}

// persist writes the step's records, between their failpoints.
func (s *trial) persist(p *process) {
	c, records := p.condition, s.out.Records
	if len(records) > 0 && c.refuses && p.storage.kind != control.StorageMemory {
		bytes := 0
		for _, record := range records {
			bytes += s.protocol.Codec.Size(record)
		}
		s.refuse(p, bytes)
		return
	}
	for _, record := range records {
		if c.resuming || !c.failpoints.Watches(control.BeforePersist) {
			break
		}
		if point, hit := c.failpoints.At(control.BeforePersist, record.Label(), ""); hit {
			p.reach(s.now, point, record.Label(), "").rest = s.takeOutbox()
			return
		}
	}
	p.storage.append(records)
	if p.storage.kind == control.StorageFsync {
		return // durable later
	}
	for _, record := range records {
		if point, hit := c.failpoints.At(control.AfterPersist, record.Label(), ""); hit {
			h := p.reach(s.now, point, record.Label(), "")
			h.rest = s.takeOutbox()
			h.rest.Records = nil
			return
		}
	}
}

// takeOutbox takes what the step has still to do away from it.
func (s *trial) takeOutbox() (rest consensus.Outbox) {
	rest, s.out = s.out, consensus.Outbox{}
	return rest
}

// refuse has the process end because its disk doesn't take so many bytes. Nothing of the
// step happens.
func (s *trial) refuse(p *process, bytes int) {
	p.condition.counters.refusedBytes += uint64(bytes)
	p.condition.halt = &halt{refused: true, to: none}
	s.out.Reset()
	s.posted = s.posted[:0]
}

// persisted passes the failpoints of records that a sync makes durable.
func (s *trial) persisted(p *process) {
	st, c := &p.storage, p.condition
	if !c.failpoints.Watches(control.AfterPersist) {
		return
	}
	for position := st.durable + 1; position <= st.syncs && c.halt == nil; position++ {
		record := st.records[position-st.first]
		if record == nil {
			continue // a checkpoint's place
		}
		if point, hit := c.failpoints.At(control.AfterPersist, record.Label(), ""); hit {
			p.reach(s.now, point, record.Label(), "")
			s.stop(p)
		}
	}
}

// apply applies the step's commands, between their failpoints.
func (s *trial) apply(p *process) {
	out := &s.out
	// A checkpoint must follow a snapshot before anything else happens.
	watched := out.Install == nil &&
		(p.condition.failpoints.Watches(control.BeforeApply) || p.condition.failpoints.Watches(control.AfterApply))
	for i := range out.Committed {
		if watched {
			if s.applyWatched(p, i); p.stopping() {
				return
			}
			continue
		}
		s.commit(p, &out.Committed[i])
	}
}

// applyWatched applies the i-th command unless the process halts before that.
func (s *trial) applyWatched(p *process, i int) {
	c, committed := p.condition, &s.out.Committed[i]
	label := consensus.Label{Kind: control.TraceCommit, Slot: committed.Slot}
	if point, hit := c.failpoints.At(control.BeforeApply, label, ""); hit {
		h := p.reach(s.now, point, label, "")
		h.rest = s.takeOutbox()
		h.rest.Committed, h.rest.Records, h.rest.Messages = h.rest.Committed[i:], nil, nil
		return
	}
	answers := len(s.posted)
	s.commit(p, committed)
	if point, hit := c.failpoints.At(control.AfterApply, label, ""); hit {
		h := p.reach(s.now, point, label, "")
		h.rest = s.takeOutbox()
		h.rest.Committed, h.rest.Records, h.rest.Messages = h.rest.Committed[i+1:], nil, nil
		h.posted = slices.Clone(s.posted[answers:])
		s.posted = s.posted[:answers]
	}
}

// sending is asked about a message that is about to leave: whether it goes, and whether
// the process halts before or after that.
func (s *trial) sending(p *process, to int32, message consensus.Message) (goes, halts bool) {
	c, label, name := p.condition, message.Label(), s.processes[to].node.Name
	watches := c.halt == nil
	if watches {
		if point, hit := c.failpoints.At(control.BeforeSend, label, name); hit {
			p.reach(s.now, point, label, name)
			return false, true
		}
	}
	s.notice(p, label, name)
	if watches {
		if point, hit := c.failpoints.At(control.AfterSend, label, name); hit {
			h := p.reach(s.now, point, label, name)
			if to != p.index {
				h.awaited, h.to = message, to
			}
			return true, true
		}
	}
	return true, false
}

// stop has the process stand still where it has halted, and end if it has to: once it is
// done with what it has done of the step.
func (s *trial) stop(p *process) {
	h := p.condition.halt
	s.trace.event(s.now, markHalt, p.index, h.reached.Label.Slot)
	s.trace.text(h.point.ID, h.reached.Label.Round)
	h.doneAt = max(s.now, p.freeAt)
	if h.awaited != nil {
		h.doneAt += deliveryTimeout
	}
	s.schedule(h.doneAt, eventHalted, p.index)
}

// arrived lets the sender of a message go ahead that has halted until it has reached its
// receiver.
func (s *trial) arrived(p *process, d delivery) {
	from := s.processes[d.from]
	h := from.condition.halt
	if h == nil || h.to != p.index || h.awaited == nil || !identical(h.awaited, d.message) {
		return
	}
	h.awaited = nil
	h.doneAt = max(s.now, from.freeAt)
	s.schedule(h.doneAt, eventHalted, from.index)
}

// halted is the event of a process's having done what it halts for: it ends, or stands
// still until the failpoint is gone.
func (s *trial) halted(p *process) {
	h := p.condition.halt
	switch {
	case h == nil || h.doneAt != s.now: // it was killed before, or its message has arrived
	case h.refused:
		s.kill(p, faults.DiskSame)
		s.ended(p)
	case h.point.Action == control.ActionCrash:
		s.kill(p, diskUndecided)
	default:
		s.reached(p, h)
	}
}

// died forgets where a process had halted that has ended. If it was to crash there, it
// has done so.
func (s *trial) died(p *process) {
	if h := p.condition.halt; h != nil && !h.refused && h.point.Action == control.ActionCrash {
		s.reached(p, h)
	}
	p.condition.halt = nil
}

// goOn is the event of a process's going on that stood still: it sends what was synced
// meanwhile, carries out what is left of the step, and handles what has come.
func (s *trial) goOn(p *process) {
	c := p.condition
	if !p.alive || c.paused || c.halt != nil && !c.halt.over {
		return
	}
	h := c.halt
	c.halt = nil
	p.freeAt = max(p.freeAt, s.now)
	s.release(p)
	if h != nil {
		s.finish(p, h)
	}
	if c.halt == nil {
		s.sync(p)
	}
	s.wake(p)
}

// finish carries out what is left of a step, unless the process has halted again.
func (s *trial) finish(p *process, h *halt) {
	if again := p.condition.halt; again != nil {
		again.posted, again.rest = h.posted, h.rest
		return
	}
	s.posted = append(s.posted, h.posted...)
	s.out = h.rest
	p.condition.resuming = true
	s.carryOut(p, 0)
	p.condition.resuming = false
	s.observe(p)
}
