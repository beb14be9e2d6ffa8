package harness

import (
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/results"
)

func TestASubtreeThatIsIsolatedIsHealedByAnotherFault(t *testing.T) {
	onEngines(t, func(t *testing.T, engineName string) {
		// Of the row's four switches the last has the acceptors.
		source := load(t, engineName, "--set", "repeat=1", "--set", "topology={kind: linear, link: {delay: 2ms, rate: 1gbit}}",
			"--set", "system.options={resend: 100ms}", "--set", "phases.measure=2500ms", "--set", "workload.timeout=3s", "--set", withFaults(
				"{id: away, name: isolate_subtree, switch: s4, at: 500ms}", "{id: again, name: heal, fault: away, after: {fault: away, by: 400ms}}"))
		folder := broken(t, source)
		expectSafe(t, folder)
		r, byID := readRun(t, engineName, folder, nil)
		if len(byID["away"]) != 1 || byID["away"][0].HealedNS == nil || byID["away"][0].RecoveredNS == nil {
			t.Fatalf("%+v", byID)
		}
		f := byID["away"][0]
		noAnswers(t, r, f)
		if length := time.Duration(*f.HealRequestedNS - *f.AppliedNS); length < 400*time.Millisecond || length > 600*time.Millisecond {
			t.Errorf("it lasted %v, want 400ms", length)
		}
		if answered, due := answeredFrom(t, folder, r.startNS+*f.HealedNS+int64(time.Second)); answered < due || due == 0 {
			t.Errorf("once it was healed, %d of %d requests were answered", answered, due)
		}
	})
}

// Of the first configuration's acceptors 1, 2, 3 only one is left in the end; of 1, 2, 4 two.
func TestAnAcceptorThatIsAddedTakesThePlaceOfOneThatIsRemoved(t *testing.T) {
	onEngines(t, func(t *testing.T, engineName string) {
		source := load(t, engineName, "--set", "repeat=1", "--set", "system.spares={acceptors: 1}", "--set", "phases.measure=4s",
			"--set", "workload.timeout=3s", "--set", withFaults(
				"{id: more, name: add_server, whom: acceptor4, at: 400ms}",
				"{id: fewer, name: remove_server, whom: acceptor3, after: {fault: more, by: 1200ms}}",
				"{id: two, name: crash, whom: [acceptor1, acceptor3], after: {fault: fewer, by: 1200ms}}"))
		folder := broken(t, source)
		expectSafe(t, folder)
		start, byID := faultsOf(t, folder)
		if len(byID["two"]) != 1 || byID["two"][0].AppliedNS == nil {
			t.Fatalf("%+v", byID)
		}
		if answered, due := answeredFrom(t, folder, start+*byID["two"][0].AppliedNS+int64(300*time.Millisecond)); answered < due || due == 0 {
			t.Errorf("with the removed acceptor dead, %d of %d requests were answered", answered, due)
		}
	})
}

func TestTheServiceOutlivesOneOfEachRoleAndStopsWithoutAMajorityOfAcceptors(t *testing.T) {
	onEngines(t, func(t *testing.T, engineName string) {
		source := load(t, engineName, "--set", "repeat=1", "--set", "system.storage=disk",
			"--set", "system.options={resend: 100ms, ping_interval: 100ms, ping_timeout: 400ms}",
			"--set", "phases.measure=4s", "--set", "workload.timeout=3s", "--set", withFaults(
				"{id: one, name: crash, whom: [leader, replica2, acceptor1], at: 500ms}",
				"{id: more, name: crash, whom: acceptor2, at: 2300ms, for: 600ms}"))
		folder := broken(t, source)
		expectSafe(t, folder)
		r, byID := readRun(t, engineName, folder, nil)
		if len(byID["one"]) != 1 || len(byID["more"]) != 1 || byID["more"][0].RecoveredNS == nil {
			t.Fatalf("%+v", byID)
		}
		one, more := byID["one"][0], byID["more"][0]
		if one.HealRequestedNS != nil || len(one.Nodes) != 3 || !strings.HasPrefix(one.Leader, "leader") || !slices.Contains(one.Nodes, one.Leader) {
			t.Errorf("a crash for good of one of each role: %+v", one)
		}
		for _, row := range r.rows {
			late := row.DoneNS-row.IntendedNS > int64(500*time.Millisecond) || row.Outcome == results.OutcomeTimeout
			if due := row.IntendedNS - r.startNS; late && due > *one.AppliedNS+int64(1200*time.Millisecond) && due < *more.AppliedNS-int64(500*time.Millisecond) {
				t.Errorf("with one of each role dead a request took %v", time.Duration(row.DoneNS-row.IntendedNS))
				break
			}
		}
		noAnswers(t, r, more)
		if answered, due := answeredFrom(t, folder, r.startNS+*more.HealedNS+int64(700*time.Millisecond)); answered < due || due == 0 {
			t.Errorf("with two acceptors alive again, %d of %d requests were answered", answered, due)
		}
	})
}

// The proposal in appendix C of the dissertation: the leader dies when its phase 2a has
// reached one acceptor.
func TestALeaderDiesRightAfterItsPhase2aHasReachedOneAcceptor(t *testing.T) {
	onEngines(t, func(t *testing.T, engineName string) {
		source := load(t, engineName, "--set", "repeat=1", "--set", "system.storage=disk",
			"--set", "system.options={resend: 100ms, ping_interval: 100ms, ping_timeout: 400ms}",
			"--set", "phases.measure=3s", "--set", "workload.timeout=3s", "--set", withFaults(
				"{id: dies, name: crash, whom: leaders, failpoint: {place: after_send, kind: phase2a, slot: 100, to: acceptor1}, for: 500ms}",
				"{id: hangs, name: pause, whom: acceptor2, failpoint: {place: after_persist, kind: phase2a, slot: 150}, for: 300ms}"))
		folder := broken(t, source)
		expectSafe(t, folder)
		r, byID := readRun(t, engineName, folder, nil)
		dies, hangs := byID["dies"], byID["hangs"]
		if len(dies) != 1 || len(dies[0].Nodes) != 1 || dies[0].RecoveredNS == nil || len(hangs) != 1 || hangs[0].HealedNS == nil {
			t.Fatalf("%+v", byID)
		}
		// Nobody can lead from its death until the other suspects it.
		from := r.startNS + *dies[0].AppliedNS
		for _, row := range r.rows {
			if due := row.IntendedNS; due > from && due < from+int64(100*time.Millisecond) && row.Outcome != results.OutcomeTimeout && row.DoneNS < from+int64(200*time.Millisecond) {
				t.Errorf("a request due %v after the leader's death was answered %v after it", time.Duration(due-from), time.Duration(row.DoneNS-from))
				break
			}
		}
		if answered, due := answeredFrom(t, folder, from+int64(1500*time.Millisecond)); answered < due || due == 0 {
			t.Errorf("after the leader's death, %d of %d requests were answered", answered, due)
		}
	})
}

func TestOneProcessIsHitByAFailpointThatAllAcceptorsComeTo(t *testing.T) {
	onEngines(t, func(t *testing.T, engineName string) {
		source := load(t, engineName, "--set", "repeat=1", "--set", "system.storage=disk", "--set", "system.options={resend: 100ms}",
			"--set", "phases.measure=2s", "--set", "workload.timeout=3s", "--set", withFaults(
				"{id: one, name: crash, failpoint: {place: after_send, kind: phase2b, slot: 60}, for: 500ms}"))
		folder := broken(t, source)
		expectSafe(t, folder)
		r, byID := readRun(t, engineName, folder, nil)
		if one := byID["one"]; len(one) != 1 || len(one[0].Nodes) != 1 || !strings.HasPrefix(one[0].Nodes[0], "acceptor") || one[0].RecoveredNS == nil {
			t.Fatalf("%+v", byID)
		}
		if answered, due := answeredFrom(t, folder, r.startNS); answered < due || due == 0 {
			t.Errorf("with one acceptor dead, %d of %d requests were answered", answered, due)
		}
	})
}

func TestAnOutageThatWasAskedForIsAResult(t *testing.T) {
	for name, c := range map[string]struct{ entry, timeout, void string }{
		"from the beginning":  {"{name: crash, whom: acceptors, at: 0s}", "500ms", ""},
		"from the warm-up on": {"{name: crash, whom: acceptors, at: 200ms}", "500ms", ""},
		"before and after":    {"{name: crash, whom: acceptor1, at: 100ms, for: 50ms}", "500ms", ""},
		// An answer takes longer than any is awaited.
		"by itself": {"{name: crash, whom: acceptor1, at: 200ms}", "30ms", voidUnanswered},
	} {
		t.Run(name, func(t *testing.T) {
			flags := []string{"--set", "repeat=1", "--set", "system.storage=disk", "--set", "workload.timeout=" + c.timeout, "--set", withFaults(c.entry)}
			folder := broken(t, load(t, "sim", flags...))
			v := onlyVerdict(t, folder)
			if c.void == "" && !v.Valid || c.void != "" && (len(v.Reasons) != 1 || v.Reasons[0].Code != c.void) {
				t.Errorf("%+v", v.Reasons)
			}
		})
	}
}
