package harness

import (
	"strings"
	"testing"

	"quorumlab/harness/engine"
	"quorumlab/results"
)

func TestInALabAFaultThatNothingComesToHitsNobody(t *testing.T) {
	needNetns(t)
	source := load(t, "netns", "--set", "repeat=1", "--set", "system.storage=fsync", "--set", "system.spares={acceptors: 1}",
		"--set", "phases.measure=2s", "--set", withFaults(
			"{id: alone, name: isolate, whom: acceptor1, at: 100ms, for: 1600ms}",
			"{id: ignores, name: ignore, whom: acceptor1, share: 50%, at: 600ms, for: 500ms, optional: true}",
			"{id: syncs, name: slow_sync, whom: acceptor4, delay: 20ms, at: 600ms, for: 500ms, optional: true}",
			"{id: writes, name: failing_write, whom: acceptor4, at: 1200ms, for: 400ms, optional: true}"))
	e, _ := engine.Lookup("netns")
	verdict, folder := trialIn(t, e.(engine.Builder), source)
	if len(verdict.Reasons) > 0 {
		t.Errorf("%+v", verdict.Reasons)
	}
	_, byID := faultsOf(t, folder)
	for _, id := range []string{"ignores", "syncs", "writes"} {
		if f := byID[id]; len(f) != 1 || f[0].Outcome != results.FaultNobody || !strings.Contains(f[0].Reason, "nothing came") {
			t.Errorf("%s: %+v", id, f)
		}
	}
}

// Fewer messages come than the share is judged by at once: it is judged by those that
// there were once the fault is over.
func TestInALabAShortFaultIsProvedByTheFewMessagesThatCame(t *testing.T) {
	needNetns(t)
	source := load(t, "netns", "--set", "repeat=1", "--set", "phases.measure=2s", "--set", "workload.rate=20/s", "--set", withFaults(
		"{id: ignores, name: ignore, whom: acceptor1, share: 50%, messages: [phase2a], at: 500ms, for: 600ms}"))
	e, _ := engine.Lookup("netns")
	_, folder := trialIn(t, e.(engine.Builder), source)
	_, byID := faultsOf(t, folder)
	if f := byID["ignores"]; len(f) != 1 || f[0].Outcome != results.FaultProved {
		t.Errorf("%+v", f)
	}
}
