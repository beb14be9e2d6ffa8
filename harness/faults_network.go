package harness

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// brokenNetwork is a lab's network as faults have made it.
type brokenNetwork struct {
	lab engine.Lab

	mu      sync.Mutex
	current *networkState

	reporting sync.Mutex
	// report is the last one, asked for at asked.
	report engine.LinkReport
	asked  time.Time
}

// networkState is the network and its pairs at one moment; it never changes.
type networkState struct {
	topology *topologies.Topology
	// pairs are the stages before the network, by "FROM>TO".
	pairs map[string]topologies.Parameters
}

// pairName is how LinkReport.Pairs names the stage of a pair.
func pairName(from, to string) string { return from + ">" + to }

func (n *brokenNetwork) reset(t *labTrial) {
	n.lab = t.lab
	n.current = &networkState{topology: t.network, pairs: map[string]topologies.Parameters{}}
}

func (n *brokenNetwork) state() *networkState {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

// change puts a changed copy of the state in its place.
func (n *brokenNetwork) change(change func(*networkState)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	topology := *n.current.topology
	topology.Links = slices.Clone(topology.Links)
	next := &networkState{topology: &topology, pairs: maps.Clone(n.current.pairs)}
	change(next)
	n.current = next
}

func (n *brokenNetwork) setLink(ctx context.Context, link faults.LinkState) error {
	if err := n.lab.SetLink(ctx, link.Link, link.AToB, link.BToA); err != nil {
		return err
	}
	n.change(func(s *networkState) {
		if l := s.link(link.Link); l != nil {
			l.AToB, l.BToA = link.AToB, link.BToA
		}
	})
	return nil
}

func (n *brokenNetwork) setPairs(ctx context.Context, pairs []faults.PairState) error {
	changes := make([]engine.PairChange, len(pairs))
	for i, pair := range pairs {
		changes[i] = engine.PairChange(pair)
	}
	if err := n.lab.SetPairs(ctx, changes); err != nil {
		return err
	}
	n.change(func(s *networkState) {
		for _, pair := range pairs {
			delete(s.pairs, pairName(pair.From, pair.To))
			if pair.Parameters != nil {
				s.pairs[pairName(pair.From, pair.To)] = *pair.Parameters
			}
		}
	})
	return nil
}

// since is a report on the links that was asked for at that time or later. Those who ask
// at once share one.
func (n *brokenNetwork) since(ctx context.Context, at time.Time) (engine.LinkReport, error) {
	n.reporting.Lock()
	defer n.reporting.Unlock()
	if !n.asked.Before(at) {
		return n.report, nil
	}
	asked := time.Now()
	ctx, cancel := answering(ctx)
	defer cancel()
	report, err := n.lab.Report(ctx)
	if err != nil {
		return report, fmt.Errorf("asking what the links have done: %w", err)
	}
	n.report, n.asked = report, asked
	return report, nil
}

// link is nil if there is none of that name.
func (s *networkState) link(name string) *topologies.Link {
	for i := range s.topology.Links {
		if s.topology.Links[i].Name == name {
			return &s.topology.Links[i]
		}
	}
	return nil
}

// direction are the parameters of a link from one of its ends on.
func (s *networkState) direction(link, from string) topologies.Parameters {
	switch l := s.link(link); {
	case l == nil:
		return topologies.Parameters{}
	case l.A == from:
		return l.AToB
	default:
		return l.BToA
	}
}

// stages are what a frame passes from one host to another; false if there is no way, or
// one that is down.
func (s *networkState) stages(from, to string) ([]topologies.Parameters, bool) {
	var stages []topologies.Parameters
	if pair, ok := s.pairs[pairName(from, to)]; ok {
		stages = append(stages, pair)
	}
	if from == to {
		return stages, true
	}
	graph, err := s.topology.Graph()
	if err != nil {
		return nil, false
	}
	source, okFrom := graph.Node(from)
	destination, okTo := graph.Node(to)
	if !okFrom || !okTo {
		return nil, false
	}
	path := graph.From(source)[destination]
	if path == nil {
		return nil, false
	}
	for _, hop := range path {
		stages = append(stages, s.topology.Parameters(hop))
	}
	return stages, !slices.ContainsFunc(stages, func(p topologies.Parameters) bool { return p.Down })
}

// delay is how long a frame of that size takes on average, alone; fixed is true if every
// one takes as long, limited if any stage has a rate.
func delayOf(stages []topologies.Parameters, bytes int) (delay time.Duration, fixed, limited bool) {
	fixed = true
	for _, p := range stages {
		delay += p.MeanDelay()
		fixed = fixed && !p.Jitters() && p.Reorder == 0 && p.Trace == nil
		if p.RateBPS > 0 {
			limited = true
			delay += time.Duration(int64(bytes) * 8 * int64(time.Second) / p.RateBPS)
		}
	}
	return delay, fixed, limited
}

// reach tells whether frames get from each of two hosts to the other.
func (s *networkState) reach(a, b string) bool {
	if a == b {
		return true
	}
	_, there := s.stages(a, b)
	_, back := s.stages(b, a)
	return there && back
}

// probers are two hosts that a direction of a link is measured between: those of the
// echo processes between which a frame passes as little else as possible. Pairs are the
// stages that there are now: what one of them cuts off never comes to the link.
func (s *networkState) probers(link, from string, echoes map[string]*session, pairs map[string]topologies.Parameters) (sender, receiver string, ok bool) {
	at := slices.IndexFunc(s.topology.Links, func(l topologies.Link) bool { return l.Name == link })
	if at < 0 {
		return "", "", false
	}
	l := s.topology.Links[at]
	// Links that are down are avoided: the way is that of the network without faults there.
	up := *s.topology
	up.Links = slices.Clone(up.Links)
	up.Links[at].AToB.Down, up.Links[at].BToA.Down = false, false
	to := l.B
	if from == l.B {
		to = l.A
	}
	sender, okFrom := up.Station(from)
	receiver, okTo := up.Station(to)
	if okFrom && okTo && echoes[sender] != nil && echoes[receiver] != nil {
		return sender, receiver, true
	}
	graph, err := up.Graph()
	if err != nil {
		return "", "", false
	}
	want := topologies.Hop{Link: at, Reverse: from == l.B}
	shortest := 0
	for i, host := range up.Hosts {
		if echoes[host.Name] == nil {
			continue
		}
		for k, path := range graph.From(i)[:len(up.Hosts)] {
			if echoes[up.Hosts[k].Name] == nil || !slices.Contains(path, want) || ok && len(path) >= shortest {
				continue
			}
			if pairs[pairName(host.Name, up.Hosts[k].Name)].Down {
				continue
			}
			sender, receiver, shortest, ok = host.Name, up.Hosts[k].Name, len(path), true
		}
		if i >= allPairsUpTo && ok {
			break
		}
	}
	return sender, receiver, ok
}
