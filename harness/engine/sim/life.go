package sim

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/client"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
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

// errMemory is why a process can't be started again.
var errMemory = errors.New("its storage is memory, and a process that has forgotten what it promised must not take part again")

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
	actions  []action
	// working counts clients that haven't done their load; answered the requests.
	working    int
	answered   uint64
	stopped    bool
	unfinished bool
	// commits counts commands and snapshots applied anywhere, seen those when it
	// was last looked whether all is drained.
	commits, seen uint64
	// reported is what Live was told last.
	reported control.Progress
}

// action is an engine.Action made ready.
type action struct {
	at      int64
	process *process
	kind    engine.ActionKind
	// operation is that of the reconfiguration.
	operation []byte
	// link indexes the topology's, whose parameters change to these, A to B first.
	link       int
	parameters [2]topologies.Parameters
}

// planActions checks the actions and sorts them by their times.
func (s *trial) planActions() error {
	for _, a := range s.simulation.Actions {
		if a.Kind == engine.ActionLink {
			if err := s.planLink(a); err != nil {
				return err
			}
			continue
		}
		p, known := s.byName(a.Node)
		if !known {
			return fmt.Errorf("an action is for %q, want the name of a node", a.Node)
		}
		planned := action{at: int64(a.At), process: p, kind: a.Kind}
		switch a.Kind {
		case engine.ActionKill:
		case engine.ActionRestart:
			if p.participates && p.storage.kind == control.StorageMemory {
				return fmt.Errorf("%s can't be started again: %w", a.Node, errMemory)
			}
		case engine.ActionReconfigure:
			if s.protocol.Reconfigure == nil || !p.serves {
				return fmt.Errorf("%s of protocol %s can't reconfigure", a.Node, s.protocol.Name)
			}
			operation, err := s.protocol.Reconfigure(s.config(p), a.Change)
			if err != nil {
				return fmt.Errorf("reconfiguring at %s: %w", a.Node, err)
			}
			planned.operation = operation
		default:
			return fmt.Errorf("an action for %s is of kind %d, which there isn't", a.Node, a.Kind)
		}
		s.actions = append(s.actions, planned)
	}
	slices.SortStableFunc(s.actions, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	return nil
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
		if s.commits != s.seen && s.drained() {
			s.over = true
		}
		s.seen = s.commits
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
	for i := range s.actions {
		s.schedule(s.now+s.actions[i].at, eventAction, int32(i))
	}
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

// endLoad waits until the live learners stand at one slot.
func (s *trial) endLoad() {
	if s.phase != phaseLoad {
		return
	}
	s.trace.event(s.now, markDrain, 0, 0)
	s.enterPhase(phaseDrain, s.simulation.Drain)
	s.findLearners()
	if s.drained() {
		s.over = true
	}
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
		if !p.learner {
			continue
		}
		if any && p.application.Slot() != slot {
			return false
		}
		slot, any = p.application.Slot(), true
	}
	return true
}

// act carries out an action, if the load still runs and the process is in a
// state for it.
func (s *trial) act(a *action) {
	p := a.process
	if s.phase != phaseLoad {
		return
	}
	switch {
	case a.kind == engine.ActionLink:
		s.changeLink(a)
	case a.kind == engine.ActionKill && p.alive:
		s.kill(p)
	case a.kind == engine.ActionRestart && !p.alive:
		s.trace.event(s.now, markRestart, p.index, 0)
		s.started(p)
	case a.kind == engine.ActionReconfigure && p.alive:
		s.trace.event(s.now, markReconfigure, p.index, 0)
		now := uint64(s.now)
		s.deliver(p, delivery{kind: deliverMessage, from: p.index, message: consensus.Request{Command: consensus.Command{
			Kind: consensus.KindReconfigure, Client: consensus.NewClientID(p.node.ID, math.MaxUint32),
			Sequence: now, FirstUnanswered: now, Operation: a.operation,
		}}})
	}
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
	s.findLearners()
	r := &engine.Simulated{
		LoadStart: consensus.Time(s.loadStart), Elapsed: time.Duration(s.now), LedAfter: time.Duration(s.ledAfter),
		Finished: !s.unfinished, Statuses: map[string]control.Status{}, CPU: map[string]time.Duration{},
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
