package sim

import (
	"encoding/hex"
	"fmt"
	"slices"

	"quorumlab/faults"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/timers"
)

// roleClient is the role of processes that generate load (node.RoleClient).
const roleClient = "client"

// process is one node.
type process struct {
	// index numbers processes in ascending order of ID; host indexes the
	// topology's, which other processes may share.
	index      int32
	host       int
	sharesHost bool
	node       control.Node
	// participates tells whether the process has a machine, serves whether
	// clients send to it.
	participates, serves bool

	alive     bool
	startedAt int64
	// machine and application are nil in a mere client.
	machine     consensus.Machine
	application *consensus.Application
	// respond is what Application.Apply calls; made once, as a closure a command
	// would be allocated each time.
	respond func(consensus.Response)
	storage storage
	client  load

	// inbox are the inputs that wait for the core, which is free from freeAt on.
	inbox  ring[delivery]
	freeAt int64
	busyNS int64
	// waking is true while an eventWake is in the queue.
	waking bool
	timers timers.Set[timerKey]
	// timerAt is when the eventTimer that counts is, or never.
	timerAt int64

	// paths has the way to each process, nil where it isn't known yet, or noPath.
	// outgoing and incoming list those made so far.
	paths              []*path
	outgoing, incoming []*path
	// egress are messages that leave by paths that package tcp models.
	egress lane
	// dropped counts messages that found no room or no peer.
	dropped uint64

	// standing is the machine's status after its last step, kept while a leader is
	// awaited.
	standing consensus.Status
	// learner is true if the machine commits commands, kept while draining.
	learner bool

	// condition is what faults do to the process, nil in a trial without any.
	condition *condition
}

// deliveryKind says what an entry of an inbox is.
type deliveryKind uint8

const (
	deliverMessage deliveryKind = iota + 1
	// deliverTimer says that a timer was due; it may have been cancelled since.
	deliverTimer
	deliverStart
	// deliverLoad begins a client's load.
	deliverLoad
)

// delivery is an input on its way to a process's core. A message to oneself has
// no size: it costs no bytes.
type delivery struct {
	kind    deliveryKind
	from    int32
	size    int32
	message consensus.Message
}

// outgoing is a message that a step sends.
type outgoing struct {
	to        int32
	size      int32
	afterSync bool
	message   consensus.Message
}

// deliver hands over an input that has arrived.
func (s *trial) deliver(p *process, d delivery) {
	if p.condition != nil && d.kind == deliverMessage {
		s.arrived(p, d)
	}
	if p.inbox.count > 0 || p.freeAt > s.now || p.condition != nil && !s.runs(p) {
		*p.inbox.push() = d
	} else {
		s.step(p, d)
	}
	s.wake(p)
}

// wake sees to it that the process goes on once its core is free, if inputs
// wait for it.
func (s *trial) wake(p *process) {
	if p.inbox.count > 0 && !p.waking && !s.over {
		at := max(p.freeAt, s.now)
		if c := p.condition; c != nil {
			if c.still() {
				return // who has it go on wakes it
			}
			at = c.duty.next(at)
		}
		p.waking = true
		s.schedule(at, eventWake, p.index)
	}
}

// woken is the event of a core that is free again. It handles what waits until
// something else comes before.
func (s *trial) woken(p *process) {
	p.waking = false
	for p.inbox.count > 0 && !s.over && (p.freeAt <= s.now || s.skip(p.freeAt)) && (p.condition == nil || s.runs(p)) {
		s.step(p, p.inbox.pop())
	}
	s.wake(p)
}

// skip goes on to a time if nothing happens until then and then: it spares an
// event that would be the next.
func (s *trial) skip(to int64) bool {
	if to >= s.queue.next() {
		return false
	}
	s.look()
	s.now = to
	return !s.over
}

// step has a process handle one input, now.
func (s *trial) step(p *process, d delivery) {
	cost := s.costs.message
	switch d.kind {
	case deliverMessage:
		cost += s.costs.bytes(d.size)
		s.trace.message(s.now, d.from, p.index, d.size)
		if p.condition == nil || s.heeds(p, d) {
			s.receive(p, d)
		}
	case deliverTimer:
		key, due := p.timers.Pop(p.local(s.now), p.timers.Made())
		s.setTimer(p)
		if !due {
			return
		}
		s.trace.event(s.now, markTimer, p.index, uint64(key.timer.Kind)<<56^key.timer.Key)
		input := consensus.Input{Kind: consensus.InputTimer, Timer: key.timer}
		if key.client {
			s.stepClient(p, &input)
		} else {
			p.machine.Step(p.local(s.now), input, &s.out)
		}
	case deliverStart:
		s.trace.event(s.now, markStart, p.index, uint64(len(p.storage.recovered)))
		p.machine.Step(p.local(s.now), consensus.Input{
			Kind: consensus.InputStart, Recovered: p.storage.recovered, Slot: p.application.Slot(),
		}, &s.out)
		p.storage.recovered = nil
	case deliverLoad:
		s.stepClient(p, &consensus.Input{Kind: consensus.InputStart})
	}
	s.carryOut(p, cost)
	s.observe(p)
}

// receive gives a message to whom it is for: a response to the client, all
// others to the machine, a request as the command that it brings.
func (s *trial) receive(p *process, d delivery) {
	input := consensus.Input{Kind: consensus.InputMessage, From: s.processes[d.from].node.ID, Message: d.message}
	switch m := d.message.(type) {
	case *consensus.Response:
		s.stepClient(p, &input)
		return
	case consensus.Request:
		if p.machine == nil {
			return
		}
		if response, known := p.application.Answer(m.Command); known {
			p.respond(response)
			return
		}
		input.Kind, input.Message, input.Command = consensus.InputCommand, nil, m.Command
	}
	if p.machine != nil {
		p.machine.Step(p.local(s.now), input, &s.out)
	}
}

// responsesAtOnce is how many responses share an allocation.
const responsesAtOnce = 64

// answer sends a response to its client.
func (s *trial) answer(p *process, response *consensus.Response) {
	if len(s.responses) == 0 {
		s.responses = make([]consensus.Response, responsesAtOnce)
	}
	kept := &s.responses[0]
	s.responses = s.responses[1:]
	*kept = *response
	s.post(p, response.Client.Node(), kept, false)
}

// post notes a message that the step in hand sends.
func (s *trial) post(p *process, to consensus.NodeID, message consensus.Message, afterSync bool) {
	index, known := s.byID(to)
	if !known {
		p.dropped++
		return
	}
	s.note(message)
	m := outgoing{to: index, message: message, afterSync: afterSync}
	if index != p.index {
		m.size = s.size()
	}
	s.posted = append(s.posted, m)
}

// carryOut does what a step asks for, in the order that package consensus
// demands, and occupies the core for the step's cost.
func (s *trial) carryOut(p *process, cost int64) {
	out := &s.out
	switch {
	case out.Install != nil: // the checkpoint has what they say
	case p.condition == nil:
		p.storage.append(out.Records)
	default:
		s.persist(p)
	}
	for i := range out.Messages {
		m := &out.Messages[i]
		s.post(p, m.To, m.Message, m.AfterSync)
	}
	if out.Install != nil {
		cost += s.install(p, out.Install)
	}
	if p.condition == nil {
		for i := range out.Committed {
			s.commit(p, &out.Committed[i])
		}
	} else {
		s.apply(p)
	}
	for _, command := range out.Reads {
		p.respond(p.application.Read(command))
	}
	if len(out.Transfers) > 0 {
		state := p.application.Snapshot()
		for _, t := range out.Transfers {
			s.post(p, t.To, &consensus.Snapshot{Slot: p.application.Slot(), State: state, With: t.With}, false)
		}
	}
	for i := range s.posted {
		if m := &s.posted[i]; m.to != p.index {
			cost += s.costs.send + s.costs.bytes(m.size)
		}
	}
	s.setTimers(p, out.Timers, false)
	for _, event := range out.Events {
		s.publish(p, event)
	}
	install := out.Install != nil
	out.Reset()
	if install || p.storage.wantsCheckpoint() && !p.stopping() {
		cost += s.checkpoint(p)
	}
	p.freeAt = s.now + cost
	if p.condition != nil {
		p.freeAt = p.condition.duty.after(s.now, cost)
	}
	p.busyNS += cost
	s.sync(p)
	s.leave(p)
	if p.stopping() {
		s.stop(p)
	}
}

// leave sends what the step in hand has posted once the core is done with it.
func (s *trial) leave(p *process) {
	for i := range s.posted {
		m := &s.posted[i]
		if m.afterSync && p.storage.hold(m) {
			continue
		}
		if p.condition != nil {
			if goes, halts := s.sending(p, m.to, m.message); halts {
				if goes {
					s.send(p, p.freeAt, m.to, m.size, m.message)
					i++
				}
				p.condition.halt.posted = slices.Clone(s.posted[i:])
				break
			}
		}
		s.send(p, p.freeAt, m.to, m.size, m.message)
	}
	clear(s.posted)
	s.posted = s.posted[:0]
}

// send lets a message leave a process at a time that isn't before p.freeAt.
func (s *trial) send(p *process, leave int64, to, size int32, message consensus.Message) {
	if to == p.index {
		*p.inbox.push() = delivery{kind: deliverMessage, from: to, message: message}
		return
	}
	path := s.path(p, to)
	switch {
	case path.handed:
		s.handOver(path, leave, size, message)
	case path.open:
		s.transmit(path, leave, size, message)
	case path == noPath:
		p.dropped++
	default:
		s.sendTCP(path, leave, size, message)
	}
}

// noPath stands where real nodes have no connection.
var noPath = &path{}

// path is the way to another process, or noPath.
func (s *trial) path(p *process, to int32) *path {
	if p.paths == nil {
		p.paths = make([]*path, len(s.processes))
	}
	if known := p.paths[to]; known != nil {
		return known
	}
	return s.addPath(p, s.processes[to])
}

func (s *trial) addPath(from, to *process) *path {
	from.paths[to.index] = noPath
	if !peers(from, to) {
		return noPath
	}
	p, err := s.network.newPath(from, to)
	if err != nil {
		s.fail(err)
		return noPath
	}
	from.paths[to.index] = p
	from.outgoing = append(from.outgoing, p)
	to.incoming = append(to.incoming, p)
	switch {
	case !s.network.tcp:
		p.open, p.handed = true, s.network.changing && !p.local()
	case s.network.steady(p.there) && s.network.steady(p.back):
		p.dialled = from.startedAt
		s.dial(p)
	default:
		s.openModelled(p)
	}
	return p
}

// peers tells whether two processes send to each other, as node.Cluster.Peers
// does.
func peers(a, b *process) bool {
	return a.participates && b.participates || a.has(roleClient) && b.serves || a.serves && b.has(roleClient)
}

func (p *process) has(role string) bool { return slices.Contains(p.node.Roles, role) }

// commit applies a decided command and answers its client.
func (s *trial) commit(p *process, c *consensus.Committed) {
	s.commits++
	s.trace.event(s.now, markCommit, p.index, c.Slot)
	s.trace.mix(uint64(c.Command.Client), c.Command.Sequence)
	p.application.Apply(c.Slot, c.Command, p.respond)
	if p.condition != nil {
		s.notice(p, consensus.Label{Kind: control.TraceCommit, Slot: c.Slot}, "")
	}
	if consensus.ReportsPrefix(c.Slot) {
		prefix := p.application.Prefix()
		s.publish(p, consensus.Event{
			Role: consensus.RoleApplication, Label: consensus.Label{Kind: consensus.EventPrefix, Slot: c.Slot},
			Hash: hex.EncodeToString(prefix[:]),
		})
	}
}

func (s *trial) publish(p *process, event consensus.Event) {
	if p.condition != nil {
		s.notice(p, event.Label, "")
	}
	if s.simulation.Event != nil {
		s.simulation.Event(consensus.Time(s.now), p.node.Name, event)
	}
}

// timerKey names a timer of a process: the protocol's machine and the client
// have names of their own.
type timerKey struct {
	timer  consensus.Timer
	client bool
}

// setTimers sets and cancels timers of the machine or of the client.
func (s *trial) setTimers(p *process, changes []consensus.TimerChange, client bool) {
	if len(changes) == 0 {
		return
	}
	for _, change := range changes {
		key := timerKey{change.Timer, client}
		if change.Cancel {
			p.timers.Cancel(key)
		} else {
			p.timers.Set(key, p.local(s.now).Add(max(change.After, 0)))
		}
	}
	s.setTimer(p)
}

// setTimer has an event at the earliest timer. An event that comes too early,
// because its timer was moved, sets the next one.
func (s *trial) setTimer(p *process) {
	if next := p.nextTimer(); next < p.timerAt {
		p.timerAt = max(next, s.now)
		s.schedule(p.timerAt, eventTimer, p.index)
	}
}

// timerEvent is the queue's event of a process's earliest timer.
func (s *trial) timerEvent(p *process) {
	if p.timerAt != s.now {
		return // an earlier one took its place
	}
	p.timerAt = never
	if p.nextTimer() > s.now {
		s.setTimer(p)
		return
	}
	s.deliver(p, delivery{kind: deliverTimer})
}

// config is what a process's machine is made of.
func (s *trial) config(p *process) consensus.Config {
	return consensus.Config{
		Self: p.node.ID, Members: s.members, Options: s.options, Seed: s.simulation.Cluster.Seed,
	}
}

// start makes a process's machine and application, from its storage if it ran
// before, has it listen and dial, and begins its life.
func (s *trial) start(p *process) error {
	p.alive, p.startedAt, p.timerAt = true, s.now, never
	if p.condition != nil {
		p.condition.begin(s, p)
	}
	if s.network.tcp {
		s.connect(p)
	}
	if !p.participates {
		return nil
	}
	machine, err := s.protocol.New(s.config(p))
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.node.Name, err)
	}
	p.machine, p.application = machine, consensus.NewApplication(s.application.New())
	p.storage.resolve(faults.DiskSame)
	if err := p.storage.recover(p.application); err != nil {
		return fmt.Errorf("starting %s again: %w", p.node.Name, err)
	}
	p.learner = machine.Status().Learner
	s.deliver(p, delivery{kind: deliverStart})
	return nil
}

// kill ends a process; disk says what its storage keeps, one of the constants of
// package faults, or diskUndecided.
func (s *trial) kill(p *process, disk string) {
	s.trace.event(s.now, markKill, p.index, 0)
	s.died(p)
	p.alive = false
	p.machine, p.application, p.standing = nil, nil, consensus.Status{}
	p.inbox.clear()
	p.timers.Clear()
	p.timerAt = never
	p.storage.crash(disk)
	if s.network.tcp {
		s.breakConnections(p)
	}
}
