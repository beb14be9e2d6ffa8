package measure

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	_ "quorumlab/node/multipaxos/wire"
	"quorumlab/results"
)

// broken is a hand-made trial: a request each tenth of a second for 65 s, each of which
// takes 240 ms unless something else is said. The load begins at 100 s.
type broken struct {
	faults   []results.Fault
	schedule []string
	hosts    map[string]string
	rtts     []results.RTT
	events   []happenedEvent
	// latencyNS says what a request took that was due so long after the load's beginning;
	// negative is a timeout.
	latencyNS func(dueNS int64) int64
	change    func(*results.Verdict)
	clients   []string
}

type happenedEvent struct {
	TimeNS int64  `json:"time_ns"`
	Node   string `json:"node"`
	consensus.Event
}

const (
	loadNS   = 100 * second
	usualNS  = 240 * ms
	tenthNS  = 100 * ms
	endsAtNS = 65 * second
)

// event is one of Multi-Paxos's, so long after the load's beginning.
func event(atNS int64, node, kind string, round uint64, leader consensus.NodeID) happenedEvent {
	return happenedEvent{loadNS + atNS, node, consensus.Event{Role: "leader",
		Label: consensus.Label{Kind: kind, Round: round, Leader: leader}}}
}

func heard(atNS int64, node string, peer consensus.NodeID, silenceNS int64) happenedEvent {
	return happenedEvent{loadNS + atNS, node, consensus.Event{Role: consensus.RoleTransport,
		Label: consensus.Label{Kind: consensus.EventHeard}, Peer: peer, SilenceNS: silenceNS}}
}

func at(ns int64) *int64 { return &ns }

// crash is proved, applied 1 ms after it was requested, and lasts.
func crash(id string, atNS int64, nodes ...string) results.Fault {
	return results.Fault{ID: id, Kind: "crash", Occurrence: 1, Trigger: "at 30s", Nodes: nodes,
		RequestedNS: at(atNS - ms), AppliedNS: at(atNS), ObservedNS: at(atNS + ms), Outcome: results.FaultProved,
		Evidence: []results.Evidence{{Kind: "down", Target: nodes[0], Found: true, Text: "pid 4711 is gone"}}}
}

func (b broken) write(t *testing.T, folder *results.Folder, trial int) {
	t.Helper()
	if _, err := folder.CreateTrial(trial); err != nil {
		t.Fatal(err)
	}
	clients := b.clients
	if clients == nil {
		clients = []string{"client1"}
	}
	err := folder.WriteRequests(trial, func(w *results.RowWriter) error {
		for i, client := range clients {
			for dueNS := int64(i) * ms; dueNS < endsAtNS; dueNS += tenthNS {
				row := answered(loadNS+dueNS, usualNS)
				if b.latencyNS != nil {
					if ns := b.latencyNS(dueNS); ns < 0 {
						row = timedOut(loadNS + dueNS)
					} else {
						row = answered(loadNS+dueNS, ns)
					}
				}
				row.Client, row.Sequence = client, uint64(dueNS)
				if err := w.Write(row); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.writeOthers(t, folder, trial)
}

func (b broken) writeOthers(t *testing.T, folder *results.Folder, trial int) {
	t.Helper()
	err := folder.WriteEvents(trial, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		for _, event := range b.events {
			if err := encoder.Encode(event); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cluster := control.Cluster{Protocol: "multipaxos"}
	for i, name := range []string{"replica1", "leader1", "leader2", "acceptor1", "client1"} {
		cluster.Nodes = append(cluster.Nodes, control.Node{Member: consensus.Member{
			ID: consensus.NodeID(i + 1), Name: name, Roles: []string{name[:len(name)-1]}}})
	}
	data, err := json.Marshal(cluster)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder.NodesDir(trial), "cluster.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if b.rtts != nil {
		if err := folder.WriteLinks(trial, results.Links{RTTs: b.rtts}); err != nil {
			t.Fatal(err)
		}
	}
	if err := folder.WriteFaults(trial, results.Faults{StartNS: loadNS, Faults: b.faults, Schedule: b.schedule, Hosts: b.hosts}); err != nil {
		t.Fatal(err)
	}
	verdict := measured(trial)
	verdict.Point = planned(folder, trial).Point
	verdict.MeasureStartNS, verdict.MeasureEndNS = loadNS+5*second, loadNS+endsAtNS
	if b.change != nil {
		b.change(&verdict)
	}
	if err := folder.WriteVerdict(verdict); err != nil {
		t.Fatal(err)
	}
}

// recover1 is what is derived of one such trial for the entry.
func (b broken) recover1(t *testing.T, id string) results.Recovery {
	t.Helper()
	folder, err := results.Create(filepath.Join(t.TempDir(), "run"), results.Manifest{
		Simulated: true, // its files aren't synced, which takes time
		Repeat:    1, Plan: []results.PlannedTrial{{Trial: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, folder, 1)
	summary, err := Summarise(folder)
	if err != nil {
		t.Fatal(err)
	}
	recovery, ok := summary.Points[0].Recovery[id]
	if !ok {
		t.Fatalf("nothing about %s", id)
	}
	return recovery
}

// held answers all that is due before a time, and wasn't answered when the service went
// away, at that time, or later if normal.
func held(awayNS, backNS int64) func(int64) int64 {
	return func(dueNS int64) int64 {
		if dueNS+usualNS < awayNS || dueNS+usualNS > backNS {
			return usualNS
		}
		return backNS - dueNS
	}
}

func leaderKilled(backNS int64) broken {
	return broken{
		faults:    []results.Fault{crash("kill", 30*second, "leader1")},
		latencyNS: held(30*second, backNS),
		events: []happenedEvent{
			event(3*second, "leader1", "scout", 1, 2), event(3*second, "leader1", "adopted", 1, 2),
			event(31*second, "leader2", "silent", 1, 2), event(31*second, "leader2", "scout", 2, 3),
			event(31500*ms, "leader2", "scout", 3, 3), event(31500*ms, "leader2", "scout", 3, 3),
			event(31800*ms, "leader2", "adopted", 3, 3),
			event(50*second, "leader2", "scout", 4, 3), event(50*second, "leader2", "adopted", 4, 3),
		},
	}
}

func exactly(t *testing.T, what string, got *results.Estimate, want float64) {
	t.Helper()
	if got == nil || got.Mean == nil {
		t.Errorf("%s is unknown, want %v", what, want)
		return
	}
	near(t, what, *got.Mean, want, 1e-6)
	if got.Censored != 0 || got.LowerBound {
		t.Errorf("%s is censored: %+v", what, got)
	}
}

func atLeast(t *testing.T, what string, got *results.Estimate, want float64) {
	t.Helper()
	if got == nil || got.Mean == nil || !got.LowerBound || got.Censored == 0 {
		t.Errorf("%s is %+v, want a lower bound", what, got)
		return
	}
	near(t, what, *got.Mean, want, 1e-6)
}

func nothing(t *testing.T, what string, got *results.Estimate) {
	t.Helper()
	if got == nil || got.Mean != nil || got.None != 1 || got.Censored != 0 {
		t.Errorf("%s is %+v, want none", what, got)
	}
}

func TestRecoveryFromALeadersDeath(t *testing.T) {
	recovery := leaderKilled(32150*ms).recover1(t, "kill")
	exactly(t, "detection", recovery.DetectionMS, 1000)
	exactly(t, "election", recovery.ElectionMS, 1800)
	exactly(t, "ballots", recovery.Rounds, 2)
	exactly(t, "elections", recovery.Elections, 2)
	exactly(t, "first commit", recovery.FirstCommitMS, 2150)
	// The first request that wasn't answered was due at 29.8 s, so for 30.04 s.
	exactly(t, "unavailable", recovery.UnavailableMS, 2110)
	// What was due at 31.8 s took 350 ms, at 31.9 s 250 ms: five from there on 242 ms.
	exactly(t, "back to normal", recovery.BackMS, 1900)
	exactly(t, "late", recovery.Late, 19) // due from 29.8 s to 31.6 s
	exactly(t, "timeouts", recovery.Timeouts, 0)
	if recovery.TCPMS != nil || recovery.ProtocolMS != nil {
		t.Errorf("nothing was cut: %+v %+v", recovery.TCPMS, recovery.ProtocolMS)
	}
	// In flight: due at 29.8 s and 29.9 s.
	if want := (results.FaultRequests{Requests: 352, Late: 19}); recovery.Requests != want {
		t.Errorf("%+v, want %+v", recovery.Requests, want)
	}
	near(t, "before", *recovery.Before.Mean, 240, 1e-9)
	near(t, "after", *recovery.After.Mean, 240, 1e-9)
	// Due from 29.8 s to 32.1 s: 2350 ms to 250 ms in steps of 100 ms, then twice 240 ms.
	if recovery.During.Requests != 24 || recovery.After.Requests != 328 {
		t.Errorf("during %+v, after %+v", recovery.During, recovery.After)
	}
	near(t, "during", *recovery.During.Mean, (22*1300+2*240)/24.0, 1e-9)
	near(t, "median during", *recovery.During.P50, 1150, 1e-9)
}

func TestRecoveryOverTrialsHasTheirIntervalAndLeavesVoidTrialsOut(t *testing.T) {
	folder := run(t, 1, 6)
	for trial := 1; trial <= 5; trial++ {
		leaderKilled(32150*ms+int64(trial)*10*ms).write(t, folder, trial)
	}
	void6 := leaderKilled(60 * second)
	void6.change = void("fault", "kill: no evidence", "look")
	void6.faults[0].Outcome, void6.faults[0].Reason = results.FaultUnproved, "pid 4711 lives"
	void6.write(t, folder, 6)
	point := summarise(t, folder).Points[0]
	got := point.Recovery["kill"]
	// 2160 to 2200 ms: standard deviation 10 times the root of 2.5.
	exactly(t, "first commit", got.FirstCommitMS, 2180)
	near(t, "low", got.FirstCommitMS.CI95[0], 2180-2.776445105*15.811388301/2.2360679775, 1e-6)
	if got.FirstCommitMS.N != 5 || got.Trials != 5 || got.Occurrences != 5 {
		t.Errorf("%+v", got)
	}
	entry := point.Faults[0]
	if entry.Occurrences != 6 || entry.Proved != 5 || entry.Unproved != 1 || entry.Missing != "pid 4711 lives" ||
		entry.Evidence != "leader1: pid 4711 is gone" || len(entry.Hit) != 1 || entry.Hit[0] != (results.Hit{What: "leader1", Times: 6}) {
		t.Errorf("%+v", entry)
	}
	near(t, "requested", entry.RequestedS.Mean, 29.999, 1e-9)
	near(t, "applied", entry.AppliedS.Mean, 30, 1e-9)
}

func TestWhatNeverHappenedIsCensoredWhereTheLoadEnds(t *testing.T) {
	trial := leaderKilled(32 * second)
	trial.latencyNS = func(dueNS int64) int64 {
		if dueNS+usualNS < 30*second {
			return usualNS
		}
		return -1
	}
	trial.events = trial.events[:3] // suspected, but nobody was elected
	recovery := trial.recover1(t, "kill")
	exactly(t, "detection", recovery.DetectionMS, 1000)
	atLeast(t, "election", recovery.ElectionMS, 35_000)
	atLeast(t, "first commit", recovery.FirstCommitMS, 35_000)
	atLeast(t, "unavailable", recovery.UnavailableMS, 34_960)
	atLeast(t, "ballots", recovery.Rounds, 0)
	// The last window that could be answered in time begins with the request due at 64.1 s.
	atLeast(t, "back to normal", recovery.BackMS, 34_100)
	exactly(t, "timeouts", recovery.Timeouts, 352)
	if recovery.After != nil || recovery.During.Timeouts != 352 || recovery.During.P50 != nil || recovery.During.Mean != nil {
		t.Errorf("during %+v, after %+v", recovery.During, recovery.After)
	}
}

func TestTheNextFaultEndsTheWindowUnlessItIsPartOfTheSameBlow(t *testing.T) {
	trial := leaderKilled(32150 * ms)
	trial.faults = append(trial.faults, crash("other", 31100*ms, "acceptor1"), crash("with", 30*second+5*ms, "replica1"))
	folder := run(t, 1, 1)
	trial.write(t, folder, 1)
	point := summarise(t, folder).Points[0]
	got := point.Recovery["kill"]
	exactly(t, "detection", got.DetectionMS, 1000)
	atLeast(t, "election", got.ElectionMS, 1100)
	atLeast(t, "first commit", got.FirstCommitMS, 1100)
	atLeast(t, "unavailable", got.UnavailableMS, 1060)
	if got.Requests.Requests != 2+11 {
		t.Errorf("%+v", got.Requests)
	}
	exactly(t, "first commit after the other", point.Recovery["other"].FirstCommitMS, 1050)
	atLeast(t, "first commit after the one with it", point.Recovery["with"].FirstCommitMS, 1095)
	if len(point.Faults) != 3 || point.Faults[1].ID != "other" {
		t.Errorf("%+v", point.Faults)
	}
}

func TestAFaultThatNobodyNotices(t *testing.T) {
	trial := broken{faults: []results.Fault{crash("kill", 30*second, "acceptor1")}}
	recovery := trial.recover1(t, "kill")
	exactly(t, "unavailable", recovery.UnavailableMS, 0)
	exactly(t, "back to normal", recovery.BackMS, 0)
	exactly(t, "first commit", recovery.FirstCommitMS, 240)
	exactly(t, "ballots", recovery.Rounds, 0)
	exactly(t, "elections", recovery.Elections, 0)
	nothing(t, "detection", recovery.DetectionMS)
	nothing(t, "election", recovery.ElectionMS)
	if recovery.During.Requests != 2 { // in flight
		t.Errorf("during: %+v", recovery.During)
	}
}

func TestEventsOfThoseHitDoNotCountUntilTheyAreHealed(t *testing.T) {
	trial := leaderKilled(32150 * ms)
	isolated := trial.faults[0]
	isolated.Kind, isolated.HealedNS = "isolate", at(40*second)
	trial.faults = []results.Fault{isolated}
	trial.events = []happenedEvent{
		event(30500*ms, "leader1", "silent", 1, 2), event(30500*ms, "leader1", "scout", 2, 2), event(30600*ms, "leader1", "adopted", 2, 2),
		event(41*second, "leader1", "scout", 3, 2), event(41500*ms, "leader1", "adopted", 3, 2),
	}
	recovery := trial.recover1(t, "kill")
	exactly(t, "detection", recovery.DetectionMS, 11_000)
	exactly(t, "election", recovery.ElectionMS, 11_500)
	exactly(t, "ballots", recovery.Rounds, 1)
	// Of the fault's time, until it was healed, are all up to 40 s.
	if recovery.During.Requests != 102 {
		t.Errorf("during: %+v", recovery.During)
	}
	trial.faults[0].Nodes = []string{"replica1", "leader1", "leader2", "acceptor1"}
	all := trial.recover1(t, "kill")
	exactly(t, "detection where all were hit", all.DetectionMS, 500)
	exactly(t, "election where all were hit", all.ElectionMS, 600)
}

func TestAChangeOfTheConfigurationCutsNobodyOff(t *testing.T) {
	trial := leaderKilled(32150 * ms)
	trial.faults[0].Kind, trial.faults[0].Nodes = "reconfigure", []string{"leader1", "leader2"}
	recovery := trial.recover1(t, "kill")
	exactly(t, "detection", recovery.DetectionMS, 1000)
	exactly(t, "election", recovery.ElectionMS, 1800)
}

func TestWhatEndsAWindowIsInIt(t *testing.T) {
	trial := leaderKilled(32150 * ms)
	trial.faults = append(trial.faults, crash("upon", 31*second, "acceptor1"))
	exactly(t, "detection", trial.recover1(t, "kill").DetectionMS, 1000)
	// It isn't in the next one as well.
	trial.events = trial.events[:3]
	exactly(t, "detection", trial.recover1(t, "kill").DetectionMS, 1000)
	nothing(t, "detection in the next window", trial.recover1(t, "upon").DetectionMS)
}

// cutOff is a leader cut off from 30 s to 40 s, with the service away until 41 s.
func cutOff() broken {
	fault := crash("cut", 30*second, "leader1")
	fault.Kind, fault.HealedNS = "isolate", at(40*second)
	fault.Pairs = []string{"h2>h4", "h4>h2", "h2>h5", "h5>h2"}
	return broken{
		faults:    []results.Fault{fault},
		hosts:     map[string]string{"replica1": "h1", "leader1": "h2", "leader2": "h3", "acceptor1": "h4", "client1": "h5"},
		rtts:      []results.RTT{{From: "h2", To: "h4", PredictedNS: 80 * ms, LeastNS: 81 * ms}},
		latencyNS: held(30*second, 41*second),
		events: []happenedEvent{
			heard(35*second, "acceptor1", 2, 5*second), // before the healing
			heard(40200*ms, "replica1", 3, 20*second),  // it wasn't cut off
			heard(40300*ms, "acceptor1", 2, 10200*ms),  // 260 ms and the path
			heard(40400*ms, "leader1", 4, 10300*ms),    // 360 ms and the path
			heard(40500*ms, "leader1", 5, 10300*ms),    // not the first
			heard(40600*ms, "client1", 2, 10600*ms),    // a client: that is an answer
			heard(40700*ms, "leader2", 2, 500*ms),      // silent for other reasons
			heard(50*second, "acceptor1", 2, 1*second), // later silence
			event(50*second, "leader2", "silent", 1, 2),
		},
	}
}

func TestWhatTCPAddsIsToldApartFromTheProtocol(t *testing.T) {
	recovery := cutOff().recover1(t, "cut")
	exactly(t, "tcp", recovery.TCPMS, 310)           // the median of 260 ms and 360 ms
	exactly(t, "protocol", recovery.ProtocolMS, 650) // 40.35 s to 41 s
	exactly(t, "first commit", recovery.FirstCommitMS, 11_000)

	noHosts := cutOff()
	noHosts.hosts, noHosts.rtts = nil, nil
	// The nodes hit are one side; the path is unknown.
	exactly(t, "tcp without hosts", noHosts.recover1(t, "cut").TCPMS, 350)

	links := cutOff()
	links.faults[0].Pairs, links.faults[0].Nodes, links.faults[0].Links = nil, nil, []string{"h2-s1"}
	links.faults[0].Evidence = []results.Evidence{{Kind: "cut", Target: "h2>h4", Found: true}, {Kind: "cut", Target: "h4 > h2"}}
	exactly(t, "tcp by the evidence", links.recover1(t, "cut").TCPMS, 310)
	links.faults[0].Evidence = nil
	// All that was silent for as long: replica1 too, after 200 ms.
	exactly(t, "tcp by silence", links.recover1(t, "cut").TCPMS, 260)

	late := cutOff()
	late.latencyNS = held(30*second, 40350*ms)
	// What leader1 heard after the first commit can't have helped it.
	exactly(t, "tcp before the commit", late.recover1(t, "cut").TCPMS, 260)
	exactly(t, "protocol after what helped it", late.recover1(t, "cut").ProtocolMS, 50)
}

func TestTheProtocolsShareIsNoneIfTheServiceHadNotWaited(t *testing.T) {
	trial := cutOff()
	trial.latencyNS = held(30*second, 33*second)
	recovery := trial.recover1(t, "cut")
	exactly(t, "tcp", recovery.TCPMS, 310)
	nothing(t, "protocol", recovery.ProtocolMS)

	stuck := cutOff()
	stuck.latencyNS = held(30*second, 90*second)
	atLeast(t, "protocol", stuck.recover1(t, "cut").ProtocolMS, 65_000-40_350)

	silent := cutOff()
	silent.events = silent.events[:2]
	nothing(t, "tcp that nobody noticed", silent.recover1(t, "cut").TCPMS)

	lasting := cutOff()
	lasting.faults[0].HealedNS = at(65 * second) // when the load ended
	if got := lasting.recover1(t, "cut"); got.TCPMS != nil || got.ProtocolMS != nil {
		t.Errorf("never healed: %+v, %+v", got.TCPMS, got.ProtocolMS)
	}
}

func TestRepeatedOccurrencesAreAveragedInTheirTrialFirst(t *testing.T) {
	trial := broken{latencyNS: func(dueNS int64) int64 {
		switch {
		case dueNS >= 20*second && dueNS < 21*second:
			return 21*second + usualNS - dueNS
		case dueNS >= 30*second && dueNS < 33*second:
			return 33*second + usualNS - dueNS
		}
		return usualNS
	}}
	for i, atNS := range []int64{20 * second, 30 * second} {
		fault := crash("again", atNS, "leader1")
		fault.Occurrence, fault.HealedNS = i+1, at(atNS+second)
		trial.faults = append(trial.faults, fault)
	}
	folder := run(t, 1, 2)
	trial.write(t, folder, 1)
	once := broken{faults: trial.faults[:1], latencyNS: func(dueNS int64) int64 {
		if dueNS < 30*second {
			return trial.latencyNS(dueNS)
		}
		return usualNS
	}}
	once.write(t, folder, 2)
	got := summarise(t, folder).Points[0].Recovery["again"]
	exactly(t, "unavailable", got.UnavailableMS, (2000+1000)/2)
	if e := got.UnavailableMS; e.N != 2 || e.Occurrences != 3 || *e.Median != 1000 {
		t.Errorf("%+v", e)
	}
}
