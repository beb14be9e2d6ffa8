package harness

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/calibrate"
	"quorumlab/harness/engine"
	"quorumlab/results"
	"quorumlab/topologies"
)

func rtt(predicted, least time.Duration, answered int) probed {
	return probed{steady: true, sure: true, RTT: results.RTT{
		From: "h1", To: "h2", PredictedNS: int64(predicted), LeastNS: int64(least), Answered: answered, Sent: probeCount,
	}}
}

func TestARoundTripOtherThanDeclaredVoidsTheTrial(t *testing.T) {
	jittery, lossy := rtt(80*time.Millisecond, 90*time.Millisecond, 5), rtt(80*time.Millisecond, 0, 0)
	jittery.steady, lossy.sure = false, false
	lossyAndSlow := rtt(80*time.Millisecond, 90*time.Millisecond, 1)
	lossyAndSlow.sure = false
	for _, c := range []struct {
		name string
		pair probed
		void bool
	}{
		{"as declared", rtt(80*time.Millisecond, 80200*time.Microsecond, 5), false},
		{"just within 2%", rtt(80*time.Millisecond, 81500*time.Microsecond, 5), false},
		{"too slow", rtt(80*time.Millisecond, 82*time.Millisecond, 5), true},
		{"too fast", rtt(80*time.Millisecond, 78*time.Millisecond, 5), true},
		{"a fast link, within 1 ms", rtt(0, 900*time.Microsecond, 5), false},
		{"a fast link, too slow", rtt(0, 1100*time.Microsecond, 5), true},
		{"nothing answered", rtt(80*time.Millisecond, 0, 0), true},
		{"one of five answered", rtt(80*time.Millisecond, 80*time.Millisecond, 1), false},
		{"jitter is judged link by link", jittery, false},
		{"loss may take all probes", lossy, false},
		{"what loss leaves is judged", lossyAndSlow, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			reasons := judgeRTTs([]probed{c.pair})
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

func TestOnlyPairsWhoseLinksTreatAllFramesAlikeAreHeldToTheirRoundTrip(t *testing.T) {
	topology := topologies.Star(4, topologies.Parameters{Delay: time.Millisecond})
	topology.Links[1].BToA.Jitter, topology.Links[1].BToA.JitterDistribution = time.Millisecond, topologies.JitterNormal
	topology.Links[2].AToB.Loss = 0.1
	pairs, err := pairsToProbe(topology, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range pairs {
		if steady := pair.From != "h2" && pair.To != "h2"; pair.steady != steady {
			t.Errorf("%s to %s: steady %v", pair.From, pair.To, pair.steady)
		}
		if sure := pair.From != "h3" && pair.To != "h3"; pair.sure != sure {
			t.Errorf("%s to %s: sure %v", pair.From, pair.To, pair.sure)
		}
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
		{"a tail allowed", engine.LinkReport{Lateness: []engine.LatenessBucket{{UpToNS: 1e6, Frames: 95}, {UpToNS: 2e6, Frames: 5}}}, 0, "[]"},
		{"too long a tail", engine.LinkReport{Lateness: []engine.LatenessBucket{{UpToNS: 1e6, Frames: 94}, {UpToNS: 2e6, Frames: 6}}}, 0, "[late_frames]"},
		{"one lost", report(0, 1), 0, "[emulator_drops]"},
		{"both", report(900, 9), 0, "[late_frames emulator_drops]"},
		{"kernel links", engine.LinkReport{}, 0, "[]"},
	} {
		var codes []string
		for _, r := range judgeLinks(c.report, c.path, time.Second) {
			codes = append(codes, r.Code)
		}
		if got := fmt.Sprint(codes); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTheReasonSaysWhatTheMachineIsTooBusyFor(t *testing.T) {
	report := engine.LinkReport{LatenessTotalNS: int64(300 * 80_000 * time.Microsecond),
		Lateness: []engine.LatenessBucket{{UpToNS: 1e6, Frames: 79_680}, {UpToNS: 2e6, Frames: 300}, {UpToNS: 0, Frames: 20}}}
	reasons := judgeLinks(report, 0, 2*time.Second)
	want := "the emulator was late by more than 1ms for 0.4% of frames (5% is allowed), by 300\u00b5s on average (250\u00b5s): the machine is too busy for 40000 frames a second"
	if len(reasons) != 1 || reasons[0].Text != want {
		t.Errorf("%+v, want %q", reasons, want)
	}
}

func TestAHypervisorThatTakesTheProcessorsAwayVoidsTheTrial(t *testing.T) {
	if reasons := judgeMachine(results.Load{StealShare: stealShare, BusyShare: 1}); reasons != nil {
		t.Errorf("%+v", reasons)
	}
	reasons := judgeMachine(results.Load{StealShare: 0.323})
	if len(reasons) != 1 || reasons[0].Code != voidSteal || !strings.Contains(reasons[0].Text, "32.3%") {
		t.Errorf("%+v", reasons)
	}
}

func TestWhatTheLinksDidBeforeTheLoadIsNotTheLoads(t *testing.T) {
	direction := func(link string, n uint64) engine.DirectionReport {
		return engine.DirectionReport{Link: link, Frames: 10 * n, Bytes: 100 * n, LossDrops: n, QueueDrops: n, DownDrops: n,
			Duplicates: n, Corrupted: n, Reordered: n, CaptureMissed: n}
	}
	report := func(n uint64) engine.LinkReport {
		return engine.LinkReport{
			Directions: []engine.DirectionReport{direction("h1-s1", n), direction("@s1", n)},
			Lateness:   []engine.LatenessBucket{{UpToNS: 1e6, Frames: n}}, LatenessTotalNS: int64(7 * n),
			EmulatorDrops: n, EmulatorDropCauses: map[string]uint64{"full": n, "other": 1}, Emulator: "granted",
		}
	}
	got, want := linksSince(report(5), report(2)), report(3)
	want.Directions, want.EmulatorDropCauses = want.Directions[:1], map[string]uint64{"full": 3}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestALinkThatIsNotAsDeclaredVoidsTheTrialByItsName(t *testing.T) {
	check := results.LinkCheck{Link: "h3-s1", From: "h3", To: "s1", Parameter: "loss", Unit: "share", Declared: 0.01, Measured: 0.05,
		Low: 0.004, High: 0.02, Finding: results.LinkFail}
	passes, unknown := check, check
	passes.Finding, unknown.Finding = results.LinkPass, results.LinkNotTested
	if reasons := judgeCalibration([]results.LinkCheck{passes, unknown}); reasons != nil {
		t.Errorf("%+v", reasons)
	}
	reasons := judgeCalibration([]results.LinkCheck{passes, check, check, check, check, check})
	if len(reasons) != 3 || !strings.HasSuffix(reasons[2].Text, "(and 2 more)") {
		t.Errorf("%+v", reasons)
	}
	if want := "link h3-s1 from h3 to s1: the loss is 5%, declared 1% (0.4% to 2% would do)"; reasons[0].Text != want || reasons[0].Code != voidLink {
		t.Errorf("%+v, want %q", reasons[0], want)
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
		fmt.Sprintf("more than %.0f%% of them over %v late", 100*lateShare, lateFrame),
		fmt.Sprintf("more than %.0f%% of its requests more than %v after", 100*clientLateShare, clientLateAfter),
		fmt.Sprintf("within %.0f s", startTimeout.Seconds()),
		fmt.Sprintf("more than %.0f%% of the processors' time", 100*stealShare), "`" + voidSteal + "`", "`" + voidLink + "`", "`" + voidExec + "`",
		fmt.Sprintf("%g in all of a trial's links", calibrate.ShortFalseAlarm),
		"`" + voidRTT + "`", "`" + voidLate + "`", "`" + voidDrops + "`", "`" + voidEnded + "`", "`" + voidSilent + "`", fmt.Sprintf("a command for %.0f s", answerTimeout.Seconds()), "`" + voidUnconnected + "`",
		"`" + voidDrain + "`", "`" + voidAgreement + "`", "`" + voidControl + "`", "`" + voidUnanswered + "`", "`" + voidUnfinished + "`",
		"`" + voidHistory + "`", "`" + voidNoHistory + "`", fmt.Sprintf("within %v", checkTimeout), "`" + voidNoStates + "`",
		"`" + voidFault + "`", "`" + voidNeverFired + "`", "`" + voidNobody + "`", "`" + voidFaultFailed + "`",
		fmt.Sprintf("for another %v, and healing for %v", effectTimeout, healTimeout),
		fmt.Sprintf("over %v", slowTime), fmt.Sprintf("give or take %.0f%%", 100*slowTolerance),
		fmt.Sprintf("of %d probes none is answered within twice the usual round trip and %v", cutFrames, lostAfter),
		fmt.Sprintf("the least of %d delays", delayFrames), fmt.Sprintf("within %v or %.0f%%", delayTolerance, 100*delayShare),
		fmt.Sprintf("within %d standard deviations of what is wanted, and %d away", fitSigmas, changeSigmas),
		fmt.Sprintf("below %d Mbit/s | %d full frames", fastestRate/1_000_000, rateFrames), fmt.Sprintf("less %.0f%%", 100*rateShare),
		fmt.Sprintf("%v apart: the rate within %.0f%%", clockTime, 100*clockShare), fmt.Sprintf("difference within %v", clockJump),
		fmt.Sprintf("stands still for %v", settledTime),
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
