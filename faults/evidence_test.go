package faults

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

func TestAFaultThatCouldShowItselfByNothingHitsNobody(t *testing.T) {
	for name, c := range map[string]struct {
		idle    []bool // of acceptor1 and 2; what isn't idle is found
		outcome string
		reason  string
	}{
		"all":  {[]bool{true, true}, results.FaultNobody, "nothing came that it could have shown itself by: ignored at acceptor1, ignored at acceptor2"},
		"some": {[]bool{true, false}, results.FaultProved, "nothing came that it could have shown itself by: ignored at acceptor1"},
		"none": {[]bool{false, false}, results.FaultProved, ""},
	} {
		l := newLab(t, testWorld(), Fault{Kind: "ignore", Whom: []string{"acceptor1", "acceptor2"}, Trigger: at(0), For: lasting(time.Second)})
		l.blind = true
		begun := l.until(0)[0]
		for i, e := range begun.Expect {
			evidence := begun.Evidence(e, !c.idle[i], "0 of 0")
			evidence.Idle = c.idle[i]
			l.d.Prove(begun.Occurrence, time.Millisecond, evidence)
		}
		healed := l.until(time.Second)[0]
		for _, e := range healed.Expect {
			l.d.Prove(healed.Occurrence, 2*time.Second, healed.Evidence(e, true, "none ignored"))
		}
		if r := l.record(0); r.Outcome != c.outcome || r.Reason != c.reason {
			t.Errorf("%s: %s, %q", name, r.Outcome, r.Reason)
		}
	}
}

// That a fault is healed doesn't tell that it ever was in force.
func TestEvidenceOfTheHealingAloneProvesNothing(t *testing.T) {
	for found, want := range map[bool]string{false: results.FaultNobody, true: results.FaultProved} {
		l := newLab(t, testWorld(),
			Fault{Kind: "clock", Whom: []string{"acceptor1"}, Parameters: Parameters{Rate: 2}, Trigger: at(0), For: lasting(3 * time.Second)},
			Fault{Kind: "pause", Whom: []string{"acceptor1"}, Trigger: at(time.Second), For: lasting(time.Second)})
		l.blind = true
		begun := l.until(0)[0]
		if found {
			l.d.Prove(0, time.Millisecond, begun.Evidence(begun.Expect[0], true, "twice its rate"))
		}
		for _, order := range l.until(3 * time.Second) {
			for _, e := range order.Expect {
				l.d.Prove(order.Occurrence, order.Requested, order.Evidence(e, true, "seen"))
			}
		}
		if r := l.record(0); r.Outcome != want || r.RecoveredNS == nil {
			t.Errorf("its effect was seen: %v, and it is %+v", found, r)
		}
	}
}

func TestChanceExplainsThatOfAFewMessagesNoneWasIgnored(t *testing.T) {
	for _, c := range []struct {
		considered uint64
		share      float64
		want       bool
	}{{0, 0, true}, {0, 1, true}, {1, 1, false}, {1, 0, false}, {10, 1. / 3, true}, {34, 1. / 3, true}, {35, 1. / 3, false}, {1000, 0.01, true}, {2000, 0.01, false}} {
		if got := TooFew(c.considered, c.share); got != c.want {
			t.Errorf("none of %d ignored with a share of %v: too few is %v", c.considered, c.share, got)
		}
	}
}

func TestAServerThatIsAMemberIsNotAddedWhateverTheOrderOfTheList(t *testing.T) {
	l := newLab(t, testWorld(),
		Fault{Kind: "reconfigure", Parameters: Parameters{Change: json.RawMessage(`{"acceptors": ["acceptor4", "acceptor2", "acceptor1"]}`)}, Trigger: at(time.Second)},
		Fault{Kind: "add_server", Whom: []string{"acceptor4"}, Trigger: at(2 * time.Second)},
		Fault{Kind: "crash", Whom: []string{"acceptors"}, Trigger: at(3 * time.Second)})
	l.until(3 * time.Second)
	if r := l.record(1); r.Outcome != results.FaultNobody {
		t.Errorf("adding a member: %+v", r)
	}
	same(t, "acceptors", l.record(2).Nodes, []string{"acceptor1", "acceptor2", "acceptor4"})
}

// Whether there is anything to cut is found out without listing all that there is.
func TestACheckOfManyHostsListsNoPairsOfThem(t *testing.T) {
	w := testWorld()
	w.Cluster.Nodes, w.Hosts = nil, map[string]string{}
	for i := range 900 {
		name := fmt.Sprintf("acceptor%d", i+1)
		w.Cluster.Nodes = append(w.Cluster.Nodes, control.Node{Member: consensus.Member{ID: consensus.NodeID(i + 1), Name: name, Roles: []string{"acceptor"}}})
		w.Hosts[name] = fmt.Sprintf("h%d", i+1)
	}
	w.Topology = topologies.Star(900, declared)
	var schedule []Fault
	for i := range 10 {
		bridge := Fault{ID: fmt.Sprint("bridge", i), Kind: "bridge", Whom: []string{"acceptor1"}, Trigger: at(time.Second), For: lasting(time.Second)}
		ring := Fault{ID: fmt.Sprint("ring", i), Kind: "majorities_ring", Trigger: at(time.Second), For: lasting(time.Second)}
		all := Fault{ID: fmt.Sprint("cut", i), Kind: "cut", Parameters: Parameters{From: []string{"all"}, To: []string{"all"}}, Trigger: at(time.Second)}
		schedule = append(schedule, bridge, ring, all)
	}
	schedule = schedule[:20] // 20 faults a second
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if problems := Check(schedule, w); len(problems) > 0 {
		t.Fatalf("%+v", problems)
	}
	runtime.ReadMemStats(&after)
	if megabytes := (after.TotalAlloc - before.TotalAlloc) >> 20; megabytes > 64 {
		t.Errorf("the check took %d MB in all", megabytes)
	}
}

func TestASyncThatTakesLongerThanItsFaultLastsIsRefused(t *testing.T) {
	for delay, refused := range map[time.Duration]bool{time.Second: false, 2 * time.Second: true, 3 * time.Second: true} {
		f := Fault{ID: "slow", Kind: "slow_sync", Whom: []string{"acceptor1"}, Parameters: Parameters{Delay: delay}, Trigger: at(time.Second), For: lasting(2 * time.Second)}
		problems := Check([]Fault{f}, testWorld())
		if (len(problems) > 0) != refused || refused && problems[0].Key != "delay" {
			t.Errorf("%v: %+v", delay, problems)
		}
		f.For = Span{} // until it is healed
		healed := Fault{ID: "heal", Kind: "heal", Parameters: Parameters{Fault: "slow"}, Trigger: at(9 * time.Second)}
		if problems := Check([]Fault{f, healed}, testWorld()); len(problems) > 0 {
			t.Errorf("%v, healed later: %+v", delay, problems)
		}
	}
}

func TestHealingAfterAFaultIsOverIsRefused(t *testing.T) {
	pause := Fault{ID: "pause", Kind: "pause", Whom: []string{"leader"}}
	healAt := func(d time.Duration) Fault {
		return Fault{ID: "heal", Kind: "heal", Parameters: Parameters{Fault: "pause"}, Trigger: at(d)}
	}
	for name, c := range map[string]struct {
		trigger Trigger
		span    Span
		at      time.Duration
		want    string
	}{
		"before":           {at(2 * time.Second), Span{}, time.Second, "happens at 2s"},
		"before its times": {Trigger{Random: &Random{Mean: time.Second, From: 5 * time.Second}}, Span{}, 5 * time.Second, "happens after 5s"},
		"when it is over":  {at(2 * time.Second), lasting(time.Second), 3 * time.Second, "is over at 3s"},
		"while it may be":  {at(2 * time.Second), Span{Least: time.Second, Most: 2 * time.Second}, 3 * time.Second, ""},
		"of another round": {Trigger{At: at(2 * time.Second).At, Every: 5 * time.Second}, lasting(time.Second), 7500 * time.Millisecond, ""},
		"after a round":    {Trigger{At: at(2 * time.Second).At, Every: 5 * time.Second}, lasting(time.Second), 8 * time.Second, "is over at 8s"},
		"after the last":   {Trigger{At: at(2 * time.Second).At, Every: 5 * time.Second, Times: 2}, lasting(2 * time.Second), 13 * time.Second, "is over at 9s"},
		"of a mean":        {at(2 * time.Second), Span{Mean: time.Second}, 30 * time.Second, ""},
	} {
		pause.Trigger, pause.For = c.trigger, c.span
		problems := Check([]Fault{pause, healAt(c.at)}, testWorld())
		if (len(problems) > 0) != (c.want != "") || len(problems) > 0 && (problems[0].Key != "at" || !strings.Contains(problems[0].Message, c.want)) {
			t.Errorf("%s: %+v", name, problems)
		}
	}
}
