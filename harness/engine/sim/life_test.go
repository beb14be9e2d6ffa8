package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// highest is the highest slot that a client was told of.
func (sc *scenario) highest() (slot uint64) {
	for _, row := range sc.rows {
		slot = max(slot, row.Slot)
	}
	return slot
}

func TestASyncShowsInTheLatencyOnce(t *testing.T) {
	const delay, sync = 5 * time.Millisecond, 8 * time.Millisecond
	for storage, want := range map[string]time.Duration{
		control.StorageMemory: 4 * delay, control.StorageDisk: 4 * delay, control.StorageFsync: 4*delay + sync,
	} {
		sc := oneServer(topologies.Parameters{Delay: delay})
		sc.Cluster.Storage, sc.Costs.Sync = storage, sync
		sc.run(t)
		for _, row := range sc.rows {
			if got := latency(row); got != want {
				t.Errorf("%s: request %d took %v, want %v", storage, row.Sequence, got, want)
			}
		}
	}
}

func TestGroupCommitLetsManyRecordsShareASync(t *testing.T) {
	const delay, sync = 5 * time.Millisecond, 8 * time.Millisecond
	sc := oneServer(topologies.Parameters{Delay: delay})
	sc.Cluster.Storage, sc.Costs.Sync = control.StorageFsync, sync
	sc.load(func(load *control.Load) { load.RateRPS = 2000 }) // 16 in the time of a sync
	r := sc.run(t)
	agree(t, r)
	if len(sc.rows) != 4000 || sc.outcomes()[results.OutcomeTimeout] > 0 {
		t.Fatalf("%d rows, outcomes %v; want 4000 answers", len(sc.rows), sc.outcomes())
	}
	for _, row := range sc.rows {
		if got := latency(row); got < 4*delay+sync || got > 4*delay+2*sync {
			t.Fatalf("request %d took %v, want one sync to two: %v to %v", row.Sequence, got, 4*delay+sync, 4*delay+2*sync)
		}
	}
	if syncs := countSyncs(t, sc); syncs < 245 || syncs > 260 {
		t.Errorf("%d syncs, want one each 8 ms of 2 s, which are 250", syncs)
	}
}

// countSyncs runs the scenario once more, counting.
func countSyncs(t *testing.T, sc *scenario) (syncs int) {
	t.Helper()
	s, err := newTrial(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	s.begin()
	for !s.over {
		e := s.queue.pop()
		if s.now = e.at; e.kind == eventSync {
			syncs++
		}
		s.happen(e)
	}
	return syncs
}

func TestKilledServersComeBackFromTheirStorage(t *testing.T) {
	for _, storage := range []string{control.StorageDisk, control.StorageFsync} {
		for _, transport := range []string{engine.TransportTCP, engine.TransportDatagram} {
			sc := journalScenario(2 * time.Millisecond)
			sc.Cluster.Storage, sc.Transport = storage, transport
			sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 200, int64(4*time.Second) })
			for i, name := range []string{"n2", "n1", "n3"} {
				sc.restart(time.Duration(i+1)*time.Second, 300*time.Millisecond, name)
			}
			r := sc.run(t)
			agree(t, r)
			proved(t, r, 3)
			for _, name := range []string{"n1", "n2", "n3"} {
				if recovered := r.Statuses[name].Counters["server.recovered"]; recovered < 90 {
					t.Errorf("%s, %s: %s recovered %d records, want those of a second and more", storage, transport, name, recovered)
				}
			}
			if slot := r.Statuses["n1"].Slot; slot < sc.highest() {
				t.Errorf("%s, %s: slot %d was acknowledged, but the leader stands at %d", storage, transport, sc.highest(), slot)
			}
			if answered := len(sc.rows) - sc.outcomes()[results.OutcomeTimeout]; answered < 700 {
				t.Errorf("%s, %s: %d of %d requests were answered", storage, transport, answered, len(sc.rows))
			}
		}
	}
}

// Rash servers are the proof that a kill loses what wasn't synced.
func TestAnAcknowledgedWriteIsLostOnlyByServersThatDontWaitForTheSync(t *testing.T) {
	for rash, lost := range map[bool]bool{false: false, true: true} {
		sc := oneServer(topologies.Parameters{Delay: time.Millisecond})
		sc.Cluster.Storage, sc.Costs.Sync = control.StorageFsync, 300*time.Millisecond
		sc.Cluster.Options = map[string]any{"rash": rash}
		sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 100, int64(time.Second) })
		sc.restart(990*time.Millisecond, 5*time.Millisecond, "n1")
		r := sc.run(t)
		if got := r.Statuses["n1"].Slot < sc.highest(); got != lost {
			t.Errorf("rash %v: slot %d was acknowledged, %d is left: lost is %v, want %v",
				rash, sc.highest(), r.Statuses["n1"].Slot, got, lost)
		}
	}
}

func TestCheckpointsKeepTheLogShortAndAServerRecoversFromThem(t *testing.T) {
	sc := journalScenario(time.Millisecond)
	sc.Cluster.Storage = control.StorageFsync
	sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 5000, int64(5*time.Second) })
	sc.restart(4900*time.Millisecond, 50*time.Millisecond, "n2")
	s, err := newTrial(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	r := s.result()
	agree(t, r)
	if n := r.Statuses["n1"].Counters["server.checkpoints"]; n != 1 { // reads are no records
		t.Errorf("%d checkpoints for about 12,500 records, want 1", n)
	}
	if n := r.Statuses["n2"].Counters["server.recovered"]; n == 0 || n > 3000 {
		t.Errorf("n2 recovered %d records, want those since its checkpoint only", n)
	}
	for _, p := range s.processes[:3] {
		if n := len(p.storage.records); n > minCheckpoint {
			t.Errorf("%s keeps %d records", p.node.Name, n)
		}
	}
}

func TestAServerThatMissedTooMuchIsSentASnapshot(t *testing.T) {
	sc := journalScenario(time.Millisecond)
	sc.Cluster.Storage = control.StorageDisk
	sc.Transport = engine.TransportDatagram // with TCP, what it missed would have waited for it
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.Mix = 5000, int64(5*time.Second), map[string]float64{"update": 1}
	})
	sc.restart(100*time.Millisecond, 3900*time.Millisecond, "n3")
	r := sc.run(t)
	agree(t, r)
	if n := r.Statuses["n3"].Counters["server.installed"]; n == 0 {
		t.Error("n3 has installed no snapshot")
	}
}

func TestAProcessWithoutStorageIsNotStartedAgain(t *testing.T) {
	sc := journalScenario(time.Millisecond)
	sc.restart(0, time.Second, "n2")
	if _, err := (Engine{}).Simulate(t.Context(), sc.Simulation); err == nil || !strings.Contains(err.Error(), "forgotten what it promised") {
		t.Errorf("the error is %v, want one that says what it has forgotten", err)
	}
	sc.Faults = nil
	sc.kill(0, "n2")
	r := sc.run(t)
	proved(t, r, 1)
	if _, alive := r.Statuses["n2"]; alive || len(r.Statuses) != 3 {
		t.Errorf("statuses of %v, want those of the living", slots(r))
	}
	agree(t, r)
}

func TestWhatIsUnderWayToAKilledProcessIsLostAndItsPeersConnectAgain(t *testing.T) {
	const delay = 10 * time.Millisecond
	sc := oneServer(topologies.Parameters{Delay: delay})
	sc.Cluster.Storage = control.StorageDisk
	sc.load(func(load *control.Load) { load.RateRPS, load.TimeoutNS = 1000, int64(time.Second) })
	sc.restart(500*time.Millisecond, 200*time.Millisecond, "n1")
	sc.run(t)
	var lost []time.Duration
	start := sc.rows[0].IntendedNS
	late := time.Duration(0)
	for _, row := range sc.rows {
		if row.Outcome == results.OutcomeTimeout {
			lost = append(lost, time.Duration(row.IntendedNS-start))
		} else if sent := time.Duration(row.SentNS - start); sent >= 520*time.Millisecond {
			late = max(late, latency(row))
		}
	}
	slices.Sort(lost)
	// From 480 ms on requests find the server dead; at 520 ms the client knows.
	if len(lost) != 40 || lost[0] != 480*time.Millisecond || lost[39] != 519*time.Millisecond {
		t.Errorf("%d requests are lost, from %v to %v; want 40, from 480 ms to 519 ms", len(lost), lost[0], lost[len(lost)-1])
	}
	// Attempts are made 10, 30, 70, 150, 310 ms after that: the last finds the
	// server, at 850 ms, and the connection stands 40 ms later.
	if want := 350*time.Millisecond + 4*delay; late != want {
		t.Errorf("a request that waited for the connection took %v, want %v", late, want)
	}
}

func TestDiallingPausesLongerEachTimeUpToALimit(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, c := range []struct {
		redial          bool
		notBefore, want int64
	}{
		{false, -5, 0}, {false, 0, 0}, {false, 1, 10}, {false, 11, 30}, {false, 31, 70}, {false, 71, 150},
		{false, 151, 310}, {false, 311, 510}, {false, 100_000, 100_110},
		{true, 0, 10}, {true, 11, 30}, {true, 31, 70}, {true, 71, 150}, {true, 151, 310}, {true, 310, 310}, {true, 1111, 1310},
	} {
		if got := nextAttempt(0, c.redial, c.notBefore*ms); got != c.want*ms {
			t.Errorf("redial %v, not before %d ms: %v, want %d ms", c.redial, c.notBefore, time.Duration(got), c.want)
		}
	}
}

func TestAQueueToADeadPeerIsBoundedAndTheOldestGoFirst(t *testing.T) {
	s := &trial{}
	from, to := &process{}, &process{index: 1}
	p := &path{from: from, to: to}
	for i := range uint64(maxQueuedMessages + 10) {
		s.sendTCP(p, 0, 9, &stored{i})
	}
	if first := p.waiting.at(0).message.(*stored).slot; p.waiting.count != maxQueuedMessages || from.dropped != 10 || first != 10 {
		t.Errorf("%d wait from the %d-th on, %d are dropped", p.waiting.count, first, from.dropped)
	}
	for range 20 {
		s.sendTCP(p, 0, 1<<20, &stored{})
	}
	if p.waitingBytes > maxQueuedBytes || p.waiting.count != 16 {
		t.Errorf("%d messages of %d bytes wait", p.waiting.count, p.waitingBytes)
	}
}

func TestALoadEndsOnceSoManyRequestsAreAnswered(t *testing.T) {
	sc := journalScenario(20 * time.Millisecond)
	sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 100, int64(time.Hour) })
	sc.Stop.Requests = 50
	r := sc.run(t)
	agree(t, r)
	// What was outstanding then, 80 ms' worth, is awaited.
	sent := r.Statuses["n4"].Counters["client.sent"]
	if !r.Finished || len(sc.rows) < 55 || len(sc.rows) > 62 || uint64(len(sc.rows)) != sent || sc.outcomes()[results.OutcomeTimeout] > 0 {
		t.Errorf("finished %v, %d rows of %d sent, outcomes %v", r.Finished, len(sc.rows), sent, sc.outcomes())
	}
	if r.Elapsed > 5*time.Second {
		t.Errorf("it took %v", r.Elapsed)
	}
}

func TestAStoppedClientGivesUpWhatIsNeverAnswered(t *testing.T) {
	sc := journalScenario(20 * time.Millisecond)
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.TimeoutNS = 100, int64(time.Hour), int64(2*time.Second)
	})
	sc.Stop.Requests = 50
	// The leader dies soon after the fiftieth answer.
	sc.kill(590*time.Millisecond, "n1")
	r := sc.run(t)
	counts := sc.outcomes()
	sent := r.Statuses["n4"].Counters["client.sent"]
	if answered := len(sc.rows) - counts[results.OutcomeTimeout]; answered < 50 || counts[results.OutcomeTimeout] == 0 || uint64(len(sc.rows)) != sent {
		t.Errorf("outcomes %v of %d sent, want 50 answers or a few more, and the others given up", counts, sent)
	}
	if r.Elapsed > 4*time.Second || !r.Finished {
		t.Errorf("it took %v, finished %v", r.Elapsed, r.Finished)
	}
}

func TestATrialMayEndWithItsFirstLeader(t *testing.T) {
	sc := journalScenario(20 * time.Millisecond)
	sc.Cluster.Options = map[string]any{"patience_ms": 70}
	sc.Stop.FirstLeader = true
	r := sc.run(t)
	if want := 70 * time.Millisecond; r.LedAfter < want || r.LedAfter > want+time.Millisecond || r.Elapsed != r.LedAfter || len(sc.rows) > 0 {
		t.Errorf("led after %v of %v with %d requests, want %v and none", r.LedAfter, r.Elapsed, len(sc.rows), want)
	}
	sc.Cluster.Options = map[string]any{"patience_ms": 700}
	sc.LeaderTimeout = 500 * time.Millisecond
	if r = sc.run(t); r.LedAfter >= 0 || r.Elapsed != 500*time.Millisecond {
		t.Errorf("led after %v of %v, want never in 500 ms", r.LedAfter, r.Elapsed)
	}
}

func TestTheLoadBeginsAfterTheLeadOrWithoutALeader(t *testing.T) {
	sc := journalScenario(20 * time.Millisecond)
	sc.Costs = engine.Costs{}
	sc.Cluster.Options = map[string]any{"patience_ms": 300}
	if r := sc.run(t); r.LedAfter != 300*time.Millisecond || r.LoadStart != consensus.Time(500*time.Millisecond) {
		t.Errorf("led after %v, load from %v; want 300 ms and 500 ms", r.LedAfter, time.Duration(r.LoadStart))
	}
	if first := sc.rows[0].IntendedNS; first != int64(500*time.Millisecond) {
		t.Errorf("the first request was due at %v", time.Duration(first))
	}
	sc.LeaderTimeout = 100 * time.Millisecond
	if r := sc.run(t); r.LedAfter >= 0 || r.LoadStart != consensus.Time(300*time.Millisecond) {
		t.Errorf("led after %v, load from %v; want never and 300 ms", r.LedAfter, time.Duration(r.LoadStart))
	}
}

func TestATrialIsDrainedOnceTheLiveStandAtOneSlot(t *testing.T) {
	sc := journalScenario(20 * time.Millisecond)
	sc.load(func(load *control.Load) { load.Mix = map[string]float64{"create": 1} })
	// The last command's decision is lost to n3, until the leader says it again.
	sc.Cluster.Options = map[string]any{"resend_ms": 60_000}
	sc.Cluster.Storage = control.StorageDisk
	sc.restart(1950*time.Millisecond, 40*time.Millisecond, "n3")
	sc.Drain = 3 * time.Second
	r := sc.run(t)
	if r.Drained || r.Statuses["n3"].Slot >= r.Statuses["n1"].Slot {
		t.Fatalf("drained %v, slots %v; want n3 to lag", r.Drained, slots(r))
	}
	last := time.Duration(sc.rows[len(sc.rows)-1].DoneNS)
	if r.Elapsed < last+3*time.Second || r.Elapsed > last+3*time.Second+time.Millisecond {
		t.Errorf("it gave up at %v, want 3 s after the last answer at %v", r.Elapsed, last)
	}
	sc.Cluster.Options = map[string]any{"resend_ms": 500}
	if r = sc.run(t); !r.Drained || r.Elapsed > last+time.Second {
		t.Errorf("drained %v at %v, slots %v; want soon after %v", r.Drained, r.Elapsed, slots(r), last)
	}
	agree(t, r)
}

func TestAReconfigurationGoesThroughTheLog(t *testing.T) {
	sc := journalScenario(time.Millisecond)
	sc.load(func(load *control.Load) { load.Mix = map[string]float64{"create": 1} })
	before := sc.run(t).Statuses["n1"].Slot
	sc.fault(faults.Fault{Kind: "reconfigure", Trigger: at(time.Second), Parameters: faults.Parameters{Change: []byte(`"anything"`)}})
	r := sc.run(t)
	agree(t, r)
	if slot := r.Statuses["n1"].Slot; slot != before+1 {
		t.Errorf("%d slots with the reconfiguration, %d without", slot, before)
	}
}

func TestReplicasReportTheirPrefixesAndAgreeInThem(t *testing.T) {
	sc := journalScenario(time.Millisecond)
	sc.load(func(load *control.Load) {
		load.RateRPS, load.Mix = 2000, map[string]float64{"create": 1}
	})
	prefixes := map[uint64]map[string]string{}
	sc.Event = func(_ consensus.Time, node string, event consensus.Event) {
		if event.Role != consensus.RoleApplication || event.Kind != consensus.EventPrefix {
			return
		}
		if prefixes[event.Slot] == nil {
			prefixes[event.Slot] = map[string]string{}
		}
		prefixes[event.Slot][node] = event.Hash
	}
	sc.run(t)
	if len(prefixes) != 103 {
		t.Errorf("prefixes at %d slots, want 100 and 3 for 4000 commands", len(prefixes))
	}
	for slot, hashes := range prefixes {
		if len(hashes) != 3 || len(hashes["n1"]) != 64 || hashes["n1"] != hashes["n2"] || hashes["n1"] != hashes["n3"] {
			t.Errorf("at slot %d the hashes are %v", slot, hashes)
		}
	}
}

func TestProgressIsReportedWhileTheLoadRuns(t *testing.T) {
	sc := journalScenario(20 * time.Millisecond)
	sc.load(func(load *control.Load) { load.Mix, load.StartNS = map[string]float64{"nop": 1}, 1 })
	quiet := sc.run(t)
	var told []string
	sc.Live = func(elapsed time.Duration, p control.Progress) {
		told = append(told, fmt.Sprint(elapsed, " ", p.Sent, " ", p.Answered, " ", time.Duration(p.MeanLatencyNS).Round(time.Millisecond)))
	}
	r := sc.run(t)
	want := "500ms 10 7 160ms, 1s 20 17 160ms, 1.5s 30 27 160ms, 2s 40 37 160ms"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("told %s; want %s", got, want)
	}
	if r.TraceHash != quiet.TraceHash || r.Events != quiet.Events {
		t.Error("who looks on changes what happens")
	}
}
