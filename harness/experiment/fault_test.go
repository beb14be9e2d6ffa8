package experiment

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"quorumlab/faults"
	"quorumlab/node/control"
	"quorumlab/topologies"
)

// scheduleOf reads an experiment with these entries of faults, each a line.
func scheduleOf(t *testing.T, entries string) *Spec {
	t.Helper()
	return parse(t, "version: 1\nsystem: {storage: fsync, spares: {leaders: 1}}\ntopology: {kind: tree}\nfaults:\n"+entries).Points[0].Spec
}

func TestEntriesBecomeFaults(t *testing.T) {
	at := func(d time.Duration) faults.Trigger { return faults.Trigger{At: &d} }
	for _, c := range []struct {
		entry string
		want  faults.Fault
	}{
		{"{name: crash, whom: leader, at: 10s}",
			faults.Fault{ID: "crash1", Kind: "crash", Whom: []string{"leader"}, Trigger: at(10 * time.Second)}},
		{"{id: kill, name: crash, whom: [leader1, random(2) of acceptors], at: 0, for: 5s, disk: torn, optional: true}",
			faults.Fault{ID: "kill", Kind: "crash", Whom: []string{"leader1", "random(2) of acceptors"}, Trigger: at(0), Optional: true,
				For: faults.Span{Least: 5 * time.Second, Most: 5 * time.Second}, Parameters: faults.Parameters{Disk: "torn"}}},
		{"{name: pause, whom: all, at: 10s, every: 5s, times: 3, until: 40s, for: {uniform: [1s, 3s]}}",
			faults.Fault{ID: "pause1", Kind: "pause", Whom: []string{"all"}, For: faults.Span{Least: time.Second, Most: 3 * time.Second},
				Trigger: faults.Trigger{At: pointer(10 * time.Second), Every: 5 * time.Second, Times: 3, Until: 40 * time.Second}}},
		{"{name: pause, whom: leader, random: {mean: 2s, from: 5s}, until: 30s, for: {exponential: 2s}}",
			faults.Fault{ID: "pause1", Kind: "pause", Whom: []string{"leader"}, For: faults.Span{Mean: 2 * time.Second},
				Trigger: faults.Trigger{Random: &faults.Random{Mean: 2 * time.Second, From: 5 * time.Second}, Until: 30 * time.Second}}},
		{"{name: pause, whom: leader, on: {event: phase2a, slot: 100, round: 3, node: leader1, count: 2, delay: 5ms, times: 4}, for: 1s}",
			faults.Fault{ID: "pause1", Kind: "pause", Whom: []string{"leader"}, For: faults.Span{Least: time.Second, Most: time.Second},
				Trigger: faults.Trigger{Times: 4, On: &faults.On{Event: "phase2a", Slot: 100, Round: 3, Nodes: []string{"leader1"}, Count: 2, Delay: 5 * time.Millisecond}}}},
		{"{name: crash, whom: leader, on: {commits: 100}}",
			faults.Fault{ID: "crash1", Kind: "crash", Whom: []string{"leader"}, Trigger: faults.Trigger{On: &faults.On{Event: "commit", Slot: 100, Count: 1}}}},
		{"{name: crash, whom: leader1, failpoint: {place: after_send, kind: phase2a, slot: 9, round: 2, to: acceptor1, count: 3}}",
			faults.Fault{ID: "crash1", Kind: "crash", Whom: []string{"leader1"}, Trigger: faults.Trigger{Failpoint: &control.Failpoint{
				Place: control.AfterSend, Kind: "phase2a", Slot: 9, Round: 2, To: "acceptor1", Count: 3}}}},
		{"{name: cut, from: leader, to: [followers, acceptors], at: 1s, for: 1s}",
			faults.Fault{ID: "cut1", Kind: "cut", Trigger: at(time.Second), For: faults.Span{Least: time.Second, Most: time.Second},
				Parameters: faults.Parameters{From: []string{"leader"}, To: []string{"followers", "acceptors"}}}},
		{"{name: link_down, links: h1-*, from: h1, at: 1s}", // here they are ends of links
			faults.Fault{ID: "link_down1", Kind: "link_down", Trigger: at(time.Second), Parameters: faults.Parameters{Links: []string{"h1-*"}, LinksFrom: []string{"h1"}}}},
		{"{name: partition, groups: [leader1, [leader2, acceptors]], at: 1s}",
			faults.Fault{ID: "partition1", Kind: "partition", Trigger: at(time.Second), Parameters: faults.Parameters{Groups: [][]string{{"leader1"}, {"leader2", "acceptors"}}}}},
		{"{name: isolate_subtree, switch: s2, at: 1s}",
			faults.Fault{ID: "isolate_subtree1", Kind: "isolate_subtree", Trigger: at(time.Second), Parameters: faults.Parameters{Switch: "s2"}}},
		{"{name: ignore, whom: leader1, share: 33%, messages: phase2b, from: [acceptor1, acceptor2], at: 1s}",
			faults.Fault{ID: "ignore1", Kind: "ignore", Whom: []string{"leader1"}, Trigger: at(time.Second),
				Parameters: faults.Parameters{Share: pointer(0.33), Messages: []string{"phase2b"}, From: []string{"acceptor1", "acceptor2"}}}},
		{"{name: clock, whom: leader1, rate: 2, at: 1s}",
			faults.Fault{ID: "clock1", Kind: "clock", Whom: []string{"leader1"}, Trigger: at(time.Second), Parameters: faults.Parameters{Rate: 2}}},
		{"{name: clock, whom: leader1, jump: -5s, at: 1s}",
			faults.Fault{ID: "clock1", Kind: "clock", Whom: []string{"leader1"}, Trigger: at(time.Second), Parameters: faults.Parameters{Jump: -5 * time.Second}}},
		{"{name: slow_sync, whom: acceptors, delay: 50ms, at: 1s}",
			faults.Fault{ID: "slow_sync1", Kind: "slow_sync", Whom: []string{"acceptors"}, Trigger: at(time.Second), Parameters: faults.Parameters{Delay: 50 * time.Millisecond}}},
		{"{name: reconfigure, change: {leaders: [leader3]}, at: 1s}",
			faults.Fault{ID: "reconfigure1", Kind: "reconfigure", Trigger: at(time.Second), Parameters: faults.Parameters{Change: []byte(`{"leaders":["leader3"]}`)}}},
		{"{name: add_server, whom: leader3, role: leader, at: 1s}",
			faults.Fault{ID: "add_server1", Kind: "add_server", Whom: []string{"leader3"}, Trigger: at(time.Second), Parameters: faults.Parameters{Role: "leader"}}},
	} {
		got := scheduleOf(t, "  - "+c.entry+"\n").Schedule()
		if diff := cmp.Diff([]faults.Fault{c.want}, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.entry, diff)
		}
	}
}

func TestFaultsNameEachOther(t *testing.T) {
	got := scheduleOf(t, `
  - {name: isolate, whom: leader1, at: 1s}
  - {id: other, name: isolate, whom: leader2, at: 1s}
  - {name: isolate, whom: acceptor1, after: {fault: isolate1}}
  - {name: pause, whom: leader, after: {fault: isolate3, from: healed, by: 2s}, for: 1s}
  - {name: heal, fault: isolate3, at: 9s}
`).Schedule()
	ids := []string{got[0].ID, got[1].ID, got[2].ID, got[3].ID, got[4].ID}
	if !slices.Equal(ids, []string{"isolate1", "other", "isolate3", "pause1", "heal1"}) {
		t.Errorf("the ids are %v", ids)
	}
	if a := got[2].Trigger.After; *a != (faults.After{ID: "isolate1"}) {
		t.Errorf("after is %+v", a)
	}
	if a := got[3].Trigger.After; *a != (faults.After{ID: "isolate3", Healed: true, By: 2 * time.Second}) {
		t.Errorf("after is %+v", a)
	}
	if got[4].Fault != "isolate3" {
		t.Errorf("heal heals %q", got[4].Fault)
	}
}

// A fault of links is laid over what they are declared to be, as entries of topology.links
// are.
func TestADegradedLinkKeepsWhatTheFaultDoesNotSay(t *testing.T) {
	spec := parse(t, `version: 1
topology:
  link: {delay: 10ms, jitter: 1ms, gilbert_elliott: {good_to_bad: 1%, bad_to_good: 30%}}
faults:
  - {name: degrade, links: "*", delay: 50ms, loss: 5%, rate: 10mbit, at: 1s, for: 1s}
  - {name: degrade, from: leader, to: followers, loss: 100%, at: 1s, for: 1s}
`).Points[0].Spec
	declared := spec.Network().Links[0].AToB
	want := declared
	want.Delay, want.Loss, want.GilbertElliott, want.RateBPS = 50*time.Millisecond, 0.05, nil, 10_000_000
	schedule := spec.Schedule()
	if got := schedule[0].Parameters.Link(declared); got != want {
		t.Errorf("degraded to %+v\nwant %+v", got, want)
	}
	if got := schedule[1].Parameters.Link(topologies.Parameters{}); got != (topologies.Parameters{Loss: 1}) {
		t.Errorf("the stage between hosts is %+v", got)
	}
	if schedule[0].Delay != 0 || schedule[0].Rate != 0 {
		t.Error("the delay or rate of a link is taken for another one")
	}
}

func TestASweepNamesFaultsByTheirID(t *testing.T) {
	text := `version: 1
faults:
  - {name: pause, whom: all, at: 1s, for: 1s}
  - {id: kill, name: crash, whom: leader, at: 10s}
sweep:
  faults.kill.whom: [replica1, leader1, [acceptor1, acceptor2]]
  faults.pause1.for: [1s, 2s]
  faults.0.at: [1s]
`
	points := parse(t, text).Points
	if len(points) != 6 {
		t.Fatalf("%d points", len(points))
	}
	if got := points[5].Params.String(); got != "faults.kill.whom=[acceptor1, acceptor2] faults.pause1.for=2s faults.0.at=1s" {
		t.Errorf("the parameters are %s", got)
	}
	for i, want := range [][]string{{"replica1"}, {"leader1"}, {"acceptor1", "acceptor2"}} {
		if got := points[2*i].Spec.Schedule()[1].Whom; !slices.Equal(got, want) {
			t.Errorf("point %d hits %v", 2*i, got)
		}
	}
	if got := points[1].Spec.Schedule()[0].For.Most; got != 2*time.Second {
		t.Errorf("the pause lasts %v", got)
	}
}

func TestOverridesNameFaultsByTheirIDAndByNumber(t *testing.T) {
	text := "version: 1\nfaults:\n  - {id: kill, name: crash, whom: leader, at: 10s}\n  - {name: pause, whom: all, at: 1s, for: 1s}\n"
	spec := parse(t, text, "faults.kill.at=20s", "faults.pause1.whom=[leader1, leader2]", "faults.1.for={exponential: 2s}").Points[0].Spec
	schedule := spec.Schedule()
	if *schedule[0].Trigger.At != 20*time.Second || !slices.Equal(schedule[1].Whom, []string{"leader1", "leader2"}) || schedule[1].For.Mean != 2*time.Second {
		t.Errorf("the schedule is %+v", schedule)
	}
	added := parse(t, "version: 1\n", "faults=[{name: pause, whom: leader, at: 1s, for: 2s}]").Points[0].Spec
	if len(added.Schedule()) != 1 {
		t.Errorf("added: %+v", added.Faults)
	}
}

func TestBadPathsIntoFaultsAreRefused(t *testing.T) {
	const text = "version: 1\nfaults:\n  - {id: kill, name: crash, whom: leader, at: 10s}\n  - {name: pause, whom: all, at: 1s, for: 1s}\n"
	for _, c := range []struct{ sweep, set, want string }{
		{"", "faults.kil.whom=leader1", "x.yaml:3:3: there is no faults.kil: want one from faults.0 to faults.1, or the id of one, for --set faults.kil.whom=leader1"},
		{"", "faults.2.whom=leader1", "there is no faults.2"},
		{"", "faults.crash1.whom=leader1", "there is no faults.crash1"},
		{"", "faults.kill.who=leader1", "unknown key faults.kill.who: did you mean faults.kill.whom?"},
		{"", "faults.kill.at.x=1s", "unknown key faults.kill.at.x"},
		{"", "faults.a/b.at=1s", "unknown key faults.a/b"},
		{"", "faults.kill.whom=leader7", "--set faults.kill.whom=leader7: faults.0.whom"},
		{"", "faults.kill.id=pause1", "--set faults.kill.id=pause1: faults.0 and faults.1 both have the id pause1"},
		{"sweep: {faults.kill.whom: [leader, acceptor1]}\n", "faults.0.whom=leader1", "--set faults.0.whom=leader1: faults.0.whom is swept by the file: want --set 'sweep.faults.kill.whom=[...]'"},
		{"sweep: {faults.0.whom: [leader, acceptor1]}\n", "faults.kill.whom=leader1", "faults.kill.whom is swept by the file: want --set 'sweep.faults.0.whom=[...]'"},
		{"sweep: {faults.kill.whom: [leader, acceptor1], faults.0: [{name: crash, whom: leader, at: 1s}]}\n", "", "x.yaml:5:48: faults.kill.whom and faults.0 can't both be swept"},
		{"sweep: {faults.kilt.whom: [leader, acceptor1]}\n", "", "x.yaml:3:3: there is no faults.kilt: want one from faults.0 to faults.1, or the id of one, for the sweep of faults.kilt.whom"},
	} {
		overrides := testOverrides()
		if c.set != "" {
			overrides.Set = []string{c.set}
		}
		_, err := Parse("x.yaml", []byte(text+c.sweep), overrides)
		var bad *Error
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s: %v\nwant %s", c.sweep, c.set, err, c.want)
		}
	}
}

func TestTheWorldOfASchedule(t *testing.T) {
	spec := parse(t, "version: 1\nsystem: {storage: disk}\ntopology: {placement: together}\nphases: {warmup: 5s, measure: 20s}\n").Points[0].Spec
	world := spec.World(7, "netns")
	if diff := cmp.Diff(spec.Cluster(7), world.Cluster, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the cluster: -want +got\n%s", diff)
	}
	if world.Load != 25*time.Second || world.Engine != "netns" || world.Protocol.Name != "multipaxos" || len(world.Topology.Hosts) != 4 {
		t.Errorf("the world is %+v", world)
	}
	for node, host := range map[string]string{"replica2": "h2", "leader2": "h2", "acceptor2": "h2", "acceptor3": "h3", "client1": "h4"} {
		if world.Hosts[node] != host {
			t.Errorf("%s is on %s, want %s", node, world.Hosts[node], host)
		}
	}
}

func TestSchedulesSurviveJSON(t *testing.T) {
	spec := scheduleOf(t, `
  - {id: kill, name: crash, whom: leader, at: 0, for: {uniform: [1s, 3s]}, disk: same, optional: true}
  - {name: clock, whom: leader1, rate: 2, after: {fault: kill, from: healed}, for: {exponential: 2s}}
  - {name: clock, whom: leader1, jump: -2s, on: {commits: 5}}
  - {name: degrade, links: "*", from: h1, rate: 10mbit, delay: 5ms, random: {mean: 2s}, until: 20s, for: 300ms}
  - {name: crash, whom: leader1, failpoint: {place: before_apply, slot: 5}}
  - {name: partition, groups: [[leader1], [acceptors]], on: {event: adopted, node: [leader1], count: 2, times: 2}, for: 1s}
  - {name: ignore, whom: acceptor1, share: 1%, at: 5s, every: 10s, times: 2, for: 1s}
`)
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, string(data)).Spec
	if diff := cmp.Diff(spec.Faults, got.Faults); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTheScheduleInWords(t *testing.T) {
	spec := scheduleOf(t, `
  - {id: kill, name: crash, whom: leader, at: 60s}
  - {name: crash, whom: [replica1, acceptor1], after: {fault: kill, by: 2s}, for: 1s, disk: torn}
  - {name: pause, whom: random(1) of followers, after: {fault: crash2, from: healed}, for: {uniform: [1s, 3s]}}
  - {name: partition, groups: [[leader1], [followers, acceptors]], at: 10s, every: 15s, times: 2, until: 50s, for: {exponential: 2s}}
  - {name: degrade, links: [h1-*], loss: 5%, rate: 10mbit, random: {mean: 2s, from: 5s}, until: 30s, for: 1s, optional: true}
  - {name: isolate, whom: leader, on: {event: leader_elected, count: 2, node: leader1}}
  - {name: ignore, whom: leader, share: 33%, messages: [phase2b], on: {commits: 100}, for: 1s}
  - {name: pause, whom: leader, on: {event: phase2a, slot: 9, round: 3, delay: 5ms, count: 13, times: 1}, for: 1s}
  - {name: crash, whom: leader1, failpoint: {place: after_send, kind: phase2a, slot: 9, to: acceptor1, count: 3}}
  - {name: heal, fault: isolate1, at: 30s}
`)
	want := []string{
		"kill: crash of leader, at 1m, for good",
		"crash2: crash {disk: torn} of replica1, acceptor1, 2s after kill was applied, for 1s",
		"pause1: pause of random(1) of followers, once crash2 was healed, for 1s to 3s",
		"partition1: partition {groups: [[leader1], [followers, acceptors]]}, at 10s, again every 15s, at most 2 times, until 50s, for 2s in the mean",
		"degrade1: degrade {links: h1-*, loss: 5%, rate: 10mbit}, at random times, 2s apart in the mean, from 5s on, until 30s, for 1s, optional",
		"isolate1: isolate of leader, on 2nd leader_elected (at leader1), until the load's end at 1m5s",
		"ignore1: ignore {messages: phase2b, share: 33%} of leader, on commit (slot 100), for 1s",
		"pause2: pause of leader, 5ms after 13th phase2a (slot 9, round 3), at most 1 time, for 1s",
		"crash3: crash of leader1, at the failpoint 3rd after_send of phase2a (slot 9, to acceptor1), for good",
		"heal1: heal {fault: isolate1}, at 30s",
	}
	if diff := cmp.Diff(want, spec.ScheduleLines()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestOrdinals(t *testing.T) {
	for count, want := range map[int]string{0: "", 1: "", 2: "2nd ", 3: "3rd ", 4: "4th ", 11: "11th ", 12: "12th ", 21: "21st ", 112: "112th ", 122: "122nd "} {
		if got := ordinal(count); got != want {
			t.Errorf("ordinal(%d) is %q, want %q", count, got, want)
		}
	}
}

// A fault of an engine that these tests don't have.
func init() {
	faults.Register(&faults.Kind{
		Name: "elsewhere", Summary: "does what one engine can", Evidence: "none", Hits: faults.HitsNodes,
		Ways: [][]faults.Parameter{{faults.ParameterWhom}}, Engines: []string{"docker"},
		Effects: func(*faults.Scene) faults.Effects { return faults.Effects{} },
	})
}

// Where the experiment leaves the engine open, it is asked again once it is known.
func TestFaultsThatAnEngineCannotDoAreRefused(t *testing.T) {
	const text = "version: 1\nfaults:\n  - {name: pause, whom: leader, at: 1s}\n  - name: elsewhere\n    whom: leader\n    at: 1s\n"
	overrides := testOverrides()
	overrides.Set = []string{"engine=sim"}
	_, err := Parse("x.yaml", []byte(text), overrides)
	if err == nil || !strings.HasPrefix(err.Error(), "x.yaml:4:11: faults.1.name is elsewhere") {
		t.Errorf("engine sim: %v", err)
	}
	source := parse(t, text)
	if err := source.CheckOn("docker"); err != nil {
		t.Error(err)
	}
	err = source.CheckOn("netns")
	var bad *Error
	if !errors.As(err, &bad) || bad.Line != 4 || bad.Column != 11 {
		t.Errorf("auto, which means netns: %v", err)
	}
	if err := parse(t, "version: 1\n").CheckOn("netns"); err != nil {
		t.Error(err)
	}
}
