package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"quorumlab/results"
)

// Replica is where a replica stood at the end, or when it was last heard of.
type Replica struct {
	Name string
	// Slot is the last slot applied and StateHash the state after it, in
	// hexadecimal; empty if unknown.
	Slot      uint64
	StateHash string
	// Prefixes maps a slot to the hash of all that was decided up to it.
	Prefixes map[uint64]string
	// Live is false for a replica that had ended: its state isn't judged, but
	// what it had decided is.
	Live bool
}

// Agreement compares the states of live replicas at the same slot and the
// decided prefixes of all replicas. The verdict is ok or violation; unknown if
// there are several replicas but nothing that two of them can be compared by;
// not_checked if there are none. The reason says what was compared, or who
// differs where first.
func Agreement(replicas []Replica) (verdict, reason string) {
	states, prefixes := map[uint64][]claim{}, map[uint64][]claim{}
	for _, replica := range replicas {
		if replica.Live && replica.StateHash != "" {
			states[replica.Slot] = append(states[replica.Slot], claim{replica.Name, replica.StateHash})
		}
		for slot, hash := range replica.Prefixes {
			prefixes[slot] = append(prefixes[slot], claim{replica.Name, hash})
		}
	}
	// Prefixes first: different decisions lead to different states.
	comparedPrefixes, broken := compare(prefixes)
	if broken != "" {
		return results.FindingViolation, "different commands were decided " + broken
	}
	comparedStates, broken := compare(states)
	if broken != "" {
		return results.FindingViolation, "the states differ " + broken
	}
	switch {
	case len(replicas) == 0:
		return results.FindingNotChecked, "there are no replicas"
	case len(replicas) == 1:
		return results.FindingOK, "there is one replica only"
	case comparedStates+comparedPrefixes == 0:
		return results.FindingUnknown, "no two replicas were known at the same slot"
	}
	return results.FindingOK, fmt.Sprintf("equal states at %d and equal prefixes at %d slots", comparedStates, comparedPrefixes)
}

// claim is a hash that a replica has.
type claim struct{ replica, hash string }

// compare returns at how many slots two or more replicas have a hash, and says
// who differs at the first slot at which they aren't equal.
func compare(claims map[uint64][]claim) (compared int, broken string) {
	for _, slot := range slices.Sorted(maps.Keys(claims)) {
		at := claims[slot]
		if len(at) < 2 {
			continue
		}
		compared++
		holders := map[string][]string{}
		for _, c := range at {
			holders[c.hash] = append(holders[c.hash], c.replica)
		}
		if len(holders) == 1 {
			continue
		}
		var groups []string
		for _, hash := range slices.Sorted(maps.Keys(holders)) {
			slices.Sort(holders[hash])
			groups = append(groups, fmt.Sprintf("%s (%.12s)", strings.Join(holders[hash], ", "), hash))
		}
		return compared, fmt.Sprintf("at slot %d: %s", slot, strings.Join(groups, " against "))
	}
	return compared, ""
}
