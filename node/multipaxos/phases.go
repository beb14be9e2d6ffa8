package multipaxos

import (
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// scout seeks the adoption of its leader's ballot by a majority of the
// acceptors (dissertation, section 3.5.2).
type scout struct {
	answers quorum.Count
	// highest is the pvalue of the highest ballot that was accepted for a slot.
	highest map[uint64]PValue
	// floor is the highest floor of the acceptors that adopted.
	floor uint64
	since consensus.Time
}

func (l *leader) spawnScout(now consensus.Time, out *consensus.Outbox) {
	l.stopWatching(out)
	l.scout = &scout{
		answers: quorum.NewCount(quorum.Majority(len(l.acceptors))),
		highest: map[uint64]PValue{}, floor: 1, since: now,
	}
	l.awaiting = now
	l.ballotCount++
	out.Trace(l.event("scout", 0))
	out.Broadcast(l.acceptors, &Phase1a{Ballot: l.ballot, Floor: l.floor})
}

// resend asks those again that haven't answered.
func (s *scout) resend(now consensus.Time, l *leader, out *consensus.Outbox) {
	if now.Sub(s.since) < l.options.Resend {
		return
	}
	s.since = now
	for _, id := range l.acceptors {
		if !s.answers.Has(id) {
			out.Send(id, &Phase1a{Ballot: l.ballot, Floor: l.floor})
		}
	}
}

func (l *leader) phase1b(now consensus.Time, from consensus.NodeID, m *Phase1b, out *consensus.Outbox) {
	if m.Ballot.Above(l.ballot) {
		l.preempted(now, m.Ballot, out)
		return
	}
	if l.scout == nil || m.Ballot != l.ballot || !contains(l.acceptors, from) {
		return
	}
	l.scout.floor = max(l.scout.floor, m.Floor)
	for _, pvalue := range m.Accepted {
		if best, ok := l.scout.highest[pvalue.Slot]; !ok || pvalue.Ballot.Above(best.Ballot) {
			l.scout.highest[pvalue.Slot] = pvalue
		}
	}
	if l.scout.answers.Add(from) {
		l.adopted(now, out)
	}
}

// spawnCommander seeks the acceptance of the slot's command by a majority of
// the acceptors.
func (l *leader) spawnCommander(now consensus.Time, slot uint64, p *pursuit, out *consensus.Outbox) {
	if len(l.commanding) == 0 {
		l.awaiting = now
	}
	l.commanding[slot] = p
	p.answers = quorum.NewCount(quorum.Majority(len(l.acceptors)))
	l.sendPhase2a(now, slot, p, out)
}

// sendPhase2a sends to those acceptors that haven't accepted yet.
func (l *leader) sendPhase2a(now consensus.Time, slot uint64, p *pursuit, out *consensus.Outbox) {
	p.since = now
	message := &Phase2a{PValue: PValue{Ballot: l.ballot, Slot: slot, Command: p.command}, Floor: l.floor}
	for _, id := range l.acceptors {
		if !p.answers.Has(id) {
			out.Send(id, message)
		}
	}
}

func (l *leader) phase2b(now consensus.Time, from consensus.NodeID, m *Phase2b, out *consensus.Outbox) {
	if m.Ballot.Above(l.ballot) {
		l.preempted(now, m.Ballot, out)
		return
	}
	p := l.commanding[m.Slot]
	if p == nil || m.Ballot != l.ballot || !contains(l.acceptors, from) {
		return
	}
	if !p.answers.Add(from) {
		return
	}
	delete(l.commanding, m.Slot)
	p.decided, p.since = true, now
	l.awaiting = now
	l.decidedCount++
	l.highest = max(l.highest, m.Slot)
	out.Broadcast(l.replicas, &Decision{Slot: m.Slot, Command: p.command})
}

// watch is what a passive leader knows of the one that it defers to.
type watch struct {
	// ballot belongs to the leader that is watched; bottom if none is.
	ballot Ballot
	heard  consensus.Time
}

// startWatching defers to the owner of the ballot for as long as it answers
// pings (Paxos Made Moderately Complex, section 3).
func (l *leader) startWatching(now consensus.Time, ballot Ballot, out *consensus.Outbox) {
	l.watch = watch{ballot: ballot, heard: now}
	out.Send(ballot.Leader, &Ping{})
	out.SetTimer(consensus.Timer{Kind: timerWatch}, l.options.PingInterval)
}

func (l *leader) stopWatching(out *consensus.Outbox) {
	if !l.watch.ballot.IsBottom() {
		l.watch = watch{}
		out.CancelTimer(consensus.Timer{Kind: timerWatch})
	}
}

// look pings the watched leader, or scouts once it has been silent for too
// long.
func (l *leader) look(now consensus.Time, out *consensus.Outbox) {
	watched := l.watch.ballot
	if watched.IsBottom() {
		return
	}
	if now.Sub(l.watch.heard) >= l.patience {
		l.patience = min(2*l.patience, maxPatience)
		out.Trace(consensus.Event{Role: RoleLeader, Label: watched.label("silent", 0)})
		if !l.ballot.Above(watched) {
			l.ballot = watched.After(l.self)
		}
		l.spawnScout(now, out)
		return
	}
	out.Send(watched.Leader, &Ping{})
	out.SetTimer(consensus.Timer{Kind: timerWatch}, l.options.PingInterval)
}

// maxPatience bounds how long a silent leader is waited for.
const maxPatience = time.Minute

// pong notes that the watched leader lives and isn't stalled. One that knows of a higher ballot
// has lost its own: then its owner is the one to watch.
func (l *leader) pong(now consensus.Time, from consensus.NodeID, m *Pong, out *consensus.Outbox) {
	watched := l.watch.ballot
	if watched.IsBottom() || from != watched.Leader {
		return
	}
	if !m.Stalled {
		l.watch.heard = now
	}
	if m.Ballot.Above(watched) && m.Ballot.Leader != l.self {
		l.stopWatching(out)
		l.startWatching(now, m.Ballot, out)
	}
}

// known is the highest ballot that the leader knows to have been started.
func (l *leader) known() Ballot {
	if l.watch.ballot.IsBottom() {
		return l.ballot
	}
	return l.watch.ballot
}

// tickEvery is how often machines look for what is overdue, in relation to the
// resend interval.
const tickEvery = 4

func (s *setting) setTick(out *consensus.Outbox) {
	out.SetTimer(consensus.Timer{Kind: timerTick}, max(s.options.Resend/tickEvery, time.Millisecond))
}
