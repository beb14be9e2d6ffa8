package faults

import (
	"math"
	"reflect"
	"slices"
	"time"

	"quorumlab/results"
	"quorumlab/topologies"
)

// maxExpectations is how many of an occurrence's links, and of its pairs, have to be
// proved: of more, so many are drawn.
const maxExpectations = 200

// expected is a piece of evidence that is awaited.
type expected struct {
	Expectation
	heal bool
	// found is when it was; hidden is true if another fault has made it impossible, idle if
	// nothing came that the fault could have shown itself by.
	found        *time.Duration
	hidden, idle bool
	// jumpNS is by how much the node's clock was set ahead in all.
	jumpNS int64
}

// observed is evidence, and when.
type observed struct {
	at       time.Duration
	evidence results.Evidence
}

// network lists what has to be proved of an occurrence's effects on links and pairs.
func (d *Director) network(o *occurrence) []Expectation {
	var wanted []Expectation
	type direction struct{ link, from string }
	var directions []direction
	for _, e := range o.effects.Links {
		link := d.view.Topology.Links[d.view.links[e.Link]]
		for _, end := range []string{link.A, link.B} {
			if e.changes(end) {
				directions = append(directions, direction{e.Link, end})
			}
		}
	}
	for _, i := range d.sample(o, len(directions)) {
		wanted = append(wanted, Expectation{Kind: ExpectLink, Link: directions[i].link, From: directions[i].from})
	}
	for _, i := range d.sample(o, len(o.effects.Pairs)) {
		e := o.effects.Pairs[i]
		kind := ExpectPair
		if e.Parameters.Down {
			kind = ExpectCut
		}
		wanted = append(wanted, Expectation{Kind: kind, From: e.From, To: e.To, Parameters: *e.Parameters})
	}
	return wanted
}

// sample draws maxExpectations of n indices, in order; all if there aren't more.
func (d *Director) sample(o *occurrence, n int) []int {
	chosen := generator(d.seed, o.entry.index, o.number, drawSample).Perm(n)[:min(n, maxExpectations)]
	slices.Sort(chosen)
	return chosen
}

// expectApplied adds what proves that the occurrence has taken effect to the order. What
// another fault hides from the start isn't asked for.
func (d *Director) expectApplied(o *occurrence, order *Order) {
	wanted := d.network(o)
	for _, e := range o.effects.Nodes {
		wanted = append(wanted, e.Expect...)
	}
	if len(o.effects.Change) > 0 {
		wanted = append(wanted, Expectation{Kind: ExpectConfiguration})
	}
	for _, w := range wanted {
		switch {
		case w.Kind == ExpectLink:
			w.Parameters = d.link(w.Link, w.From, nil)
		case w.Kind == ExpectIgnored && len(d.node(w.Node, o).Injection.Ignore) > 0:
			w.Share = 0
		}
		d.expect(o, order, w)
	}
}

// expect adds an expectation, to the order too if there is hope.
func (d *Director) expect(o *occurrence, order *Order, e Expectation) {
	x := &expected{Expectation: e, heal: order.Heal}
	if e.Node != "" {
		x.jumpNS = d.node(e.Node, nil).Injection.ClockJumpNS
	}
	x.hidden = d.hides(o, x)
	o.expects = append(o.expects, x)
	if !x.hidden {
		order.Expect = append(order.Expect, e)
	}
}

// before is what the links and pairs of an occurrence are like before it is healed.
type before struct {
	links map[[2]string]topologies.Parameters
	pairs map[[2]string]*topologies.Parameters
}

func (d *Director) beforeHealing(o *occurrence) before {
	b := before{map[[2]string]topologies.Parameters{}, map[[2]string]*topologies.Parameters{}}
	for _, x := range o.expects {
		switch x.Kind {
		case ExpectLink:
			b.links[[2]string{x.Link, x.From}] = d.link(x.Link, x.From, nil)
		case ExpectPair, ExpectCut:
			b.pairs[[2]string{x.From, x.To}] = d.pair(x.From, x.To, nil)
		}
	}
	return b
}

// expectHealed adds what proves the healing to the order: of each thing that was to be
// proved, unless other faults keep it as it was or hide how it is.
func (d *Director) expectHealed(o *occurrence, order *Order, was before) {
	for _, x := range slices.Clone(o.expects) {
		e := x.Expectation
		if x.heal || x.Kind == ExpectDisk || x.Kind == ExpectConfiguration {
			continue
		}
		switch e.Kind {
		case ExpectSlow:
			e.Share = 1
		case ExpectClock:
			if e.Rate != 0 {
				e.Rate = 1
			}
			e.Jump = -e.Jump
		case ExpectLink:
			e.Parameters = d.link(e.Link, e.From, nil)
			if e.Parameters.Down || alike(e.Parameters, was.links[[2]string{e.Link, e.From}]) {
				continue
			}
		case ExpectPair, ExpectCut:
			now := d.pair(e.From, e.To, nil)
			if reflect.DeepEqual(now, was.pairs[[2]string{e.From, e.To}]) {
				continue
			}
			e.Parameters = topologies.Parameters{}
			if now != nil {
				e.Parameters = *now
			}
		}
		healed := &expected{Expectation: e, heal: true}
		if healed.Node != "" {
			healed.jumpNS = d.node(e.Node, nil).Injection.ClockJumpNS
		}
		if !d.hides(o, healed) {
			o.expects = append(o.expects, healed)
			order.Expect = append(order.Expect, e)
		}
	}
}

// await has evidence of an occurrence watched for what hides it.
func (d *Director) await(o *occurrence) {
	if !slices.Contains(d.awaiting, o) {
		d.awaiting = append(d.awaiting, o)
	}
	d.overshadow()
}

// overshadow notes, after each change, which of the evidence that is still awaited other
// faults hide.
func (d *Director) overshadow() {
	d.awaiting = slices.DeleteFunc(d.awaiting, func(o *occurrence) bool {
		open := false
		for _, x := range o.expects {
			if x.found != nil || x.hidden {
				continue
			}
			x.hidden = d.hides(o, x)
			open = open || !x.hidden && (x.heal || o.active)
		}
		return !open
	})
}

// Moot tells whether an order's evidence can't be found, or would prove nothing, since
// another fault has hidden it at some time since the order was given: the node that was
// to ignore messages was killed before it got any, a link was down already, or is again
// by another fault before it was seen up. Ask before judging that evidence is missing. What
// is moot counts neither for nor against the fault; evidence that was found counts
// all the same.
func (d *Director) Moot(order Order, e Expectation) bool {
	if order.Occurrence < 0 || order.Occurrence >= len(d.occurrences) {
		return false
	}
	for _, x := range d.occurrences[order.Occurrence].expects {
		if x.heal == order.Heal && x.Kind == e.Kind && x.Target() == e.Target() {
			return x.hidden && x.found == nil
		}
	}
	return false
}

// hides tells whether other faults hide an occurrence's evidence at this moment. Evidence
// of its effect is hidden if the state isn't what the evidence is of, or would be the same
// without it; once it is healed that doesn't change any more.
func (d *Director) hides(o *occurrence, x *expected) bool {
	if !x.heal && !o.active {
		return false
	}
	switch x.Kind {
	case ExpectLink, ExpectPair, ExpectCut:
		return d.hidesNetwork(o, x)
	case ExpectDisk, ExpectConfiguration:
		return false
	}
	now, other := d.node(x.Node, nil), d.node(x.Node, o)
	if x.heal {
		return d.hidesHealing(x, now)
	}
	injected, others := now.Injection, other.Injection
	gone := now.Down || d.ended[x.Node]
	idle := gone || now.Paused || d.stalled(x.Node)
	switch x.Kind {
	case ExpectDown:
		return other.Down
	case ExpectPaused:
		return gone || other.Paused
	case ExpectSlow:
		return gone || now.Paused || now.CPUShare != x.Share || other.CPUShare == x.Share
	case ExpectRefused:
		return now.Down || now.Paused || d.stalled(x.Node)
	case ExpectClock:
		return idle || x.Rate != 0 && (injected.ClockRate != x.Rate || others.ClockRate == x.Rate) ||
			x.Jump != 0 && (runs(injected.ClockRate) != 1 || injected.ClockJumpNS != x.jumpNS)
	case ExpectSlowSync:
		return idle || others.SyncDelayNS >= int64(x.Delay)
	case ExpectIgnored:
		return idle || x.Share > 0 && len(others.Ignore) > 0
	}
	return idle
}

func (d *Director) hidesHealing(x *expected, now NodeState) bool {
	injected := now.Injection
	gone := now.Down || now.Paused || d.ended[x.Node]
	switch x.Kind {
	case ExpectDown:
		return gone || d.stalled(x.Node) || d.cutOff(d.view.Hosts[x.Node])
	case ExpectSlow:
		return gone || now.CPUShare < 1
	case ExpectClock:
		return gone || d.stalled(x.Node) || runs(injected.ClockRate) != 1 || injected.ClockJumpNS != x.jumpNS
	case ExpectSlowSync:
		return gone || d.stalled(x.Node) || injected.SyncDelayNS > 0
	case ExpectIgnored:
		return gone || d.stalled(x.Node) || len(injected.Ignore) > 0
	case ExpectRefused:
		return gone || injected.FailWrites || injected.FullDisk
	}
	return gone
}

// runs is a clock's rate, of which 0 stands for 1.
func runs(rate float64) float64 {
	if rate == 0 {
		return 1
	}
	return rate
}

func (d *Director) hidesNetwork(o *occurrence, x *expected) bool {
	if x.Kind == ExpectLink {
		now := d.link(x.Link, x.From, nil)
		return !alike(now, x.Parameters) || !x.heal && alike(now, d.link(x.Link, x.From, o))
	}
	now := d.pair(x.From, x.To, nil)
	if x.Kind == ExpectCut && !x.heal {
		return d.severed(x.From, x.To, o)
	}
	var p topologies.Parameters
	if now != nil {
		p = *now
	}
	return !alike(p, x.Parameters) || d.severed(x.From, x.To, nil) ||
		!x.heal && reflect.DeepEqual(now, d.pair(x.From, x.To, o))
}

// noneIgnored is how unlikely chance may be to explain that no message was ignored.
const noneIgnored = 1e-6

// TooFew tells whether it is no wonder that none of so many messages was ignored, each with
// the probability share; 0 where that isn't known. Then they prove nothing.
func TooFew(considered uint64, share float64) bool {
	return considered == 0 || share > 0 && math.Pow(1-share, float64(considered)) > noneIgnored
}

// alike tells whether frames are treated alike; nothing that is down differs.
func alike(a, b topologies.Parameters) bool { return a.Down && b.Down || reflect.DeepEqual(a, b) }
