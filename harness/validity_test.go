package harness

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/results"
	"quorumlab/topologies"
)

func rtt(predicted, least time.Duration, answered int) results.RTT {
	return results.RTT{From: "h1", To: "h2", PredictedNS: int64(predicted), LeastNS: int64(least), Answered: answered, Sent: probeCount}
}

func TestARoundTripOtherThanDeclaredVoidsTheTrial(t *testing.T) {
	plain := topologies.Star(2, topologies.Parameters{Delay: 20 * time.Millisecond})
	normal := topologies.Star(2, topologies.Parameters{Delay: 20 * time.Millisecond, Jitter: time.Millisecond, JitterDistribution: topologies.JitterNormal})
	for _, c := range []struct {
		name     string
		topology *topologies.Topology
		rtt      results.RTT
		void     bool
	}{
		{"as declared", plain, rtt(80*time.Millisecond, 80200*time.Microsecond, 5), false},
		{"just within 2%", plain, rtt(80*time.Millisecond, 81500*time.Microsecond, 5), false},
		{"too slow", plain, rtt(80*time.Millisecond, 82*time.Millisecond, 5), true},
		{"too fast", plain, rtt(80*time.Millisecond, 78*time.Millisecond, 5), true},
		{"a fast link, within 1 ms", plain, rtt(0, 900*time.Microsecond, 5), false},
		{"a fast link, too slow", plain, rtt(0, 1100*time.Microsecond, 5), true},
		{"nothing answered", plain, rtt(80*time.Millisecond, 0, 0), true},
		{"one of five answered", plain, rtt(80*time.Millisecond, 80*time.Millisecond, 1), false},
		{"jitter allows more", normal, rtt(80*time.Millisecond, 90*time.Millisecond, 5), false},
		{"more than jitter allows", normal, rtt(80*time.Millisecond, 100*time.Millisecond, 5), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			reasons := judgeRTTs(c.topology, []results.RTT{c.rtt})
			if (len(reasons) > 0) != c.void {
				t.Errorf("reasons %+v, want void: %v", reasons, c.void)
			}
			for _, r := range reasons {
				if r.Code != voidRTT || r.Mend == "" || !strings.Contains(r.Text, "h1") {
					t.Errorf("reason %+v", r)
				}
			}
		})
	}
}

func TestLateAndLostFramesVoidTheTrial(t *testing.T) {
	report := func(meanUS, drops uint64) engine.LinkReport {
		return engine.LinkReport{EmulatorDrops: drops, LatenessTotalNS: int64(meanUS * 1000 * 1000),
			Lateness: []engine.LatenessBucket{{UpToNS: 1e6, Frames: 990}, {UpToNS: 0, Frames: 10}}}
	}
	for _, c := range []struct {
		name   string
		report engine.LinkReport
		path   time.Duration
		want   string
	}{
		{"on time", report(50, 0), 0, "[]"},
		{"just allowed", report(250, 0), 0, "[]"},
		{"too late", report(251, 0), 0, "[late_frames]"},
		{"allowed on a long path", report(400, 0), 40 * time.Millisecond, "[]"},
		{"too late on a long path", report(401, 0), 40 * time.Millisecond, "[late_frames]"},
		{"one lost", report(0, 1), 0, "[emulator_drops]"},
		{"both", report(900, 9), 0, "[late_frames emulator_drops]"},
		{"kernel links", engine.LinkReport{}, 0, "[]"},
	} {
		var codes []string
		for _, r := range judgeLinks(c.report, c.path) {
			codes = append(codes, r.Code)
		}
		if got := fmt.Sprint(codes); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The page that users read must state the thresholds that the code has.
func TestThePageOnValidityStatesTheThresholds(t *testing.T) {
	page, err := os.ReadFile("../docs/validity.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprintf("by more than %v or %.0f%%", rttTolerance, 100*rttToleranceShare),
		fmt.Sprintf("the least of %d round trips", probeCount), fmt.Sprintf("after %d more tries of %d", probeTries-1, probeCount),
		fmt.Sprintf("more than %v late on average, or %.0f%% of the mean path's delay", latenessMean, 100*latenessShare),
		fmt.Sprintf("more than %.0f%% of its requests more than %v after", 100*clientLateShare, clientLateAfter),
		fmt.Sprintf("within %.0f s", startTimeout.Seconds()),
		"`" + voidRTT + "`", "`" + voidLate + "`", "`" + voidDrops + "`", "`" + voidEnded + "`", "`" + voidSilent + "`", fmt.Sprintf("a command for %.0f s", answerTimeout.Seconds()), "`" + voidUnconnected + "`",
		"`" + voidDrain + "`", "`" + voidAgreement + "`", "`" + voidControl + "`", "`" + voidUnanswered + "`", "`" + voidUnfinished + "`",
		"`" + voidHistory + "`", "`" + voidNoHistory + "`", fmt.Sprintf("within %v", checkTimeout), "`" + voidNoStates + "`",
		"`" + voidNoLeader + "`", "`" + voidStopped + "`", "every 1,000 slots", "`" + results.ViolationPage + "`",
	} {
		if !strings.Contains(strings.Join(strings.Fields(string(page)), " "), text) {
			t.Errorf("docs/validity.md doesn't say %q", text)
		}
	}
}

func TestEveryPairOfHostsIsProbedOnceOrEachHostProbesASample(t *testing.T) {
	pairs := map[[2]int]int{}
	for i := range allPairsUpTo {
		for _, k := range probePeers(i, allPairsUpTo, 1) {
			pairs[[2]int{min(i, k), max(i, k)}]++
		}
	}
	if want := allPairsUpTo * (allPairsUpTo - 1) / 2; len(pairs) != want {
		t.Errorf("%d pairs, want %d", len(pairs), want)
	}
	for pair, n := range pairs {
		if n != 1 {
			t.Errorf("pair %v is probed %d times", pair, n)
		}
	}
	for i := range 200 {
		seen := map[int]bool{}
		for _, k := range probePeers(i, 200, 1) {
			if k == i || seen[k] {
				t.Fatalf("host %d probes %d", i, k)
			}
			seen[k] = true
		}
		if len(seen) != sampledPeers {
			t.Fatalf("host %d probes %d others, want %d", i, len(seen), sampledPeers)
		}
	}
}
