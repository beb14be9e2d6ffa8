package faults

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// randomSchedule draws a schedule that Check has nothing against.
func randomSchedule(random *rand.Rand, world World) []Fault {
	var schedule []Fault
	oneOf := func(words ...string) string { return words[random.IntN(len(words))] }
	for len(schedule) < 3+random.IntN(10) {
		when := time.Duration(random.IntN(90_000)) * time.Millisecond
		f := Fault{ID: fmt.Sprintf("f%d", len(schedule)), Optional: true, Trigger: Trigger{At: &when}}
		f.Kind = oneOf("crash", "crash", "pause", "slow_cpu", "slow_sync", "failing_write", "clock", "ignore", "isolate", "link_down", "cut",
			"partition", "bridge", "majorities_ring", "degrade", "add_server", "remove_server", "heal")
		whom := oneOf("leader", "followers", "random(2)", "minority", "acceptor1", "all", "majority of acceptors", "random(1) of replicas", "leader2")
		switch f.Kind {
		case "link_down":
			f.Links = []string{oneOf("h1-s1", "h*-s1", "h[3-5]-*")}
		case "cut":
			f.From, f.To = []string{whom}, []string{oneOf("acceptors", "client1", "all")}
		case "degrade":
			f.Whom, f.Parameters.Link = []string{whom}, lossy
			if random.IntN(2) == 0 {
				f.Whom, f.From, f.To, f.Parameters.Link = nil, []string{whom}, []string{"random(3)"}, slower
			}
		case "majorities_ring":
		case "heal":
			f.Fault = fmt.Sprintf("f%d", random.IntN(len(schedule)+1))
		default:
			f.Whom = []string{whom}
		}
		switch f.Kind {
		case "slow_cpu":
			f.Share = share(float64(1+random.IntN(99)) / 100)
		case "slow_sync":
			f.Delay = time.Duration(1+random.IntN(99)) * time.Millisecond
		case "clock":
			f.Jump = time.Duration(1+random.IntN(9)) * time.Second
		}
		switch random.IntN(6) {
		case 0:
			f.Trigger.Every = time.Duration(2+random.IntN(20)) * time.Second
		case 1:
			f.Trigger = Trigger{Random: &Random{Mean: 10 * time.Second}}
		case 2:
			f.Trigger = Trigger{On: &On{Event: "phase2a", Count: 1 + random.IntN(5)}, Times: 1 + random.IntN(4)}
		case 3:
			if f.Kind == "crash" || f.Kind == "pause" {
				f.Trigger = Trigger{Failpoint: &control.Failpoint{Place: control.AfterSend}, Times: 1 + random.IntN(3)}
			}
		case 4:
			if len(schedule) > 0 {
				f.Trigger = Trigger{After: &After{ID: schedule[random.IntN(len(schedule))].ID, By: time.Second}}
			}
		}
		if kind, _ := Lookup(f.Kind); kind.Lasts && random.IntN(3) > 0 {
			f.For = Span{Least: time.Millisecond, Most: time.Duration(1+random.IntN(20)) * time.Second}
		}
		if Check(append(slices.Clone(schedule), f), world) == nil {
			schedule = append(schedule, f)
		}
	}
	return schedule
}

// happenings drives a lab through a load in which nodes report events, reach failpoints and
// end, all drawn from a seed.
func happenings(l *lab, seed uint64, after func(Order)) []Order {
	random := rand.New(rand.NewPCG(seed, 2))
	var all []Order
	take := func(orders []Order) {
		for _, order := range orders {
			after(order)
		}
		all = append(all, orders...)
	}
	take(l.carry(l.d.Begin()))
	for now := time.Millisecond; now < l.world.Load; now += time.Duration(1+random.IntN(1000)) * time.Millisecond {
		for {
			next, ok := l.d.Next()
			if !ok || next > now {
				break
			}
			take(l.carry(l.d.Advance(next)))
		}
		l.leads = []string{fmt.Sprintf("leader%d", 1+random.IntN(2))}
		node := l.world.Cluster.Nodes[random.IntN(9)].Name
		switch random.IntN(4) {
		case 0:
			take(l.carry(l.d.Observe(now, node, trace("phase2a", 1, 1))))
		case 1:
			if points := l.node(node).Injection.Failpoints; len(points) > 0 && !l.node(node).Down {
				take(l.carry(l.d.Reached(now, node, control.Reached{ID: points[0].ID})))
			}
		case 2:
			if l.node(node).Injection.FailWrites && l.d.up(node) {
				l.d.Ended(now, node)
			}
		}
	}
	take(l.end())
	return all
}

func TestRandomSchedulesComposeAsTheyShallAndAreHealedInTheEnd(t *testing.T) {
	world := testWorld()
	const seeds = 60
	orders := 0
	for seed := range uint64(seeds) {
		schedule := randomSchedule(rand.New(rand.NewPCG(seed, 1)), world)
		l := seeded(t, world, seed, schedule...)
		oracle := &oracle{t: t, lab: l, schedule: schedule}
		got := happenings(l, seed, func(Order) {})
		orders += len(got)
		oracle.check(got)
		for _, record := range l.d.Records() {
			if record.Outcome == results.FaultUnproved || record.Outcome == results.FaultFailed {
				t.Errorf("seed %d: %+v", seed, record)
			}
		}
		again := seeded(t, world, seed, schedule...)
		if same := happenings(again, seed, func(Order) {}); !slices.EqualFunc(got, same, equalOrders) {
			t.Fatalf("seed %d: other orders the second time", seed)
		}
		if !reflect.DeepEqual(l.d.Records(), again.d.Records()) {
			t.Fatalf("seed %d: other records the second time", seed)
		}
		if t.Failed() {
			t.Fatalf("seed %d, schedule %+v", seed, schedule)
		}
	}
	if orders < 20*seeds {
		t.Errorf("only %d orders came of it", orders)
	}
}

// oracle folds what the records say is active, in another way than the director: each
// property by itself.
type oracle struct {
	t        *testing.T
	lab      *lab
	schedule []Fault
	active   []results.Fault
}

func (o *oracle) fault(r results.Fault) Fault {
	i := slices.IndexFunc(o.schedule, func(f Fault) bool { return f.ID == r.ID })
	return o.schedule[i]
}

func (o *oracle) check(orders []Order) {
	records := o.lab.d.Records()
	last := time.Duration(0)
	for _, order := range orders {
		record := records[order.Occurrence]
		if order.Requested < last {
			o.t.Errorf("%+v comes after %v", order, last)
		}
		last = order.Requested
		fires := record.RequestedNS != nil && int64(order.Requested) == *record.RequestedNS && !o.isActive(record)
		switch {
		case order.Heal:
			o.active = slices.DeleteFunc(o.active, func(r results.Fault) bool { return r.ID == record.ID && r.Occurrence == record.Occurrence })
		case fires && (o.fault(record).Trigger.Failpoint == nil || slices.ContainsFunc(order.Nodes, func(n NodeState) bool { return n.Node == record.Nodes[0] })):
			o.active = append(o.active, record)
		}
		for _, state := range order.Nodes {
			o.node(order, state)
		}
		for _, state := range order.Links {
			o.link(order, state)
		}
		for _, state := range order.Pairs {
			o.pair(order, state)
		}
		if !slices.IsSortedFunc(order.Nodes, func(a, b NodeState) int { return compare(a.Node, b.Node) }) ||
			!slices.IsSortedFunc(order.Links, func(a, b LinkState) int { return compare(a.Link, b.Link) }) ||
			!slices.IsSortedFunc(order.Pairs, func(a, b PairState) int { return compare(a.From+">"+a.To, b.From+">"+b.To) }) {
			o.t.Errorf("not in order: %+v", order)
		}
	}
	for _, r := range o.active {
		if f := o.fault(r); r.Kind != "crash" && mustKind(r.Kind).Lasts || !f.For.IsZero() {
			o.t.Errorf("%s isn't healed in the end", r.ID)
		}
	}
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func mustKind(name string) *Kind { kind, _ := Lookup(name); return kind }

func (o *oracle) isActive(r results.Fault) bool {
	return slices.ContainsFunc(o.active, func(a results.Fault) bool { return a.ID == r.ID && a.Occurrence == r.Occurrence })
}

func (o *oracle) node(order Order, got NodeState) {
	want := NodeState{Node: got.Node, CPUShare: 1}
	var in control.Injection
	for _, r := range o.active {
		f := o.fault(r)
		if !slices.Contains(r.Nodes, got.Node) || f.Trigger.Failpoint != nil && f.Kind == "pause" {
			continue
		}
		switch r.Kind {
		case "crash":
			want.Down, want.Disk = true, DiskSame
		case "pause":
			want.Paused = true
		case "slow_cpu":
			want.CPUShare = min(want.CPUShare, *f.Share)
		case "slow_sync":
			in.SyncDelayNS = max(in.SyncDelayNS, int64(f.Delay))
		case "failing_write":
			in.FailWrites = true
		case "clock":
			in.ClockJumpNS += int64(f.Jump)
		case "ignore":
			in.Ignore = append(in.Ignore, control.Ignore{})
		}
	}
	injected := got.Injection
	if got.Down != want.Down || got.Disk != want.Disk || got.Paused != want.Paused || got.CPUShare != want.CPUShare ||
		injected.SyncDelayNS != in.SyncDelayNS || injected.FailWrites != in.FailWrites || injected.ClockJumpNS != in.ClockJumpNS || len(injected.Ignore) != len(in.Ignore) {
		o.t.Errorf("%+v\nis not %+v with %+v, in %+v", got, want, in, order)
	}
}

func (o *oracle) link(order Order, got LinkState) {
	want := declared
	for _, r := range o.active {
		if !slices.Contains(r.Links, got.Link) {
			continue
		}
		if r.Kind == "degrade" {
			want.Loss = 0.5
		} else {
			want.Down = true
		}
	}
	if got.AToB != want || got.BToA != want {
		o.t.Errorf("%+v is not %+v, in %+v", got, want, order)
	}
}

func (o *oracle) pair(order Order, got PairState) {
	var want *topologies.Parameters
	for _, r := range o.active {
		if slices.Contains(r.Pairs, got.From+">"+got.To) {
			p := slower(topologies.Parameters{})
			if r.Kind != "degrade" || want != nil && want.Down {
				p = topologies.Parameters{Down: true}
			}
			want = &p
		}
	}
	if !reflect.DeepEqual(got.Parameters, want) || got.From == got.To {
		o.t.Errorf("%+v is not %+v, in %+v", got, want, order)
	}
}
