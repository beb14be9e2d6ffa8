package measure

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/results"
)

const (
	// oneBlow is how close to each other faults are applied that are taken for one: the
	// later one doesn't end the earlier one's window.
	oneBlow = 10 * time.Millisecond
	// silenceSlack is how long after a cut was applied something may still have come.
	silenceSlack = time.Second
	// kindHeal is the catalogue's entry that heals others; it costs nothing itself.
	kindHeal = "heal"
)

// kindsOfMembership are the catalogue's entries that change the configuration. They cut
// nobody off: those whose roles change are the ones to watch.
var kindsOfMembership = []string{"reconfigure", "add_server", "remove_server"}

// occurrence is one fault of a trial, from when it was applied until the next one was, or
// the load's end.
type occurrence struct {
	fault           *results.Fault
	fromNS, untilNS int64
	// healedNS is when it was healed, if that was before untilNS; else never.
	healedNS int64
}

// cost is what was observed of an occurrence.
type cost struct {
	unavailable, detection, election, firstCommit, back observation
	rounds, elections                                   observation
	tcp, protocol                                       observation
	late, timeouts                                      observation
	requests                                            results.FaultRequests
	during, after                                       phase
}

// phase is the latencies of some requests.
type phase struct {
	latenciesNS []int64
	timeouts    int
}

func (p *phase) add(r request) {
	if r.answered() {
		p.latenciesNS = append(p.latenciesNS, r.doneNS-r.dueNS)
	} else {
		p.timeouts++
	}
}

// occurrences are the trial's faults that were applied before the load's end.
func (t *brokenTrial) occurrences() []occurrence {
	var found []occurrence
	for i := range t.faults {
		fault := &t.faults[i]
		if fault.AppliedNS == nil || fault.Kind == kindHeal || t.startNS+*fault.AppliedNS >= t.endNS {
			continue
		}
		found = append(found, occurrence{fault: fault, fromNS: t.startNS + *fault.AppliedNS, untilNS: t.endNS, healedNS: never})
	}
	slices.SortStableFunc(found, func(a, b occurrence) int { return cmp.Compare(a.fromNS, b.fromNS) })
	for i := range found {
		o := &found[i]
		for _, other := range found[i+1:] {
			if other.fromNS > o.fromNS+int64(oneBlow) {
				o.untilNS = other.fromNS
				break
			}
		}
		if healed := o.fault.HealedNS; healed != nil && t.startNS+*healed < o.untilNS {
			o.healedNS = t.startNS + *healed
		}
	}
	return found
}

// cost measures an occurrence.
func (t *brokenTrial) cost(o occurrence) cost {
	var c cost
	c.firstCommit = t.firstCommit(o)
	settledNS := o.fromNS
	if t.normal != nil {
		longest, open := t.longestOutage(o.fromNS, o.untilNS)
		c.unavailable = took(longest.lengthNS())
		if settledNS = longest.toNS; open {
			c.unavailable, settledNS = longerThan(longest.lengthNS()), o.untilNS
		}
		c.back = t.backToNormal(o.fromNS, o.untilNS)
	}
	if o.healedNS != never {
		settledNS = max(settledNS, o.healedNS)
	}
	t.countRequests(o, settledNS, &c)
	if t.hasEvents {
		t.watch(o, &c)
	}
	c.tcp, c.protocol = t.reconnected(o, c.firstCommit)
	return c
}

// firstCommit is when the first request was answered that was sent after the fault.
func (t *brokenTrial) firstCommit(o occurrence) observation {
	firstNS := int64(never)
	for _, r := range t.requests {
		if r.sentNS >= o.fromNS {
			firstNS = min(firstNS, r.doneNS)
		}
	}
	if firstNS > o.untilNS {
		return longerThan(o.untilNS - o.fromNS)
	}
	return took(firstNS - o.fromNS)
}

// countRequests looks at the requests in flight when the fault came, or due in its window:
// those due before settledNS are the ones during the fault, the others those after it.
func (t *brokenTrial) countRequests(o occurrence, settledNS int64, c *cost) {
	for _, client := range t.clients {
		overtakenNS := int64(math.MinInt64)
		for _, a := range client.answers {
			if a.doneNS > o.fromNS {
				break
			}
			overtakenNS = a.latestDueNS
		}
		for _, r := range client.requests {
			if r.dueNS >= o.untilNS {
				break
			}
			if r.dueNS < o.fromNS && (r.doneNS <= o.fromNS || !r.answered() && r.dueNS < overtakenNS) {
				continue
			}
			c.requests.Requests++
			switch {
			case !r.answered():
				c.requests.Timeout++
			case t.normal != nil && r.doneNS-r.dueNS > t.normal.lateNS:
				c.requests.Late++
			}
			if r.dueNS < settledNS || r.dueNS < o.fromNS {
				c.during.add(r)
			} else {
				c.after.add(r)
			}
		}
	}
	c.timeouts = counted(c.requests.Timeout)
	if t.normal != nil {
		c.late = counted(c.requests.Late)
	}
}

// watch looks at what the protocol's processes reported. Those that were hit don't count
// until the fault is healed, unless all were hit, or only roles were changed: what an isolated process takes for the
// truth tells nothing of the others.
func (t *brokenTrial) watch(o occurrence, c *cost) {
	absent := observation{state: none}
	commitNS := o.untilNS
	if c.firstCommit.state == censored {
		absent = longerThan(o.untilNS - o.fromNS)
	} else {
		commitNS = o.fromNS + int64(math.Round(c.firstCommit.value*1e6))
	}
	c.detection, c.election = absent, absent
	type ballot struct {
		round  uint64
		leader consensus.NodeID
	}
	rounds, elected := map[ballot]bool{}, 0
	for _, event := range t.within(o) {
		if event.meaning == consensus.MeaningCampaign && event.atNS <= commitNS {
			rounds[ballot{event.round, event.leader}] = true
		}
		if !t.counts(event, o) {
			continue
		}
		at := took(event.atNS - o.fromNS)
		switch event.meaning {
		case consensus.MeaningSuspected, consensus.MeaningCampaign:
			if c.detection.state != seen {
				c.detection = at
			}
		case consensus.MeaningElected:
			elected++
			if c.election.state != seen {
				c.election = at
			}
		}
	}
	c.rounds, c.elections = counted(len(rounds)), counted(elected)
	if c.firstCommit.state == censored {
		c.rounds.state = censored
	}
}

// within are the events of an occurrence's window, the one that ends it included: it may
// be what fired the next fault.
func (t *brokenTrial) within(o occurrence) []happening {
	byTime := func(event happening, atNS int64) int { return cmp.Compare(event.atNS, atNS) }
	first, _ := slices.BinarySearchFunc(t.events, o.fromNS+1, byTime)
	last, _ := slices.BinarySearchFunc(t.events, o.untilNS+1, byTime)
	return t.events[first:max(first, last)]
}

func (t *brokenTrial) counts(event happening, o occurrence) bool {
	return event.atNS >= o.healedNS || !slices.Contains(o.fault.Nodes, event.node) || t.allHit(o) ||
		slices.Contains(kindsOfMembership, o.fault.Kind)
}

func (t *brokenTrial) allHit(o occurrence) bool {
	return !slices.ContainsFunc(t.servers, func(name string) bool { return !slices.Contains(o.fault.Nodes, name) })
}

// reconnected is, for a fault that cut connections and was healed, how long it took from
// the healing until the servers concerned had heard from the other side again, less the
// least one-way delay; and how long the first commit came after that. It takes the median
// over the servers: the first to hear may be alone, the last may have had nothing to hear.
// If the service had waited for the healing, only what was heard by the first commit
// counts; if not, there is nothing that the protocol added.
func (t *brokenTrial) reconnected(o occurrence, firstCommit observation) (tcp, protocol observation) {
	cuts := t.cutPairs(o.fault)
	if o.healedNS == never || !t.hasEvents || len(cuts)+len(o.fault.Links)+len(o.fault.Pairs) == 0 {
		return tcp, protocol
	}
	commitNS := int64(never)
	if firstCommit.state == seen {
		commitNS = o.fromNS + int64(math.Round(firstCommit.value*1e6))
	}
	waited := commitNS > o.healedNS
	heard := map[string]bool{}
	var tookNS, atNS []int64
	for _, event := range t.within(o) {
		if event.meaning != consensus.EventHeard || event.atNS < o.healedNS || heard[event.node] ||
			waited && event.atNS > commitNS || !slices.Contains(t.servers, event.node) || !t.across(event, o, cuts) {
			continue
		}
		heard[event.node] = true
		pathNS := t.pathNS[[2]string{t.hosts[event.peer], t.hosts[event.node]}]
		tookNS = append(tookNS, max(0, event.atNS-o.healedNS-pathNS))
		atNS = append(atNS, event.atNS)
	}
	switch {
	case len(heard) == 0:
		return observation{state: none}, observation{state: none}
	case !waited:
		return took(median(tookNS)), observation{state: none}
	case commitNS == never:
		return took(median(tookNS)), longerThan(o.untilNS - median(atNS))
	}
	return took(median(tookNS)), took(commitNS - median(atNS))
}

// median sorts the values.
func median(values []int64) int64 {
	slices.Sort(values)
	upper := len(values) / 2
	if len(values)%2 == 1 {
		return values[upper]
	}
	return values[upper-1] + (values[upper]-values[upper-1])/2
}

// cutPairs are the pairs of hosts that a fault cut, as it or its evidence names them.
func (t *brokenTrial) cutPairs(fault *results.Fault) map[[2]string]bool {
	cuts := map[[2]string]bool{}
	add := func(text string) {
		if from, to, ok := strings.Cut(text, ">"); ok {
			cuts[[2]string{strings.TrimSpace(from), strings.TrimSpace(to)}] = true
		}
	}
	for _, pair := range fault.Pairs {
		add(pair)
	}
	for _, evidence := range fault.Evidence {
		if evidence.Kind == evidenceCut {
			add(evidence.Target)
		}
	}
	return cuts
}

// evidenceCut is the kind of evidence that frames don't get from a host to another.
const evidenceCut = "cut"

// across tells whether what was heard came over a connection that had been cut, in either
// direction, since each needs the other's acknowledgements. It was then silent since about
// when the fault came. Without hosts, or pairs of them, those hit are one side; without
// nodes hit, silence alone tells.
func (t *brokenTrial) across(event happening, o occurrence, cuts map[[2]string]bool) bool {
	if event.atNS-event.silenceNS > o.fromNS+int64(silenceSlack) {
		return false
	}
	from, to := t.hosts[event.peer], t.hosts[event.node]
	if len(cuts) > 0 && from != "" && to != "" {
		return cuts[[2]string{from, to}] || cuts[[2]string{to, from}]
	}
	if len(o.fault.Nodes) == 0 || t.allHit(o) {
		return true
	}
	return slices.Contains(o.fault.Nodes, event.node) != slices.Contains(o.fault.Nodes, event.peer)
}
