package multipaxos

import (
	"slices"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/quorum"
)

// Timers. Those of a leader have its configuration as their key.
const (
	timerBackoff uint8 = iota + 1
	timerWatch
	timerTick
	timerBatch
)

// leader wins ballots by scouts and slots by commanders (dissertation, section
// 3.5.2), for the slots of one configuration. Scouts and commanders are entries
// of its own state.
type leader struct {
	*setting
	configuration Configuration
	// end is the first slot of the next configuration, 0 while none is known.
	end    uint64
	quorum quorum.System
	ballot Ballot
	// used is the highest ballot that phase 1 was begun with.
	used   Ballot
	active bool
	// scout is nil unless phase 1 of the ballot runs.
	scout *scout
	// slots are the proposals from the floor, its first slot, on.
	slots ring[pursuit]
	// followers are the replicas, in the order of setting.replicas.
	followers []follower
	// decidedUpTo is the lowest slot that isn't decided, or isn't known to be.
	decidedUpTo uint64
	// highest is the highest slot that may have been decided under this ballot
	// or before.
	highest uint64
	backoff backoff
	watch   watch
	// commanding counts the slots whose commanders await acceptors.
	commanding int
	// patience is how long a watched leader may be silent. It doubles whenever
	// that was too short, so that leaders that are far apart come to rest (Paxos
	// Made Moderately Complex, section 3). suspect is whom it ran out for last.
	patience time.Duration
	suspect  consensus.NodeID
	// awaiting is since when acceptors owe this leader a quorum of answers.
	awaiting consensus.Time
	reads    confirmation
}

// pursuit is a proposal and what has come of it.
type pursuit struct {
	stage   stage
	command consensus.Command
	// answers are those that a commander at work has had.
	answers quorum.Tally
	// since is when the last phase2a or decision went out.
	since consensus.Time
}

// stage is how far a slot has come.
type stage uint8

const (
	unknown stage = iota
	proposed
	commanded
	decided
)

// follower is what a leader knows of a replica.
type follower struct {
	// slotOut is the lowest slot that the replica hasn't committed, as far as
	// it has said.
	slotOut uint64
	// moved is when it last said that it is farther than before.
	moved consensus.Time
	// resentUpTo is how far decisions were sent again, at resentAt.
	resentUpTo uint64
	resentAt   consensus.Time
}

func newLeader(s *setting, configuration Configuration) *leader {
	system, err := s.options.Quorums.System(len(configuration.Acceptors))
	if err != nil { // only if a change passed by Protocol.Reconfigure
		system = quorum.NewMajority(len(configuration.Acceptors))
	}
	first := max(configuration.First, 1)
	l := &leader{
		setting: s, configuration: configuration, quorum: system,
		ballot: FirstBallot(s.self), patience: s.options.PingTimeout,
		slots: newRing[pursuit](first), decidedUpTo: first, highest: first - 1,
		followers: make([]follower, len(s.replicas)), backoff: newBackoff(s.options.Backoff, s.random),
	}
	for i := range l.followers {
		l.followers[i].slotOut = 1
	}
	return l
}

// start begins with phase 1 of the leader's first ballot; if leaders watch
// each other only the one with the lowest identifier does. One that was there
// before lets the others go on.
func (l *leader) start(now consensus.Time, restarted bool, out *consensus.Outbox) {
	others := slices.DeleteFunc(slices.Clone(l.configuration.Leaders), func(id consensus.NodeID) bool { return id == l.self })
	first := len(others) == 0 || l.self < others[0]
	if l.options.Watch && len(others) > 0 && (restarted || !first) {
		l.startWatching(now, FirstBallot(others[0]), out)
		if restarted { // any of them may lead by now
			out.Broadcast(others[1:], &Ping{Configuration: l.configuration.Number})
		}
		return
	}
	l.spawnScout(now, out)
}

func (l *leader) propose(now consensus.Time, from consensus.NodeID, m *Propose, out *consensus.Outbox) {
	p := l.slots.reach(m.Slot)
	if p == nil {
		return // the slot is committed, and forgotten
	}
	if p.stage != unknown {
		// The replica asks although the slot is decided: it hasn't heard.
		if p.stage == decided && now.Sub(p.since) >= l.options.Resend {
			out.Send(from, &Decision{Slot: m.Slot, Command: p.command})
		}
		return
	}
	p.stage, p.command = proposed, m.Command
	if l.active {
		l.spawnCommander(now, m.Slot, p, out)
	}
}

// progress notes how far a replica is, and forgets the slots that all replicas
// have committed: no leader needs to propose there again (Paxos Made Moderately
// Complex, section 4.2). A replica that is too far behind the others doesn't
// hold them up: it will be told to fetch a snapshot.
func (l *leader) progress(now consensus.Time, from consensus.NodeID, slotOut uint64, out *consensus.Outbox) {
	i := slices.Index(l.replicas, from)
	if i < 0 {
		return
	}
	f := &l.followers[i]
	if slotOut > f.slotOut {
		f.slotOut, f.moved = slotOut, now
	}
	least, kept := l.reached(len(l.followers)), l.reached(l.keepers())
	if kept > l.options.Retain {
		least = max(least, kept-l.options.Retain)
	}
	l.raiseFloor(least)
	if slotOut >= l.slots.first && now.Sub(f.resentAt) < l.options.Resend { // it is catching up: go on at once
		l.resendDecisions(now, i, out)
	}
}

// keepers is how many replicas must have committed a slot, for good, before it may
// be forgotten however far behind the others are: so many that one of them
// survives if a minority dies. Of two replicas it is one, or a dead one would make
// the rest remember for ever.
func (l *leader) keepers() int {
	if len(l.followers) == 2 {
		return 1
	}
	return quorum.Majority(len(l.followers))
}

// reached is the highest slotOut that so many replicas have reached.
func (l *leader) reached(count int) uint64 {
	slots := make([]uint64, 0, 8)
	for _, f := range l.followers {
		slots = append(slots, f.slotOut)
	}
	slices.Sort(slots)
	return slots[len(slots)-count]
}

func (l *leader) raiseFloor(floor uint64) {
	for slot := l.slots.first; slot < min(floor, l.slots.end); slot++ {
		if l.slots.at(slot).stage == commanded {
			l.commanding--
		}
	}
	l.slots.forget(floor)
	l.decidedUpTo = max(l.decidedUpTo, l.slots.first)
	l.highest = max(l.highest, l.slots.first-1)
}

// retired tells whether every slot of the configuration is committed, so that
// the leader has nothing left to do.
func (l *leader) retired() bool { return l.end > 0 && l.slots.first >= l.end }

// adopted enters phase 2: for each slot the pvalue of the highest ballot
// replaces what this leader had in mind, then every slot not known to be
// decided gets a commander.
func (l *leader) adopted(now consensus.Time, out *consensus.Outbox) {
	s := l.scout
	l.scout = nil
	l.active = true
	l.counters.adopted++
	l.backoff.reset()
	out.Trace(l.event("adopted", 0))
	// An acceptor that has forgotten a slot knows that it is committed.
	l.raiseFloor(s.floor)
	for slot, pvalue := range s.highest {
		if p := l.slots.reach(slot); p != nil && p.stage != decided {
			p.stage, p.command = proposed, pvalue.Command
			l.highest = max(l.highest, slot)
		}
	}
	for slot := l.decidedUpTo; slot < l.slots.end; slot++ {
		if p := l.slots.at(slot); p.stage == proposed {
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
	l.counters.preempted++
	out.Trace(consensus.Event{Role: RoleLeader, Label: by.label("preempted", 0)})
	l.abandon()
	l.ballot = by.After(l.self)
	if l.options.Watch && by.Leader != l.self { // its own is from before a restart
		l.startWatching(now, by, out)
		return
	}
	if wait := l.backoff.next(); wait > 0 {
		out.SetTimer(l.timerOf(timerBackoff), wait)
		return
	}
	l.spawnScout(now, out)
}

// abandon ends the scout and all commanders.
func (l *leader) abandon() {
	l.active = false
	l.scout = nil
	l.commanding = 0
	l.reads = confirmation{round: l.reads.round}
	for slot := l.decidedUpTo; slot < l.slots.end; slot++ {
		if p := l.slots.at(slot); p.stage == commanded {
			p.stage = proposed
		}
	}
}

func (l *leader) timerOf(kind uint8) consensus.Timer {
	return consensus.Timer{Kind: kind, Key: l.configuration.Number}
}

func (l *leader) timer(now consensus.Time, kind uint8, out *consensus.Outbox) {
	switch kind {
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

// tick asks again for what hasn't come.
func (l *leader) tick(now consensus.Time, out *consensus.Outbox) {
	if l.scout != nil {
		l.scout.resend(now, l, out)
	}
	for slot := l.decidedUpTo; slot < l.slots.end && l.commanding > 0; slot++ {
		if p := l.slots.at(slot); p.stage == commanded && now.Sub(p.since) >= l.options.Resend {
			l.sendPhase2a(now, slot, p, everyone, out)
		}
	}
	for i := range l.followers {
		switch f := &l.followers[i]; {
		case now.Sub(f.resentAt) < l.options.Resend:
		case f.slotOut < l.slots.first:
			// It may be on its way through an earlier configuration.
			if f.moved == 0 {
				f.moved = now
			}
			if now.Sub(f.moved) < 2*l.options.Resend || l.reached(1) < l.slots.first {
				continue
			}
			f.resentAt = now
			out.Send(l.replicas[i], &Behind{Floor: l.slots.first})
		default:
			f.resentUpTo = f.slotOut
			l.resendDecisions(now, i, out)
		}
	}
	l.tickReads(now, out)
}

// Bounds of the decisions that are sent again to one replica, which may be dead
// for good: so many at a time, and so many beyond what it has acknowledged.
const (
	resendLimit  = 256
	resendWindow = 1024
)

// resendDecisions sends a replica the next decisions that it seems to lack. A
// decision is acknowledged by progress, which a replica reports within one
// resend interval of its commit: hence twice.
func (l *leader) resendDecisions(now consensus.Time, i int, out *consensus.Outbox) {
	f := &l.followers[i]
	sent := 0
	slot := max(f.slotOut, f.resentUpTo, l.slots.first)
	for ; slot < l.slots.end && slot < f.slotOut+resendWindow && sent < resendLimit; slot++ {
		p := l.slots.at(slot)
		if p.stage != decided || now.Sub(p.since) < 2*l.options.Resend {
			break
		}
		out.Send(l.replicas[i], &Decision{Slot: slot, Command: p.command})
		f.resentAt = now
		sent++
	}
	f.resentUpTo = slot
}

// stalled tells whether no quorum of acceptors has answered for so long that
// another leader may fare better.
func (l *leader) stalled(now consensus.Time) bool {
	return (l.scout != nil || l.commanding > 0) && now.Sub(l.awaiting) >= max(2*l.options.Resend, l.patience)
}

func (l *leader) event(kind string, slot uint64) consensus.Event {
	return consensus.Event{Role: RoleLeader, Label: l.ballot.label(kind, slot)}
}

// checkpoint persists what the leader must not forget: the ballot that it must
// not use again.
func (l *leader) checkpoint(out *consensus.Outbox) {
	out.Persist(&Phase1a{Configuration: l.configuration.Number, Ballot: l.used})
}
