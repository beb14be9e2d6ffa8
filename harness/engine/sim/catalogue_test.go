package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/results"
	"quorumlab/topologies"
)

// Faults of the catalogue's tests begin at brokenFrom, and those that last are healed at
// brokenTo. What TCP lost is sent again until wholeFrom.
const (
	brokenFrom, brokenTo = time.Second, 2 * time.Second
	wholeFrom            = 3500 * time.Millisecond
	brokenLoad           = 5 * time.Second
)

// broken is a scenario with one fault, run.
type broken struct {
	*scenario
	*engine.Simulated
	// at are the times of the events of each meaning and node, since the load began.
	at map[string][]time.Duration
}

// fiveProcesses is five processes with all roles and a client, each on a host of its own,
// 1 ms from the switch; n6 is a spare sixth acceptor, n7 the client.
func fiveProcesses() *scenario {
	spare := []string{multipaxos.RoleAcceptor}
	sc := newScenario(multipaxos.Name, topologies.Parameters{Delay: time.Millisecond}, 1,
		allRoles, allRoles, allRoles, allRoles, allRoles, spare)
	sc.Cluster.Nodes[5].Spare = true
	sc.Cluster.Storage = control.StorageFsync
	sc.Cluster.Options = map[string]any{"window": 10}
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.TimeoutNS = 100, int64(brokenLoad), int64(2*time.Second)
		load.Mix = map[string]float64{"update": 1}
	})
	return sc
}

// tree puts n2 to n6 behind a second switch.
func (sc *scenario) tree() {
	p := topologies.Parameters{Delay: time.Millisecond}
	sc.Topology.Switches = append(sc.Topology.Switches, "s2")
	for i := range sc.Topology.Links[:6] {
		if i > 0 {
			sc.Topology.Links[i].B = "s2"
		}
	}
	sc.Topology.Links = append(sc.Topology.Links, topologies.Link{Name: "s2-s1", A: "s2", B: "s1", AToB: p, BToA: p})
}

// breakIt runs the scenario; tamper may be nil.
func (sc *scenario) breakIt(t *testing.T, tamper func(*faults.Order)) broken {
	t.Helper()
	b := broken{scenario: sc, at: map[string][]time.Duration{}}
	sc.rows = nil
	type event struct {
		at   consensus.Time
		name string
	}
	var events []event
	sc.Event = func(at consensus.Time, node string, e consensus.Event) {
		events = append(events, event{at, e.Kind + " " + node})
	}
	s, err := newTrial(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	if s.faulting != nil {
		s.faulting.tamper = tamper
	}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	b.Simulated = s.result()
	for _, e := range events {
		b.at[e.name] = append(b.at[e.name], time.Duration(e.at-b.LoadStart))
	}
	return b
}

// answered counts the answers that came between two times of the load.
func (b broken) answered(from, to time.Duration) (count int) {
	for _, row := range b.rows {
		if at := time.Duration(row.DoneNS - int64(b.LoadStart)); row.Outcome == results.OutcomeOK && at >= from && at < to {
			count++
		}
	}
	return count
}

// median is the median latency of the requests that were due between two times.
func (b broken) median(from, to time.Duration) time.Duration {
	var all []time.Duration
	for _, row := range b.rows {
		if at := time.Duration(row.IntendedNS - int64(b.LoadStart)); row.Outcome == results.OutcomeOK && at >= from && at < to {
			all = append(all, latency(row))
		}
	}
	if len(all) == 0 {
		return -1
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// happened tells whether an event of that kind happened at one of the nodes between two
// times.
func (b broken) happened(kind string, from, to time.Duration, nodes ...string) bool {
	for _, node := range nodes {
		for _, at := range b.at[kind+" "+node] {
			if at >= from && at < to {
				return true
			}
		}
	}
	return false
}

// downPairs names the pairs of hosts between which frames were lost.
func (b broken) downPairs() (names []string) {
	for _, d := range b.Links.Pairs {
		if d.DownDrops > 0 {
			names = append(names, d.Link)
		}
	}
	return names
}

// stopped fails the test unless nothing was answered while the fault lasted, and most was
// before and after.
func stopped(t *testing.T, b broken) {
	t.Helper()
	before, during := b.answered(0, brokenFrom), b.answered(brokenFrom+20*time.Millisecond, brokenTo)
	if after := b.answered(wholeFrom, brokenLoad); before < 95 || during > 0 || after < 140 {
		t.Errorf("%d requests were answered before, %d meanwhile, %d after; want about 100, 0 and 150", before, during, after)
	}
}

// slowed fails the test unless requests took so much longer while the fault lasted.
func slowed(least, most time.Duration) func(*testing.T, broken) {
	return func(t *testing.T, b broken) {
		t.Helper()
		before, during, after := b.median(0, brokenFrom-most), b.median(brokenFrom, brokenTo-most), b.median(wholeFrom, brokenLoad)
		if more := during - before; more < least || more > most || after > before+time.Millisecond {
			t.Errorf("medians are %v before, %v meanwhile, %v after; want %v to %v more meanwhile", before, during, after, least, most)
		}
	}
}

// cutOff fails the test unless frames were lost between these pairs of hosts, and others
// lead meanwhile.
func cutOff(pairs ...string) func(*testing.T, broken) {
	return func(t *testing.T, b broken) {
		t.Helper()
		if down := b.downPairs(); !slices.Equal(down, pairs) {
			t.Errorf("frames were lost from and to %q, want %q", down, pairs)
		}
		if after := b.answered(wholeFrom, brokenLoad); after < 140 {
			t.Errorf("%d requests were answered after, want 150", after)
		}
	}
}

// reconfigured fails the test unless a further configuration is in force at the end.
func reconfigured(t *testing.T, b broken) {
	t.Helper()
	agree(t, b.Simulated)
	for _, name := range []string{"n1", "n2", "n3"} {
		if n := b.Statuses[name].Configuration; n != 1 {
			t.Errorf("%s is in configuration %d, want 1", name, n)
		}
	}
}

var others = []string{"n3", "n4", "n5"}

func share(s float64) *float64 { return &s }

// delayed adds to a link's delay.
func delayed(by time.Duration) func(topologies.Parameters) topologies.Parameters {
	return func(p topologies.Parameters) topologies.Parameters {
		p.Delay += by
		return p
	}
}

// catalogueCase is a kind of fault with parameters, and how its effect and its healing show by
// other means than the evidence.
type catalogueCase struct {
	kind    string
	whom    []string
	p       faults.Parameters
	prepare func(*scenario)
	shows   func(*testing.T, broken)
}

var catalogueCases = map[string]catalogueCase{
	"crash":                {kind: "crash", whom: others, shows: stopped},
	"crash, lost unsynced": {kind: "crash", whom: others, p: faults.Parameters{Disk: faults.DiskLostUnsynced}, prepare: slowDisks, shows: forgot(2)},
	"crash, torn":          {kind: "crash", whom: others, p: faults.Parameters{Disk: faults.DiskTorn}, prepare: slowDisks, shows: forgot(2)},
	"crash, empty":         {kind: "crash", whom: []string{"n5"}, p: faults.Parameters{Disk: faults.DiskEmpty}, shows: forgot(80)},
	"pause":                {kind: "pause", whom: others, shows: stopped},
	"slow_cpu":             {kind: "slow_cpu", whom: others, p: faults.Parameters{Share: share(0.1)}, shows: slowed(2*time.Millisecond, 20*time.Millisecond)},
	"slow_sync": {kind: "slow_sync", whom: others, p: faults.Parameters{Delay: 50 * time.Millisecond},
		shows: slowed(40*time.Millisecond, 120*time.Millisecond)},
	"failing_write": {kind: "failing_write", whom: others, shows: stopped},
	"full_disk":     {kind: "full_disk", whom: others, shows: stopped},
	"clock, rate":   {kind: "clock", whom: []string{"n1"}, p: faults.Parameters{Rate: 8}, prepare: ticking, shows: ticked(270, 290)},
	"clock, jump": {kind: "clock", whom: []string{"n2"}, p: faults.Parameters{Jump: time.Minute}, shows: func(t *testing.T, b broken) {
		if !b.happened("silent", brokenFrom, brokenFrom+20*time.Millisecond, "n2") || b.happened("silent", 0, brokenFrom, "n2") {
			t.Errorf("n2 has suspected the leader at %v, want at once", b.at["silent n2"])
		}
	}},
	"ignore": {kind: "ignore", whom: others, shows: stopped},
	"ignore, of a kind": {kind: "ignore", whom: []string{"n2"}, p: faults.Parameters{Messages: []string{"pong"}}, shows: func(t *testing.T, b broken) {
		if !b.happened("silent", brokenFrom, brokenTo, "n2") || b.happened("silent", 0, brokenFrom, "n2") || b.answered(wholeFrom, brokenLoad) < 140 {
			t.Errorf("n2 has suspected the leader at %v, want while it gets no pongs", b.at["silent n2"])
		}
	}},
	"link_down": {kind: "link_down", p: faults.Parameters{Links: []string{"h[345]-s1"}}, shows: stopped},
	"isolate":   {kind: "isolate", whom: others, shows: stopped},
	"cut":       {kind: "cut", p: faults.Parameters{From: []string{"n1"}, To: []string{"n2", "n3"}}, shows: cutOff("h1>h2", "h1>h3")},
	"partition": {kind: "partition", p: faults.Parameters{Groups: [][]string{{"n1"}, {"n2", "n3"}}},
		shows: cutOff("h1>h2", "h1>h3", "h2>h1", "h3>h1")},
	"partition, majority": {kind: "partition", whom: []string{"n3", "n4", "n5"}, shows: func(t *testing.T, b broken) {
		if !b.happened("adopted", brokenFrom, brokenTo, "n3", "n4", "n5") || b.happened("adopted", 0, brokenFrom, "n3", "n4", "n5") {
			t.Error("nobody of those that were cut off, a majority, leads meanwhile")
		}
	}},
	"majorities_ring": {kind: "majorities_ring", shows: func(t *testing.T, b broken) {
		// Of each host's four others, two are cut off.
		if down := b.downPairs(); len(down) != 10 || len(b.Links.Pairs) != 10 {
			t.Errorf("frames were lost from and to %q, want ten pairs", down)
		}
	}},
	"bridge": {kind: "bridge", whom: []string{"n1"}, shows: func(t *testing.T, b broken) {
		// Two of the other servers' hosts on one side, three on the other, one of them the
		// spare's.
		down, cut := b.downPairs(), b.Simulated.Faults[0].Pairs
		if len(down) < 8 || len(cut) != 12 || strings.Contains(fmt.Sprint(down), "h1") {
			t.Errorf("frames were lost from and to %q, want between two halves without h1, which are %q", down, cut)
		}
	}},
	"isolate_subtree": {kind: "isolate_subtree", p: faults.Parameters{Switch: "s2"}, prepare: (*scenario).tree, shows: stopped},
	"degrade, links": {kind: "degrade", p: faults.Parameters{Links: []string{"h7-s1"}, Link: delayed(20 * time.Millisecond)},
		shows: slowed(39*time.Millisecond, 41*time.Millisecond)},
	"degrade, whom": {kind: "degrade", whom: []string{"n7"}, p: faults.Parameters{Link: delayed(20 * time.Millisecond)},
		shows: slowed(39*time.Millisecond, 41*time.Millisecond)},
	"degrade, pair": {kind: "degrade", p: faults.Parameters{
		From: []string{"n7"}, To: []string{"all"}, Link: delayed(20 * time.Millisecond),
	}, shows: slowed(19*time.Millisecond, 21*time.Millisecond)},
	"degrade, lossy pair": {kind: "degrade", p: faults.Parameters{
		From: []string{"n7"}, To: []string{"all"}, Link: func(p topologies.Parameters) topologies.Parameters {
			p.Loss, p.Duplicate = 0.2, 0.1
			return p
		},
	}, prepare: func(sc *scenario) { sc.Transport = engine.TransportDatagram }, shows: func(t *testing.T, b broken) {
		var sum engine.DirectionReport
		for _, d := range b.Links.Pairs {
			sum.Frames, sum.LossDrops, sum.Duplicates = sum.Frames+d.Frames, sum.LossDrops+d.LossDrops, sum.Duplicates+d.Duplicates
		}
		if sum.LossDrops == 0 || sum.Duplicates == 0 || sum.LossDrops > sum.Frames/4 {
			t.Errorf("the stages did %+v, want about a fifth of the frames lost and a tenth doubled", sum)
		}
	}},
	"reconfigure":   {kind: "reconfigure", p: faults.Parameters{Change: json.RawMessage(`{"leaders": ["n1", "n2"], "acceptors": ["n1", "n2", "n3"]}`)}, shows: reconfigured},
	"add_server":    {kind: "add_server", whom: []string{"n6"}, shows: reconfigured},
	"remove_server": {kind: "remove_server", whom: []string{"n5"}, p: faults.Parameters{Role: multipaxos.RoleAcceptor}, shows: reconfigured},
	"heal": {kind: "heal", p: faults.Parameters{Fault: "crash1"}, prepare: func(sc *scenario) { sc.kill(500*time.Millisecond, "n2", "n3", "n4") },
		shows: func(t *testing.T, b broken) {
			if during, after := b.answered(520*time.Millisecond, brokenFrom), b.answered(wholeFrom, brokenLoad); during > 0 || after < 140 {
				t.Errorf("%d requests were answered before the healing, %d after; want 0 and 150", during, after)
			}
		}},
}

// slowDisks has records wait for a sync at any time.
func slowDisks(sc *scenario) {
	sc.Costs.Sync = 100 * time.Millisecond
	sc.Cluster.Options = nil // a window that is large enough
}

// forgot fails the test unless the disks of those that crashed lost so many writes at
// least.
func forgot(least int) func(*testing.T, broken) {
	return func(t *testing.T, b broken) {
		t.Helper()
		for _, e := range b.Simulated.Faults[0].Evidence {
			if e.Kind != string(faults.ExpectDisk) {
				continue
			}
			var left, before uint64
			if _, err := fmt.Sscanf(e.Text, "%d of %d writes", &left, &before); err != nil {
				t.Fatalf("%q: %v", e.Text, err)
			}
			if lost := int(before - left); lost < least {
				t.Errorf("%s: %s; want at least %d lost", e.Target, e.Text, least)
			}
		}
		if after := b.answered(wholeFrom, brokenLoad); after < 140 {
			t.Errorf("%d requests were answered after, want 150", after)
		}
	}
}

// ticking is a protocol that says something every 50 ms.
func ticking(sc *scenario) {
	server := []string{roleServer}
	*sc = *newScenario(journalName, topologies.Parameters{Delay: time.Millisecond}, 1, server, server, server)
	sc.Cluster.Options = map[string]any{"resend_ms": 50}
	sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 1, int64(brokenLoad) })
}

// ticked fails the test unless the leader has sent so many frames more than without the
// fault.
func ticked(least, most int) func(*testing.T, broken) {
	return func(t *testing.T, b broken) {
		t.Helper()
		without := *b.scenario
		without.Faults = nil // but for one that never fires, so that the load lasts as long
		without.fault(faults.Fault{Kind: "pause", Whom: []string{"n1"}, Trigger: faults.Trigger{On: &faults.On{Event: control.TraceCommit, Slot: 1 << 40}}})
		more := int(frames(t, b.Simulated, "h1-s1", "h1").Frames - frames(t, without.run(t), "h1-s1", "h1").Frames)
		if more < least || more > most {
			t.Errorf("its timer made the leader send %d frames more, want %d to %d", more, least, most)
		}
	}
}

// schedule makes the case's scenario.
func (c catalogueCase) scenario() *scenario {
	sc := fiveProcesses()
	if c.prepare != nil {
		c.prepare(sc)
	}
	f := faults.Fault{Kind: c.kind, Whom: c.whom, Parameters: c.p, Trigger: at(brokenFrom)}
	if kind, _ := faults.Lookup(c.kind); kind.Lasts {
		f.For = lasting(brokenTo - brokenFrom)
	}
	sc.fault(f)
	return sc
}

func TestEachFaultOfTheCatalogueHasItsEffectAndIsHealed(t *testing.T) {
	tested := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(catalogueCases)) {
		c := catalogueCases[name]
		tested[c.kind] = true
		t.Run(name, func(t *testing.T) {
			b := c.scenario().breakIt(t, nil)
			proved(t, b.Simulated, len(b.Simulated.Faults))
			if c.shows != nil {
				c.shows(t, b)
			}
			if t.Failed() {
				t.Logf("%+v", b.Simulated.Faults)
			}
		})
	}
	for _, kind := range faults.Names() {
		if !tested[kind] {
			t.Errorf("there is no test of %s", kind)
		}
	}
}

// Each mutant leaves something out of what is ordered.
func TestAFaultThatIsNotCarriedOutIsUnproved(t *testing.T) {
	for name, c := range catalogueCases {
		if c.kind == "heal" {
			continue // the next test's
		}
		b := c.scenario().breakIt(t, func(order *faults.Order) {
			if !order.Heal {
				order.Nodes, order.Links, order.Pairs, order.Reconfigure = nil, nil, nil, nil
			}
		})
		if f := b.Simulated.Faults[0]; f.Outcome != results.FaultUnproved {
			t.Errorf("%s: it wasn't carried out, and is %s: %+v", name, f.Outcome, f.Evidence)
		}
	}
}

func TestAFaultThatIsNotHealedIsUnproved(t *testing.T) {
	for name, c := range catalogueCases {
		if kind, _ := faults.Lookup(c.kind); !kind.Lasts && c.kind != "heal" {
			continue
		}
		sc := c.scenario()
		sc.Drain = time.Second
		b := sc.breakIt(t, func(order *faults.Order) {
			if order.Heal {
				order.Nodes, order.Links, order.Pairs = nil, nil, nil
			}
		})
		for _, f := range b.Simulated.Faults {
			if f.Outcome != results.FaultUnproved {
				t.Errorf("%s: it wasn't healed, and %s is %s: %+v", name, f.ID, f.Outcome, f.Evidence)
			}
		}
	}
}

// Each effect on a node by itself, beside those that are carried out.
func TestEachEffectOnANodeHasEvidenceOfItsOwn(t *testing.T) {
	for name, leaveOut := range map[string]func(*faults.NodeState){
		"crash":                func(s *faults.NodeState) { s.Down = false },
		"crash, lost unsynced": func(s *faults.NodeState) { s.Disk = faults.DiskSame },
		"crash, torn":          func(s *faults.NodeState) { s.Disk = faults.DiskSame },
		"crash, empty":         func(s *faults.NodeState) { s.Disk = faults.DiskSame },
		"pause":                func(s *faults.NodeState) { s.Paused = false },
		"slow_cpu":             func(s *faults.NodeState) { s.CPUShare = 0.5 },
		"slow_sync":            func(s *faults.NodeState) { s.Injection.SyncDelayNS = int64(time.Millisecond) },
		"failing_write":        func(s *faults.NodeState) { s.Injection.FailWrites = false },
		"full_disk":            func(s *faults.NodeState) { s.Injection.FullDisk = false },
		"clock, rate":          func(s *faults.NodeState) { s.Injection.ClockRate = 7.9 },
		"clock, jump":          func(s *faults.NodeState) { s.Injection.ClockJumpNS = 0 },
		"ignore":               func(s *faults.NodeState) { s.Injection.Ignore = nil },
	} {
		b := catalogueCases[name].scenario().breakIt(t, func(order *faults.Order) {
			order.Nodes = slices.Clone(order.Nodes)
			for i := range order.Nodes {
				leaveOut(&order.Nodes[i])
			}
		})
		if f := b.Simulated.Faults[0]; f.Outcome != results.FaultUnproved {
			t.Errorf("%s: a part of it wasn't carried out, and it is %s: %+v", name, f.Outcome, f.Evidence)
		}
	}
}

func TestTheSameSeedAndScheduleAreTheSameTrace(t *testing.T) {
	for name, c := range catalogueCases {
		b := c.scenario().breakIt(t, nil)
		again := c.scenario().breakIt(t, nil)
		if differ := (outcome{simulated: b.Simulated}).differences(outcome{simulated: again.Simulated}); differ != nil || fmt.Sprint(b.rows) != fmt.Sprint(again.rows) {
			t.Errorf("%s: the second run differs in %q, or in its rows", name, differ)
		}
		if c.kind != "pause" && c.kind != "cut" && c.kind != "reconfigure" {
			continue
		}
		later := c.scenario()
		for i := range later.Faults {
			*later.Faults[i].Trigger.At++
		}
		if later.breakIt(t, nil).TraceHash == b.TraceHash {
			t.Errorf("%s: a nanosecond later it has the same trace", name)
		}
	}
}
