package harness

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/node/consensus"
	"quorumlab/results"
)

// cases are all kinds of faults, each with one way to see from outside what it does: by
// what clients and nodes saw, by what the kernel says of processes, by pings from host to
// host. None of them looks at the evidence that the harness has gathered.
type breakCase struct {
	// entry is the fault without its id and its times.
	entry string
	kind  string
	// lasts is for how long; 0 for what isn't healed by itself.
	lasts time.Duration
	sees  func(t *testing.T, r *brokenRun, f results.Fault)
}

// two acceptors of three are needed for anything to be decided, and there the service ends.
const twoAcceptors = "[acceptor1, acceptor2]"

var processCases = []breakCase{
	{"whom: " + twoAcceptors, "crash", 400 * time.Millisecond, all(noAnswers, state("acceptor1", ""))},
	{"disk: lost_unsynced, whom: " + twoAcceptors, "crash", 400 * time.Millisecond, noAnswers},
	{"disk: torn, whom: " + twoAcceptors, "crash", 400 * time.Millisecond, all(noAnswers, tornLogsDropped)},
	{"whom: " + twoAcceptors, "pause", 400 * time.Millisecond, all(noAnswers, state("acceptor1", "T"))},
	{"share: 1%, whom: " + twoAcceptors, "slow_cpu", 800 * time.Millisecond, all(slower(time.Millisecond), mostlyStopped("acceptor1"))},
	{"delay: 150ms, whom: " + twoAcceptors, "slow_sync", 500 * time.Millisecond, slower(150 * time.Millisecond)},
	{"whom: " + twoAcceptors, "failing_write", 400 * time.Millisecond, all(noAnswers, state("acceptor1", ""))},
	{"whom: " + twoAcceptors, "full_disk", 400 * time.Millisecond, all(noAnswers, state("acceptor1", ""))},
	{"share: 100%, messages: [phase2a], whom: " + twoAcceptors, "ignore", 400 * time.Millisecond, noAnswers},
	// Whichever leader doesn't lead watches the other by a clock that is wrong.
	{"rate: 100, whom: followers", "clock", 400 * time.Millisecond, suspects},
	{"jump: 10s, whom: followers", "clock", 400 * time.Millisecond, suspects},
}

var networkCases = []breakCase{
	{"links: [h5-s1, h6-s1]", "link_down", 400 * time.Millisecond, all(noAnswers, noPings("h5", "h6"))},
	{"whom: " + twoAcceptors, "isolate", 400 * time.Millisecond, all(noAnswers, noPings("h5", "h6"))},
	{"from: " + twoAcceptors + ", to: [leaders]", "cut", 400 * time.Millisecond, all(noAnswers, pairsLose, pairsDrop)},
	{"groups: [[leaders], [acceptors]]", "partition", 400 * time.Millisecond, all(noAnswers, pairsLose, pairsDrop)},
	{"whom: [leaders, acceptors]", "majorities_ring", 400 * time.Millisecond, all(pairsLose, pairsDrop, eachSees(3))},
	{"whom: leader1", "bridge", 400 * time.Millisecond, all(pairsLose, bridged("h3"))},
	{"delay: 40ms, links: [h5-s1, h6-s1]", "degrade", 400 * time.Millisecond, slower(60 * time.Millisecond)},
	{"delay: 40ms, from: " + twoAcceptors + ", to: [leaders]", "degrade", 400 * time.Millisecond, slower(30 * time.Millisecond)},
	{"loss: 60%, whom: " + twoAcceptors, "degrade", 500 * time.Millisecond, lossy("h5-s1", "h6-s1")},
}

// membershipCases are seen by what is missing when acceptors die.
var membershipCases = []breakCase{
	{"whom: acceptor4", "add_server", 0, nil},
	{"whom: acceptor3", "remove_server", 0, nil},
}

func TestEveryKindOfFaultIsInTheTable(t *testing.T) {
	have := map[string]bool{"isolate_subtree": true, "heal": true, "reconfigure": true} // which have tests of their own
	for _, c := range slices.Concat(processCases, networkCases, membershipCases) {
		have[c.kind] = true
	}
	for _, name := range faults.Names() {
		if !have[name] {
			t.Errorf("nothing tells what %s does", name)
		}
	}
}

// brokenRun is a trial with faults, and what was seen of it from outside.
type brokenRun struct {
	engine  string
	folder  *results.Folder
	startNS int64
	rows    []results.Row
	events  []eventLine
	links   engine.LinkReport
	// seen is nil in the simulator.
	seen *sightings
}

// watched runs an experiment in a lab whose processes, and if asked hosts, are watched.
var watched func(t *testing.T, source *experiment.Source, pings bool) (*results.Folder, *sightings)

// sightings are what was seen of a lab's processes and hosts by other means than the
// harness's own.
type sightings struct {
	states []stateSeen
	pings  []pingSeen
}

// stateSeen is a node's state in /proc, empty if there is no such process.
type stateSeen struct {
	atNS         int64
	node, letter string
}

// pingSeen is a datagram and whether it came back.
type pingSeen struct {
	atNS     int64
	from, to string
	answered bool
}

// readRun reads all that clients and nodes have left.
func readRun(t *testing.T, engineName string, folder *results.Folder, seen *sightings) (*brokenRun, map[string][]results.Fault) {
	t.Helper()
	r := &brokenRun{engine: engineName, folder: folder, seen: seen}
	var byID map[string][]results.Fault
	r.startNS, byID = faultsOf(t, folder)
	for row, err := range folder.Requests(1) {
		if err != nil {
			t.Fatal(err)
		}
		r.rows = append(r.rows, row)
	}
	events, err := folder.OpenEvents(1)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	for decoder := json.NewDecoder(events); decoder.More(); {
		var line eventLine
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		r.events = append(r.events, line)
	}
	links, err := folder.ReadLinks(1)
	if err == nil {
		err = json.Unmarshal(links.Report, &r.links)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, byID
}

// between are the times from when a fault was in force until it was to be healed.
func (r *brokenRun) between(f results.Fault) (fromNS, toNS int64) {
	fromNS, toNS = r.startNS+*f.AppliedNS, int64(math.MaxInt64)
	if f.HealRequestedNS != nil {
		toNS = r.startNS + *f.HealRequestedNS
	}
	return fromNS, toNS
}

func all(sees ...func(*testing.T, *brokenRun, results.Fault)) func(*testing.T, *brokenRun, results.Fault) {
	return func(t *testing.T, r *brokenRun, f results.Fault) {
		for _, see := range sees {
			see(t, r, f)
		}
	}
}

// noAnswers wants no request that falls due during a fault to be answered before it is
// healed.
func noAnswers(t *testing.T, r *brokenRun, f results.Fault) {
	t.Helper()
	from, to := r.between(f)
	due := 0
	for _, row := range r.rows {
		if row.IntendedNS < from || row.IntendedNS >= to {
			continue
		}
		due++
		if row.Outcome != results.OutcomeTimeout && row.DoneNS < to {
			t.Errorf("%s: a request due %v after it was applied was answered %v before it was healed", f.ID,
				time.Duration(row.IntendedNS-from), time.Duration(to-row.DoneNS))
			return
		}
	}
	if due < 10 {
		t.Errorf("%s: %d requests were due", f.ID, due)
	}
}

// slower wants the requests that fall due during a fault to take longer than others.
func slower(by time.Duration) func(*testing.T, *brokenRun, results.Fault) {
	const usual = 60 * time.Millisecond
	return func(t *testing.T, r *brokenRun, f results.Fault) {
		t.Helper()
		from, to := r.between(f)
		var latencies []time.Duration
		for _, row := range r.rows {
			if row.IntendedNS >= from && row.IntendedNS < to-int64(usual) {
				latencies = append(latencies, time.Duration(row.DoneNS-row.IntendedNS))
			}
		}
		slices.Sort(latencies)
		if len(latencies) < 10 || latencies[len(latencies)/2] < usual+by {
			t.Errorf("%s: latencies %v, want a median of %v at least", f.ID, latencies, usual+by)
		}
	}
}

// suspects wants the nodes that a fault hits to have suspected the leader soon.
func suspects(t *testing.T, r *brokenRun, f results.Fault) {
	t.Helper()
	protocol, _ := consensus.Lookup("multipaxos")
	from, to := r.between(f)
	for _, event := range r.events {
		for _, spec := range protocol.Events {
			if spec.Kind == event.Kind && spec.Meaning == consensus.MeaningSuspected && slices.Contains(f.Nodes, event.Node) &&
				event.TimeNS >= from-int64(5*time.Millisecond) && event.TimeNS < to {
				return
			}
		}
	}
	t.Errorf("%s: none of %v has suspected the leader in %v", f.ID, f.Nodes, time.Duration(to-from))
}

// state wants the kernel to have a node so during a fault, "" for gone, and otherwise
// afterwards.
func state(node, letter string) func(*testing.T, *brokenRun, results.Fault) {
	return func(t *testing.T, r *brokenRun, f results.Fault) {
		t.Helper()
		if r.seen == nil {
			return
		}
		from, to := r.between(f)
		from += int64(100 * time.Millisecond) // a disk fails once it is written to
		during, after := 0, 0
		for _, s := range r.seen.states {
			switch {
			case s.node != node || s.atNS < from:
			case s.atNS < to-int64(20*time.Millisecond):
				if during++; s.letter != letter {
					t.Errorf("%s: %s was in state %q", f.ID, node, s.letter)
					return
				}
			case s.atNS > r.startNS+*f.HealedNS+int64(150*time.Millisecond):
				if after++; s.letter == letter && after == 1 {
					t.Errorf("%s: %s was still in state %q", f.ID, node, s.letter)
				}
			}
		}
		if during == 0 || after == 0 {
			t.Errorf("%s: %s was seen %d times, %d times afterwards", f.ID, node, during, after)
		}
	}
}

// mostlyStopped wants the kernel to have a node stopped most of the time.
func mostlyStopped(node string) func(*testing.T, *brokenRun, results.Fault) {
	return func(t *testing.T, r *brokenRun, f results.Fault) {
		t.Helper()
		if r.seen == nil {
			return
		}
		from, to := r.between(f)
		stopped, all := 0, 0
		for _, s := range r.seen.states {
			if s.node == node && s.atNS >= from && s.atNS < to {
				all++
				if s.letter == "T" {
					stopped++
				}
			}
		}
		if all < 10 || stopped < all*3/4 {
			t.Errorf("%s: %s was stopped %d of %d times", f.ID, node, stopped, all)
		}
	}
}

// noPings wants none that was sent to or from some hosts during a fault to be answered.
func noPings(hosts ...string) func(*testing.T, *brokenRun, results.Fault) {
	return func(t *testing.T, r *brokenRun, f results.Fault) {
		t.Helper()
		r.expectPings(t, f, func(from, to string) bool { return slices.Contains(hosts, from) || slices.Contains(hosts, to) })
	}
}

// pairsLose wants exactly those pairs of hosts to be cut that the record says: by pings in a
// lab; in the simulator by the links' counters.
func pairsLose(t *testing.T, r *brokenRun, f results.Fault) {
	t.Helper()
	if len(f.Pairs) == 0 {
		t.Errorf("%s hit no pairs", f.ID)
	}
	cut := func(from, to string) bool {
		return slices.Contains(f.Pairs, pairName(from, to)) || slices.Contains(f.Pairs, pairName(to, from))
	}
	if r.seen != nil {
		r.expectPings(t, f, cut)
		return
	}
	for _, pair := range f.Pairs {
		if !slices.ContainsFunc(r.links.Pairs, func(d engine.DirectionReport) bool { return d.Link == pair }) {
			t.Errorf("%s: the links know nothing of %s", f.ID, pair)
		}
	}
}

// pairsDrop wants the counters of some pair to have dropped something in the simulator.
func pairsDrop(t *testing.T, r *brokenRun, f results.Fault) {
	t.Helper()
	dropped := func(d engine.DirectionReport) bool { return slices.Contains(f.Pairs, d.Link) && d.DownDrops > 0 }
	if r.seen == nil && !slices.ContainsFunc(r.links.Pairs, dropped) {
		t.Errorf("%s: nothing was dropped", f.ID)
	}
}

// expectPings wants pings between hosts that are cut off to be lost during a fault, the
// others to be answered, and all of them afterwards.
func (r *brokenRun) expectPings(t *testing.T, f results.Fault, cut func(from, to string) bool) {
	t.Helper()
	if r.seen == nil {
		return
	}
	const trip = 30 * time.Millisecond
	from, to := r.between(f)
	healed := r.startNS + *f.HealedNS
	lost, passed, after := 0, 0, 0
	for _, p := range r.seen.pings {
		isCut := cut(p.from, p.to)
		switch {
		case p.atNS >= from && p.atNS < to-int64(trip) && p.answered == isCut:
			t.Errorf("%s: a ping from %s to %s, %v after it was applied, was answered: %v", f.ID, p.from, p.to, time.Duration(p.atNS-from), p.answered)
			return
		case p.atNS >= from && p.atNS < to-int64(trip) && isCut:
			lost++
		case p.atNS >= from && p.atNS < to-int64(trip):
			passed++
		case p.atNS > healed && p.atNS < healed+int64(100*time.Millisecond) && isCut:
			if after++; !p.answered {
				t.Errorf("%s: once it was healed a ping from %s to %s was lost", f.ID, p.from, p.to)
				return
			}
		}
	}
	if lost == 0 || after == 0 || passed == 0 {
		t.Errorf("%s: of the pings %d were lost and %d answered; then %d were answered", f.ID, lost, passed, after)
	}
}

// eachSees wants each host of a ring to see so many, itself included, and no two the same.
func eachSees(majority int) func(*testing.T, *brokenRun, results.Fault) {
	return func(t *testing.T, r *brokenRun, f results.Fault) {
		t.Helper()
		hosts := []string{"h3", "h4", "h5", "h6", "h7"}
		views := map[string]bool{}
		for _, host := range hosts {
			var sees []string
			for _, other := range hosts {
				if !slices.Contains(f.Pairs, pairName(host, other)) {
					sees = append(sees, other)
				}
			}
			if len(sees) < majority {
				t.Errorf("%s: %s sees %v", f.ID, host, sees)
			}
			views[strings.Join(sees, " ")] = true
		}
		if len(views) != len(hosts) {
			t.Errorf("%s: the hosts see %v", f.ID, views)
		}
	}
}

// bridged wants a host to see all others, which are in two halves.
func bridged(host string) func(*testing.T, *brokenRun, results.Fault) {
	return func(t *testing.T, _ *brokenRun, f results.Fault) {
		t.Helper()
		for _, pair := range f.Pairs {
			if from, to, _ := strings.Cut(pair, ">"); from == host || to == host {
				t.Errorf("%s: %s is cut", f.ID, pair)
			}
		}
		if len(f.Pairs) != 2*3*3 {
			t.Errorf("%s: %d pairs are cut of 6 hosts, want 18", f.ID, len(f.Pairs))
		}
	}
}

// lossy wants links to have lost about 60% of the frames.
func lossy(links ...string) func(*testing.T, *brokenRun, results.Fault) {
	return func(t *testing.T, r *brokenRun, f results.Fault) {
		t.Helper()
		for _, d := range r.links.Directions {
			if slices.Contains(links, d.Link) && d.LossDrops == 0 {
				t.Errorf("%s: %s lost %d frames", f.ID, d.Link, d.LossDrops)
			}
		}
	}
}

// tornLogsDropped wants the nodes to have found a torn end in a lab.
func tornLogsDropped(t *testing.T, r *brokenRun, f results.Fault) {
	t.Helper()
	if r.seen == nil {
		return
	}
	for _, node := range f.Nodes {
		log, err := os.ReadFile(filepath.Join(r.folder.NodesDir(1), node+".log"))
		if err != nil || !tornBytes.Match(log) {
			t.Errorf("%s: %s has found nothing torn: %s, %v", f.ID, node, log, err)
		}
	}
}

// tornBytes is what a node logs that finds the end of its log torn.
var tornBytes = regexp.MustCompile(`[1-9][0-9]* torn bytes dropped`)

// scheduled gives cases their ids and times, one after the other with time to recover;
// it returns the entries and how long they take.
func scheduled(cases []breakCase, recovery time.Duration) (entries []string, over time.Duration) {
	at := 400 * time.Millisecond
	for i, c := range cases {
		entry := fmt.Sprintf("{id: %s, name: %s, at: %v, %s", caseID(i, c), c.kind, at, c.entry)
		if c.lasts > 0 {
			entry += fmt.Sprintf(", for: %v", c.lasts)
		}
		entries = append(entries, entry+"}")
		at += c.lasts + recovery
	}
	return entries, at
}

func caseID(i int, c breakCase) string { return fmt.Sprintf("case%d-%s", i+1, c.kind) }

// expectCases looks at each case's effect, and whether the service is back after it.
func expectCases(t *testing.T, r *brokenRun, byID map[string][]results.Fault, cases []breakCase, recovery time.Duration) {
	t.Helper()
	for i, c := range cases {
		found := byID[caseID(i, c)]
		if len(found) != 1 || found[0].Outcome != results.FaultProved || found[0].AppliedNS == nil || found[0].HealedNS == nil {
			t.Errorf("%s: %+v", caseID(i, c), found)
			continue
		}
		f := found[0]
		c.sees(t, r, f)
		back := r.startNS + *f.HealedNS + int64(recovery*3/4)
		due, answered := 0, 0
		for _, row := range r.rows {
			if row.IntendedNS >= back && row.IntendedNS < back+int64(recovery/8) {
				due++
				if row.Outcome != results.OutcomeTimeout && row.DoneNS-row.IntendedNS < int64(2*recovery) {
					answered++
				}
			}
		}
		if due == 0 || answered < due {
			t.Errorf("%s: %v after it was healed, %d of %d requests were answered in time", f.ID, recovery*3/4, answered, due)
		}
	}
}

func allProved(byID map[string][]results.Fault) bool {
	for _, found := range byID {
		for _, f := range found {
			if f.Outcome != results.FaultProved {
				return false
			}
		}
	}
	return true
}

func TestEveryFaultHasItsEffectAndIsHealed(t *testing.T) {
	const recovery = 800 * time.Millisecond
	onEngines(t, func(t *testing.T, engineName string) {
		for name, cases := range map[string][]breakCase{"processes": processCases, "networks": networkCases} {
			t.Run(name, func(t *testing.T) {
				entries, over := scheduled(cases, recovery)
				source := load(t, engineName, "--set", "repeat=1", "--set", "system.storage=fsync",
					"--set", "system.options={resend: 100ms, ping_interval: 100ms, ping_timeout: 500ms}", "--set", fmt.Sprintf("phases.measure=%v", over),
					"--set", "workload.timeout=3s", "--set", withFaults(entries...))
				var seen *sightings
				var folder *results.Folder
				if engineName == "sim" {
					folder = broken(t, source)
				} else {
					folder, seen = watched(t, source, name == "networks")
				}
				r, byID := readRun(t, engineName, folder, seen)
				// A busy machine may have no time for probes while a fault lasts.
				if engineName != "sim" && !allProved(byID) {
					t.Log("not all faults were proved: once more")
					folder, seen = watched(t, source, name == "networks")
					r, byID = readRun(t, engineName, folder, seen)
				}
				expectSafe(t, folder)
				expectCases(t, r, byID, cases, recovery)
			})
		}
	})
}
