package multipaxos

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
)

// oracle watches all that processes send and commit, and knows by itself, from
// the durable answers of acceptors, what has been chosen. It fails the test at the
// first step that breaks an invariant of the protocol. What a quorum is, what a
// disk holds and what a client must be told it works out for itself.
type oracle struct {
	n       *network
	options Options
	// ballots say who used a ballot, and in which of its lives.
	ballots map[proposalKey]user
	// commands are what each ballot asked to be accepted for a slot.
	commands map[proposalKey]consensus.Command
	// votes are the acceptors that said they have accepted it, heard those whose
	// word has reached the leader. Adoptions are at slot 0.
	votes, heard map[proposalKey]map[consensus.NodeID]bool
	// confirmed are the acceptors whose confirmation of a round has reached the
	// leader; the round stands in place of the slot.
	confirmed map[proposalKey]map[consensus.NodeID]bool
	// asked are the ballots that asked for the slot.
	asked map[uint64][]proposalKey
	// used are the quorums that have elected and decided.
	used map[usedKey][]bool
	// promised is the highest ballot that each acceptor has answered with.
	promised map[promiseKey]Ballot
	// configurations are those that changes in the log made.
	configurations map[uint64]Configuration
	// decidedFor is what decisions have said of a slot, and the lowest ballot
	// that is known to have had it chosen.
	decidedFor map[uint64]PValue
	verified   map[sentDecision]bool
	// model applies the log once; expected are its responses.
	model    *consensus.Application
	expected map[responseKey]consensus.Response
	// answered is the highest slot whose command was answered; mustSee is what it
	// was when a read was sent.
	answered uint64
	mustSee  map[uint64]uint64
	reads    []answeredRead
	// reported is what each replica has said to have on its disk, slotOut where
	// it stood last in its present life.
	reported, slotOut map[consensus.NodeID]uint64
	// leading is whether the receiver of a phase1b led before it.
	leading bool
}

type user struct {
	leader consensus.NodeID
	life   int
}

type proposalKey struct {
	configuration uint64
	ballot        Ballot
	slot          uint64
}

type promiseKey struct {
	acceptor      consensus.NodeID
	configuration uint64
}

type usedKey struct {
	configuration uint64
	phase         int
	quorum        string
}

type sentDecision struct {
	from consensus.NodeID
	life int
	slot uint64
}

type responseKey struct {
	client   consensus.ClientID
	sequence uint64
}

type answeredRead struct {
	command  consensus.Command
	response consensus.Response
}

func newOracle(n *network) *oracle {
	options, err := ParseOptions(json.RawMessage(n.options))
	if err != nil {
		n.t.Fatal(err)
	}
	o := &oracle{
		n: n, options: options, ballots: map[proposalKey]user{}, commands: map[proposalKey]consensus.Command{},
		votes: map[proposalKey]map[consensus.NodeID]bool{}, heard: map[proposalKey]map[consensus.NodeID]bool{},
		confirmed: map[proposalKey]map[consensus.NodeID]bool{}, asked: map[uint64][]proposalKey{}, used: map[usedKey][]bool{},
		promised: map[promiseKey]Ballot{}, configurations: map[uint64]Configuration{},
		decidedFor: map[uint64]PValue{}, verified: map[sentDecision]bool{},
		model: consensus.NewApplication(kv.New()), expected: map[responseKey]consensus.Response{}, mustSee: map[uint64]uint64{},
		reported: map[consensus.NodeID]uint64{}, slotOut: map[consensus.NodeID]uint64{},
	}
	initial := consensus.Config{Members: n.members}
	o.configurations[0] = Configuration{Leaders: initial.WithRole(RoleLeader), Acceptors: initial.WithRole(RoleAcceptor)}
	return o
}

func (o *oracle) fail(format string, arguments ...any) {
	o.n.t.Helper()
	o.n.t.Fatalf("at %v: %s", o.n.now, fmt.Sprintf(format, arguments...))
}

// isQuorum says by the definitions of the papers whether the acceptors that are
// true, in ascending order, are a quorum of the phase.
func (o *oracle) isQuorum(phase int, have []bool) bool {
	count := 0
	for _, yes := range have {
		if yes {
			count++
		}
	}
	q := o.options.Quorums
	switch q.Kind {
	case QuorumFlexible:
		sizes := [...]int{1: q.Phase1, 2: q.Phase2}
		if sizes[phase] == 0 {
			return count+sizes[3-phase] >= len(have)+1
		}
		return count >= sizes[phase]
	case QuorumGrid:
		lines, length := q.Rows, q.Columns
		at := func(line, i int) int { return line*q.Columns + i }
		if phase == 2 {
			lines, length = q.Columns, q.Rows
			at = func(line, i int) int { return i*q.Columns + line }
		}
		for line := range lines {
			whole := true
			for i := range length {
				whole = whole && have[at(line, i)]
			}
			if whole {
				return true
			}
		}
		return false
	}
	return 2*count > len(have)
}

// among says of which acceptors it is true.
func among(acceptors []consensus.NodeID, has func(consensus.NodeID) bool) []bool {
	have := make([]bool, len(acceptors))
	for i, id := range acceptors {
		have[i] = has(id)
	}
	return have
}

// use notes a quorum that elected or decided: it must be one, and have an
// acceptor in common with each that the other phase has used.
func (o *oracle) use(configuration uint64, phase int, what string, have []bool) {
	if !o.isQuorum(phase, have) {
		o.fail("%s with %v of the acceptors, no quorum of phase %d in configuration %d", what, have, phase, configuration)
	}
	key := usedKey{configuration, phase, fmt.Sprint(have)}
	if _, known := o.used[key]; known {
		return
	}
	o.used[key] = have
	for other, there := range o.used {
		if other.configuration != configuration || other.phase == phase {
			continue
		}
		common := false
		for i := range have {
			common = common || have[i] && there[i]
		}
		if !common {
			o.fail("%s with %v of the acceptors, phase %d used %v", what, have, other.phase, there)
		}
	}
}

// sent looks at each message as it leaves its sender.
func (o *oracle) sent(from consensus.NodeID, out consensus.Outgoing) {
	switch m := out.Message.(type) {
	case *Phase1a:
		o.usesBallot(from, m.Configuration, m.Ballot)
		o.forgets(m.Configuration, m.Floor)
	case *Confirm:
		o.usesBallot(from, m.Configuration, m.Ballot)
	case *Phase2a:
		o.usesBallot(from, m.Configuration, m.Ballot)
		o.forgets(m.Configuration, m.Floor)
		o.commanded(m)
	case *Phase1b:
		o.answeredWith(from, m.Configuration, m.Ballot)
	case *Confirmed:
		o.answeredWith(from, m.Configuration, m.Ballot)
	case *Phase2b:
		o.answeredWith(from, m.Configuration, m.Ballot)
		o.note(o.votes, proposalKey{m.Configuration, m.Ballot, m.Slot}, from)
	case *Progress:
		o.reports(from, m.SlotOut)
	case *ReadReady:
		o.confirms(from, m)
	case *Decision:
		o.decision(from, m)
	}
}

// A read is ready once a quorum has confirmed the leader's ballot in the round.
func (o *oracle) confirms(from consensus.NodeID, m *ReadReady) {
	l := o.n.machines[from].leaderOf(m.Configuration)
	round := l.reads.round
	if l.reads.running { // the next one has begun
		round--
	}
	heard := o.confirmed[proposalKey{m.Configuration, l.ballot, round}]
	have := among(l.configuration.Acceptors, func(id consensus.NodeID) bool { return heard[id] })
	o.use(m.Configuration, 2, fmt.Sprintf("a read is confirmed under ballot %v", l.ballot), have)
}

func (o *oracle) note(where map[proposalKey]map[consensus.NodeID]bool, key proposalKey, acceptor consensus.NodeID) {
	if where[key] == nil {
		where[key] = map[consensus.NodeID]bool{}
	}
	where[key][acceptor] = true
}

// A ballot has one leader, in one of its lives.
func (o *oracle) usesBallot(from consensus.NodeID, configuration uint64, ballot Ballot) {
	key, now := proposalKey{configuration, ballot, 0}, user{from, o.n.lives[from]}
	before, known := o.ballots[key]
	if ballot.Leader != from || known && before != now {
		o.fail("leader %v uses ballot %v in life %d; it was %v's in life %d", from, ballot, now.life, before.leader, before.life)
	}
	o.ballots[key] = now
}

// What processes are told to forget is on the disks of all replicas, or of the
// most advanced one and RETAIN slots behind it.
func (o *oracle) forgets(configuration, floor uint64) {
	least, most := uint64(1)<<63, uint64(0)
	for id, d := range o.n.disks {
		if o.n.apps[id] != nil {
			least, most = min(least, d.slot+1), max(most, d.slot+1)
		}
	}
	if retained := most - min(most, o.options.Retain); floor > max(least, retained, o.configurations[configuration].First, 1) {
		o.fail("slots below %d are forgotten, while replicas have those below %d to %d on disk", floor, least, most)
	}
}

// One ballot asks for one command a slot, and for slots of its configuration
// alone.
func (o *oracle) commanded(m *Phase2a) {
	key := proposalKey{m.Configuration, m.Ballot, m.Slot}
	before, known := o.commands[key]
	if known && !before.Same(m.Command) {
		o.fail("ballot %v asks for two commands for slot %d: %d and %d", m.Ballot, m.Slot, before.Sequence, m.Command.Sequence)
	}
	if c := o.configurationOf(m.Slot); c.Number != m.Configuration {
		o.fail("configuration %d asks for slot %d, which belongs to %d", m.Configuration, m.Slot, c.Number)
	}
	if !known {
		o.asked[m.Slot] = append(o.asked[m.Slot], key)
	}
	o.commands[key] = m.Command
}

// An acceptor's ballot never goes back, also across its restart.
func (o *oracle) answeredWith(acceptor consensus.NodeID, configuration uint64, ballot Ballot) {
	key := promiseKey{acceptor, configuration}
	if o.promised[key].Above(ballot) {
		o.fail("acceptor %v answers with ballot %v after %v", acceptor, ballot, o.promised[key])
	}
	o.promised[key] = ballot
}

// A replica never goes back behind what it has reported.
func (o *oracle) reports(from consensus.NodeID, slotOut uint64) {
	if durable := o.n.disks[from].slot + 1; slotOut > durable {
		o.fail("replica %v reports slot_out %d, its disk has %d", from, slotOut, durable)
	}
	o.reported[from] = max(o.reported[from], slotOut)
}

// before looks at an input that a process is about to take.
func (o *oracle) before(e event) {
	switch m := e.input.Message.(type) {
	case *Phase1b:
		if l := o.n.machines[e.to].leaderOf(m.Configuration); l != nil && m.Next == 0 {
			o.note(o.heard, proposalKey{m.Configuration, m.Ballot, 0}, e.input.From)
			o.leading = l.active
		}
	case *Confirmed:
		o.note(o.confirmed, proposalKey{m.Configuration, m.Ballot, m.Round}, e.input.From)
	case *Phase2b:
		if m.Ballot.Leader == e.to {
			o.note(o.heard, proposalKey{m.Configuration, m.Ballot, m.Slot}, e.input.From)
		}
	}
}

// after looks at what has come of it: a leader is elected by a quorum.
func (o *oracle) after(e event) {
	m, ok := e.input.Message.(*Phase1b)
	if !ok {
		return
	}
	l := o.n.machines[e.to].leaderOf(m.Configuration)
	if l == nil || o.leading || !l.active {
		return
	}
	heard := o.heard[proposalKey{m.Configuration, l.ballot, 0}]
	have := among(l.configuration.Acceptors, func(id consensus.NodeID) bool { return heard[id] })
	o.use(m.Configuration, 1, fmt.Sprintf("leader %v leads ballot %v", e.to, l.ballot), have)
}

// stepped looks at where a replica stands after a step.
func (o *oracle) stepped(id consensus.NodeID, out *consensus.Outbox) {
	r := o.n.machines[id].replica
	if r == nil {
		return
	}
	if r.slotOut < o.slotOut[id] || r.slotOut < o.reported[id] || r.slotOut != o.n.apps[id].Slot()+1 {
		o.fail("replica %v stands at slot_out %d after %d, its application at %d, its report at %d",
			id, r.slotOut, o.slotOut[id], o.n.apps[id].Slot(), o.reported[id])
	}
	o.slotOut[id] = r.slotOut
	for _, sent := range out.Messages {
		m, ok := sent.Message.(*Propose)
		if !ok {
			continue
		}
		if m.Slot >= r.slotOut+r.options.Window {
			o.fail("replica %v proposes for slot %d at slot_out %d, WINDOW is %d", id, m.Slot, r.slotOut, r.options.Window)
		}
		if c := o.configurationOf(m.Slot); c.Number != m.Configuration {
			o.fail("replica %v asks configuration %d for slot %d, which belongs to %d", id, m.Configuration, m.Slot, c.Number)
		}
	}
}

// booted forgets what a process knew in its last life.
func (o *oracle) booted(id consensus.NodeID) { o.slotOut[id] = 0 }

// What is called decided was accepted, under one ballot, by a quorum of the
// acceptors of the slot's configuration, and its leader has heard so; and nothing
// else ever is.
func (o *oracle) decision(from consensus.NodeID, m *Decision) {
	before, known := o.decidedFor[m.Slot]
	if known && !before.Command.Same(m.Command) {
		o.fail("slot %d is decided as command %d and as command %d", m.Slot, before.Command.Sequence, m.Command.Sequence)
	}
	sent := sentDecision{from, o.n.lives[from], m.Slot}
	if o.verified[sent] {
		return
	}
	o.verified[sent] = true
	c := o.configurationOf(m.Slot)
	for _, key := range o.asked[m.Slot] {
		if key.configuration != c.Number || key.ballot.Leader != from || !o.commands[key].Same(m.Command) {
			continue
		}
		have := among(c.Acceptors, func(id consensus.NodeID) bool { return o.votes[key][id] && o.heard[key][id] })
		if !o.isQuorum(2, have) {
			continue
		}
		o.use(c.Number, 2, fmt.Sprintf("slot %d is decided", m.Slot), have)
		if !known || before.Ballot.Above(key.ballot) {
			o.decidedFor[m.Slot] = PValue{Ballot: key.ballot, Slot: m.Slot, Command: m.Command}
		}
		return
	}
	o.fail("slot %d is said by %v to be decided as %s without a quorum of acceptances in configuration %d",
		m.Slot, from, describeCommand(m.Command), c.Number)
}

// crashed checks what the disks hold after a crash: every decision is still on
// those of a quorum, unless it is forgotten because replicas have it on theirs.
func (o *oracle) crashed() {
	var most uint64
	memories := map[consensus.NodeID]*memory{}
	for id, d := range o.n.disks {
		memories[id] = remember(d.durable)
		most = max(most, d.slot)
	}
	for slot, chosen := range o.decidedFor {
		c := o.configurationOf(slot)
		have := among(c.Acceptors, func(id consensus.NodeID) bool {
			m := memories[id]
			if m.over > c.Number || m.floor[c.Number] > slot {
				return slot <= most
			}
			accepted, ok := m.accepted[proposalKey{configuration: c.Number, slot: slot}]
			return ok && !chosen.Ballot.Above(accepted.Ballot) && accepted.Command.Same(chosen.Command)
		})
		if !o.isQuorum(2, have) {
			o.fail("slot %d, decided under ballot %v, is left on the disks of %v of the acceptors of configuration %d, and of replicas up to slot %d",
				slot, chosen.Ballot, have, c.Number, most)
		}
	}
}

// memory is what an acceptor's disk says.
type memory struct {
	over     uint64
	floor    map[uint64]uint64
	accepted map[proposalKey]PValue
}

func remember(records []consensus.Message) *memory {
	m := &memory{floor: map[uint64]uint64{}, accepted: map[proposalKey]PValue{}}
	for _, record := range records {
		switch r := record.(type) {
		case *Retire:
			m.over = max(m.over, r.Configuration+1)
		case *Phase1a:
			m.floor[r.Configuration] = max(m.floor[r.Configuration], r.Floor)
		case *Phase2a:
			m.floor[r.Configuration] = max(m.floor[r.Configuration], r.Floor)
			key := proposalKey{configuration: r.Configuration, slot: r.Slot}
			if before, ok := m.accepted[key]; !ok || !before.Ballot.Above(r.Ballot) {
				m.accepted[key] = r.PValue
			}
		}
	}
	return m
}

func (o *oracle) configurationOf(slot uint64) Configuration {
	found := o.configurations[0]
	for _, c := range o.configurations {
		if c.First <= slot && c.Number > found.Number {
			found = c
		}
	}
	return found
}

// committed follows the log: the changes of the configuration, by the paper's
// rule, and what clients must be told.
func (o *oracle) committed(c consensus.Committed) {
	if c.Slot != o.model.Slot()+1 {
		return
	}
	o.model.Apply(c.Slot, c.Command, func(r consensus.Response) { o.expected[responseKey{r.Client, r.Sequence}] = r })
	_ = c.Command.Each(func(_ uint32, command consensus.Command) {
		if command.Kind != consensus.KindReconfigure {
			return
		}
		last := o.configurations[0]
		for _, known := range o.configurations {
			if known.Number > last.Number {
				last = known
			}
		}
		var next Configuration
		if err := json.Unmarshal(command.Operation, &next); err != nil || next.Number != last.Number+1 {
			return // it was meant to follow another one
		}
		next.First = c.Slot + o.options.Window
		if len(next.Leaders) == 0 {
			next.Leaders = last.Leaders
		}
		if len(next.Acceptors) == 0 {
			next.Acceptors = last.Acceptors
		}
		o.configurations[next.Number] = next
	})
}

// replied checks that a client is told what a replay of the log gives.
func (o *oracle) replied(from consensus.NodeID, got consensus.Response) {
	want, ok := o.expected[responseKey{got.Client, got.Sequence}]
	if !ok || got.Slot != want.Slot || got.Index != want.Index || !bytes.Equal(got.Result, want.Result) {
		o.fail("replica %v answers %+v, a replay of the log %+v", from, got, want)
	}
	o.answered = max(o.answered, got.Slot)
}

// sendsRead notes what a read that is sent now must see.
func (o *oracle) sendsRead(sequence uint64) { o.mustSee[sequence] = o.answered }

// read checks that a read without a slot sees all that was answered before it
// was sent.
func (o *oracle) read(id consensus.NodeID, command consensus.Command, response consensus.Response) {
	if response.Slot < o.mustSee[command.Sequence] {
		o.fail("replica %v answers read %d at slot %d, slot %d was answered before it was sent",
			id, command.Sequence, response.Slot, o.mustSee[command.Sequence])
	}
	o.answered = max(o.answered, response.Slot) // later reads mustn't see less
	o.reads = append(o.reads, answeredRead{command, response})
}

// replayReads checks that reads saw the state that they say.
func (o *oracle) replayReads() {
	o.n.t.Helper()
	slices.SortStableFunc(o.reads, func(a, b answeredRead) int { return cmp.Compare(a.response.Slot, b.response.Slot) })
	replay := consensus.NewApplication(kv.New())
	for _, r := range o.reads {
		for slot := replay.Slot() + 1; slot <= r.response.Slot; slot++ {
			replay.Apply(slot, o.n.chosen[slot], func(consensus.Response) {})
		}
		if want := replay.Read(r.command); !bytes.Equal(r.response.Result, want.Result) {
			o.n.t.Errorf("read %d was answered %q at slot %d, a replay of the log gives %q",
				r.command.Sequence, r.response.Result, want.Slot, want.Result)
		}
	}
	o.reads = nil
}
