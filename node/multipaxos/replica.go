package multipaxos

import (
	"quorumlab/node/consensus"
)

// replica orders its clients' commands and commits what was decided
// (dissertation, section 3.4.2). Its variables are the paper's.
type replica struct {
	*setting
	// requests wait for a slot; proposals have one and wait for its decision.
	requests fifo[consensus.Command]
	// displaced lost their slot to another command; they wait for the slots that
	// were proposed by then, in one of which another replica may have them
	// decided.
	displaced []displacement
	// purgeAt is the number of requests at which finished ones are looked for.
	purgeAt int
	// slots are what the replica knows of the slots from slotOut on.
	slots ring[slotState]
	// slotIn is the lowest slot that this replica has neither proposed a command
	// for nor seen a decision of; slotOut the lowest not committed.
	slotIn, slotOut uint64
	// proposing counts the own proposals that are not committed, waiting the
	// decisions.
	proposing, waiting uint64
	// highest is the highest slot with a decision.
	highest uint64
	// decided remembers which commands were decided already.
	decided ledger
	// reported is the slotOut that the leaders were told last.
	reported uint64
	// stuckAt is the slotOut of the last tick if a later decision was waiting.
	stuckAt uint64
	// hold is when a batch that isn't full is proposed all the same; 0 if none
	// waits.
	hold consensus.Time

	// configurations are the one in force, the one before it, and those to come.
	configurations []Configuration
	// announcements are configurations that leaders haven't acknowledged.
	announcements []announcement
	reading       reading
	catchUp       catchUp
}

// slotState is what a replica knows of a slot.
type slotState struct {
	// decision is nil until the slot is decided.
	decision *Decision
	proposed bool
	proposal consensus.Command
	sent     consensus.Time
}

type displacement struct {
	command consensus.Command
	// until is the slotOut at which the command may be proposed again.
	until uint64
}

func newReplica(s *setting) *replica {
	return &replica{
		setting: s, slots: newRing[slotState](1), decided: ledger{},
		slotIn: 1, slotOut: 1, reported: 1, purgeAt: minPurge,
		configurations: []Configuration{s.initial},
	}
}

func (r *replica) request(now consensus.Time, command consensus.Command, out *consensus.Outbox) {
	r.decided.finish(command)
	switch {
	case command.Kind == consensus.KindRead && r.options.Reads == ReadsConfirm:
		r.read(now, command, out)
		return
	case command.Kind == consensus.KindReconfigure:
		var ok bool
		if command, ok = numbered(command, r.latest().Number+1); !ok {
			return
		}
	}
	r.requests.push(command)
	if r.requests.len() >= r.purgeAt {
		r.purge()
	}
	r.propose(now, out)
}

// minPurge is the least number of requests that is worth looking through.
const minPurge = 1024

// purge drops requests that their clients have given up, so that the queue of a
// long outage doesn't outgrow what is still awaited.
func (r *replica) purge() {
	r.requests.drop(r.decided.has)
	r.purgeAt = max(minPurge, 2*r.requests.len())
}

// propose gives slots to waiting requests while the window has room, as the
// invariant slot_in < slot_out + WINDOW demands, and the pipeline too.
func (r *replica) propose(now consensus.Time, out *consensus.Outbox) {
	r.readmit()
	for r.hasRoom() {
		if s := r.slots.at(r.slotIn); s != nil && (s.decision != nil || s.proposed) {
			r.slotIn++
			continue
		}
		command, ok := r.nextCommand(now, out)
		if !ok {
			return
		}
		r.proposeAt(now, r.slotIn, command, out)
		r.slotIn++
	}
}

// hasRoom tells whether the next slot may be proposed already. Slots before a
// configuration that is to come are proposed for whatever the pipeline, and
// filled with no-ops: it comes into force once they are committed.
func (r *replica) hasRoom() bool {
	switch {
	case r.slotIn >= r.slotOut+r.options.Window:
		return false
	case r.slotIn < r.latest().First:
		return true
	}
	return r.requests.len() > 0 && (r.options.Pipeline == 0 || r.proposing < r.options.Pipeline)
}

// maxBatchBytes is the size from which a batch takes no more commands: a message
// must not become larger than a frame.
const maxBatchBytes = 1 << 20

// nextCommand takes requests for one slot: a batch, if so configured, or a no-op
// where a new configuration is to come into force. It is false if there is
// nothing to propose yet.
func (r *replica) nextCommand(now consensus.Time, out *consensus.Outbox) (consensus.Command, bool) {
	r.dropDecided()
	size := r.options.Batch.Size
	switch n := r.requests.len(); {
	case n == 0:
		r.hold = 0
		return consensus.Command{}, r.slotIn < r.latest().First
	case n >= size || r.options.Batch.Delay == 0 || r.slotIn < r.latest().First:
	case r.hold == 0:
		r.hold = now.Add(r.options.Batch.Delay)
		out.SetTimer(consensus.Timer{Kind: timerBatch}, r.options.Batch.Delay)
		return consensus.Command{}, false
	case now < r.hold:
		return consensus.Command{}, false
	}
	r.hold = 0
	if size == 1 {
		return r.requests.pop(), true
	}
	var batch []consensus.Command
	for bytes := 0; r.requests.len() > 0 && len(batch) < size && bytes < maxBatchBytes; {
		command := r.requests.pop()
		bytes += len(command.Operation)
		batch = append(batch, command)
		r.dropDecided()
	}
	if len(batch) == 1 {
		return batch[0], true
	}
	return consensus.NewBatch(batch), true
}

// dropDecided drops the first requests that were decided meanwhile, on another
// replica's proposal.
func (r *replica) dropDecided() {
	for r.requests.len() > 0 && r.decided.has(r.requests.first()) {
		r.requests.pop()
	}
}

// readmit returns displaced commands to the requests once no slot that was
// proposed before they lost theirs can bring them any more. The papers do so at
// once; but after replicas have drifted apart by one slot, each command would
// then displace the next one and take two slots, for ever.
func (r *replica) readmit() {
	n := 0
	for n < len(r.displaced) && r.displaced[n].until <= r.slotOut {
		r.requests.push(r.displaced[n].command)
		n++
	}
	r.displaced = r.displaced[n:]
}

func (r *replica) proposeAt(now consensus.Time, slot uint64, command consensus.Command, out *consensus.Outbox) {
	s := r.slots.reach(slot)
	s.proposed, s.proposal = true, command
	r.counters.proposed++
	r.proposing++
	r.sendPropose(now, slot, s, out)
}

func (r *replica) sendPropose(now consensus.Time, slot uint64, s *slotState, out *consensus.Outbox) {
	s.sent = now
	configuration := r.configurationOf(slot)
	out.Broadcast(configuration.Leaders, &Propose{Configuration: configuration.Number, Slot: slot, Command: s.proposal})
}

func (r *replica) decision(now consensus.Time, from consensus.NodeID, m *Decision, out *consensus.Outbox) {
	s := r.slots.reach(m.Slot)
	if s == nil || s.decision != nil {
		r.counters.duplicates++
		if m.Slot < r.slotOut {
			r.reportTo(from, out)
		}
		return
	}
	s.decision = m
	r.waiting++
	r.highest = max(r.highest, m.Slot)
	r.learn(m.Command)
	r.commitDecided(out)
	if r.slotOut-r.reported >= progressEvery {
		r.report(out)
	}
	r.answerReads(now, out)
	r.propose(now, out)
}

// progressEvery is how many slots a replica commits before it tells the leaders
// at once rather than at the next tick.
const progressEvery = 64

// learn notes that a command, or each command of a batch, is decided.
func (r *replica) learn(command consensus.Command) {
	if command.Kind == consensus.KindBatch {
		_ = command.Each(func(_ uint32, inner consensus.Command) { r.learn(inner) })
		return
	}
	if r.decided.has(command) {
		r.counters.repeated++
	}
	r.decided.add(command)
}

// commitDecided commits from slotOut on, up to the first slot without a decision.
func (r *replica) commitDecided(out *consensus.Outbox) {
	for s := r.slots.at(r.slotOut); s != nil && s.decision != nil; s = r.slots.at(r.slotOut) {
		r.commit(s, out)
	}
}

// commit hands over the command of slotOut. If this replica had proposed
// another one for the slot, that one must find a new slot.
func (r *replica) commit(s *slotState, out *consensus.Outbox) {
	m := s.decision
	if s.proposed {
		r.proposing--
		if !s.proposal.Same(m.Command) {
			r.displace(s.proposal)
		}
	}
	out.Persist(m)
	out.Commit(r.slotOut, m.Command)
	r.reconfigured(m, out)
	r.waiting--
	r.counters.committed++
	r.slotOut++
	r.slots.forget(r.slotOut)
	r.slotIn = max(r.slotIn, r.slotOut)
}

// displace keeps what isn't decided yet of a proposal that lost its slot.
func (r *replica) displace(proposal consensus.Command) {
	_ = proposal.Each(func(_ uint32, command consensus.Command) { // NewBatch made it
		if command.Client != 0 && !r.decided.has(command) {
			r.displaced = append(r.displaced, displacement{command: command, until: r.slotIn})
		}
	})
}

// report tells the leaders how far the replica is. What is forgotten because of
// it must not be lost with the replica, so it waits for the disk.
func (r *replica) report(out *consensus.Outbox) {
	message := &Progress{SlotOut: r.slotOut}
	for _, id := range r.concerned() {
		out.SendAfterSync(id, message)
	}
	r.reported = r.slotOut
}

// reportTo tells a leader again that hasn't heard, also one of a configuration
// that the replica has done with.
func (r *replica) reportTo(leader consensus.NodeID, out *consensus.Outbox) {
	r.reported = 0
	if !contains(r.concerned(), leader) {
		out.SendAfterSync(leader, &Progress{SlotOut: r.slotOut})
	}
}

func (r *replica) timer(now consensus.Time, timer consensus.Timer, out *consensus.Outbox) {
	switch timer.Kind {
	case timerTick:
		r.tick(now, out)
	case timerBatch:
		r.propose(now, out)
	}
}

// tick asks again for what hasn't come, and tells the leaders how far the
// replica is if they don't know.
func (r *replica) tick(now consensus.Time, out *consensus.Outbox) {
	for slot, left := r.slotOut, r.proposing; left > 0 && slot < r.slots.end; slot++ {
		s := r.slots.at(slot)
		if !s.proposed {
			continue
		}
		left--
		if s.decision == nil && now.Sub(s.sent) >= r.options.Resend {
			r.sendPropose(now, slot, s, out)
		}
	}
	r.fillGap(now, out)
	if r.reported != r.slotOut {
		r.report(out)
	}
	r.announce(now, out)
	r.tickReads(now, out)
	r.propose(now, out)
}

// fillGap proposes no-ops for slots that nobody seems to propose for while
// later ones are decided, or reads wait for them: their proposer may be dead
// (Paxos Made Simple, section 3). A slot that was decided after all comes back as such.
func (r *replica) fillGap(now consensus.Time, out *consensus.Outbox) {
	last := max(r.highest, r.readsAwait(now))
	if last < r.slotOut {
		r.stuckAt = 0
		return
	}
	if r.stuckAt != r.slotOut {
		r.stuckAt = r.slotOut
		return
	}
	for slot := r.slotOut; slot <= last && slot < r.slotOut+r.options.Window; slot++ {
		if s := r.slots.at(slot); s == nil || !s.proposed && s.decision == nil {
			r.counters.noops++
			r.proposeAt(now, slot, consensus.Command{}, out)
			r.slotIn = max(r.slotIn, slot+1)
		}
	}
}
