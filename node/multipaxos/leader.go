package multipaxos

import (
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// Timers of a leader.
const (
	timerBackoff uint8 = iota + 1
	timerWatch
	timerTick
)

// leader wins ballots by scouts and slots by commanders (dissertation, section
// 3.5.2). Scouts and commanders are entries of its own state.
type leader struct {
	*setting
	ballot Ballot
	active bool
	// scout is nil unless phase 1 of the ballot runs.
	scout *scout
	// slots are the proposals from floor on.
	slots map[uint64]*pursuit
	// slotOut is the lowest slot that each replica hasn't committed, as far as
	// the replica has said; floor is the least of them.
	slotOut map[consensus.NodeID]uint64
	floor   uint64
	// resentAt is when decisions were last sent again to each replica.
	resentAt map[consensus.NodeID]consensus.Time
	// highest is the highest slot decided by this leader.
	highest uint64
	backoff backoff
	watch   watch
	// commanding are the slots whose commanders await acceptors.
	commanding map[uint64]*pursuit
	// patience is how long a watched leader may be silent. It doubles whenever
	// it has run out, so that leaders that are far apart come to rest (Paxos Made
	// Moderately Complex, section 3).
	patience time.Duration
	// awaiting is since when acceptors owe this leader a quorum of answers.
	awaiting consensus.Time

	ballotCount, adoptedCount, preemptedCount, decidedCount uint64
}

// pursuit is a proposal and what has come of it.
type pursuit struct {
	command consensus.Command
	decided bool
	// answers are those that a commander at work has had.
	answers quorum.Count
	// since is when the last phase2a or decision went out.
	since consensus.Time
}

func newLeader(s *setting) *leader {
	l := &leader{
		setting: s, ballot: FirstBallot(s.self),
		slots: map[uint64]*pursuit{}, commanding: map[uint64]*pursuit{}, patience: s.options.PingTimeout,
		slotOut: map[consensus.NodeID]uint64{}, resentAt: map[consensus.NodeID]consensus.Time{},
		floor: 1, backoff: newBackoff(s.options.Backoff, s.random),
	}
	for _, id := range s.replicas {
		l.slotOut[id] = 1
	}
	return l
}

// start begins with phase 1 of the leader's first ballot; if leaders watch
// each other only the one with the lowest identifier does.
func (l *leader) start(now consensus.Time, out *consensus.Outbox) {
	if l.options.Watch && l.self != l.leaders[0] {
		l.startWatching(now, FirstBallot(l.leaders[0]), out)
		return
	}
	l.spawnScout(now, out)
}

func (l *leader) propose(now consensus.Time, from consensus.NodeID, m *Propose, out *consensus.Outbox) {
	l.progress(from, m.SlotOut)
	if m.Slot < l.floor {
		return // every replica has committed the slot
	}
	if p, known := l.slots[m.Slot]; known {
		// The replica asks although the slot is decided: it hasn't heard.
		if p.decided && now.Sub(p.since) >= l.options.Resend {
			out.Send(from, &Decision{Slot: m.Slot, Command: p.command})
		}
		return
	}
	p := &pursuit{command: m.Command}
	l.slots[m.Slot] = p
	if l.active {
		l.spawnCommander(now, m.Slot, p, out)
	}
}

// progress notes how far a replica is, and forgets the slots that all replicas
// have committed: no leader needs to propose there again (Paxos Made Moderately
// Complex, section 4.2).
func (l *leader) progress(from consensus.NodeID, slotOut uint64) {
	if known, ok := l.slotOut[from]; !ok || slotOut <= known {
		return
	}
	l.slotOut[from] = slotOut
	floor := slotOut
	for _, slot := range l.slotOut {
		floor = min(floor, slot)
	}
	l.raiseFloor(floor)
}

func (l *leader) raiseFloor(floor uint64) {
	consensus.Forget(l.slots, l.floor, floor)
	consensus.Forget(l.commanding, l.floor, floor)
	l.floor = max(l.floor, floor)
}

// adopted enters phase 2: for each slot the pvalue of the highest ballot
// replaces what this leader had in mind, then every slot not known to be
// decided gets a commander.
func (l *leader) adopted(now consensus.Time, out *consensus.Outbox) {
	s := l.scout
	l.scout = nil
	l.active = true
	l.adoptedCount++
	l.backoff.reset()
	out.Trace(l.event("adopted", 0))
	// An acceptor that has forgotten a slot knows that all have committed it.
	l.raiseFloor(s.floor)
	for slot, pvalue := range s.highest {
		if slot < l.floor {
			continue
		}
		if p, known := l.slots[slot]; !known {
			l.slots[slot] = &pursuit{command: pvalue.Command}
		} else if !p.decided {
			p.command = pvalue.Command
		}
	}
	for _, slot := range sortedKeys(l.slots) {
		if p := l.slots[slot]; !p.decided {
			l.spawnCommander(now, slot, p, out)
		}
	}
}

// preempted gives up the ballot because an acceptor has adopted a higher one.
// The leader watches the winner, or tries again after its backoff.
func (l *leader) preempted(now consensus.Time, by Ballot, out *consensus.Outbox) {
	if !by.Above(l.ballot) {
		return
	}
	l.preemptedCount++
	out.Trace(consensus.Event{Role: RoleLeader, Label: by.label("preempted", 0)})
	l.abandon()
	l.ballot = by.After(l.self)
	if l.options.Watch && by.Leader != l.self { // its own is from before a restart
		l.startWatching(now, by, out)
		return
	}
	if wait := l.backoff.next(); wait > 0 {
		out.SetTimer(consensus.Timer{Kind: timerBackoff}, wait)
		return
	}
	l.spawnScout(now, out)
}

// abandon ends the scout and all commanders.
func (l *leader) abandon() {
	l.active = false
	l.scout = nil
	clear(l.commanding)
}

func (l *leader) timer(now consensus.Time, timer consensus.Timer, out *consensus.Outbox) {
	switch timer.Kind {
	case timerBackoff:
		if !l.active && l.scout == nil {
			l.spawnScout(now, out)
		}
	case timerWatch:
		l.look(now, out)
	case timerTick:
		l.tick(now, out)
	}
}

// resendLimit bounds how many decisions one tick sends again to one replica,
// which may be dead for good.
const resendLimit = 256

// tick asks again for what hasn't come.
func (l *leader) tick(now consensus.Time, out *consensus.Outbox) {
	if l.scout != nil {
		l.scout.resend(now, l, out)
	}
	for _, slot := range sortedKeys(l.commanding) {
		if p := l.commanding[slot]; now.Sub(p.since) >= l.options.Resend {
			l.sendPhase2a(now, slot, p, out)
		}
	}
	for _, id := range l.replicas {
		l.resendDecisions(now, id, out)
	}
}

// resendDecisions sends a replica the first decisions that it seems to lack. A
// decision is acknowledged by progress, which a replica reports within one
// resend interval of its commit: hence twice.
func (l *leader) resendDecisions(now consensus.Time, id consensus.NodeID, out *consensus.Outbox) {
	if now.Sub(l.resentAt[id]) < l.options.Resend {
		return
	}
	sent := 0
	for slot := l.slotOut[id]; slot <= l.highest && sent < resendLimit; slot++ {
		if p := l.slots[slot]; p != nil && p.decided && now.Sub(p.since) >= 2*l.options.Resend {
			out.Send(id, &Decision{Slot: slot, Command: p.command})
			l.resentAt[id] = now
			sent++
		}
	}
}

// stalled tells whether no quorum of acceptors has answered for so long that
// another leader may fare better.
func (l *leader) stalled(now consensus.Time) bool {
	return (l.scout != nil || len(l.commanding) > 0) && now.Sub(l.awaiting) >= max(2*l.options.Resend, l.patience)
}

func (l *leader) event(kind string, slot uint64) consensus.Event {
	return consensus.Event{Role: RoleLeader, Label: l.ballot.label(kind, slot)}
}
