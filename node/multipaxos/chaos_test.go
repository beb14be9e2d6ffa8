package multipaxos

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
)

// chaos is a random run with everything at once: loss, duplication, reordering,
// cut links, processes that crash, most of all at the boundaries of persisting,
// sending and applying, and come back from their disks, changes of the
// configuration, batches, reads without slots, snapshots. Then the network heals,
// and all must be answered.
type chaos struct {
	*network
	commands uint64
	// sent are the client's commands, from the first on.
	sent []consensus.Command
	// patient says that the client never asks again: then replica 1, which all
	// commands reach, never crashes.
	patient bool
	// drawn are the options and parameters, for whoever looks into a failure.
	drawn []string
	// fixed is the number of acceptors that the quorums need, 0 if any will do.
	fixed int
}

// pick draws one of the choices; the empty one stands for a default.
func (c *chaos) pick(what string, choices ...string) string {
	choice := choices[c.random.IntN(len(choices))]
	if choice != "" {
		c.drawn = append(c.drawn, what+": "+choice)
	}
	return choice
}

func newChaos(t testing.TB, seed uint64) *chaos {
	c := &chaos{network: emptyNetwork(t, "", seed)}
	quorums := c.pick("quorums", "", "", "", `"quorums": {"choice": "random"}`,
		`"quorums": {"kind": "flexible", "phase2": 2}`, `"quorums": {"kind": "flexible", "phase1": 2, "choice": "random"}`,
		`"quorums": {"kind": "grid", "rows": 2, "columns": 2}`, `"quorums": {"kind": "grid", "rows": 2, "columns": 3, "choice": "random"}`)
	acceptors := 1 + c.random.IntN(6)
	switch {
	case strings.Contains(quorums, "flexible"):
		acceptors = max(acceptors, 2)
	case strings.Contains(quorums, `"columns": 2`):
		acceptors, c.fixed = 4, 4
	case strings.Contains(quorums, `"columns": 3`):
		acceptors, c.fixed = 6, 6
	}
	fields := []string{`"resend": "200ms"`}
	for _, field := range []string{
		quorums,
		c.pick("window", `"window": 4`, `"window": 20`, `"window": 100`),
		c.pick("duel", "", `"watch": false, "backoff": {"strategy": "exponential", "initial": "100ms"}`,
			`"watch": false, "backoff": {"strategy": "decorrelated", "initial": "50ms", "cap": "2s"}`),
		c.pick("batch", "", "", `"batch": {"size": 4}`, `"batch": {"size": 8, "delay": "20ms"}`),
		c.pick("pipeline", "", "", `"pipeline": 1`, `"pipeline": 3`),
		c.pick("reads", "", `"reads": "confirm"`, `"reads": "confirm"`),
		c.pick("retain", "", `"retain": 5`, `"retain": 20`),
	} {
		if field != "" {
			fields = append(fields, field)
		}
	}
	c.options = "{" + strings.Join(fields, ", ") + "}"
	replicas, leaders := 1+c.random.IntN(3), 1+c.random.IntN(3)
	all := members(replicas, leaders, 2, acceptors, 3)
	if c.pick("layout", "", "shared") != "" {
		all = shared(replicas, leaders, 2, acceptors, 3)
	}
	c.sync = time.Duration(c.random.IntN(3)) * 7 * time.Millisecond
	c.checkpointEvery = []int{0, 10, 50}[c.random.IntN(3)]
	c.patient = c.random.IntN(2) == 0
	c.drawn = append(c.drawn, fmt.Sprintf("%d replicas, %d leaders, %d acceptors, disk %v, a checkpoint every %d records, patient: %v",
		replicas, leaders, acceptors, c.sync, c.checkpointEvery, c.patient))
	c.start(all)
	c.disturbLinks()
	c.disturbProcesses()
	return c
}

// shared makes processes 1.. that have several roles each, the first numbers of
// them in the first configuration, and spare leaders and acceptors apart.
func shared(replicas, leaders, spareLeaders, acceptors, spareAcceptors int) []consensus.Member {
	var all []consensus.Member
	for i := range max(replicas, leaders, acceptors) {
		m := consensus.Member{ID: consensus.NodeID(1 + i), Name: fmt.Sprint("process", 1+i)}
		for role, count := range map[string]int{RoleReplica: replicas, RoleLeader: leaders, RoleAcceptor: acceptors} {
			if i < count {
				m.Roles = append(m.Roles, role)
			}
		}
		all = append(all, m)
	}
	for _, m := range members(0, 0, spareLeaders, 0, spareAcceptors) {
		m.Name = "spare " + m.Name
		all = append(all, m)
	}
	return all
}

func (c *chaos) disturbLinks() {
	c.loss = c.random.Float64() * 0.3
	c.twice = c.random.Float64() * 0.3
	c.delay = func() time.Duration {
		return time.Millisecond + time.Duration(c.random.Int64N(int64(80*time.Millisecond)))
	}
	isolated := c.ids[c.random.IntN(len(c.ids))]
	c.cut = func(from, to consensus.NodeID) bool {
		return int64(c.now)/1e9%4 == 1 && (from == isolated || to == isolated)
	}
}

// disturbProcesses arms some boundaries: one in so many visits is a crash.
func (c *chaos) disturbProcesses() {
	rare := [boundaries]int{afterPersist: 40, afterSync: 40, afterPromise: 4, afterAcceptance: 30, afterApply: 30}
	var armed [boundaries]bool
	for at := range armed {
		armed[at] = c.random.IntN(3) == 0
	}
	c.drawn = append(c.drawn, fmt.Sprint("crashes: ", armed))
	c.interrupt = func(id consensus.NodeID, at boundary) bool {
		return armed[at] && !c.spared(id) && c.random.IntN(rare[at]) == 0
	}
}

func (c *chaos) spared(id consensus.NodeID) bool { return c.patient && id == 1 }

// request sends one more command of the client, or a read, to some replicas.
func (c *chaos) request() {
	c.commands++
	command := update(c.commands, 1)
	kind := []kv.Kind{kv.Create, kv.Update, kv.Read}[c.random.IntN(3)]
	// The value of a read means nothing, but tells it from others.
	operation := kv.Operation{Kind: kind, Key: c.random.Uint64N(4), Value: fmt.Sprint("v", c.commands)}
	if kind == kv.Read {
		command.Kind = consensus.KindRead
		c.oracle.sendsRead(c.commands)
	}
	command.Operation = kv.AppendOperation(nil, operation)
	c.sent = append(c.sent, command)
	for _, id := range c.ids {
		if c.apps[id] != nil && (id == 1 || c.random.IntN(4) > 0) {
			c.send(command, id)
		}
	}
}

// disturb crashes or restarts a process, or changes the configuration.
func (c *chaos) disturb() {
	id := c.ids[c.random.IntN(len(c.ids))]
	switch c.random.IntN(8) {
	case 0, 1, 2:
		if c.dead[id] {
			c.boot(id)
		} else if !c.spared(id) {
			c.crash(id)
		}
	case 3: // gone and back within the time that a message takes
		if !c.dead[id] && !c.spared(id) {
			c.crash(id)
			c.boot(id)
		}
	case 4:
		c.reconfigure()
	}
}

// reconfigure asks a live replica for random leaders and acceptors.
func (c *chaos) reconfigure() {
	some := func(role string, exactly int) []string {
		var names []string
		for _, m := range c.members {
			if m.Has(role) && (exactly > 0 || c.random.IntN(2) == 0) {
				names = append(names, m.Name)
			}
		}
		if exactly > 0 {
			c.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			names = names[:exactly]
		}
		return names
	}
	data, _ := json.Marshal(change{Leaders: some(RoleLeader, 0), Acceptors: some(RoleAcceptor, c.fixed)})
	operation, err := reconfigure(consensus.Config{Members: c.members, Options: json.RawMessage(c.options)}, data)
	if err != nil || c.dead[1] {
		return // an empty change is refused, and one whose quorums would miss each other
	}
	sequence := uint64(c.now) + 1
	c.schedule(0, 1, consensus.Input{Kind: consensus.InputCommand, From: 1, Command: consensus.Command{
		Kind: consensus.KindReconfigure, Client: consensus.NewClientID(1, 9), Sequence: sequence, FirstUnanswered: sequence, Operation: operation,
	}})
}

// heal ends all disturbance.
func (c *chaos) heal() {
	c.loss, c.twice, c.interrupt = 0, 0, nil
	c.cut = func(_, _ consensus.NodeID) bool { return false }
	for _, id := range c.ids {
		if c.dead[id] {
			c.boot(id)
		}
	}
}

// settle goes on until all is answered and the replicas agree. Only a client
// that isn't patient asks again.
func (c *chaos) settle(t *testing.T) {
	var missing []consensus.Command
	for range 60 {
		c.run(5 * time.Second)
		missing = slices.DeleteFunc(slices.Clone(c.sent), func(command consensus.Command) bool { return c.answers[command.Sequence] != nil })
		if len(missing) == 0 && c.level() {
			slot := c.apps[1].Slot()
			c.run(2 * time.Second) // no-ops may still be on their way to a new configuration
			if c.level() && c.apps[1].Slot() == slot {
				return
			}
		}
		if !c.patient {
			for _, command := range missing {
				c.send(command, 1)
			}
		}
	}
	t.Errorf("%d of %d commands not answered minutes after healing, replicas level: %v", len(missing), c.commands, c.level())
}

// level tells whether all replicas stand at one slot.
func (c *chaos) level() bool {
	for _, app := range c.apps {
		if app.Slot() != c.apps[1].Slot() {
			return false
		}
	}
	return true
}

func chaosRun(t *testing.T, seed uint64) *chaos {
	c := newChaos(t, seed)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d drew:\n\t%s", seed, strings.Join(c.drawn, "\n\t"))
		}
	}()
	for c.commands < 60 {
		c.request()
		c.run(time.Duration(c.random.Int64N(int64(150 * time.Millisecond))))
		c.disturb()
	}
	c.heal()
	c.settle(t)
	c.oracle.crashed() // what the disks hold at the end
	c.agree()
	return c
}

func TestChaosIsSafeAndEverythingIsAnsweredOnceItEnds(t *testing.T) {
	runs := 400
	if testing.Short() {
		runs = 40
	}
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { chaosRun(t, seed) })
	}
}

// A chaos that never reaches a corner proves nothing about it.
func TestChaosReachesTheCornersThatItIsFor(t *testing.T) {
	var sum counters
	changes, phases := 0, map[string]uint64{}
	for seed := range uint64(80) {
		c := chaosRun(t, seed)
		changes += len(c.oracle.configurations) - 1
		for key := range c.oracle.used {
			phases[fmt.Sprint("quorums of phase ", key.phase)]++
		}
		for _, m := range c.machines {
			sum.snapshots += m.counters.snapshots
			sum.readRounds += m.counters.readRounds
			sum.reads += m.counters.reads
			sum.noops += m.counters.noops
			sum.preempted += m.counters.preempted
		}
	}
	for what, count := range map[string]uint64{
		"snapshots installed": sum.snapshots, "read rounds": sum.readRounds, "reads": sum.reads,
		"no-ops": sum.noops, "pre-emptions": sum.preempted, "configurations": uint64(changes),
		"phase 1 quorums": phases["quorums of phase 1"], "phase 2 quorums": phases["quorums of phase 2"],
	} {
		if count < 10 {
			t.Errorf("only %d %s in 80 runs", count, what)
		}
	}
}
