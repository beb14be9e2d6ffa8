package multipaxos

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
)

// network drives machines in virtual time over links that lose, duplicate and
// reorder, and checks the protocol's invariants after each step.
type network struct {
	t        testing.TB
	now      consensus.Time
	random   *rand.Rand
	machines map[consensus.NodeID]*Machine
	apps     map[consensus.NodeID]*consensus.Application
	ids      []consensus.NodeID
	queue    events
	order    uint64
	timers   map[timerKey]uint64 // the order number of the event that counts
	dead     map[consensus.NodeID]bool
	cut      func(from, to consensus.NodeID) bool
	loss     float64
	twice    float64
	delay    func() time.Duration
	chosen   map[uint64]consensus.Command
	applied  map[consensus.NodeID]map[string]int
	answers  map[uint64][]byte // by the sequence number of client's commands
	trace    []string
	keep     bool
	onSend   func(from, to consensus.NodeID, message consensus.Message)
}

type timerKey struct {
	id    consensus.NodeID
	timer consensus.Timer
}

type event struct {
	at    consensus.Time
	order uint64
	to    consensus.NodeID
	input consensus.Input
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

const testClient = consensus.NodeID(100)

// counting is a key-value store that notes how often each operation came.
type counting struct {
	*kv.Store
	seen map[string]int
}

func (c counting) Apply(operation []byte) []byte {
	c.seen[string(operation)]++
	return c.Store.Apply(operation)
}

// newNetwork makes a cluster: replicas 1.., leaders 11.., acceptors 21.. on
// processes of their own, and starts it.
func newNetwork(t testing.TB, replicas, leaders, acceptors int, options string, seed uint64) *network {
	n := &network{
		t: t, random: rand.New(rand.NewPCG(seed, 1)),
		machines: map[consensus.NodeID]*Machine{}, apps: map[consensus.NodeID]*consensus.Application{},
		timers: map[timerKey]uint64{}, dead: map[consensus.NodeID]bool{},
		cut:    func(_, _ consensus.NodeID) bool { return false },
		delay:  func() time.Duration { return 40 * time.Millisecond },
		chosen: map[uint64]consensus.Command{}, applied: map[consensus.NodeID]map[string]int{},
		answers: map[uint64][]byte{},
	}
	var members []consensus.Member
	add := func(base, count int, role string) {
		for i := range count {
			id := consensus.NodeID(base + i)
			members = append(members, consensus.Member{ID: id, Name: fmt.Sprint(role, i+1), Roles: []string{role}})
		}
	}
	add(1, replicas, RoleReplica)
	add(11, leaders, RoleLeader)
	add(21, acceptors, RoleAcceptor)
	n.start(members, options, seed)
	return n
}

func (n *network) start(members []consensus.Member, options string, seed uint64) {
	for _, member := range members {
		machine, err := New(consensus.Config{Self: member.ID, Members: members, Options: json.RawMessage(options), Seed: seed})
		if err != nil {
			n.t.Fatal(err)
		}
		n.ids = append(n.ids, member.ID)
		n.machines[member.ID] = machine
		if machine.replica != nil {
			seen := map[string]int{}
			n.applied[member.ID] = seen
			n.apps[member.ID] = consensus.NewApplication(counting{kv.New(), seen})
		}
	}
	for _, id := range n.ids {
		n.schedule(0, id, consensus.Input{Kind: consensus.InputStart})
	}
}

func (n *network) schedule(after time.Duration, to consensus.NodeID, input consensus.Input) uint64 {
	n.order++
	heap.Push(&n.queue, event{at: n.now.Add(after), order: n.order, to: to, input: input})
	return n.order
}

// send hands a client's command to replicas after the usual delay.
func (n *network) send(command consensus.Command, to ...consensus.NodeID) {
	for _, id := range to {
		n.schedule(n.delay(), id, consensus.Input{Kind: consensus.InputCommand, From: testClient, Command: command})
	}
}

// update is the client's command with the given sequence number.
func update(sequence, firstUnanswered uint64) consensus.Command {
	return consensus.Command{
		Client: consensus.NewClientID(testClient, 0), Sequence: sequence, FirstUnanswered: firstUnanswered,
		Operation: kv.AppendOperation(nil, kv.Operation{Kind: kv.Create, Key: sequence, Value: fmt.Sprint("v", sequence)}),
	}
}

// run goes on for a span of virtual time.
func (n *network) run(span time.Duration) {
	end := n.now.Add(span)
	for len(n.queue) > 0 && n.queue[0].at <= end {
		e := heap.Pop(&n.queue).(event)
		n.now = e.at
		n.deliver(e)
	}
	n.now = end
}

func (n *network) deliver(e event) {
	if n.dead[e.to] {
		return
	}
	if e.input.Kind == consensus.InputTimer {
		key := timerKey{e.to, e.input.Timer}
		if n.timers[key] != e.order {
			return
		}
		delete(n.timers, key)
	}
	if e.input.Kind == consensus.InputMessage && n.keep {
		n.trace = append(n.trace, fmt.Sprintf("%4dms %v -> %v %s", int64(n.now)/1e6, e.input.From, e.to, describe(e.input.Message)))
	}
	if app := n.apps[e.to]; app != nil && e.input.Kind == consensus.InputCommand {
		if response, ok := app.Answer(e.input.Command); ok {
			n.answers[response.Sequence] = response.Result
			return
		}
	}
	var out consensus.Outbox
	n.machines[e.to].Step(n.now, e.input, &out)
	n.carryOut(e.to, &out)
}

func (n *network) carryOut(id consensus.NodeID, out *consensus.Outbox) {
	for _, m := range out.Messages {
		if n.onSend != nil {
			n.onSend(id, m.To, m.Message)
		}
		input := consensus.Input{Kind: consensus.InputMessage, From: id, Message: m.Message}
		if m.To == id {
			n.schedule(0, id, input)
			continue
		}
		if n.dead[id] || n.cut(id, m.To) || n.random.Float64() < n.loss {
			continue
		}
		n.schedule(n.delay(), m.To, input)
		if n.random.Float64() < n.twice {
			n.schedule(n.delay(), m.To, input)
		}
	}
	for _, c := range out.Committed {
		n.commit(id, c)
	}
	for _, change := range out.Timers {
		key := timerKey{id, change.Timer}
		if change.Cancel {
			delete(n.timers, key)
			continue
		}
		n.timers[key] = n.schedule(change.After, id, consensus.Input{Kind: consensus.InputTimer, Timer: change.Timer})
	}
}

// commit checks the invariants that concern decided commands.
func (n *network) commit(id consensus.NodeID, c consensus.Committed) {
	if before, known := n.chosen[c.Slot]; known && !before.Same(c.Command) {
		n.t.Fatalf("slot %d was decided as command %d, replica %v commits command %d", c.Slot, before.Sequence, id, c.Command.Sequence)
	}
	n.chosen[c.Slot] = c.Command
	n.apps[id].Apply(c.Slot, c.Command, func(response consensus.Response) { // panics on a gap
		n.answers[response.Sequence] = response.Result
	})
	for operation, count := range n.applied[id] {
		if count > 1 {
			n.t.Fatalf("replica %v applied operation %q %d times", id, operation, count)
		}
	}
	r := n.machines[id].replica
	if r.slotIn >= r.slotOut+r.options.Window+1 {
		n.t.Fatalf("replica %v: slot_in %d, slot_out %d, window %d", id, r.slotIn, r.slotOut, r.options.Window)
	}
}

// agree checks that the live replicas have committed the same and reached the
// same state.
func (n *network) agree() {
	n.t.Helper()
	var first consensus.NodeID
	for _, id := range n.ids {
		if n.apps[id] == nil || n.dead[id] {
			continue
		}
		if first == 0 {
			first = id
			continue
		}
		if a, b := n.apps[first], n.apps[id]; a.Slot() != b.Slot() || a.Hash() != b.Hash() {
			n.t.Errorf("replicas %v and %v stand at slots %d and %d, states equal: %v", first, id, a.Slot(), b.Slot(), a.Hash() == b.Hash())
		}
	}
}

func describe(message consensus.Message) string {
	switch m := message.(type) {
	case *Propose:
		return fmt.Sprintf("propose(%d, #%d)", m.Slot, m.Command.Sequence)
	case *Progress:
		return fmt.Sprintf("progress(%d)", m.SlotOut)
	case *Decision:
		return fmt.Sprintf("decision(%d, #%d)", m.Slot, m.Command.Sequence)
	case *Phase1a:
		return fmt.Sprintf("phase1a%v", m.Ballot)
	case *Phase1b:
		text := fmt.Sprintf("phase1b%v", m.Ballot)
		for _, p := range m.Accepted {
			text += fmt.Sprintf(" [%v %d #%d]", p.Ballot, p.Slot, p.Command.Sequence)
		}
		return text
	case *Phase2a:
		return fmt.Sprintf("phase2a(%v, %d, #%d)", m.Ballot, m.Slot, m.Command.Sequence)
	case *Phase2b:
		return fmt.Sprintf("phase2b(%v, %d)", m.Ballot, m.Slot)
	case *Pong:
		return fmt.Sprintf("pong%v", m.Ballot)
	}
	return message.Label().Kind
}
