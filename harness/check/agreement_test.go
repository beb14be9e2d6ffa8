package check

import (
	"strings"
	"testing"

	"quorumlab/results"
)

func TestAgreementComparesWhatReplicasHaveInCommon(t *testing.T) {
	live := func(name string, slot uint64, state string) Replica {
		return Replica{Name: name, Slot: slot, StateHash: state, Live: true}
	}
	decided := func(r Replica, prefixes map[uint64]string) Replica {
		r.Prefixes = prefixes
		return r
	}
	for _, test := range []struct {
		name     string
		replicas []Replica
		verdict  string
		reason   []string
	}{
		{"nobody", nil, results.FindingNotChecked, []string{"no replicas"}},
		{"one", []Replica{live("a", 5, "x")}, results.FindingOK, []string{"one replica"}},
		{"equal states", []Replica{live("a", 5, "x"), live("b", 5, "x")}, results.FindingOK, []string{"equal states at 1"}},
		{"states at other slots", []Replica{live("a", 5, "x"), live("b", 6, "y")}, results.FindingUnknown, []string{"same slot"}},
		{"states unknown", []Replica{live("a", 5, ""), live("b", 5, "")}, results.FindingUnknown, nil},
		{"states that differ", []Replica{live("c", 5, "y"), live("b", 5, "x"), live("a", 5, "x")},
			results.FindingViolation, []string{"states differ at slot 5: a, b (x) against c (y)"}},
		{"a dead replica's state", []Replica{live("a", 5, "x"), live("b", 5, "x"), {Name: "c", Slot: 5, StateHash: "y"}}, results.FindingOK, nil},
		{"a dead replica's prefix", []Replica{
			decided(live("a", 5, "x"), map[uint64]string{1: "p", 2: "q"}), live("b", 5, "x"),
			decided(Replica{Name: "c"}, map[uint64]string{1: "p", 2: "r", 3: "s"}),
		}, results.FindingViolation, []string{"decided at slot 2: a (q) against c (r)"}},
		{"the first of several differences", []Replica{
			decided(live("a", 9, "x"), map[uint64]string{1: "p", 2: "q", 3: "u"}),
			decided(live("b", 9, "y"), map[uint64]string{1: "p", 2: "r", 3: "v"}),
		}, results.FindingViolation, []string{"at slot 2"}},
		{"equal prefixes only", []Replica{
			decided(live("a", 9, "x"), map[uint64]string{1: "p"}),
			decided(Replica{Name: "b"}, map[uint64]string{1: "p", 2: "q"}),
		}, results.FindingOK, []string{"equal prefixes at 1"}},
	} {
		verdict, reason := Agreement(test.replicas)
		if verdict != test.verdict {
			t.Errorf("%s: %s (%s), want %s", test.name, verdict, reason, test.verdict)
		}
		for _, part := range append(test.reason, "") {
			if reason == "" || !strings.Contains(reason, part) {
				t.Errorf("%s: reason %q, want %q in it", test.name, reason, part)
			}
		}
	}
}
