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
