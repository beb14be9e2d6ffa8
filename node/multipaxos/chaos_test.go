package multipaxos

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/kv"
)

// chaos is a random run with everything at once: loss, duplication, reordering,
// cut links, processes that crash at the boundaries of persisting and sending
// and come back from their disks, changes of the configuration, batches, reads
// without slots, snapshots. Then the network heals, and all must be answered.
type chaos struct {
	*network
	commands uint64
	// drawn are the options and parameters, for whoever looks into a failure.
	drawn []string
}

func newChaos(t testing.TB, seed uint64) *chaos {
	c := &chaos{}
	probe := emptyNetwork(t, "", seed)
	pick := func(what string, choices ...string) string {
		choice := choices[probe.random.IntN(len(choices))]
		if choice != "" {
			c.drawn = append(c.drawn, what+": "+choice)
		}
		return choice
	}
	fields := []string{`"resend": "200ms"`}
	for _, field := range []string{
		pick("window", `"window": 4`, `"window": 20`, `"window": 100`),
		pick("duel", "", `"watch": false, "backoff": {"strategy": "exponential", "initial": "100ms"}`,
			`"watch": false, "backoff": {"strategy": "decorrelated", "initial": "50ms", "cap": "2s"}`),
		pick("batch", "", "", `"batch": {"size": 4}`, `"batch": {"size": 8, "delay": "20ms"}`),
		pick("pipeline", "", "", `"pipeline": 1`, `"pipeline": 3`),
		pick("reads", "", `"reads": "confirm"`, `"reads": "confirm"`),
		pick("retain", "", `"retain": 5`, `"retain": 20`),
		pick("choice", "", "", `"quorums": {"choice": "random"}`),
	} {
		if field != "" {
			fields = append(fields, field)
		}
	}
	options := "{" + strings.Join(fields, ", ") + "}"
	acceptors := 1 + probe.random.IntN(5)
	c.network = emptyNetwork(t, options, seed)
	var members []consensus.Member
	add := func(base, count, spares int, role string) {
		for i := range count + spares {
			members = append(members, consensus.Member{
				ID: consensus.NodeID(base + i), Name: fmt.Sprint(role, i+1), Roles: []string{role}, Spare: i >= count,
			})
		}
	}
	add(1, 1+probe.random.IntN(3), 0, RoleReplica)
	add(11, 1+probe.random.IntN(3), 2, RoleLeader)
	add(21, acceptors, 3, RoleAcceptor)
	c.sync = time.Duration(probe.random.IntN(3)) * 7 * time.Millisecond
	c.checkpointEvery = []int{0, 10, 50}[probe.random.IntN(3)]
	c.start(members)
	c.loss = c.random.Float64() * 0.3
	c.twice = c.random.Float64() * 0.3
	c.delay = func() time.Duration {
		return time.Millisecond + time.Duration(c.random.Int64N(int64(80*time.Millisecond)))
	}
	isolated := c.ids[c.random.IntN(len(c.ids))]
	c.cut = func(from, to consensus.NodeID) bool {
		return int64(c.now)/1e9%4 == 1 && (from == isolated || to == isolated)
	}
	return c
}

// request sends one more command of the client, or a read, to some replicas.
func (c *chaos) request() {
	c.commands++
	command := update(c.commands, 1)
	if c.random.IntN(3) == 0 {
		command.Kind, command.Operation = consensus.KindRead, kv.AppendOperation(nil, kv.Operation{Kind: kv.Read, Key: c.commands})
		c.oracle.sendsRead(c.commands)
	}
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
		} else {
			c.crash(id)
		}
	case 3: // gone and back within the time that a message takes
		if !c.dead[id] {
			c.crash(id)
			c.boot(id)
		}
	case 4:
		c.reconfigure()
	}
}

// reconfigure asks a live replica for random leaders and acceptors.
func (c *chaos) reconfigure() {
	config := consensus.Config{Members: c.members, Options: json.RawMessage(c.options)}
	some := func(role string) []string {
		var names []string
		for _, m := range c.members {
			if m.Has(role) && c.random.IntN(2) == 0 {
				names = append(names, m.Name)
			}
		}
		return names
	}
	data, _ := json.Marshal(change{Leaders: some(RoleLeader), Acceptors: some(RoleAcceptor)})
	operation, err := reconfigure(config, data)
	if err != nil || c.dead[1] {
		return // an empty change is refused
	}
	sequence := uint64(c.now) + 1
	c.schedule(0, 1, consensus.Input{Kind: consensus.InputCommand, From: 1, Command: consensus.Command{
		Kind: consensus.KindReconfigure, Client: consensus.NewClientID(1, 9), Sequence: sequence, FirstUnanswered: sequence, Operation: operation,
	}})
}

// heal ends all disturbance and lets clients ask again, as those do that want
// an answer.
func (c *chaos) heal() {
	c.loss, c.twice = 0, 0
	c.cut = func(_, _ consensus.NodeID) bool { return false }
	for _, id := range c.ids {
		if c.dead[id] {
			c.boot(id)
		}
	}
}

func chaosRun(t *testing.T, seed uint64) *chaos {
	c := newChaos(t, seed)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d drew %v, disk %v, a checkpoint every %d records", seed, c.drawn, c.sync, c.checkpointEvery)
		}
	}()
	for c.commands < 60 {
		c.request()
		c.run(time.Duration(c.random.Int64N(int64(150 * time.Millisecond))))
		c.disturb()
	}
	c.heal()
	c.run(2 * time.Minute)
	for range 20 { // what a client still awaits it asks again
		for sequence := uint64(1); sequence <= c.commands; sequence++ {
			if _, ok := c.answers[sequence]; !ok {
				c.send(update(sequence, 1), 1)
			}
		}
		c.run(10 * time.Second)
	}
	if len(c.answers) < int(c.commands) {
		t.Errorf("%d of %d commands answered minutes after healing", len(c.answers), c.commands)
	}
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
	changes := 0
	for seed := range uint64(60) {
		c := chaosRun(t, seed)
		changes += len(c.oracle.configurations) - 1
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
	} {
		if count < 10 {
			t.Errorf("only %d %s in 60 runs", count, what)
		}
	}
}
