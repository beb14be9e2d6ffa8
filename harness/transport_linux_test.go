package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"quorumlab/node/control"
)

// What a link loses TCP sends again: the run folder has both, and no message is lost.
func TestFramesThatLinksLoseAreNotMessagesLost(t *testing.T) {
	for _, engineName := range []string{"netns", "sim"} {
		source := load(t, engineName, "--set", "repeat=1", "--set", "topology.link.loss=5%", "--set", "phases.measure=2s")
		folder := broken(t, source)
		verdicts, err := folder.Trials()
		if err != nil || len(verdicts) != 1 || verdicts[0].Transport == nil {
			t.Fatalf("%s: %v, %+v", engineName, err, verdicts)
		}
		sum := verdicts[0].Transport
		if sum.CongestionControl != "reno" || !sum.SlowStartAfterIdle || sum.FramesLost == 0 || sum.Retransmitted == 0 ||
			sum.MessagesLost != 0 || sum.SegmentsSent <= sum.Retransmitted {
			t.Errorf("%s: %+v", engineName, *sum)
		}
		data, err := os.ReadFile(filepath.Join(folder.TrialDir(1), socketsFile))
		if err != nil {
			t.Fatal(err)
		}
		var rows []control.Socket
		if err := json.Unmarshal(data, &rows); err != nil {
			t.Fatal(err)
		}
		toLeader := func(row control.Socket) bool {
			return row.Node == "replica1" && row.Peer == "leader1" && row.Opened > 0 && row.SmoothedRTTNS > 0
		}
		if !slices.ContainsFunc(rows, toLeader) {
			t.Errorf("%s: no connection from replica1 to leader1 in %s", engineName, data)
		}
	}
}

func TestTheMachinesLoadIsTheDifferenceOfTwoReadings(t *testing.T) {
	now, err := readProcessorTime()
	if err != nil {
		t.Fatal(err)
	}
	if loadSince(processorTime{}) != nil || loadSince(now) != nil && loadSince(now).BusyShare > 1 {
		t.Error("a load over no time")
	}
	before := processorTime{total: 1, idle: 1}
	load := loadSince(before)
	if load == nil || load.BusyShare <= 0 || load.BusyShare > 1 || load.StealShare < 0 || load.StealShare > 1 || load.CPUs < 1 {
		t.Errorf("since the start of the machine: %+v", load)
	}
}
