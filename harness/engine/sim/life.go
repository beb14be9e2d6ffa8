package sim

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/client"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

// phase is how far a trial is.
type phase uint8

const (
	// phaseElection: a process that leads is awaited.
	phaseElection phase = iota + 1
	// phaseLead: the load is about to begin.
	phaseLead
	phaseLoad
	phaseDrain
)

// liveInterval separates calls of Simulation.Live.
const liveInterval = int64(500 * time.Millisecond)

// life is a trial's progress through its phases.
type life struct {
	phase phase
	// phaseAt is when the present phase is over at the latest.
	phaseAt   int64
	loadStart int64
	// allStartedAt is when the last process begins.
	allStartedAt int64
	// ledAfter is when a process led first, or never.
	ledAfter int64
	// working counts clients that haven't done their load; answered the requests.
	working  int
	answered uint64
	stopped  bool
	// commits counts commands and snapshots applied anywhere, seen those when it
	// was last looked whether all is drained.
	commits, seen uint64
	// reported is what Live was told last.
	reported control.Progress
}

// begin has all processes start, each at its instant, and waits for a leader. Over
// datagrams they listen from the beginning: else what comes earlier would be lost
// for good, where a lab waits for all processes before it begins.
func (s *trial) begin() {
	s.ledAfter = never
	random := rand.New(rand.NewPCG(s.simulation.Seed, 0x7374617274)) // "start"
	for _, p := range s.processes {
		at := random.Int64N(int64(max(s.simulation.StartSpread, 0)) + 1)
		s.allStartedAt = max(s.allStartedAt, at)
		if s.network.tcp {
			s.schedule(at, eventStart, p.index)
			continue
		}
		p.freeAt = at // what comes before then waits
		s.started(p)
	}
	s.enterPhase(phaseElection, time.Duration(s.allStartedAt)+s.simulation.LeaderTimeout)
}

// started is the event of a process's beginning.
func (s *trial) started(p *process) {
	if err := s.start(p); err != nil {
		s.fail(err)
	}
}

// enterLead has the load wait a little more, and until all processes have begun.
func (s *trial) enterLead() {
	s.enterPhase(phaseLead, max(s.simulation.Lead, time.Duration(s.allStartedAt-s.now)))
}

// enterPhase begins a phase that lasts so long at most.
func (s *trial) enterPhase(next phase, atMost time.Duration) {
	s.phase = next
	s.phaseAt = s.now + int64(max(atMost, 0))
	s.schedule(s.phaseAt, eventPhase, 0)
}

// phaseOver is the event of a phase's end, if that hasn't come before.
func (s *trial) phaseOver() {
	if s.now != s.phaseAt {
		return
	}
	switch s.phase {
	case phaseElection:
		if s.simulation.Stop.FirstLeader {
			s.loadStart, s.over = s.now, true
			return
		}
		s.enterLead()
	case phaseLead:
		s.beginLoad()
	case phaseDrain:
		if s.proving() {
			s.enterPhase(phaseDrain, time.Duration(settledTime))
			return
		}
		s.over = true
	}
}

// observe looks at what a step of the process has changed for the trial.
func (s *trial) observe(p *process) {
	switch s.phase {
	case phaseElection:
		s.lookForLeader(p)
	case phaseLoad:
		s.lookAtClient(p)
		if limit := s.simulation.Stop.Requests; limit > 0 && s.answered >= limit && !s.stopped {
			s.stopClients()
		}
	case phaseDrain:
		if s.commits != s.seen {
			s.mayEnd()
		}
		s.seen = s.commits
	}
}

// mayEnd ends the trial if all is drained and there is nothing more to find out.
func (s *trial) mayEnd() {
	if s.phase == phaseDrain && !s.proving() && s.drained() {
		s.over = true
	}
}

// lookForLeader goes on with the trial if the process leads, or all agree on
// who does.
func (s *trial) lookForLeader(p *process) {
	if p.machine == nil {
		return
	}
	p.standing = p.machine.Status()
	if p.standing.Leading {
		s.ledAfter = min(s.ledAfter, s.now)
	}
	switch {
	case s.ledAfter == never:
	case s.simulation.Stop.FirstLeader:
		if s.agreed() {
			s.loadStart, s.over = s.now, true
		}
	default:
		s.enterLead()
	}
}

// agreed tells whether exactly one live process leads.
func (s *trial) agreed() bool {
	leading := 0
	for _, p := range s.processes {
		if p.standing.Leading {
			leading++
		}
	}
	return leading == 1
}

// beginLoad lets the clients work.
func (s *trial) beginLoad() {
	s.phase, s.loadStart = phaseLoad, s.now
	s.trace.event(s.now, markLoad, 0, 0)
	s.beginFaults()
	if s.simulation.Live != nil {
		s.schedule(s.now+liveInterval, eventLive, 0)
	}
	first := slices.IndexFunc(s.processes, func(p *process) bool { return p.has(roleClient) })
	for i, p := range s.processes {
		order, given := s.simulation.Loads[p.node.Name]
		if !given || !p.alive {
			continue
		}
		order.StartNS += s.now
		machine, err := client.New(client.Config{
			Self: p.node.ID, Name: p.node.Name, First: i == first, Targets: s.targets,
			Load: order, Record: p.client.record,
		})
		if err != nil {
			s.fail(fmt.Errorf("the load of %s: %w", p.node.Name, err))
			return
		}
		p.client.machine, p.client.timeout = machine, order.TimeoutNS
		s.working++
		s.deliver(p, delivery{kind: deliverLoad})
	}
	if s.working == 0 {
		s.endLoad()
	}
}

// endLoad waits until the live learners stand at one slot. Where something is to break
// the load lasts as long as it was planned, even if all is answered before.
func (s *trial) endLoad() {
	if f := s.faulting; s.phase != phaseLoad || f != nil && !f.ended && s.now < f.endAt && !s.stopped {
		return
	}
	s.trace.event(s.now, markDrain, 0, 0)
	s.phase = phaseDrain
	s.endFaults()
	s.enterPhase(phaseDrain, s.simulation.Drain)
	s.findLearners()
	s.mayEnd()
}

// findLearners notes which processes commit commands.
func (s *trial) findLearners() {
	for _, p := range s.processes {
		p.learner = p.machine != nil && p.machine.Status().Learner
	}
}

// drained tells whether all live learners have committed the same slots.
func (s *trial) drained() bool {
	slot, any := uint64(0), false
	for _, p := range s.processes {
		if !p.learner || p.machine == nil {
			continue
		}
		if any && p.application.Slot() != slot {
			return false
		}
		slot, any = p.application.Slot(), true
	}
	return true
}

// live reports progress while the load runs.
func (s *trial) live() {
	if s.phase != phaseLoad {
		return
	}
	var sum control.Progress
	var latency int64
	for _, p := range s.processes {
		if p.client.machine == nil {
			continue
		}
		progress := p.client.machine.Progress()
		sum.Sent += progress.Sent
		sum.TimedOut += progress.TimedOut
		sum.LateNS = max(sum.LateNS, progress.LateNS)
		sum.Answered += progress.Answered
		latency += progress.MeanLatencyNS * int64(progress.Answered-p.client.reported)
		p.client.reported = progress.Answered
	}
	if answers := int64(sum.Answered - s.reported.Answered); answers > 0 {
		sum.MeanLatencyNS = latency / answers
	}
	s.reported = sum
	s.simulation.Live(time.Duration(s.now-s.loadStart), sum)
	s.schedule(s.now+liveInterval, eventLive, 0)
}

// result says what came of the trial.
func (s *trial) result() *engine.Simulated {
	s.concludeFaults()
	s.findLearners()
	r := &engine.Simulated{
		LoadStart: consensus.Time(s.loadStart), Elapsed: time.Duration(s.now), LedAfter: time.Duration(s.ledAfter),
		Finished: s.working == 0, Statuses: map[string]control.Status{}, CPU: map[string]time.Duration{},
		Links: s.report(), Drained: s.drained(),
	}
	if s.ledAfter == never || s.ledAfter > s.loadStart {
		r.LedAfter = -1
	}
	for _, p := range s.processes {
		r.CPU[p.node.Name] = time.Duration(p.busyNS)
		if p.alive {
			r.Statuses[p.node.Name] = s.status(p)
		}
	}
	r.Sockets = s.sockets()
	r.Faults = s.faultRecords()
	s.trace.event(s.now, markEnd, 0, 0)
	r.TraceHash, r.Events = s.trace.hash, s.trace.events
	return r
}

// status is what the real node would answer.
func (s *trial) status(p *process) control.Status {
	status := control.Status{DroppedMessages: p.dropped, ClockNS: s.now}
	if p.machine != nil {
		status.Status = p.machine.Status()
		if status.Learner {
			hash := p.application.Hash()
			status.StateHash = hex.EncodeToString(hash[:])
		}
	}
	if p.client.machine != nil {
		if status.Counters == nil {
			status.Counters = map[string]uint64{}
		}
		maps.Copy(status.Counters, p.client.machine.Status().Counters)
	}
	for _, other := range s.processes {
		if other == p || !peers(p, other) {
			continue
		}
		status.Peers++
		if p.connected(other) {
			status.Connected++
		}
	}
	return status
}

// connected tells whether messages to a peer would be on their way at once.
func (p *process) connected(peer *process) bool {
	if p.paths != nil && p.paths[peer.index] != nil {
		path := p.paths[peer.index]
		return path.open || path.modelled != nil && path.modelled.Connected()
	}
	return peer.alive
}

// recorder is what a client's rows go to.
func (s *trial) recorder(p *process) func(results.Row) {
	return func(row results.Row) {
		s.trace.event(s.now, markRow, p.index, row.Sequence)
		s.trace.mix(uint64(row.DoneNS), row.Slot<<32^uint64(row.Index))
		s.trace.text(row.Outcome, uint64(row.SentNS))
		if row.Outcome != results.OutcomeTimeout {
			s.answered++
		}
		if s.simulation.Row != nil {
			s.simulation.Row(row)
		}
	}
}
