package multipaxos

import (
	"slices"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// Reads that take no slot. A replica asks the active leader which slots the
// read must see. The leader notes the highest slot that may be decided by then,
// and answers once a phase-2 quorum of acceptors has confirmed that its ballot is
// still theirs: every phase-1 quorum has an acceptor in common with it, so that
// no higher ballot was adopted, and decided anything, before. The replica answers from its
// state as soon as it has committed those slots.
//
// Leader and replica each work on one round at a time, for all the reads that
// came before it began.

// confirmation is the leader's part.
type confirmation struct {
	// round is the one at work, or the last one.
	round   uint64
	running bool
	answers quorum.Tally
	since   consensus.Time
	// slot is what the round's reads must see.
	slot uint64
	// asking are the round's requests, waiting those for the next one.
	asking, waiting []readRequest
}

type readRequest struct {
	from consensus.NodeID
	id   uint64
}

func (l *leader) readRequest(now consensus.Time, from consensus.NodeID, m *ReadRequest, out *consensus.Outbox) {
	request := readRequest{from, m.ID}
	if !l.active || slices.Contains(l.reads.waiting, request) {
		return
	}
	l.reads.waiting = append(l.reads.waiting, request)
	if !l.reads.running {
		l.beginRound(now, out)
	}
}

func (l *leader) beginRound(now consensus.Time, out *consensus.Outbox) {
	r := &l.reads
	r.asking, r.waiting = r.waiting, r.asking[:0]
	r.round++
	r.running, r.answers, r.since, r.slot = true, quorum.NewTally(l.quorum.Phase2()), now, l.highest
	l.sendConfirm(l.choose(l.quorum.Phase2()), out)
}

// sendConfirm asks those of the selection that haven't answered.
func (l *leader) sendConfirm(asked selection, out *consensus.Outbox) {
	message := &Confirm{Configuration: l.configuration.Number, Ballot: l.ballot, Round: l.reads.round}
	for i, id := range l.configuration.Acceptors {
		if asked.has(i) && !l.reads.answers.Has(i) {
			out.Send(id, message)
		}
	}
}

func (l *leader) confirmed(now consensus.Time, from consensus.NodeID, m *Confirmed, out *consensus.Outbox) {
	if m.Ballot.Above(l.ballot) {
		l.preempted(now, m.Ballot, out)
		return
	}
	r := &l.reads
	i := slices.Index(l.configuration.Acceptors, from)
	if !r.running || m.Round != r.round || m.Ballot != l.ballot || i < 0 || !r.answers.Add(i) {
		return
	}
	r.running = false
	l.counters.readRounds++
	for _, request := range r.asking {
		out.Send(request.from, &ReadReady{Configuration: l.configuration.Number, ID: request.id, Slot: r.slot})
	}
	if len(r.waiting) > 0 {
		l.beginRound(now, out)
	}
}

func (l *leader) tickReads(now consensus.Time, out *consensus.Outbox) {
	if l.reads.running && now.Sub(l.reads.since) >= l.options.Resend {
		l.reads.since = now
		l.sendConfirm(everyone, out)
	}
}

// reading is the replica's part.
type reading struct {
	// waiting are reads of the next round; asked those of the round that the
	// leaders were asked about, with its id, since then.
	waiting, asked []consensus.Command
	id             uint64
	since          consensus.Time
	// ready are the reads that wait for slots to be committed, in order.
	ready []readyReads
}

type readyReads struct {
	slot  uint64
	since consensus.Time
	// configuration is whose leaders were asked.
	configuration uint64
	commands      []consensus.Command
}

func (r *replica) read(now consensus.Time, command consensus.Command, out *consensus.Outbox) {
	r.reading.waiting = append(r.reading.waiting, command)
	if len(r.reading.asked) == 0 {
		r.askLeaders(now, out)
	}
}

// askLeaders begins a round for all waiting reads. Its id is new even to a
// leader that knew the replica before a restart.
func (r *replica) askLeaders(now consensus.Time, out *consensus.Outbox) {
	reading := &r.reading
	reading.asked, reading.waiting = reading.waiting, nil
	reading.id = max(reading.id+1, uint64(now))
	r.resendRead(now, out)
}

func (r *replica) resendRead(now consensus.Time, out *consensus.Outbox) {
	latest := r.latest()
	r.reading.since = now
	out.Broadcast(latest.Leaders, &ReadRequest{Configuration: latest.Number, ID: r.reading.id})
}

func (r *replica) readReady(now consensus.Time, m *ReadReady, out *consensus.Outbox) {
	reading := &r.reading
	if len(reading.asked) == 0 || m.ID != reading.id {
		return
	}
	reading.ready = append(reading.ready, readyReads{since: now, slot: m.Slot, configuration: m.Configuration, commands: reading.asked})
	reading.asked = nil
	r.answerReads(now, out)
}

// answerReads answers the reads whose slots are committed. If these hold a
// change of the configuration that the asked leaders may not have known of,
// later slots may have been decided without them: the new leaders are asked.
func (r *replica) answerReads(now consensus.Time, out *consensus.Outbox) {
	reading := &r.reading
	answered := func(ready readyReads) bool {
		if ready.slot >= r.slotOut {
			return false
		}
		if ready.configuration != r.latest().Number {
			reading.waiting = append(reading.waiting, ready.commands...)
			return true
		}
		for _, command := range ready.commands {
			r.counters.reads++
			out.Read(command)
		}
		return true
	}
	reading.ready = slices.DeleteFunc(reading.ready, answered)
	if len(reading.waiting) > 0 && len(reading.asked) == 0 {
		r.askLeaders(now, out)
	}
}

// readsAwait is the highest slot that reads have waited for in vain for long.
func (r *replica) readsAwait(now consensus.Time) (slot uint64) {
	for _, ready := range r.reading.ready {
		if now.Sub(ready.since) >= 2*r.options.Resend {
			slot = max(slot, ready.slot)
		}
	}
	return slot
}

func (r *replica) tickReads(now consensus.Time, out *consensus.Outbox) {
	reading := &r.reading
	reading.waiting = slices.DeleteFunc(reading.waiting, r.decided.has)
	for i := range reading.ready {
		reading.ready[i].commands = slices.DeleteFunc(reading.ready[i].commands, r.decided.has)
	}
	reading.ready = slices.DeleteFunc(reading.ready, func(ready readyReads) bool { return len(ready.commands) == 0 })
	if len(reading.asked) > 0 && now.Sub(reading.since) >= r.options.Resend {
		r.resendRead(now, out)
	}
}
