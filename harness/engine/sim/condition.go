package sim

import (
	"fmt"
	"time"

	"quorumlab/faults"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/injection"
)

// dutyPeriod is how long a process whose CPU is slow stands still and runs, once each.
const dutyPeriod = int64(10 * time.Millisecond)

// condition is what faults do to a process. There is none in a trial without them.
type condition struct {
	// state is what was ordered last.
	state faults.NodeState
	// paused: the process stands still until it is told to go on.
	paused bool
	// duty is when a slow process runs.
	duty duty
	// halt is where the process has come to a failpoint, or why it is about to end; nil
	// while it runs.
	halt *halt
	// resuming is true while what was left of a step is carried out.
	resuming bool

	filter        *injection.Filter
	clock         injection.Clock
	failpoints    *injection.Failpoints
	subscriptions *injection.Subscriptions
	syncDelay     int64
	refuses       bool
	// counters are over all lives of the process; the sync that runs was asked for at
	// syncAsked, which decides whether it is a slow one, and began at syncing.
	counters           injected
	syncAsked, syncing int64
	// heard is when something came from each process last, or 0.
	heard []int64
}

// injected counts what injections have done, for evidence.
type injected struct {
	considered, ignored, refusedBytes uint64
	// syncAt is when the latest sync that is over was asked for, syncTook how long it took.
	syncAt, syncTook int64
}

// duty is the rhythm of a process that has a share of a processor: from since on it
// stands still for the first part of each period and runs for the rest. The zero duty
// always runs.
type duty struct {
	since, still int64
}

// newDuty is the rhythm of a share, above 0, from now on.
func newDuty(now int64, share float64) duty {
	if share <= 0 || share >= 1 {
		return duty{}
	}
	return duty{since: now, still: min(int64(float64(dutyPeriod)*(1-share)), dutyPeriod-1)}
}

// next is the first time from at on when the process runs.
func (d *duty) next(at int64) int64 {
	if d.still == 0 {
		return at
	}
	if phase := (at - d.since) % dutyPeriod; phase < d.still {
		return at + d.still - phase
	}
	return at
}

// after is when the process has run for so long, from a time on when it runs.
func (d *duty) after(at, cost int64) int64 {
	if d.still == 0 {
		return at + cost
	}
	running := dutyPeriod - d.still
	whole, rest := cost/running, cost%running
	at += whole * dutyPeriod
	if left := dutyPeriod - (at-d.since)%dutyPeriod; rest >= left {
		rest += d.still
	}
	return at + rest
}

// still tells whether the process stands still until somebody changes that.
func (c *condition) still() bool { return c.paused || c.halt != nil }

// stopped tells whether the process is kept from running at this moment. One that has
// halted by itself isn't.
func (p *process) stopped(now int64) bool {
	return p.condition.paused || p.condition.duty.next(now) != now
}

// runs tells whether the process's core may begin with something now.
func (s *trial) runs(p *process) bool {
	c := p.condition
	return c == nil || !c.still() && c.duty.next(s.now) == s.now
}

// local is what the process's machine takes the time for.
func (p *process) local(now int64) consensus.Time {
	if p.condition == nil {
		return consensus.Time(now)
	}
	return p.condition.local(now)
}

func (c *condition) local(now int64) consensus.Time { return c.clock.Local(consensus.Time(now)) }

// nextTimer is when the process's earliest timer is due, or never.
func (p *process) nextTimer() int64 {
	if p.condition == nil {
		return int64(p.timers.Next())
	}
	return int64(p.condition.clock.Real(p.timers.Next()))
}

// setNode has a node be as ordered.
func (s *trial) setNode(state faults.NodeState) error {
	p, known := s.byName(state.Node)
	if !known {
		return fmt.Errorf("there is no node %q", state.Node)
	}
	c := p.condition
	before := c.state
	c.state = state
	if h := c.halt; h != nil && h.refused && state.Start {
		s.kill(p, faults.DiskSame) // which it was about to do itself
	}
	switch {
	case state.Down && p.alive:
		s.kill(p, state.Disk)
		return nil
	case state.Down:
		p.storage.resolve(state.Disk) // it may have crashed at a failpoint
		return nil
	case !p.alive && (before.Down || state.Start):
		s.trace.event(s.now, markRestart, p.index, 0)
		return s.start(p)
	case p.alive:
		s.setRunning(p)
		s.inject(p)
	}
	return nil
}

// setRunning pauses the process or lets it go on, and gives it its share.
func (s *trial) setRunning(p *process) {
	c := p.condition
	if share := c.state.CPUShare; newDuty(0, share).still != c.duty.still {
		c.duty = newDuty(s.now, share)
		s.schedule(s.now, eventWake, p.index) // it may have been put off by the former rhythm
	}
	goesOn := c.paused && !c.state.Paused
	c.paused = c.state.Paused
	if goesOn {
		s.schedule(s.now, eventGoOn, p.index)
	}
	s.wake(p)
}

// inject puts in force what is ordered to go wrong inside the process.
func (s *trial) inject(p *process) {
	c, in := p.condition, &p.condition.state.Injection
	c.filter.Set(in.Ignore)
	c.clock.Set(consensus.Time(s.now), in.ClockRate, time.Duration(in.ClockJumpNS))
	c.failpoints.Set(in.Failpoints)
	c.syncDelay = in.SyncDelayNS
	c.refuses = in.FailWrites || in.FullDisk
	s.setTimer(p)
	if h := c.halt; h != nil && h.point.Action == control.ActionStall && !c.failpoints.Has(h.point.ID) {
		h.over = true
		s.schedule(s.now, eventGoOn, p.index)
	}
}

// begin gives a process that starts what its life begins with.
func (c *condition) begin(s *trial, p *process) {
	name := func(id consensus.NodeID) string {
		if index, known := s.byID(id); known {
			return s.processes[index].node.Name
		}
		return ""
	}
	c.paused, c.halt, c.clock = c.state.Paused, nil, injection.Clock{}
	c.duty = newDuty(s.now, c.state.CPUShare)
	c.filter, c.failpoints = injection.NewFilter(nil, name), injection.NewFailpoints(nil)
	c.subscriptions = injection.NewSubscriptions(s.faulting.director.Needs(p.node.Name))
	c.heard = make([]int64, len(s.processes))
	s.inject(p)
}

// heeds tells whether the machine gets a message that has come. One of another process
// may be ignored, but it was heard.
func (s *trial) heeds(p *process, d delivery) bool {
	if d.from == p.index {
		return true
	}
	s.hear(p, d.from)
	c := p.condition
	if !c.filter.Active() {
		return true
	}
	considered, ignored := c.filter.Counts()
	c.filter.Ignores(s.processes[d.from].node.ID, d.message.Label())
	consideredNow, ignoredNow := c.filter.Counts()
	c.counters.considered += consideredNow - considered
	c.counters.ignored += ignoredNow - ignored
	if ignoredNow == ignored {
		return true
	}
	s.trace.event(s.now, markIgnored, p.index, uint64(d.from))
	return false
}

// hear notes that something has come from another process, which is worth telling after
// a silence.
func (s *trial) hear(p *process, from int32) {
	c := p.condition
	last := c.heard[from]
	c.heard[from] = s.now
	if silence := s.now - last; last > 0 && silence >= int64(consensus.MinSilence) {
		s.publish(p, consensus.Event{
			Role: consensus.RoleTransport, Label: consensus.Label{Kind: consensus.EventHeard},
			Peer: s.processes[from].node.ID, SilenceNS: silence,
		})
	}
}
