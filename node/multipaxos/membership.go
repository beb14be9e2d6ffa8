package multipaxos

import (
	"slices"

	"quorumlab/node/consensus"
)

// Configurations change through the log: a change decided in slot s holds from
// slot s + WINDOW on (Paxos Made Moderately Complex, section 2.1). Replicas
// propose for a slot only once all slots up to WINDOW before it are committed, so
// that every replica knows the slot's configuration.

// latest is the last configuration that is known, in force or to come.
func (r *replica) latest() *Configuration { return &r.configurations[len(r.configurations)-1] }

// configurationOf is the one that a slot belongs to.
func (r *replica) configurationOf(slot uint64) *Configuration {
	i := len(r.configurations) - 1
	for i > 0 && r.configurations[i].First > slot {
		i--
	}
	return &r.configurations[i]
}

// reconfigured carries out the changes that a committed slot holds.
func (r *replica) reconfigured(m *Decision, out *consensus.Outbox) {
	if kind := m.Command.Kind; kind == consensus.KindReconfigure || kind == consensus.KindBatch {
		_ = m.Command.Each(func(_ uint32, command consensus.Command) {
			if command.Kind == consensus.KindReconfigure {
				r.change(m.Slot, command, out)
			}
		})
	}
	r.pruneConfigurations()
}

// pruneConfigurations keeps, of those that are over, only the last: its leaders
// may still want to know how far the replica is. The others needn't be announced
// any more, to leaders that may be dead for good.
func (r *replica) pruneConfigurations() {
	for len(r.configurations) > 2 && r.configurations[2].First <= r.slotOut+1 {
		r.configurations = slices.Delete(r.configurations, 0, 1)
		oldest := r.configurations[0].Number
		r.announcements = slices.DeleteFunc(r.announcements, func(a announcement) bool { return a.message.Configuration.Number < oldest })
	}
}

func (r *replica) change(slot uint64, command consensus.Command, out *consensus.Outbox) {
	last := *r.latest()
	next, ok := last.after(command.Operation, slot+r.options.Window)
	if !ok {
		return
	}
	r.configurations = append(r.configurations, next)
	r.counters.configurations++
	out.Trace(consensus.Event{Role: RoleReplica, Label: consensus.Label{Kind: "reconfigure", Slot: next.First, Round: next.Number}})
	announced := r.willAnnounce(last, next)
	out.Broadcast(announced.to, announced.message)
}

// willAnnounce has the leaders of a configuration, and of the one before it, told
// until they acknowledge.
func (r *replica) willAnnounce(before, next Configuration) announcement {
	a := announcement{message: &Configure{Configuration: next}, to: union(before.Leaders, next.Leaders)}
	r.announcements = append(r.announcements, a)
	return a
}

// announcement is a configuration with the leaders that haven't acknowledged it.
type announcement struct {
	message *Configure
	to      []consensus.NodeID
	sent    consensus.Time
}

// announce tells again the leaders that haven't acknowledged.
func (r *replica) announce(now consensus.Time, out *consensus.Outbox) {
	for i := range r.announcements {
		a := &r.announcements[i]
		if now.Sub(a.sent) >= r.options.Resend {
			a.sent = now
			out.Broadcast(a.to, a.message)
		}
	}
}

func (r *replica) configured(from consensus.NodeID, m *Configured) {
	for i := range r.announcements {
		if a := &r.announcements[i]; a.message.Configuration.Number == m.Number {
			a.to = slices.DeleteFunc(slices.Clone(a.to), func(id consensus.NodeID) bool { return id == from })
		}
	}
	r.announcements = slices.DeleteFunc(r.announcements, func(a announcement) bool { return len(a.to) == 0 })
}

// concerned are the leaders that want to know how far the replica is: those of
// all configurations that it keeps.
func (r *replica) concerned() []consensus.NodeID {
	ids := r.configurations[0].Leaders
	for _, c := range r.configurations[1:] {
		ids = union(ids, c.Leaders)
	}
	return ids
}

// union lists what is in either, in ascending order.
func union(a, b []consensus.NodeID) []consensus.NodeID {
	if slices.Equal(a, b) {
		return a
	}
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// configure takes up, or ends, what a configuration asks of this process's
// leaders. The first one needs no announcement: replicas have records of it.
func (m *Machine) configure(now consensus.Time, next Configuration, out *consensus.Outbox) {
	if !m.leads || next.Number == 0 || next.Number < m.over || slices.ContainsFunc(m.announced, func(c Configuration) bool { return c.Number == next.Number }) {
		return
	}
	m.announced = append(m.announced, next)
	out.Persist(&Configure{Configuration: next})
	for _, l := range m.leaders {
		l.endBefore(next)
	}
	if contains(next.Leaders, m.self) {
		l := newLeader(m.setting, next)
		for _, c := range m.announced { // in whatever order
			l.endBefore(c)
		}
		m.leaders = append(m.leaders, l)
		if m.started {
			l.start(now, false, out)
		}
	}
}

// endBefore notes that a configuration follows, perhaps with others between.
func (l *leader) endBefore(c Configuration) {
	if l.configuration.Number < c.Number && (l.end == 0 || c.First < l.end) {
		l.end = c.First
	}
}

// retire ends the leaders whose configurations are over, and tells their
// acceptors.
func (m *Machine) retire(out *consensus.Outbox) {
	over := -1
	for i, l := range m.leaders {
		if l.retired() {
			out.Broadcast(l.configuration.Acceptors, &Retire{Configuration: l.configuration.Number})
			over = i
		}
	}
	if over >= 0 {
		m.retireUpTo(&Retire{Configuration: m.leaders[over].configuration.Number}, out)
	}
}

// retireUpTo forgets what the process knows of configurations that are over: all
// of their slots are committed, and nobody will ask for them again.
func (m *Machine) retireUpTo(message *Retire, out *consensus.Outbox) {
	if message.Configuration < m.over {
		return
	}
	m.over = message.Configuration + 1
	out.Persist(message)
	m.leaders = slices.DeleteFunc(m.leaders, func(l *leader) bool {
		if l.configuration.Number >= m.over {
			return false
		}
		out.CancelTimer(l.timerOf(timerBackoff))
		out.CancelTimer(l.timerOf(timerWatch))
		return true
	})
	m.acceptors = slices.DeleteFunc(m.acceptors, func(a *acceptor) bool { return a.configuration < m.over })
	m.announced = slices.DeleteFunc(m.announced, func(c Configuration) bool { return c.Number < m.over })
}

// leaderOf is the process's leader for a configuration; nil if it has none.
func (m *Machine) leaderOf(configuration uint64) *leader {
	for _, l := range m.leaders {
		if l.configuration.Number == configuration {
			return l
		}
	}
	return nil
}

// acceptorOf is the acceptor for a configuration, made when it is first needed;
// nil if the process is no acceptor, or the configuration is over, which the
// sender is told.
func (m *Machine) acceptorOf(from consensus.NodeID, configuration uint64, out *consensus.Outbox) *acceptor {
	if !m.accepts {
		m.counters.ignored++
		return nil
	}
	if configuration < m.over {
		out.Send(from, &Retire{Configuration: m.over - 1})
		return nil
	}
	for _, a := range m.acceptors {
		if a.configuration == configuration {
			return a
		}
	}
	a := newAcceptor(configuration, m.counters)
	m.acceptors = append(m.acceptors, a)
	return a
}
