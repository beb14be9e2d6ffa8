package injection

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/timers"
)

func name(id consensus.NodeID) string { return fmt.Sprintf("n%d", id) }

func label(kind string, slot, round uint64) consensus.Label {
	return consensus.Label{Kind: kind, Slot: slot, Round: round}
}

// decisions are what a filter makes of n messages.
func decisions(f *Filter, n int, from consensus.NodeID, kind string) []bool {
	var ignored []bool
	for range n {
		ignored = append(ignored, f.Ignores(from, label(kind, 1, 1)))
	}
	return ignored
}

func count(decisions []bool) (n int) {
	for _, d := range decisions {
		if d {
			n++
		}
	}
	return n
}

func TestAFilterIgnoresTheShareOfTheMessagesItIsAbout(t *testing.T) {
	const n = 10_000
	f := NewFilter([]control.Ignore{{Kinds: []string{"a", "b"}, From: []string{"n1", "n2"}, Share: 1. / 3, Seed: 7}}, name)
	for _, c := range []struct {
		from  consensus.NodeID
		kind  string
		about bool
	}{{1, "a", true}, {2, "b", true}, {3, "a", false}, {1, "c", false}} {
		got := count(decisions(f, n, c.from, c.kind))
		// Five standard deviations around the mean.
		if low, high := n/3-236, n/3+236; c.about && (got < low || got > high) || !c.about && got > 0 {
			t.Errorf("%s from %v: %d of %d ignored", c.kind, c.from, got, n)
		}
	}
	considered, ignored := f.Counts()
	if considered != 2*n || ignored < 2*n/3-400 || ignored > 2*n/3+400 {
		t.Errorf("%d considered, %d ignored", considered, ignored)
	}
	for share, want := range map[float64]int{0: 0, 1: n} {
		if got := count(decisions(NewFilter([]control.Ignore{{Share: share}}, name), n, 1, "a")); got != want {
			t.Errorf("share %v: %d of %d ignored", share, got, n)
		}
	}
	if (*Filter)(nil).Ignores(1, label("a", 1, 1)) || (*Filter)(nil).Active() {
		t.Error("no filter ignores something")
	}
}

func TestAFiltersDrawsFollowFromItsSeedAndGoOnWhenOtherRulesChange(t *testing.T) {
	rule, other := control.Ignore{Share: 0.5, Seed: 1, From: []string{"n1"}}, control.Ignore{Share: 0.5, Seed: 2, From: []string{"n2"}}
	want := decisions(NewFilter([]control.Ignore{rule}, name), 200, 1, "a")
	if slices.Equal(want, decisions(NewFilter([]control.Ignore{{Share: 0.5, Seed: 9}}, name), 200, 1, "a")) {
		t.Error("another seed has drawn the same")
	}
	f := NewFilter([]control.Ignore{rule}, name)
	got := decisions(f, 100, 1, "a")
	f.Set([]control.Ignore{other, rule})
	got = append(got, decisions(f, 50, 1, "a")...)
	decisions(f, 50, 2, "a") // draws of the other rule only
	f.Set([]control.Ignore{rule})
	got = append(got, decisions(f, 50, 1, "a")...)
	if !slices.Equal(got, want) {
		t.Error("the rule has drawn something else because another one came and went")
	}
	f.Set(nil)
	if f.Active() || f.Ignores(1, label("a", 1, 1)) {
		t.Error("an ended filter ignores something")
	}
	if considered, _ := f.Counts(); considered != 250 {
		t.Errorf("%d considered, want 250 over all rules", considered)
	}
}

func TestTwoEqualRulesDrawTwice(t *testing.T) {
	rule := control.Ignore{Share: 0.5, Seed: 1}
	draws := decisions(NewFilter([]control.Ignore{rule}, name), 200, 1, "a")
	f := NewFilter([]control.Ignore{rule}, name)
	decisions(f, 100, 1, "a")
	f.Set([]control.Ignore{rule, rule}) // the first goes on, the second begins
	for i, got := range decisions(f, 100, 1, "a") {
		if want := draws[100+i] || draws[i]; got != want {
			t.Errorf("message %d: ignored %v, want %v", i, got, want)
		}
	}
}

func TestAClockRunsAtItsRateJumpsAndKeepsWhatItGained(t *testing.T) {
	var c Clock
	at := func(real, want consensus.Time) {
		t.Helper()
		if got := c.Local(real); got != want {
			t.Errorf("at %d the clock says %d, want %d", real, got, want)
		}
	}
	at(0, 0)
	at(1000, 1000)
	c.Set(1000, 2, 0)
	at(1000, 1000)
	at(1500, 2000)
	c.Set(2000, 2, 0) // the same again
	at(2000, 3000)
	c.Set(2000, 0.5, 0)
	at(2000, 3000)
	at(3000, 3500)
	c.Set(3000, 0, 0) // healed: 500 ahead for good
	at(3000, 3500)
	at(4000, 4500)
	c.Set(4000, 1, 100)
	at(4000, 4600)
	c.Set(5000, 1, 100) // no change, no jump
	at(5000, 5600)
	c.Set(5000, 1, -400) // back by 500
	at(5000, 5100)
	c.Set(6000, 1, 0)
	at(6000, 6500)
}

func TestAClocksRealIsTheFirstTimeAtWhichItShowsALocalOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		var c Clock
		now := consensus.Time(random.Int64N(1e15))
		for range random.IntN(4) {
			rate := 0.0
			if random.IntN(3) > 0 {
				rate = math.Exp(random.NormFloat64() * 2)
			}
			now += consensus.Time(random.Int64N(1e12))
			c.Set(now, rate, time.Duration(random.Int64N(2e9)-1e9))
		}
		local := c.Local(now) + consensus.Time(random.Int64N(1e12))
		real := c.Real(local)
		if c.Local(real) < local {
			t.Fatalf("%+v: at %d it isn't %d yet, but %d", c, real, local, c.Local(real))
		}
		// A nanosecond of floating point is allowed for.
		if early := real - 2; c.Local(early) >= local && early > now {
			t.Fatalf("%+v: it is %d at %d already, not at %d only", c, local, early, real)
		}
	}
	var c Clock
	c.Set(0, 8./49, 0) // 893200 * 49/8 * 8/49 is less than 893200 to a computer
	if real := c.Real(893200); real != 5470851 || c.Local(real) != 893200 || c.Local(real-1) != 893199 {
		t.Errorf("at 8/49 of the rate it is 893200 at %d, when it is %d", real, c.Local(real))
	}
	c = Clock{}
	if c.Real(timers.Never) != timers.Never {
		t.Error("a right clock's never isn't")
	}
	c.Set(1000, 1e-3, 0)
	if c.Real(timers.Never) != timers.Never || c.Real(timers.Never-5) != timers.Never {
		t.Error("a slow clock's never isn't")
	}
}

func TestTimersFireLaterByWhatTheClockJumpsBack(t *testing.T) {
	var c Clock
	due := c.Local(1000) + 500
	if c.Real(due) != 1500 {
		t.Errorf("due at %d", c.Real(due))
	}
	c.Set(1000, 0, -300)
	if c.Real(due) != 1800 {
		t.Errorf("after a jump back by 300 it is due at %d", c.Real(due))
	}
	c.Set(1000, 2, -300)
	if c.Real(due) != 1400 {
		t.Errorf("of 800, at twice the rate, it is due at %d", c.Real(due))
	}
}

func TestAFailpointIsReachedAtItsCountthMatchAndOnce(t *testing.T) {
	f := NewFailpoints([]control.Failpoint{
		{ID: "third", Place: control.BeforeSend, Kind: "a", Slot: 5, Round: 2, To: "n1", Count: 3, Action: control.ActionCrash},
	})
	misses := []struct {
		place string
		label consensus.Label
		to    string
	}{
		{control.AfterSend, label("a", 5, 2), "n1"}, {control.BeforeSend, label("b", 5, 2), "n1"}, {control.BeforeSend, label("a", 4, 2), "n1"},
		{control.BeforeSend, label("a", 5, 3), "n1"}, {control.BeforeSend, label("a", 5, 2), "n2"},
	}
	for i := 1; i <= 5; i++ {
		for _, m := range misses {
			if _, hit := f.At(m.place, m.label, m.to); hit {
				t.Errorf("%+v was reached", m)
			}
		}
		reached, hit := f.At(control.BeforeSend, label("a", 5, 2), "n1")
		if hit != (i == 3) || hit && reached.ID != "third" {
			t.Errorf("match %d: %v %+v", i, hit, reached)
		}
		if f.Watches(control.BeforeSend) != (i < 3) || f.Watches(control.AfterSend) {
			t.Errorf("match %d: watches the wrong places", i)
		}
	}
	if f.Matches("third") != 3 || !f.Has("third") || f.Has("another") || f.Matches("another") != 0 {
		t.Errorf("%d matches", f.Matches("third"))
	}
}

func TestOfCommandsThatAreAppliedOnlyTheSlotCounts(t *testing.T) {
	f := NewFailpoints([]control.Failpoint{{ID: "a", Place: control.AfterApply, Kind: "phase2a", Slot: 5, Round: 3, To: "n1"}})
	if _, hit := f.At(control.AfterApply, label(control.TraceCommit, 4, 0), ""); hit {
		t.Error("slot 4 was reached")
	}
	if _, hit := f.At(control.AfterApply, label(control.TraceCommit, 5, 0), ""); !hit {
		t.Error("slot 5 wasn't reached")
	}
}

func TestFailpointsThatAreSetAgainGoOnAndNewOnesBegin(t *testing.T) {
	second := control.Failpoint{ID: "second", Place: control.BeforeApply, Count: 2}
	first := control.Failpoint{ID: "first", Place: control.BeforeApply}
	f := NewFailpoints([]control.Failpoint{second})
	at := func() string {
		reached, hit := f.At(control.BeforeApply, label(control.TraceCommit, 1, 0), "")
		if !hit {
			return ""
		}
		return reached.ID
	}
	if got := at(); got != "" {
		t.Errorf("reached %s", got)
	}
	f.Set([]control.Failpoint{first, second})
	// Both are due: one after the other.
	if a, b, c := at(), at(), at(); a != "first" || b != "second" || c != "" {
		t.Errorf("reached %q, %q, %q", a, b, c)
	}
	f.Set([]control.Failpoint{first, second})
	if got := at(); got != "" {
		t.Errorf("%s was reached again", got)
	}
	f.Set(nil)
	if f.Has("first") {
		t.Error("a failpoint that is gone is there")
	}
	f.Set([]control.Failpoint{first})
	if got := at(); got != "first" {
		t.Errorf("one that is set anew: %q", got)
	}
	var none *Failpoints
	if _, hit := none.At(control.BeforeApply, label("", 1, 0), ""); hit || none.Watches(control.BeforeApply) || none.Has("first") {
		t.Error("no failpoints were reached")
	}
}

func TestASubscriptionReportsWhatItIsAboutUpToItsLimit(t *testing.T) {
	s := NewSubscriptions([]control.Subscription{
		{Kind: "phase2a", Slot: 5, Round: 2, Limit: 2}, {Kind: control.TraceCommit, Slot: 100, Limit: 3},
	})
	wants := func(kind string, slot, round uint64) bool { return s.Wants(0, label(kind, slot, round)) }
	for _, l := range []consensus.Label{label("phase2b", 5, 2), label("phase2a", 6, 2), label("phase2a", 5, 1), label(control.TraceCommit, 99, 0)} {
		if s.Wants(0, l) {
			t.Errorf("wants %+v", l)
		}
	}
	got := fmt.Sprint(wants("phase2a", 5, 2), wants("phase2a", 5, 2), wants("phase2a", 5, 2))
	if got != "true true false" {
		t.Errorf("a limit of 2: %s", got)
	}
	got = fmt.Sprint(wants(control.TraceCommit, 100, 0), wants(control.TraceCommit, 101, 0), wants(control.TraceCommit, 5000, 0), wants(control.TraceCommit, 5001, 0))
	if got != "true true true false" {
		t.Errorf("commits from slot 100 on: %s", got)
	}
	s.Set([]control.Subscription{{Kind: "phase2a", Slot: 5, Round: 2, Limit: 2}, {Kind: "phase1a", Limit: 1}, {Kind: "phase2a", Limit: 1}})
	if got := fmt.Sprint(wants("phase2a", 5, 2), wants("phase1a", 9, 9), wants("phase1a", 9, 9), wants("phase2a", 5, 2)); got != "true true false false" {
		t.Errorf("after another Set: %s", got)
	}
	if s.Suppressed() > 0 {
		t.Errorf("%d suppressed by limits that were asked for", s.Suppressed())
	}
	if none := (*Subscriptions)(nil); none.Any() || none.Wants(0, label("a", 1, 1)) || none.Suppressed() > 0 {
		t.Error("no subscriptions want something")
	}
}

func TestASubscriptionWithoutALimitReportsAHundredASecondAndCountsTheRest(t *testing.T) {
	s := NewSubscriptions([]control.Subscription{{Kind: "a"}})
	reported := 0
	for ms := range 2500 {
		if s.Wants(consensus.Time(0).Add(time.Duration(ms)*time.Millisecond), label("a", 1, 1)) {
			reported++
		}
	}
	if reported != 300 || s.Suppressed() != 2200 {
		t.Errorf("%d reported, %d suppressed", reported, s.Suppressed())
	}
	// A slow one is reported whole.
	s = NewSubscriptions([]control.Subscription{{Kind: "a"}})
	for i := range 1000 {
		if !s.Wants(consensus.Time(0).Add(time.Duration(i)*11*time.Millisecond), label("a", 1, 1)) {
			t.Fatalf("event %d is suppressed", i)
		}
	}
}
