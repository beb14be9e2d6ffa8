package faults

import (
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

const second = time.Second

func pauses(id string, trigger Trigger) Fault {
	return Fault{ID: id, Kind: "pause", Whom: []string{"acceptor1"}, Trigger: trigger}
}

func TestTimesAreExactHoweverLateTheDirectorIsAsked(t *testing.T) {
	schedule := func() []Fault {
		every := pauses("every", Trigger{Every: 3 * second, Times: 4})
		every.Trigger.At, every.For = new(time.Duration), lasting(second)
		until := pauses("until", at(10*second))
		until.Trigger.Every, until.Trigger.Until, until.For = 2*second, 14*second, lasting(500*time.Millisecond)
		return []Fault{every, until}
	}
	exact := newLab(t, testWorld(), schedule()...)
	want := exact.until(99 * second)
	same(t, "fired", times(want, false), []time.Duration{0, 3 * second, 6 * second, 9 * second, 10 * second, 12 * second})
	same(t, "healed", times(want, true), []time.Duration{second, 4 * second, 7 * second, 10 * second, 10500 * time.Millisecond, 12500 * time.Millisecond})
	late := newLab(t, testWorld(), schedule()...)
	var got []Order
	for _, now := range []time.Duration{2 * second, 50 * second} {
		got = append(got, late.carry(late.d.Advance(now))...)
	}
	if !slices.EqualFunc(got, want, equalOrders) {
		t.Errorf("asked late it gives\n%+v\nwant\n%+v", got, want)
	}
	if _, ok := late.d.Next(); ok || late.d.Advance(99*second) != nil {
		t.Error("there is more to come")
	}
}

func TestWhatIsHealedAndFiresAtOneTimeIsHealedFirst(t *testing.T) {
	again := pauses("again", at(0))
	again.Trigger.Every, again.Trigger.Times, again.For = second, 2, lasting(second)
	l := newLab(t, testWorld(), again)
	l.until(0)
	orders := l.until(second)
	if len(orders) != 2 || !orders[0].Heal || orders[1].Heal || !orders[1].Nodes[0].Paused {
		t.Errorf("got %+v", orders)
	}
}

func TestAFaultFollowsAnother(t *testing.T) {
	after := func(id, other string, healed bool, by time.Duration) Fault {
		return pauses(id, Trigger{After: &After{ID: other, Healed: healed, By: by}})
	}
	first := pauses("first", at(second))
	first.For, first.Trigger.Every, first.Trigger.Times = lasting(2*second), 10*second, 2
	l := newLab(t, testWorld(), first, after("at-once", "first", false, 0), after("later", "first", true, 3*second), after("third", "later", false, second))
	// Carried out late, by 100ms: what follows counts from then.
	var fired []string
	carry := func(orders []Order) {
		for len(orders) > 0 {
			o := orders[0]
			record := l.record(o.Occurrence)
			fired = append(fired, strings.TrimSuffix(record.ID+" "+seconds(o.Requested)+map[bool]string{true: " healed"}[o.Heal], " "))
			orders = append(l.d.Done(o, o.Requested+100*time.Millisecond, nil), orders[1:]...)
		}
	}
	for {
		next, ok := l.d.Next()
		if !ok {
			break
		}
		carry(l.d.Advance(next))
	}
	same(t, "fired", fired, []string{
		"first 1s", "at-once 1.1s", "first 3s healed", "later 6.1s", "third 7.2s", "first 11s", "first 13s healed",
	})
}

func TestRandomFaultsAreAPoissonProcessOfTheSeed(t *testing.T) {
	world := testWorld()
	world.Load = 10_000 * second
	random := func() Fault {
		f := pauses("random", Trigger{Random: &Random{Mean: 2 * second, From: 100 * second}, Until: 9000 * second})
		f.For = lasting(10 * time.Millisecond)
		f.Optional = true
		return f
	}
	fired := func(seed uint64) []time.Duration {
		l := seeded(t, world, seed, random())
		return times(l.until(world.Load), false)
	}
	one := fired(1)
	if !slices.Equal(one, fired(1)) || slices.Equal(one, fired(2)) {
		t.Error("the times don't follow from the seed")
	}
	if one[0] < 100*second || one[len(one)-1] >= 9000*second {
		t.Errorf("they are from %v to %v", one[0], one[len(one)-1])
	}
	// 4450 on average; five standard deviations around it.
	if n := len(one); n < 4450-334 || n > 4450+334 {
		t.Errorf("%d times in 8900 s", n)
	}
	short, long := 0, 0
	for i := 1; i < len(one); i++ {
		if gap := one[i] - one[i-1]; gap < 2*second {
			short++
		} else if gap > 6*second {
			long++
		}
	}
	if s, l := float64(short)/float64(len(one)), float64(long)/float64(len(one)); s < 0.59 || s > 0.67 || l < 0.035 || l > 0.065 {
		t.Errorf("%.3f of the gaps are below the mean, %.3f above three of it; want 0.632 and 0.050", s, l)
	}
	few := random()
	few.Trigger.Times = 3
	l := seeded(t, world, 1, few)
	same(t, "three times", times(l.until(world.Load), false), one[:3])
}

func trace(kind string, slot, round uint64) control.Trace {
	return control.Trace{Label: consensus.Label{Kind: kind, Slot: slot, Round: round}}
}

func TestAFaultFiresOnAnEventThatFulfilsItsConditions(t *testing.T) {
	type event struct {
		at    time.Duration
		node  string
		trace control.Trace
	}
	for name, c := range map[string]struct {
		on    On
		times int
		leads string
		want  string // times, in seconds
		cause string
	}{
		"a message":           {on: On{Event: "phase2a"}, want: "1", cause: "phase2a at leader1 slot 99 round 1"},
		"its slot":            {on: On{Event: "phase2a", Slot: 100}, want: "2"},
		"its round":           {on: On{Event: "phase2a", Round: 2}, want: "3"},
		"slot and round":      {on: On{Event: "phase2a", Slot: 99, Round: 2}, want: ""},
		"where":               {on: On{Event: "phase2a", Nodes: []string{"leader2"}}, want: "4"},
		"where, by its role":  {on: On{Event: "phase2a", Nodes: []string{"leader"}}, leads: "leader2", want: "4"},
		"where, by followers": {on: On{Event: "phase2a", Nodes: []string{"followers"}}, leads: "leader1", want: "4"},
		"counted over nodes":  {on: On{Event: "phase2a", Count: 4}, want: "4", cause: "phase2a at leader2 slot 101 round 2, number 4"},
		"again":               {on: On{Event: "phase2a", Count: 2}, times: 3, want: "2 4"},
		"later":               {on: On{Event: "phase2a", Slot: 101, Delay: 5 * second}, times: 2, want: "8 9", cause: "phase2a at leader1 slot 101 round 2, and 5s later"},
		"a meaning":           {on: On{Event: consensus.MeaningElected, Count: 2}, want: "6", cause: "leader_elected at leader2 (adopted) round 2, number 2"},
		"an event":            {on: On{Event: "adopted", Round: 2}, want: "6"},
		"commits":             {on: On{Event: "commit", Slot: 100}, want: "8", cause: "commit at replica2 slot 102"},
		"any commit":          {on: On{Event: "commit"}, want: "7"},
		"what never comes":    {on: On{Event: consensus.MeaningDeposed}, want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, testWorld(), Fault{Kind: "pause", Whom: []string{"acceptor1"}, Trigger: Trigger{On: &c.on, Times: c.times}, For: lasting(time.Millisecond)})
			l.leads = []string{c.leads}
			var got []Order
			for _, e := range []event{
				{1 * second, "leader1", trace("phase2a", 99, 1)},
				{2 * second, "leader1", trace("phase2a", 100, 1)},
				{3 * second, "leader1", trace("phase2a", 101, 2)},
				{4 * second, "leader2", trace("phase2a", 101, 2)},
				{5 * second, "leader1", trace("adopted", 0, 1)},
				{6 * second, "leader2", trace("adopted", 0, 2)},
				{7 * second, "replica1", trace("commit", 99, 0)},
				{8 * second, "replica2", trace("commit", 102, 0)},
			} {
				got = append(got, l.until(e.at)...)
				got = append(got, l.carry(l.d.Observe(e.at, e.node, e.trace))...)
			}
			got = append(got, l.until(50*second)...)
			var fired []string
			for _, at := range times(got, false) {
				fired = append(fired, strings.TrimSuffix(seconds(at), "s"))
			}
			if strings.Join(fired, " ") != c.want {
				t.Errorf("it fires at %v, want %q", fired, c.want)
			}
			if c.cause != "" && l.record(0).Trigger != c.cause {
				t.Errorf("the trigger is %q, want %q", l.record(0).Trigger, c.cause)
			}
			if c.want == "" && (l.record(0).Outcome != "never_fired" || l.record(0).Reason == "" || l.record(0).Trigger == "") {
				t.Errorf("the record is %+v", l.record(0))
			}
		})
	}
}

func TestNodesAreToldOnceWhatTheTriggersNeed(t *testing.T) {
	on := func(on On, times int) Fault {
		return Fault{Kind: "pause", Whom: []string{"acceptor1"}, Trigger: Trigger{On: &on, Times: times}}
	}
	l := newLab(
		t, testWorld(),
		on(On{Event: "commit", Slot: 100}, 0),
		on(On{Event: "phase2a", Slot: 7, Count: 3, Nodes: []string{"leader1", "leader2"}}, 2),
		on(On{Event: consensus.MeaningElected}, 1), on(On{Event: "adopted", Count: 2}, 5),
		on(On{Event: "phase1a", Round: 3, Nodes: []string{"leader"}}, 1),
		on(On{Event: "commit", Slot: 100, Count: 2}, 5), on(On{Event: "commit", Slot: 5}, 1), on(On{Event: "commit", Slot: 5, Nodes: []string{"followers", "replicas"}}, 1),
		on(On{Event: "ping"}, 1), on(On{Event: "ping", Nodes: []string{"followers"}}, 1),
		pauses("at", at(0)),
	)
	all := []control.Subscription{
		{Kind: "commit", Slot: 100, Limit: 10}, {Kind: "adopted"}, {Kind: "phase1a", Round: 3}, {Kind: "commit", Slot: 5}, {Kind: "ping"},
	}
	same(t, "replica1", l.d.Needs("replica1"), all)
	same(t, "leader2", l.d.Needs("leader2"), slices.Insert(slices.Clone(all), 1, control.Subscription{Kind: "phase2a", Slot: 7}))
	same(t, "client1", l.d.Needs("client1"), nil)
}

func TestABurstOfFaultsIsCutShort(t *testing.T) {
	l := newLab(t, testWorld(), Fault{Kind: "pause", Whom: []string{"acceptor1"}, Trigger: Trigger{On: &On{Event: "phase2a"}, Times: 1_000_000}, For: lasting(time.Millisecond)})
	for i := range 1000 {
		at := time.Duration(i) * 2 * time.Millisecond
		l.carry(l.d.Observe(at, "leader1", trace("phase2a", 1, 1)))
		l.until(at)
	}
	records := l.d.Records()
	if last := records[len(records)-1]; len(records) != maxBurst+1 || last.Outcome != "failed" || !strings.Contains(last.Reason, "100 faults") {
		t.Errorf("%d faults fired, the last one is %+v", len(records), last)
	}
}

func TestNothingFiresAtOrAfterTheLoadsEnd(t *testing.T) {
	every := pauses("every", at(98*second))
	every.Trigger.Every, every.For = second, lasting(100*time.Millisecond)
	on := pauses("on", Trigger{On: &On{Event: "phase2a", Delay: 2 * second}})
	l := newLab(t, testWorld(), every, on)
	l.carry(l.d.Observe(98500*time.Millisecond, "leader1", trace("phase2a", 1, 1)))
	same(t, "fired", times(l.until(200*second), false), []time.Duration{99 * second})
	l.end()
	if got := l.d.Observe(101*second, "leader1", trace("phase2a", 2, 1)); got != nil {
		t.Errorf("after the end it gives %+v", got)
	}
}

func TestEventsBeforeTheLoadDontCountButCommitsAreThere(t *testing.T) {
	on := func(id string, on On) Fault { return pauses(id, Trigger{On: &on}) }
	l := newLab(t, testWorld(), on("elected", On{Event: "leader_elected"}), on("committed", On{Event: "commit", Slot: 5, Delay: second}))
	for _, kind := range []string{"adopted", "commit"} {
		if orders := l.d.Observe(-3*second, "leader1", trace(kind, 7, 1)); orders != nil {
			t.Errorf("%s before the load gives %+v", kind, orders)
		}
	}
	same(t, "fired", times(l.until(50*second), false), []time.Duration{second})
	if record := l.record(0); record.ID != "committed" {
		t.Errorf("it was %+v", record)
	}
	l.carry(l.d.Observe(60*second, "leader1", trace("adopted", 0, 2)))
	if record := l.record(1); record.ID != "elected" || *record.RequestedNS != 60e9 {
		t.Errorf("then it was %+v", record)
	}
}
