package multipaxos

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
)

// network drives machines in virtual time over links that lose, duplicate and
// reorder, with disks that take time to sync and processes that end and are
// started again, and checks the protocol's invariants after each step.
type network struct {
	t        testing.TB
	now      consensus.Time
	random   *rand.Rand
	members  []consensus.Member
	options  string
	seed     uint64
	machines map[consensus.NodeID]*Machine
	apps     map[consensus.NodeID]*consensus.Application
	disks    map[consensus.NodeID]*disk
	ids      []consensus.NodeID
	queue    events
	order    uint64
	timers   map[timerKey]uint64 // the order number of the event that counts
	lives    map[consensus.NodeID]int
	dead     map[consensus.NodeID]bool
	cut      func(from, to consensus.NodeID) bool
	loss     float64
	twice    float64
	delay    func() time.Duration
	sync     time.Duration
	// checkpointEvery is after how many records a checkpoint is made; 0 is never.
	checkpointEvery int
	// interrupt, unless nil, says whether a process crashes at a boundary.
	interrupt   func(id consensus.NodeID, at boundary) bool
	chosen      map[uint64]consensus.Command
	applied     map[consensus.NodeID]map[string]int
	answers     map[uint64][]byte // by the sequence number of client's commands
	oracle      *oracle
	trace       []string
	keep        bool // the trace
	keepRecords bool // too
	onSend      func(from, to consensus.NodeID, message consensus.Message)
	// catch takes a message off the network, unless it is false.
	catch func(from, to consensus.NodeID, message consensus.Message) bool
}

// boundary is a place in a driver's work where a crash is worth more than
// elsewhere.
type boundary uint8

const (
	// afterPersist is before the records are synced, when only messages that
	// don't wait for them have left.
	afterPersist boundary = iota
	// afterSync is before the messages that waited leave.
	afterSync
	// afterPromise and afterAcceptance are right after such a message has left.
	afterPromise
	afterAcceptance
	// afterApply is after clients were answered.
	afterApply
	boundaries
)

// disk is what a process persists: durable records since the checkpoint, and
// those that a crash would lose.
type disk struct {
	snapshot []byte
	durable  []consensus.Message
	pending  int // syncs under way
	unsynced []consensus.Message
	// slot is up to where snapshot and durable decisions reach.
	slot uint64
	// epoch counts the checkpoints; records of an earlier one are superseded.
	epoch int
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
	// life, unless negative, is the only one of the process's that it concerns.
	life int
	// synced, unless nil, says that the disk has these records, after which the
	// messages may leave.
	synced   []consensus.Message
	released []consensus.Outgoing
	epoch    int
	// restart boots the process.
	restart bool
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

// administrator is the client that changes the configuration.
var administrator = consensus.NewClientID(testClient, 9)

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
	n := emptyNetwork(t, options, seed)
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
	n.start(members)
	return n
}

func emptyNetwork(t testing.TB, options string, seed uint64) *network {
	return &network{
		t: t, options: options, seed: seed, random: rand.New(rand.NewPCG(seed, 1)),
		machines: map[consensus.NodeID]*Machine{}, apps: map[consensus.NodeID]*consensus.Application{},
		disks: map[consensus.NodeID]*disk{}, lives: map[consensus.NodeID]int{},
		timers: map[timerKey]uint64{}, dead: map[consensus.NodeID]bool{},
		cut:    func(_, _ consensus.NodeID) bool { return false },
		delay:  func() time.Duration { return 40 * time.Millisecond },
		chosen: map[uint64]consensus.Command{}, applied: map[consensus.NodeID]map[string]int{},
		answers: map[uint64][]byte{},
	}
}

func (n *network) start(members []consensus.Member) {
	n.members = members
	n.oracle = newOracle(n)
	for _, member := range members {
		n.ids = append(n.ids, member.ID)
		n.disks[member.ID] = &disk{}
		n.boot(member.ID)
	}
}

// boot starts a process from its disk.
func (n *network) boot(id consensus.NodeID) {
	n.dead[id] = false
	machine, err := New(consensus.Config{Self: id, Members: n.members, Options: json.RawMessage(n.options), Seed: n.seed})
	if err != nil {
		n.t.Fatal(err)
	}
	n.machines[id] = machine
	n.oracle.booted(id)
	d := n.disks[id]
	start := consensus.Input{Kind: consensus.InputStart, Recovered: slices.Clone(d.durable)}
	if machine.replica != nil {
		n.applied[id] = map[string]int{}
		app := consensus.NewApplication(counting{kv.New(), n.applied[id]})
		if d.snapshot != nil {
			if err := app.Restore(d.snapshot); err != nil {
				n.t.Fatal(err)
			}
		}
		n.apps[id] = app
		start.Slot = app.Slot()
	}
	n.schedule(0, id, start)
}

// crash ends a process; what its disk hasn't synced is lost.
func (n *network) crash(id consensus.NodeID) {
	n.dead[id] = true
	n.lives[id]++
	d := n.disks[id]
	d.unsynced, d.pending = nil, 0
	n.oracle.crashed()
}

// interrupted crashes the process if it is to crash here, and has it restarted
// soon.
func (n *network) interrupted(id consensus.NodeID, at boundary) bool {
	if n.interrupt == nil || !n.interrupt(id, at) {
		return false
	}
	n.crash(id)
	n.order++
	after := time.Duration(n.random.Int64N(int64(2 * time.Millisecond)))
	if n.random.IntN(8) == 0 {
		after *= 1000
	}
	heap.Push(&n.queue, event{at: n.now.Add(after), order: n.order, to: id, life: -1, restart: true})
	return true
}

func (n *network) schedule(after time.Duration, to consensus.NodeID, input consensus.Input) uint64 {
	n.order++
	e := event{at: n.now.Add(after), order: n.order, to: to, input: input, life: n.lives[to]}
	if input.Kind == consensus.InputMessage && input.From != to || input.Kind == consensus.InputCommand {
		e.life = -1
	}
	heap.Push(&n.queue, e)
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
	if e.restart && n.dead[e.to] {
		n.boot(e.to)
		return
	}
	if e.restart || n.dead[e.to] || e.life >= 0 && e.life != n.lives[e.to] {
		return
	}
	if e.released != nil {
		n.synced(e)
		return
	}
	if e.input.Kind == consensus.InputTimer {
		key := timerKey{e.to, e.input.Timer}
		if n.timers[key] != e.order {
			return
		}
		delete(n.timers, key)
	}
	switch {
	case !n.keep:
	case e.input.Kind == consensus.InputMessage:
		n.note("%v -> %v %v", e.input.From, e.to, e.input.Message)
	case e.input.Kind == consensus.InputCommand:
		n.note("%v -> %v request(%v)", e.input.From, e.to, e.input.Command)
	}
	if app := n.apps[e.to]; app != nil && e.input.Kind == consensus.InputCommand {
		if response, ok := app.Answer(e.input.Command); ok {
			n.answer(e.to, response)
			return
		}
	}
	var out consensus.Outbox
	n.oracle.before(e)
	n.machines[e.to].Step(n.now, e.input, &out)
	n.oracle.after(e)
	n.carryOut(e.to, &out)
}

// answer gives a client the result of a command that was applied.
func (n *network) answer(from consensus.NodeID, response consensus.Response) {
	n.note("%v answers %v at slot %d", from, consensus.Command{Client: response.Client, Sequence: response.Sequence}, response.Slot)
	n.oracle.replied(from, response)
	n.answers[response.Sequence] = response.Result
}

// note adds to the trace. Arguments are formatted only if there is one.
func (n *network) note(format string, arguments ...any) {
	if n.keep {
		for i, argument := range arguments {
			switch a := argument.(type) {
			case consensus.Message:
				arguments[i] = describe(a)
			case consensus.Command:
				arguments[i] = describeCommand(a)
			case consensus.Event:
				arguments[i] = describeEvent(a)
			}
		}
		n.trace = append(n.trace, fmt.Sprintf("%4dms ", int64(n.now)/1e6)+fmt.Sprintf(format, arguments...))
	}
}

// noteRecord adds to the trace what happens to a record.
func (n *network) noteRecord(format string, id consensus.NodeID, record consensus.Message) {
	if n.keepRecords {
		n.note(format, id, record)
	}
}

// synced notes that records are durable and lets go what waited for them.
func (n *network) synced(e event) {
	d := n.disks[e.to]
	if e.epoch == d.epoch {
		d.durable = append(d.durable, e.synced...)
		d.unsynced = d.unsynced[len(e.synced):]
		for _, record := range e.synced {
			n.noteRecord("%v has synced %v", e.to, record)
			if m, ok := record.(*Decision); ok && m.Slot == d.slot+1 {
				d.slot++
			}
		}
	}
	d.pending--
	if n.interrupted(e.to, afterSync) {
		return
	}
	n.transmit(e.to, e.released)
	at := boundaries
	for _, m := range e.released {
		switch m.Message.(type) {
		case *Phase1b:
			at = afterPromise
		case *Phase2b:
			at = afterAcceptance
		}
	}
	if at != boundaries {
		n.interrupted(e.to, at)
	}
}

// checkpoint replaces all records by those that the machine still needs.
func (n *network) checkpoint(id consensus.NodeID) {
	var out consensus.Outbox
	n.machines[id].Step(n.now, consensus.Input{Kind: consensus.InputCheckpoint}, &out)
	if len(out.Messages)+len(out.Committed)+len(out.Timers)+len(out.Events) > 0 {
		n.t.Fatalf("a checkpoint of %v does more than persist", id)
	}
	d := n.disks[id]
	d.durable, d.unsynced = out.Records, nil
	d.epoch++
	if app := n.apps[id]; app != nil {
		d.snapshot, d.slot = app.Snapshot(), app.Slot()
	}
}

func (n *network) carryOut(id consensus.NodeID, out *consensus.Outbox) {
	for _, e := range out.Events {
		n.note("%v: %v", id, e)
	}
	for _, c := range out.Committed { // known from here on, even if the process crashes
		n.choose(id, c)
	}
	if out.Install != nil { // then a checkpoint comes before what waits for a sync
		if err := n.apps[id].Restore(out.Install.State); err != nil {
			n.t.Fatal(err)
		}
		clear(n.applied[id])
		n.note("%v installs the snapshot of slot %d", id, out.Install.Slot)
	} else if !n.persist(id, out) {
		return
	}
	for _, c := range out.Committed {
		n.commit(id, c)
	}
	if len(out.Committed) > 0 && n.interrupted(id, afterApply) {
		return
	}
	if out.Install != nil {
		n.checkpoint(id)
		out.Records = nil // the checkpoint has them
		if !n.persist(id, out) {
			return
		}
	}
	for _, command := range out.Reads {
		response := n.apps[id].Read(command)
		n.oracle.read(id, command, response)
		n.note("%v answers %v at slot %d", id, command, response.Slot)
		n.answers[command.Sequence] = response.Result
	}
	for _, transfer := range out.Transfers {
		app := n.apps[id]
		snapshot := &consensus.Snapshot{Slot: app.Slot(), State: app.Snapshot(), With: transfer.With}
		n.transmit(id, []consensus.Outgoing{{To: transfer.To, Message: snapshot}})
	}
	for _, change := range out.Timers {
		key := timerKey{id, change.Timer}
		if change.Cancel {
			delete(n.timers, key)
			continue
		}
		n.timers[key] = n.schedule(change.After, id, consensus.Input{Kind: consensus.InputTimer, Timer: change.Timer})
	}
	n.oracle.stepped(id, out)
	if d := n.disks[id]; n.checkpointEvery > 0 && len(d.durable) >= n.checkpointEvery && d.pending == 0 {
		n.checkpoint(id) // only now has the application what the machine committed
	}
}

// persist begins to write the records, and sends what needn't wait for them. It
// is false if the process crashes meanwhile.
func (n *network) persist(id consensus.NodeID, out *consensus.Outbox) bool {
	d := n.disks[id]
	life := n.lives[id]
	later := []consensus.Outgoing{}
	var now []consensus.Outgoing
	for _, m := range out.Messages {
		if m.AfterSync {
			later = append(later, m)
		} else {
			now = append(now, m)
		}
	}
	n.transmit(id, now)
	if len(out.Records)+len(later) == 0 {
		return true
	}
	if n.interrupted(id, afterPersist) {
		return false
	}
	for _, record := range out.Records {
		n.noteRecord("%v writes %v", id, record)
	}
	d.unsynced = append(d.unsynced, out.Records...)
	d.pending++
	n.order++
	e := event{at: n.now.Add(n.sync), order: n.order, to: id, life: life, synced: slices.Clone(out.Records), released: later, epoch: d.epoch}
	if n.sync == 0 {
		n.synced(e)
		return n.lives[id] == life
	}
	heap.Push(&n.queue, e)
	return true
}

// transmit sends messages, unless the network has other plans.
func (n *network) transmit(id consensus.NodeID, messages []consensus.Outgoing) {
	for _, m := range messages {
		n.oracle.sent(id, m)
		if n.onSend != nil {
			n.onSend(id, m.To, m.Message)
		}
		input := consensus.Input{Kind: consensus.InputMessage, From: id, Message: m.Message}
		if m.To == id {
			n.schedule(0, id, input)
			continue
		}
		if n.catch != nil && n.catch(id, m.To, m.Message) || n.cut(id, m.To) || n.random.Float64() < n.loss {
			continue
		}
		n.schedule(n.delay(), m.To, input)
		if n.random.Float64() < n.twice {
			n.schedule(n.delay(), m.To, input)
		}
	}
}

// choose checks that a slot has one command.
func (n *network) choose(id consensus.NodeID, c consensus.Committed) {
	if before, known := n.chosen[c.Slot]; known && !before.Same(c.Command) {
		n.t.Fatalf("slot %d was decided as command %d, replica %v commits command %d", c.Slot, before.Sequence, id, c.Command.Sequence)
	}
	n.chosen[c.Slot] = c.Command
	n.oracle.committed(c)
}

// commit applies a command, which must not have been applied before.
func (n *network) commit(id consensus.NodeID, c consensus.Committed) {
	n.note("%v commits %v to slot %d", id, c.Command, c.Slot)
	n.apps[id].Apply(c.Slot, c.Command, func(response consensus.Response) { // panics on a gap
		n.answer(id, response)
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
	n.oracle.replayReads()
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
