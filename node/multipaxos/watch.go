package multipaxos

import (
	"time"

	"quorumlab/node/consensus"
)

// watch is what a passive leader knows of the one that it defers to.
type watch struct {
	// ballot belongs to the leader that is watched; bottom if none is.
	ballot Ballot
	heard  consensus.Time
}

// maxPatience bounds how long a silent leader is waited for.
const maxPatience = time.Minute

// startWatching defers to the owner of the ballot for as long as it answers
// pings (Paxos Made Moderately Complex, section 3).
func (l *leader) startWatching(now consensus.Time, ballot Ballot, out *consensus.Outbox) {
	l.watch = watch{ballot: ballot, heard: now}
	out.Send(ballot.Leader, &Ping{Configuration: l.configuration.Number})
	out.SetTimer(l.timerOf(timerWatch), l.options.PingInterval)
}

func (l *leader) stopWatching(out *consensus.Outbox) {
	if !l.watch.ballot.IsBottom() {
		l.watch = watch{}
		out.CancelTimer(l.timerOf(timerWatch))
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
		l.suspect = watched.Leader
		out.Trace(consensus.Event{Role: RoleLeader, Label: watched.label("silent", 0)})
		if !l.ballot.Above(watched) {
			l.ballot = watched.After(l.self)
		}
		l.spawnScout(now, out)
		return
	}
	out.Send(watched.Leader, &Ping{Configuration: l.configuration.Number})
	out.SetTimer(l.timerOf(timerWatch), l.options.PingInterval)
}

func (l *leader) ping(now consensus.Time, from consensus.NodeID, out *consensus.Outbox) {
	out.Send(from, &Pong{Configuration: l.configuration.Number, Ballot: l.known(), Stalled: l.stalled(now)})
}

// pong notes that the watched leader lives and isn't stalled. One that knows of
// a higher ballot has lost its own: then its owner is the one to watch. If that
// is this leader itself, from before a restart, each would wait for the other.
func (l *leader) pong(now consensus.Time, from consensus.NodeID, m *Pong, out *consensus.Outbox) {
	if from == l.suspect && !m.Stalled { // it was only far away
		l.suspect = 0
		l.patience = min(2*l.patience, maxPatience)
	}
	watched := l.watch.ballot
	owner := m.Ballot.Leader == from && m.Ballot.Above(watched)
	if watched.IsBottom() || from != watched.Leader && !owner {
		return
	}
	if !m.Stalled {
		l.watch.heard = now
	}
	if m.Ballot.Leader == l.self {
		if !l.ballot.Above(m.Ballot) {
			l.ballot = m.Ballot.After(l.self)
		}
		l.spawnScout(now, out)
		return
	}
	if m.Ballot.Above(watched) {
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
