package multipaxos

import (
	"cmp"
	"slices"

	"quorumlab/node/consensus"
)

// catchUp is how a replica that is too far behind gets a snapshot (Paxos Made
// Moderately Complex, section 4.2, leaves open how).
type catchUp struct {
	asked consensus.Time
	// whom is the index of the replica to ask next.
	whom int
}

// behind asks the other replicas in turn for a snapshot.
func (r *replica) behind(now consensus.Time, from consensus.NodeID, m *Behind, out *consensus.Outbox) {
	c := &r.catchUp
	if m.Floor <= r.slotOut {
		r.reportTo(from, out)
		return
	}
	if len(r.replicas) < 2 || c.asked != 0 && now.Sub(c.asked) < r.options.Resend {
		return
	}
	if c.whom %= len(r.replicas); r.replicas[c.whom] == r.self {
		c.whom = (c.whom + 1) % len(r.replicas)
	}
	c.asked = now
	r.counters.fetches++
	out.Send(r.replicas[c.whom], &Fetch{SlotOut: r.slotOut})
	c.whom++
}

// fetch answers with a snapshot if that helps the other replica.
func (r *replica) fetch(from consensus.NodeID, m *Fetch, out *consensus.Outbox) {
	if r.slotOut <= m.SlotOut || !contains(r.replicas, from) {
		return
	}
	out.Transfers = append(out.Transfers, consensus.Transfer{To: from, With: r.configures()})
}

// configures are the configurations that whoever takes over the replica's state
// must know.
func (r *replica) configures() []consensus.Message {
	var messages []consensus.Message
	for _, c := range r.configurations {
		messages = append(messages, &Configure{Configuration: c})
	}
	return messages
}

// install goes on from a snapshot, unless the replica has come farther
// meanwhile.
func (r *replica) install(now consensus.Time, m *consensus.Snapshot, out *consensus.Outbox) {
	if m.Slot < r.slotOut {
		return
	}
	out.Install = m
	r.counters.snapshots++
	r.restore(m.Slot, m.With, out)
	r.report(out)
	r.answerReads(now, out)
	r.propose(now, out)
}

// restore sets the replica to the state after a slot. Proposals for slots that
// it skips may or may not have been decided: the application tells.
func (r *replica) restore(slot uint64, with []consensus.Message, out *consensus.Outbox) {
	for _, m := range with {
		if m, ok := m.(*Configure); ok {
			r.merge(m.Configuration)
		}
	}
	for skipped := r.slotOut; skipped <= slot; skipped++ {
		s := r.slots.at(skipped)
		if s == nil {
			break
		}
		if s.proposed {
			r.proposing--
			r.displace(s.proposal)
		}
		if s.decision != nil {
			r.waiting--
		}
	}
	r.slotOut = slot + 1
	r.slots.forget(r.slotOut)
	r.slotIn = max(r.slotIn, r.slotOut)
	r.pruneConfigurations()
	r.commitDecided(out)
}

// recover takes over what storage kept: the slot of the application's state, and
// the records since. A configuration whose change isn't committed by then is a
// leader's knowledge: there may be others before it.
func (r *replica) recover(slot uint64, records []consensus.Message, out *consensus.Outbox) {
	var with []consensus.Message
	for _, record := range records {
		if m, ok := record.(*Configure); ok && m.Configuration.First <= slot+r.options.Window {
			with = append(with, record)
		}
	}
	r.restore(slot, with, out)
	for _, record := range records {
		if m, ok := record.(*Decision); ok && m.Slot == r.slotOut {
			if s := r.slots.reach(m.Slot); s.decision == nil {
				s.decision = m
				r.waiting++
			}
			r.learn(m.Command)
			r.commit(r.slots.at(m.Slot), out)
		}
	}
	out.Records = out.Records[:0] // they are on disk already
	r.reported = 0
}

// merge adds a configuration that isn't known yet, and will announce it: whoever
// committed its change may have done so in vain.
func (r *replica) merge(c Configuration) {
	i, known := slices.BinarySearchFunc(r.configurations, c.Number, func(a Configuration, number uint64) int {
		return cmp.Compare(a.Number, number)
	})
	if !known {
		r.configurations = slices.Insert(r.configurations, i, c)
		r.willAnnounce(r.configurations[max(i, 1)-1], c)
	}
}

// checkpoint persists what the replica needs beside the application's state.
func (r *replica) checkpoint(out *consensus.Outbox) {
	for _, m := range r.configures() {
		out.Persist(m)
	}
}
