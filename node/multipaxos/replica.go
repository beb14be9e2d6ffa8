package multipaxos

import (
	"slices"

	"quorumlab/node/consensus"
)

// replica orders its clients' commands and commits what was decided
// (dissertation, section 3.4.2). Its variables are the paper's.
type replica struct {
	*setting
	// requests wait for a slot; proposals have one and wait for its decision.
	requests []consensus.Command
	// displaced lost their slot to another command; they wait for the slots that
	// were proposed by then, in one of which another replica may have them
	// decided.
	displaced []displacement
	// purgeAt is the number of requests at which finished ones are looked for.
	purgeAt   int
	proposals map[uint64]proposal
	// decisions are those that can't be committed yet because an earlier one is
	// missing.
	decisions map[uint64]consensus.Command
	// slotIn is the lowest slot that this replica has neither proposed a command
	// for nor seen a decision of; slotOut the lowest not committed.
	slotIn, slotOut uint64
	// decided remembers which commands were decided already.
	decided ledger
	// reported is the slotOut that the leaders were told last.
	reported uint64
	// stuckAt is the slotOut of the last tick if a later decision was waiting.
	stuckAt uint64

	proposedCount, decidedCount, duplicateCount, noopCount, repeatedCount uint64
}

type displacement struct {
	command consensus.Command
	// until is the slotOut at which the command may be proposed again.
	until uint64
}

type proposal struct {
	command consensus.Command
	sent    consensus.Time
}

func newReplica(s *setting) *replica {
	return &replica{
		setting:   s,
		proposals: map[uint64]proposal{},
		decisions: map[uint64]consensus.Command{},
		decided:   ledger{},
		slotIn:    1, slotOut: 1, reported: 1, purgeAt: minPurge,
	}
}

func (r *replica) request(now consensus.Time, command consensus.Command, out *consensus.Outbox) {
	r.decided.finish(command)
	r.requests = append(r.requests, command)
	if len(r.requests) >= r.purgeAt {
		r.purge()
	}
	r.propose(now, out)
}

// minPurge is the least number of requests that is worth looking through.
const minPurge = 1024

// purge drops requests that their clients have given up, so that the queue of a
// long outage doesn't outgrow what is still awaited.
func (r *replica) purge() {
	r.requests = slices.DeleteFunc(r.requests, r.decided.has)
	r.purgeAt = max(minPurge, 2*len(r.requests))
}

// propose gives slots to waiting requests while the window has room, as the
// invariant slot_in < slot_out + WINDOW demands.
func (r *replica) propose(now consensus.Time, out *consensus.Outbox) {
	r.readmit()
	for len(r.requests) > 0 && r.slotIn < r.slotOut+r.options.Window {
		if _, known := r.decisions[r.slotIn]; known {
			r.slotIn++
			continue
		}
		command := r.requests[0]
		r.requests[0] = consensus.Command{}
		r.requests = r.requests[1:]
		if r.decided.has(command) { // meanwhile, on another replica's proposal
			continue
		}
		r.proposeAt(now, r.slotIn, command, out)
		r.slotIn++
	}
}

// readmit returns displaced commands to the requests once no slot that was
// proposed before they lost theirs can bring them any more. The papers do so at
// once; but after replicas have drifted apart by one slot, each command would
// then displace the next one and take two slots, for ever.
func (r *replica) readmit() {
	n := 0
	for n < len(r.displaced) && r.displaced[n].until <= r.slotOut {
		r.requests = append(r.requests, r.displaced[n].command)
		n++
	}
	r.displaced = r.displaced[n:]
}

func (r *replica) proposeAt(now consensus.Time, slot uint64, command consensus.Command, out *consensus.Outbox) {
	r.proposedCount++
	r.proposals[slot] = proposal{command: command, sent: now}
	out.Broadcast(r.leaders, &Propose{Slot: slot, Command: command, SlotOut: r.slotOut})
	r.reported = r.slotOut
}

func (r *replica) decision(now consensus.Time, m *Decision, out *consensus.Outbox) {
	if _, known := r.decisions[m.Slot]; known || m.Slot < r.slotOut {
		r.duplicateCount++
		if m.Slot < r.slotOut {
			r.reported = 0 // the leader hasn't heard: tell it again
		}
		return
	}
	r.decisions[m.Slot] = m.Command
	if r.decided.has(m.Command) {
		r.repeatedCount++
	}
	r.decided.add(m.Command)
	for {
		command, known := r.decisions[r.slotOut]
		if !known {
			break
		}
		r.commit(command, out)
	}
	r.propose(now, out)
}

// commit hands over the command of slotOut. If this replica had proposed
// another one for the slot, that one must find a new slot.
func (r *replica) commit(command consensus.Command, out *consensus.Outbox) {
	if mine, ok := r.proposals[r.slotOut]; ok {
		delete(r.proposals, r.slotOut)
		if !mine.command.Same(command) && mine.command.Client != 0 && !r.decided.has(mine.command) {
			r.displaced = append(r.displaced, displacement{command: mine.command, until: r.slotIn})
		}
	}
	delete(r.decisions, r.slotOut)
	out.Commit(r.slotOut, command)
	r.decidedCount++
	r.slotOut++
	r.slotIn = max(r.slotIn, r.slotOut)
}

// tick asks again for what hasn't come, and tells the leaders how far the
// replica is if they don't know.
func (r *replica) tick(now consensus.Time, out *consensus.Outbox) {
	for _, slot := range sortedKeys(r.proposals) {
		p := r.proposals[slot]
		if now.Sub(p.sent) < r.options.Resend {
			continue
		}
		p.sent = now
		r.proposals[slot] = p
		out.Broadcast(r.leaders, &Propose{Slot: slot, Command: p.command, SlotOut: r.slotOut})
		r.reported = r.slotOut
	}
	r.fillGap(now, out)
	if r.reported != r.slotOut {
		out.Broadcast(r.leaders, &Progress{SlotOut: r.slotOut})
		r.reported = r.slotOut
	}
}

// fillGap proposes no-ops for slots that nobody seems to propose for while
// later ones are decided: their proposer may be dead (Paxos Made Simple,
// section 3). A slot that was decided after all comes back as such.
func (r *replica) fillGap(now consensus.Time, out *consensus.Outbox) {
	if len(r.decisions) == 0 {
		r.stuckAt = 0
		return
	}
	if r.stuckAt != r.slotOut {
		r.stuckAt = r.slotOut
		return
	}
	last := slices.Max(sortedKeys(r.decisions))
	for slot := r.slotOut; slot < last && slot < r.slotOut+r.options.Window; slot++ {
		_, proposed := r.proposals[slot]
		_, known := r.decisions[slot]
		if !proposed && !known {
			r.noopCount++
			r.proposeAt(now, slot, consensus.Command{}, out)
			r.slotIn = max(r.slotIn, slot+1)
		}
	}
}
