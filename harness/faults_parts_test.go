package harness

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/node/echo"
	"quorumlab/results"
	"quorumlab/topologies"
)

func TestEachFaultThatIsNotProvedVoidsTheTrialUnlessItIsOptional(t *testing.T) {
	fault := func(outcome string, optional bool) results.Fault {
		return results.Fault{ID: "kill", Occurrence: 2, Outcome: outcome, Reason: "the reason", Optional: optional}
	}
	for _, c := range []struct {
		outcome        string
		must, optional string
	}{
		{results.FaultProved, "", ""},
		{results.FaultUnproved, voidFault, voidFault},
		{results.FaultFailed, voidFaultFailed, voidFaultFailed},
		{results.FaultNeverFired, voidNeverFired, ""},
		{results.FaultNobody, voidNobody, ""},
		{"something new", voidFault, voidFault},
	} {
		for optional, want := range map[bool]string{false: c.must, true: c.optional} {
			reasons := judgeFaults([]results.Fault{fault(c.outcome, optional)})
			switch {
			case want == "" && len(reasons) == 0:
			case want == "" || len(reasons) != 1 || reasons[0].Code != want || reasons[0].Mend == "" ||
				!strings.Contains(reasons[0].Text, "kill (occurrence 2)") || !strings.Contains(reasons[0].Text, "the reason"):
				t.Errorf("%s, optional %v: %+v, want %q", c.outcome, optional, reasons, want)
			}
		}
	}
}

func TestAShareIsProvedByWhatChanceCannotExplain(t *testing.T) {
	for _, c := range []struct {
		name         string
		count, of    float64
		before, want float64
		healed       bool
		proved       bool
	}{
		{"some are lost where none were", 3, 30, 0, 0.1, false, true},
		{"none is lost", 0, 30, 0, 0.1, false, false},
		{"all are lost", 30, 30, 0, 0.1, false, false},
		{"twice as many, but few", 4, 100, 0.02, 0.04, false, false},
		{"twice as many of many", 400, 10000, 0.02, 0.04, false, true},
		{"as many as before", 200, 10000, 0.02, 0.04, false, false},
		{"fewer than before", 20, 10000, 0.02, 0.002, false, true},
		{"none any more", 0, 25, 0.2, 0, true, true},
		{"still as many", 5, 25, 0.2, 0, true, false},
		{"no frames", 0, 0, 0, 0.1, true, false},
	} {
		if got := changed(c.count, c.of, c.before, c.want, c.healed); got != c.proved {
			t.Errorf("%s: %v, want %v", c.name, got, c.proved)
		}
	}
}

func TestThingsAreDoneOneAfterTheOtherInTheirOrder(t *testing.T) {
	var working sync.WaitGroup
	var l line
	var done []int
	for i := range 1000 {
		l.add(&working, func() { done = append(done, i) }) // a race, were two done at once
	}
	working.Wait()
	if !slices.IsSorted(done) || len(done) != 1000 {
		t.Errorf("%d were done, in order: %v", len(done), slices.IsSorted(done))
	}
	l.add(&working, func() { done = nil })
	working.Wait()
	if done != nil {
		t.Error("what came once all was done wasn't done")
	}
}

func TestATrainsRowsTellDelaysAndWhatBecameOfItsFrames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "train")
	write := func(suffix, rows string) {
		if err := os.WriteFile(path+suffix, []byte(rows), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(echo.SentSuffix, "0,1000\n1,2000\n2,3000\n3,4000\n")
	// 2 comes first, 1 is lost, 3 comes twice.
	write(echo.ReceivedSuffix, "2,3000,3500\n0,1000,3600\n3,4000,4700\n3,4000,4800\n")
	c, err := readTrain(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{2500, 400, 600}
	if !slices.Equal(c.delays, want) || c.sent != 4 || c.lost() != 1 || c.doubled != 1 || c.overtaking != 1 || c.spacing != 1300/3 {
		t.Errorf("%+v", c)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	for _, rows := range []string{"0\n", "0,x\n", "0,1,2\n"} {
		write(echo.SentSuffix, rows)
		write(echo.ReceivedSuffix, "")
		if _, err := readTrain(path, 0); err == nil {
			t.Errorf("%q was taken for rows of two numbers", rows)
		}
	}
}

func TestTheWayBetweenHostsIsThatOfTheNetworkAsFaultsHaveLeftIt(t *testing.T) {
	star := topologies.Star(3, topologies.Parameters{Delay: 5 * time.Millisecond, RateBPS: 1_000_000}).WithMonitors()
	var net brokenNetwork
	net.current = &networkState{topology: star, pairs: map[string]topologies.Parameters{}}
	before := net.state()
	net.change(func(s *networkState) { s.link("h2-s1").AToB.Down = true })
	net.change(func(s *networkState) {
		s.pairs["h1>h3"] = topologies.Parameters{Delay: 20 * time.Millisecond, Jitter: 1}
	})
	state := net.state()
	if !before.reach("h1", "h2") || state.reach("h1", "h2") || !state.reach("h1", "h3") || !state.reach("h2", "h2") {
		t.Error("h2's link is down one way, so that it and h1 can't talk to each other")
	}
	if _, there := state.stages("h1", "h2"); !there {
		t.Error("frames still get to h2")
	}
	if _, known := state.stages("h1", "nowhere"); known {
		t.Error("there is a way to nowhere")
	}
	stages, _ := state.stages("h1", "h3")
	if delay, fixed, limited := delayOf(stages, 125); delay != 32*time.Millisecond || fixed || !limited {
		t.Errorf("h1 to h3 takes %v, always the same %v, limited %v", delay, fixed, limited)
	}
	echoes := map[string]*session{"h1": {}, "h2": {}, "h3": {}}
	if sender, receiver, ok := state.probers("h2-s1", "h2", echoes, nil); !ok || sender != "h2" || receiver == "h2" {
		t.Errorf("the link from h2 is measured from %s to %s, %v", sender, receiver, ok)
	}
	// Frames that a partition keeps off the link would never show what the link does.
	partition := map[string]topologies.Parameters{"h2>h1": {Down: true}}
	if sender, receiver, ok := state.probers("h2-s1", "h2", echoes, partition); !ok || sender != "h2" || receiver != "h3" {
		t.Errorf("beside a partition the link from h2 is measured from %s to %s, %v", sender, receiver, ok)
	}
	echoes["@s1"] = &session{}
	if sender, receiver, ok := state.probers("h2-s1", "s1", echoes, nil); !ok || sender != "@s1" || receiver != "h2" {
		t.Errorf("the link to h2 is measured from %s to %s, %v", sender, receiver, ok)
	}
	if _, _, ok := state.probers("h2-s1", "h2", map[string]*session{"h1": {}, "h3": {}}, nil); ok {
		t.Error("a link is measured between hosts that it isn't between")
	}
}

func TestAFaultIsDescribedInALine(t *testing.T) {
	f := results.Fault{ID: "kill", Nodes: []string{"a", "b", "c", "d", "e", "f"}}
	for _, c := range []struct {
		heal bool
		err  error
		want string
	}{
		{false, nil, "1.5 s: kill hit: a, b, c, d, 2 more"},
		{true, nil, "1.5 s: kill is healed: a, b, c, d, 2 more"},
		{false, os.ErrNotExist, "1.5 s: kill failed: file does not exist"},
	} {
		if got := describeFault(f, c.heal, 1500*time.Millisecond, c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := describeFault(results.Fault{ID: "change"}, false, time.Duration(math.MaxInt32), nil); strings.Contains(got, "hit") {
		t.Errorf("%q hit nothing", got)
	}
}
