package multipaxos

import (
	"slices"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// scout seeks the adoption of its leader's ballot by a quorum of the acceptors
// (dissertation, section 3.5.2; which quorums: Flexible Paxos, section 4).
type scout struct {
	answers quorum.Tally
	// next is the slot from which each acceptor is asked for its pvalues.
	next []uint64
	// highest is the pvalue of the highest ballot that was accepted for a slot.
	highest map[uint64]PValue
	// floor is the highest floor of the acceptors that answered.
	floor uint64
	since consensus.Time
}

// spawnScout begins phase 1. The ballot is persisted before it is used: a leader
// that used one again after a restart could have two commands decided for a
// slot.
func (l *leader) spawnScout(now consensus.Time, out *consensus.Outbox) {
	l.stopWatching(out)
	acceptors := l.configuration.Acceptors
	l.scout = &scout{
		answers: quorum.NewTally(l.quorum.Phase1()), next: make([]uint64, len(acceptors)),
		highest: map[uint64]PValue{}, floor: 1, since: now,
	}
	for i := range l.scout.next {
		l.scout.next[i] = l.slots.first
	}
	l.awaiting = now
	l.counters.ballots++
	out.Trace(l.event("scout", 0))
	l.used = l.ballot
	message := l.phase1aFrom(l.slots.first)
	out.Persist(message)
	asked := l.choose(l.quorum.Phase1())
	for i, id := range acceptors {
		if asked.has(i) {
			out.SendAfterSync(id, message)
		}
	}
}

// phase1aFrom asks for the pvalues from a slot on.
func (l *leader) phase1aFrom(slot uint64) *Phase1a {
	return &Phase1a{Configuration: l.configuration.Number, Ballot: l.ballot, Floor: l.slots.first, From: slot}
}

// selection says which acceptors are asked: all of them, or a set.
type selection struct {
	all bool
	set quorum.Set
}

var everyone = selection{all: true}

func (s selection) has(i int) bool { return s.all || s.set.Has(i) }

// choose says which acceptors are asked first: all, or a quorum drawn at random.
// The others are asked once an answer is overdue.
func (l *leader) choose(rule quorum.Rule) selection {
	if l.options.Quorums.Choice != ChoiceRandom {
		return everyone
	}
	return selection{set: rule.Choose(l.random)}
}

// resend asks those again that haven't answered.
func (s *scout) resend(now consensus.Time, l *leader, out *consensus.Outbox) {
	if now.Sub(s.since) < l.options.Resend {
		return
	}
	s.since = now
	for i, id := range l.configuration.Acceptors {
		if !s.answers.Has(i) {
			out.SendAfterSync(id, l.phase1aFrom(s.next[i]))
		}
	}
}

func (l *leader) phase1b(now consensus.Time, from consensus.NodeID, m *Phase1b, out *consensus.Outbox) {
	if m.Ballot.Above(l.ballot) {
		l.preempted(now, m.Ballot, out)
		return
	}
	i := slices.Index(l.configuration.Acceptors, from)
	if l.scout == nil || m.Ballot != l.ballot || i < 0 {
		return
	}
	s := l.scout
	s.floor = max(s.floor, m.Floor)
	for _, pvalue := range m.Accepted {
		if best, ok := s.highest[pvalue.Slot]; !ok || pvalue.Ballot.Above(best.Ballot) {
			s.highest[pvalue.Slot] = pvalue
		}
	}
	if m.Next > 0 { // only all of its pvalues make an answer
		if m.Next > s.next[i] {
			s.next[i] = m.Next
			out.Send(from, l.phase1aFrom(m.Next))
		}
		return
	}
	if s.answers.Add(i) {
		l.adopted(now, out)
	}
}

// spawnCommander seeks the acceptance of the slot's command by a quorum of the
// acceptors.
func (l *leader) spawnCommander(now consensus.Time, slot uint64, p *pursuit, out *consensus.Outbox) {
	if l.commanding == 0 {
		l.awaiting = now
	}
	l.commanding++
	p.stage = commanded
	p.answers = quorum.NewTally(l.quorum.Phase2())
	l.sendPhase2a(now, slot, p, l.choose(l.quorum.Phase2()), out)
}

// sendPhase2a sends to those acceptors that haven't accepted yet.
func (l *leader) sendPhase2a(now consensus.Time, slot uint64, p *pursuit, asked selection, out *consensus.Outbox) {
	p.since = now
	message := &Phase2a{
		Configuration: l.configuration.Number,
		PValue:        PValue{Ballot: l.ballot, Slot: slot, Command: p.command}, Floor: l.slots.first,
	}
	for i, id := range l.configuration.Acceptors {
		if asked.has(i) && !p.answers.Has(i) {
			out.Send(id, message)
		}
	}
}

func (l *leader) phase2b(now consensus.Time, from consensus.NodeID, m *Phase2b, out *consensus.Outbox) {
	if m.Ballot.Above(l.ballot) {
		l.preempted(now, m.Ballot, out)
		return
	}
	p := l.slots.at(m.Slot)
	i := slices.Index(l.configuration.Acceptors, from)
	if p == nil || p.stage != commanded || m.Ballot != l.ballot || i < 0 || !p.answers.Add(i) {
		return
	}
	l.commanding--
	p.stage, p.since = decided, now
	l.awaiting = now
	l.counters.decided++
	l.highest = max(l.highest, m.Slot)
	for l.decidedUpTo < l.slots.end && l.slots.at(l.decidedUpTo).stage == decided {
		l.decidedUpTo++
	}
	out.Broadcast(l.replicas, &Decision{Slot: m.Slot, Command: p.command})
}

// tickEvery is how often machines look for what is overdue, in relation to the
// resend interval.
const tickEvery = 4

func (s *setting) setTick(out *consensus.Outbox) {
	out.SetTimer(consensus.Timer{Kind: timerTick}, max(s.options.Resend/tickEvery, time.Millisecond))
}
