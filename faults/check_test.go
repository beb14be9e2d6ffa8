package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/topologies"
)

// with changes a fault that is right.
func with(kind string, change func(*Fault)) Fault {
	f := Fault{ID: "x", Kind: kind, Trigger: at(10 * second)}
	change(&f)
	return f
}

func whomIs(whom ...string) func(*Fault) { return func(f *Fault) { f.Whom = whom } }

func TestGoodSchedulesAreLetThrough(t *testing.T) {
	for _, f := range goodFaults() {
		if problems := Check([]Fault{f}, testWorld()); problems != nil {
			t.Errorf("%s: %+v", f.Kind, problems)
		}
	}
}

// goodFaults has one of each kind, and of what is barely allowed.
func goodFaults() []Fault {
	return []Fault{
		with("crash", whomIs("leader")), with("pause", whomIs("minority")), with("pause", whomIs("random(3) of acceptors", "followers")),
		with("slow_cpu", func(f *Fault) { f.Whom, f.Share = []string{"all"}, share(0.01) }),
		with("slow_sync", func(f *Fault) { f.Whom, f.Delay = []string{"acceptors"}, second }),
		with("failing_write", whomIs("acceptor1")), with("full_disk", whomIs("acceptor1")),
		with("clock", func(f *Fault) { f.Whom, f.Rate = []string{"voters"}, 0.5 }),
		with("clock", func(f *Fault) { f.Whom, f.Jump = []string{"voters"}, -time.Hour }),
		with("ignore", func(f *Fault) {
			f.Whom, f.Messages, f.From, f.Share = []string{"leader"}, []string{"phase1b", "request", "snapshot"}, []string{"client1"}, share(1)
		}),
		with("link_down", func(f *Fault) { f.Links, f.LinksFrom = []string{"h*-s1"}, []string{"s1"} }),
		with("isolate", whomIs("client1")),
		with("cut", func(f *Fault) { f.From, f.To = []string{"leader"}, []string{"followers"} }),
		with("partition", func(f *Fault) { f.Groups = [][]string{{"leader"}, {"followers", "client1"}} }),
		with("partition", whomIs("minority")), with("majorities_ring", whomIs()), with("majorities_ring", whomIs("all")), with("bridge", whomIs("leader")),
		with("degrade", func(f *Fault) { f.Links, f.Parameters.Link = []string{"h1-s1"}, lossy }),
		with("degrade", func(f *Fault) { f.Whom, f.Parameters.Link = []string{"region(s1)"}, lossy }),
		with("degrade", func(f *Fault) { f.From, f.To, f.Parameters.Link = []string{"all"}, []string{"client1"}, lossy }),
		with("reconfigure", func(f *Fault) { f.Change = json.RawMessage(`{"leaders": ["leader3"]}`) }),
		with("add_server", func(f *Fault) { f.Whom, f.Role = []string{"acceptor4"}, "acceptor" }), with("remove_server", whomIs("leader1")),
		with("crash", func(f *Fault) {
			f.Trigger = Trigger{Failpoint: &control.Failpoint{Place: control.BeforeSend, Kind: "phase2a", To: "acceptor1", Slot: 1, Round: 1, Count: 2}, Times: 5}
		}),
		with("pause", func(f *Fault) { f.Trigger = Trigger{Failpoint: &control.Failpoint{Place: control.BeforeApply}} }),
		with("pause", func(f *Fault) {
			f.Whom, f.Trigger = []string{"acceptor1"}, Trigger{On: &On{Event: "leader_elected", Nodes: []string{"leaders"}}, Times: 3, Until: 50 * second}
		}),
		with("pause", func(f *Fault) {
			f.Whom, f.Trigger = []string{"acceptor1"}, Trigger{Random: &Random{Mean: 50 * time.Millisecond}, Until: 100 * second}
		}),
		with("crash", func(f *Fault) { f.Whom, f.Disk, f.For = []string{"leader"}, DiskTorn, Span{Mean: second} }),
	}
}

// when is a fault that is right but for its trigger, point for its failpoint, selecting
// for its selectors, spans for its duration.
func when(trigger Trigger) Fault {
	return with("pause", func(f *Fault) { f.Whom, f.Trigger = []string{"acceptor1"}, trigger })
}

func point(p control.Failpoint) Fault {
	return with("crash", func(f *Fault) { f.Trigger = Trigger{Failpoint: &p} })
}

// burst is so many faults from 10s on, each so long after the one before.
func burst(n int, apart time.Duration) []Fault {
	var schedule []Fault
	for i := range n {
		schedule = append(schedule, Fault{ID: fmt.Sprintf("x%d", i), Kind: "pause", Whom: []string{"leader"}, Trigger: at(10*second + time.Duration(i)*apart)})
	}
	return schedule
}

func selecting(s ...string) Fault { return with("pause", whomIs(s...)) }

func spans(s Span) Fault {
	return with("pause", func(f *Fault) { f.Whom, f.For = []string{"leader"}, s })
}

// badSchedules have one mistake each. says is in the bad value, the message or what is
// wanted.
var badSchedules = []struct {
	key, says string
	faults    []Fault
}{
	{"name", "crush, want one of add_server, bridge", []Fault{{Kind: "crush", Trigger: at(0)}}},
	{"", "pause has nothing that it needs, want whom", []Fault{with("pause", func(*Fault) {})}},
	{"", "clock has whom, want whom and rate, or whom and jump", []Fault{with("clock", whomIs("leader"))}},
	{"jump", "only one of: whom and rate, or whom and jump", []Fault{with("clock", func(f *Fault) { f.Whom, f.Rate, f.Jump = []string{"leader"}, 2, second })}},
	{"", "cut has from, want from and to", []Fault{with("cut", func(f *Fault) { f.From = []string{"leader"} })}},
	{"disk", "pause takes no disk, want only whom", []Fault{with("pause", func(f *Fault) { f.Whom, f.Disk = []string{"leader"}, DiskSame })}},
	{"", "crash takes no keys of a link", []Fault{with("crash", func(f *Fault) { f.Whom, f.Parameters.Link = []string{"leader"}, lossy })}},
	{"whom", "partition has whom, groups, want only one of", []Fault{with("partition", func(f *Fault) { f.Whom, f.Groups = []string{"leader"}, [][]string{{"leader1"}, {"leader2"}} })}},
	{"from", "there are no links", []Fault{with("degrade", func(f *Fault) { f.Whom, f.LinksFrom, f.Parameters.Link = []string{"leader1"}, []string{"s1"}, lossy })}},

	{"whom", `"leader of", want a node, a role`, []Fault{selecting("leader of")}},
	{"whom.1", "leader9, want leader, followers", []Fault{selecting("leader1", "leader9")}},
	{"whom", "acceptor, want the role in the plural: acceptors", []Fault{selecting("acceptor")}},
	{"whom", "region(eu), want region(NAME)", []Fault{selecting("region(eu)")}},
	{"whom", "client1, want processes other than clients", []Fault{selecting("client1")}},
	{"whom.0", "clients, want processes other than clients", []Fault{selecting("clients", "leader")}},
	{"whom", "picks 4 of 3, want at most random(3)", []Fault{selecting("random(4) of acceptors")}},
	{"whom", "picks 2 of 1", []Fault{selecting("random(2) of leader")}},
	{"whom", "a minority of 2 is 0", []Fault{selecting("minority of replicas")}},
	{"whom", "a minority of 1 is 0", []Fault{selecting("minority of followers")}},
	{"from.1", "nobody9", []Fault{with("ignore", func(f *Fault) { f.Whom, f.From = []string{"leader"}, []string{"client1", "nobody9"} })}},
	{"messages.1", "append, want a kind of message: one of propose", []Fault{with("ignore", func(f *Fault) { f.Whom, f.Messages = []string{"leader"}, []string{"ping", "append"} })}},
	{"groups.1", "the groups 1 and 2 both have host h3 (leader1)", []Fault{with("partition", func(f *Fault) { f.Groups = [][]string{{"leaders"}, {"acceptors", "leader1"}} })}},
	{"groups", "one group", []Fault{with("partition", func(f *Fault) { f.Groups = [][]string{{"leaders"}} })}},
	{"groups.0", "an empty list", []Fault{with("partition", func(f *Fault) { f.Groups = [][]string{{}, {"leader1"}} })}},
	{"", "partition would hit nobody", []Fault{with("partition", whomIs("all"))}},
	{"", "want processes on at least 3 hosts", []Fault{with("majorities_ring", whomIs("leaders"))}},
	{"", "want other servers on at least 2 hosts", []Fault{with("bridge", whomIs("replicas", "leaders", "leader3", "acceptors"))}},
	{"", "cut would hit nobody", []Fault{with("cut", func(f *Fault) { f.From, f.To = []string{"leader1"}, []string{"leader1"} })}},
	{"links.1", "h99-s1, want the name of a link", []Fault{with("link_down", func(f *Fault) { f.Links = []string{"h1-*", "h99-s1"} })}},
	{"from", "s9, want an end of one of these links: h1, s1", []Fault{with("link_down", func(f *Fault) { f.Links, f.LinksFrom = []string{"h1-*"}, []string{"s9"} })}},
	{"switch", "s1, want a topology with several switches", []Fault{with("isolate_subtree", func(f *Fault) { f.Switch = "s1" })}},
	{"loss", "1.5, want", []Fault{with("degrade", func(f *Fault) {
		f.Whom, f.Parameters.Link = []string{"leader1"}, func(p topologies.Parameters) topologies.Parameters { p.Loss = 1.5; return p }
	})}},
	{"delay", "want a duration", []Fault{with("degrade", func(f *Fault) {
		f.From, f.To, f.Parameters.Link = []string{"leader"}, []string{"all"}, func(p topologies.Parameters) topologies.Parameters { p.Delay = -1; return p }
	})}},

	{"share", "100%, want from 1% to below 100%", []Fault{with("slow_cpu", func(f *Fault) { f.Whom, f.Share = []string{"leader"}, share(1) })}},
	{"share", "0%, want above 0%", []Fault{with("ignore", func(f *Fault) { f.Whom, f.Share = []string{"leader"}, share(0) })}},
	{"rate", "1, want from 0.01 to 100", []Fault{with("clock", func(f *Fault) { f.Whom, f.Rate = []string{"leader"}, 1 })}},
	{"rate", "1000, want", []Fault{with("clock", func(f *Fault) { f.Whom, f.Rate = []string{"leader"}, 1000 })}},
	{"jump", "want from -1h to 1h", []Fault{with("clock", func(f *Fault) { f.Whom, f.Jump = []string{"leader"}, 2*time.Hour })}},
	{"delay", "-1s, want a duration above 0", []Fault{with("slow_sync", func(f *Fault) { f.Whom, f.Delay = []string{"leader"}, -second })}},
	{"disk", "lost, want one of same, lost_unsynced, torn, empty", []Fault{with("crash", func(f *Fault) { f.Whom, f.Disk = []string{"leader"}, "lost" })}},
	{"role", "replica, want one that a configuration gives to processes: leader, acceptor", []Fault{with("add_server", func(f *Fault) { f.Whom, f.Role = []string{"leader3"}, "replica" })}},
	{"whom", "replica1, want a process with the role leader or acceptor", []Fault{with("remove_server", whomIs("replica1"))}},
	{"", "add_server would hit nobody", []Fault{with("add_server", whomIs("leader1"))}},
	{"change.leaders", "nobody", []Fault{with("reconfigure", func(f *Fault) { f.Change = json.RawMessage(`{"leaders": ["nobody"]}`) })}},
	{"change", "want some of", []Fault{with("reconfigure", func(f *Fault) { f.Change = json.RawMessage(`7`) })}},

	{"", "nothing says when it happens", []Fault{when(Trigger{})}},
	{"random", "at and random are given", []Fault{when(Trigger{At: new(time.Duration), Random: &Random{Mean: second}})}},
	{"at", "100s, want a time before the load's end, which is at 100s", []Fault{when(at(100 * second))}},
	{"at", "-1s", []Fault{when(at(-second))}},
	{"until", "200s, want at most 100s", []Fault{when(Trigger{At: new(time.Duration), Every: second, Until: 200 * second})}},
	{"until", "5s, want a time after 10s", []Fault{when(Trigger{At: at(10 * second).At, Every: second, Until: 5 * second})}},
	{"until", "doesn't repeat", []Fault{when(Trigger{At: new(time.Duration), Until: 5 * second})}},
	{"every", "5ms, want at least 10ms", []Fault{when(Trigger{At: new(time.Duration), Every: 5 * time.Millisecond, Times: 3})}},
	{"every", "every is given beside on", []Fault{when(Trigger{On: &On{Event: "commit"}, Every: second})}},
	{"times", "-1", []Fault{when(Trigger{At: new(time.Duration), Every: second, Times: -1})}},
	{"times", "at happens once", []Fault{when(Trigger{At: new(time.Duration), Times: 2})}},
	{"every", "about 100 faults a second", []Fault{when(Trigger{At: new(time.Duration), Every: 10 * time.Millisecond})}},
	{"random.mean", "about 22 faults a second, 12 of them by this entry", []Fault{
		when(Trigger{At: new(time.Duration), Every: 100 * time.Millisecond}),
		{ID: "y", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{Random: &Random{Mean: second / 12}}},
	}},
	{"random.mean", "0s", []Fault{when(Trigger{Random: &Random{}})}},
	{"random.from", "before the load's end", []Fault{when(Trigger{Random: &Random{Mean: second, From: 100 * second}})}},
	{"on.event", "heartbeat, want something of multipaxos: the events silent", []Fault{when(Trigger{On: &On{Event: "heartbeat"}})}},
	{"on.event", "", []Fault{when(Trigger{On: &On{}})}},
	{"on.node", "client1", []Fault{when(Trigger{On: &On{Event: "commit", Nodes: []string{"client1"}}})}},
	{"on.round", "commits have a slot only", []Fault{when(Trigger{On: &On{Event: "commit", Round: 1}})}},
	{"on.count", "-1", []Fault{when(Trigger{On: &On{Event: "commit", Count: -1}})}},
	{"on.delay", "100s", []Fault{when(Trigger{On: &On{Event: "commit", Delay: 100 * second}})}},
	{"after.fault", "y, want the id of another fault, and there is none", []Fault{when(Trigger{After: &After{ID: "y"}})}},
	{"after.by", "-1s", []Fault{when(at(0)), {ID: "y", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{After: &After{ID: "x", By: -second}}}}},
	{"after.fault", "x waits for itself, by way of x", []Fault{when(Trigger{After: &After{ID: "x"}})}},
	{"after.fault", "x waits for itself, by way of y", []Fault{
		when(Trigger{After: &After{ID: "y"}}), {ID: "y", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{After: &After{ID: "x"}}},
	}},
	{"after.fault", "x isn't healed before", []Fault{
		when(at(0)), {ID: "y", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{After: &After{ID: "x", Healed: true}}},
	}},
	{"after.fault", "never healed", []Fault{
		with("remove_server", whomIs("leader1")), {ID: "y", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{After: &After{ID: "x", Healed: true}}},
	}},
	{"failpoint", "isolate has a failpoint", []Fault{with("isolate", func(f *Fault) {
		f.Whom, f.Trigger = []string{"leader"}, Trigger{Failpoint: &control.Failpoint{Place: control.AfterSend}}
	})}},
	{"failpoint.place", "while_sending, want one of before_persist", []Fault{point(control.Failpoint{Place: "while_sending"})}},
	{"failpoint.kind", "phase9, want a kind of message", []Fault{point(control.Failpoint{Place: control.AfterSend, Kind: "phase9"})}},
	{"failpoint.kind", "have a slot only", []Fault{point(control.Failpoint{Place: control.AfterApply, Kind: "phase2a"})}},
	{"failpoint.round", "have a slot only", []Fault{point(control.Failpoint{Place: control.AfterApply, Round: 1})}},
	{"failpoint.to", "nobody, want the name of a node", []Fault{point(control.Failpoint{Place: control.AfterSend, To: "nobody"})}},
	{"failpoint.to", "the place before_send or after_send", []Fault{point(control.Failpoint{Place: control.AfterPersist, To: "acceptor1"})}},
	{"failpoint.count", "-2", []Fault{point(control.Failpoint{Place: control.AfterPersist, Count: -2})}},
	{"for", "-1s, want a duration above 0", []Fault{spans(Span{Least: -second, Most: -second})}},
	{"for", "from 3s to 1s", []Fault{spans(Span{Least: 3 * second, Most: second})}},
	{"for", "beside bounds", []Fault{spans(Span{Mean: second, Most: second})}},
	{"for", "over at once", []Fault{with("remove_server", func(f *Fault) { f.Whom, f.For = []string{"leader1"}, lasting(second) })}},
	{"id", "x, want an id of its own: entry 1 of faults has it too", []Fault{selecting("leader"), selecting("leader")}},
	{"fault", "y, want the id of another fault: x", []Fault{selecting("leader"), {ID: "z", Kind: "heal", Parameters: Parameters{Fault: "y"}, Trigger: at(20 * second)}}},
	{"fault", "can't be healed", []Fault{with("remove_server", whomIs("leader1")), {ID: "z", Kind: "heal", Parameters: Parameters{Fault: "x"}, Trigger: at(20 * second)}}},
	{"on.event", "messages to and from clients aren't reported, want something of multipaxos", []Fault{when(Trigger{On: &On{Event: "request"}})}},
	{"on.event", "on.event is response", []Fault{when(Trigger{On: &On{Event: "response"}})}},
	{"on.slot", "preempted is about leaders, not about a slot", []Fault{when(Trigger{On: &On{Event: "preempted", Slot: 5}})}},
	{"after", "z happens at 100s at the earliest, and the load ends at 100s", []Fault{
		with("pause", func(f *Fault) { f.Whom, f.For, f.Trigger = []string{"leader"}, lasting(5*second), at(90*second) }),
		{ID: "y", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{After: &After{ID: "x", Healed: true, By: 2 * second}}},
		{ID: "z", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{After: &After{ID: "y", By: 3 * second}}},
	}},
	{"at", "21 faults are due between 10s and 10.02s, want at most 20 a second in all", burst(21, time.Millisecond)},
	{"at", "21 faults are due between 10.4s and 11.31s", []Fault{
		when(Trigger{At: at(10 * second).At, Every: 100 * time.Millisecond, Times: 100}),
		{ID: "y", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{At: at(10500 * time.Millisecond).At, Every: 90 * time.Millisecond, Times: 10}},
		{ID: "z", Kind: "pause", Whom: []string{"leader"}, Trigger: at(10700 * time.Millisecond)},
	}},
	{"whom", "acceptor3 would be removed, the last with its role by then", []Fault{
		{ID: "c", Kind: "remove_server", Whom: []string{"acceptor3"}, Trigger: at(30 * second)}, with("remove_server", whomIs("acceptor1", "acceptor2")),
	}},
	{"groups.1", "group 2 has leader, whoever that is", []Fault{with("partition", func(f *Fault) { f.Groups = [][]string{{"leader"}, {"leaders"}} })}},
	{"groups.1", "group 1 has leader, whoever that is", []Fault{with("partition", func(f *Fault) { f.Groups = [][]string{{"all"}, {"leader"}} })}},
	{"groups.1", "group 1 has random(1) of acceptors", []Fault{with("partition", func(f *Fault) { f.Groups = [][]string{{"acceptors"}, {"random(1) of acceptors"}} })}},
	{"groups.1", "group 2 has followers", []Fault{with("partition", func(f *Fault) { f.Groups = [][]string{{"followers"}, {"client1", "followers"}} })}},
	{"disk", "disk is torn, and the process is never started again to find it", []Fault{with("crash", func(f *Fault) { f.Whom, f.Disk = []string{"leader"}, DiskTorn })}},
	{"every", "x is to repeat every 1s, and lasts 2s", []Fault{with("link_down", func(f *Fault) {
		f.Links, f.For, f.Trigger.Every = []string{"h1-*"}, lasting(2*second), second
	})}},
	{"every", "x is to repeat every 1s, and is never over", []Fault{with("link_down", func(f *Fault) { f.Links, f.Trigger.Every = []string{"h1-*"}, second })}},
	{"at", "x is to be healed at 10s, and happens at 10s", []Fault{selecting("leader"), {ID: "z", Kind: "heal", Parameters: Parameters{Fault: "x"}, Trigger: at(10 * second)}}},
}

// What is close to what is refused is not: twenty faults within a second, flapping without
// a gap, groups that may overlap, a chain that ends in time.
func TestSchedulesThatAreBarelyPossibleAreLetThrough(t *testing.T) {
	for name, schedule := range map[string][]Fault{
		"twenty at once":  burst(20, 0),
		"twenty a second": burst(60, 50*time.Millisecond),
		"on and on":       {when(Trigger{At: at(0).At, Every: 50 * time.Millisecond})},
		"without a gap":   {with("link_down", func(f *Fault) { f.Links, f.For, f.Trigger.Every = []string{"h1-*"}, lasting(second), second })},
		"overlapping optional": {with("link_down", func(f *Fault) {
			f.Links, f.For, f.Trigger.Every, f.Optional = []string{"h1-*"}, lasting(2*second), second, true
		})},
		"perhaps the leader": {with("partition", func(f *Fault) { f.Groups = [][]string{{"leader"}, {"followers", "leader1"}} })},
		"in time": {
			with("pause", func(f *Fault) { f.Whom, f.For, f.Trigger = []string{"leader"}, lasting(5*second), at(90*second) }),
			{ID: "y", Kind: "pause", Whom: []string{"leader"}, Trigger: Trigger{After: &After{ID: "x", Healed: true, By: 4999 * time.Millisecond}}},
		},
		"removed and added again": {
			with("remove_server", whomIs("acceptor1", "acceptor2")),
			{ID: "b", Kind: "add_server", Whom: []string{"acceptor4"}, Trigger: at(20 * second)},
			{ID: "c", Kind: "remove_server", Whom: []string{"acceptor3"}, Trigger: at(30 * second)},
		},
		"a reconfiguration's slot": {when(Trigger{On: &On{Event: "reconfigure", Slot: 5}})},
	} {
		if problems := Check(schedule, testWorld()); problems != nil {
			t.Errorf("%s: %+v", name, problems)
		}
	}
}

func TestBadSchedulesAreRefusedWithTheirKeyAndWhatWouldBeRight(t *testing.T) {
	for _, c := range badSchedules {
		problems := Check(c.faults, testWorld())
		if !slices.ContainsFunc(problems, func(p Problem) bool {
			return p.Key == c.key && strings.Contains(p.Value+p.Message+", want "+p.Want, c.says) && p.Want != "" && p.Fault < len(c.faults)
		}) {
			t.Errorf("want %q to be blamed with %q, got %+v", c.key, c.says, problems)
		}
		if len(problems) > 2 {
			t.Errorf("one mistake makes %d problems: %+v", len(problems), problems)
		}
	}
}

func TestWhatTheWorldCantDoIsRefused(t *testing.T) {
	restart := with("crash", func(f *Fault) { f.Whom, f.For = []string{"leader"}, lasting(second) })
	healed := []Fault{with("crash", whomIs("leader")), {ID: "h", Kind: "heal", Parameters: Parameters{Fault: "x"}, Trigger: at(20 * second)}}
	empty := restart
	empty.Disk = DiskEmpty
	torn := restart
	torn.Disk = DiskTorn
	subtree := func(name string) []Fault { return []Fault{with("isolate_subtree", func(f *Fault) { f.Switch = name })} }
	changing := []Fault{with("reconfigure", func(f *Fault) { f.Change = json.RawMessage(`{"leaders": ["leader3"]}`) })}
	tree, err := topologies.Tree(10, 2, 0, declared)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := topologies.Custom([]string{"h1"}, []string{"s1", "s2", "s3"}, []topologies.Link{{A: "s1", B: "s2"}, {A: "s2", B: "s3"}, {A: "s3", B: "s1"}, {A: "h1", B: "s1"}})
	if err != nil {
		t.Fatal(err)
	}
	Register(&Kind{Name: "test_elsewhere", Hits: HitsNodes, Ways: [][]Parameter{{ParameterWhom}}, Engines: []string{"docker"}, Effects: fullDisk().Effects})
	defer delete(kinds, "test_elsewhere")
	for name, c := range map[string]struct {
		change func(*World)
		faults []Fault
		key    string
		says   string // empty if nothing is wrong
	}{
		"a restart with memory":         {func(w *World) { w.Cluster.Storage = "" }, []Fault{restart}, "for", "forgotten what it promised"},
		"a restart by heal with memory": {func(w *World) { w.Cluster.Storage = "" }, healed, "for", "forgotten what it promised"},
		"an empty disk with memory":     {func(w *World) { w.Cluster.Storage = "" }, []Fault{empty}, "", ""},
		"a crash for good with memory":  {func(w *World) { w.Cluster.Storage = "" }, healed[:1], "", ""},
		"a torn record that isn't synced": {
			func(w *World) { w.Cluster.Storage = control.StorageDisk }, []Fault{torn}, "disk", "since disk never syncs",
		},
		"a restart with a disk": {func(w *World) { w.Cluster.Storage = control.StorageDisk }, []Fault{restart}, "", ""},
		"a full disk with memory": {
			func(w *World) { w.Cluster.Storage = "" }, []Fault{with("full_disk", whomIs("leader"))}, "name", "system.storage: disk or fsync",
		},
		"a slow sync that isn't synced": {
			func(w *World) { w.Cluster.Storage = control.StorageDisk },
			[]Fault{with("slow_sync", func(f *Fault) { f.Whom, f.Delay = []string{"leader"}, second })}, "name", "system.storage: fsync",
		},
		"the root":          {func(w *World) { w.Topology = tree }, subtree("s1"), "switch", "another switch than s1, the root"},
		"no switch":         {func(w *World) { w.Topology = tree }, subtree("s99"), "switch", "one of s2"},
		"a subtree":         {func(w *World) { w.Topology = tree }, subtree("s2"), "", ""},
		"no subtree":        {func(w *World) { w.Topology, w.Hosts = ring, map[string]string{} }, subtree("s2"), "switch", "several lead there"},
		"no changes":        {func(w *World) { p := multipaxos.Protocol; p.Reconfigure = nil; w.Protocol = &p }, changing, "", "can't be changed"},
		"no leaders":        {func(w *World) { p := multipaxos.Protocol; p.Roles = p.Roles[:1]; w.Protocol = &p }, []Fault{with("pause", whomIs("leader"))}, "whom", "no role that leads"},
		"no such meaning":   {func(w *World) { p := multipaxos.Protocol; p.Events = p.Events[:1]; w.Protocol = &p }, []Fault{with("pause", func(f *Fault) { f.Whom, f.Trigger = []string{"acceptor1"}, Trigger{On: &On{Event: "leader_elected"}} })}, "on.event", "leader_elected"},
		"another engine":    {func(w *World) { w.Engine = "sim" }, []Fault{with("test_elsewhere", whomIs("leader"))}, "name", "docker"},
		"its engine":        {func(w *World) { w.Engine = "docker" }, []Fault{with("test_elsewhere", whomIs("leader"))}, "", ""},
		"an engine unknown": {func(*World) {}, []Fault{with("test_elsewhere", whomIs("leader"))}, "", ""},
		"a load unknown":    {func(w *World) { w.Load = 0 }, []Fault{with("pause", func(f *Fault) { f.Whom, f.Trigger = []string{"leader"}, at(time.Hour) })}, "", ""},
		"a failpoint of memory": {
			func(w *World) { w.Cluster.Storage = "" }, []Fault{point(control.Failpoint{Place: control.AfterPersist})}, "failpoint.place", "nothing is persisted",
		},
		"who leads shares a host": {
			func(w *World) { w.Hosts["leader1"], w.Hosts["leader2"], w.Hosts["leader3"] = "h3", "h3", "h3" },
			[]Fault{with("cut", func(f *Fault) { f.From, f.To = []string{"leader"}, []string{"random(1) of leaders"} })}, "", "share a host",
		},
		"groups of one host": {
			func(w *World) { w.Hosts["leader1"], w.Hosts["leader2"] = "h3", "h3" },
			[]Fault{with("partition", func(f *Fault) { f.Groups = [][]string{{"leader"}, {"followers"}} })}, "", "share a host",
		},
		"hosts that are shared": {func(w *World) { w.Hosts["leader2"] = "h3" }, []Fault{with("cut", func(f *Fault) { f.From, f.To = []string{"leader1"}, []string{"leader2"} })}, "", "hit nobody"},
	} {
		world := testWorld()
		c.change(&world)
		problems := Check(c.faults, world)
		if c.says == "" && problems != nil || c.says != "" && (len(problems) != 1 || problems[0].Key != c.key ||
			!strings.Contains(fmt.Sprint(problems[0].Value, problems[0].Message, problems[0].Want), c.says)) {
			t.Errorf("%s: got %+v, want %q of %q", name, problems, c.says, c.key)
		}
	}
}
