package sim

import (
	"fmt"
	"time"

	"quorumlab/faults"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

// Probes are frames that prove what becomes of frames. They meet models of their own,
// made of the parameters that the network's directions go by at this moment, so that they
// neither delay real frames nor draw numbers in their place.
const (
	// cutProbes are sent from host to host, so far apart, to see whether any arrives;
	// linkProbes through one direction, in twos, one of them large.
	cutProbes      = 20
	linkProbes     = 200
	probeSpacing   = time.Millisecond
	probeBytes     = 66
	probeBytesMost = 1514
	// probeSeed keeps their draws apart from others of the same seed.
	probeSeed = 0x70726f6265
)

// lookAtCut sends probes from one host to another.
func (s *trial) lookAtCut(w *watch) (found bool, text string) {
	w.nextAt = s.now + probeInterval
	from, to := s.network.host(w.expect.From), s.network.host(w.expect.To)
	if from < 0 || to < 0 {
		return false, fmt.Sprintf("there are no hosts %q and %q", w.expect.From, w.expect.To)
	}
	arrived := 0
	if directions, ok := s.network.directionsBetween(from, to); ok {
		arrived = s.probe(directions)
	}
	return (arrived == 0) != w.order.Heal, fmt.Sprintf("%d of %d probes from %s arrived at %s", arrived, cutProbes, w.expect.From, w.expect.To)
}

// probe counts the probes that arrive that are sent through directions one after the
// other.
func (s *trial) probe(directions []int32) (arrived int) {
	var times []int64
	for i := range cutProbes {
		times = append(times, s.now+int64(i)*int64(probeSpacing))
	}
	for i, d := range directions {
		model := link.NewModel(*s.network.directions[d].parameters, link.DirectionSeed(probeSeed^uint64(s.now), i, false), 0)
		var next []int64
		for _, at := range times {
			fate := model.Transmit(at, probeBytes)
			if fate.Verdict == link.Delivered && !fate.Arrivals[0].Corrupted {
				next = append(next, fate.Arrivals[0].AtNS)
			}
		}
		times = next
	}
	return len(times)
}

// lookAtFrames sends probes through a direction of a link, or through the stage between
// two hosts, and through a model of what it shall be like: each probe must fare alike.
func (s *trial) lookAtFrames(w *watch) (found bool, text string) {
	w.nextAt = s.now + probeInterval
	d, known := s.expected(&w.expect)
	if !known {
		return false, fmt.Sprintf("there is no %s", w.expect.Target())
	}
	var is topologies.Parameters // without a stage nothing happens
	if d != none {
		is = *s.network.directions[d].parameters
	}
	seed := link.DirectionSeed(probeSeed^uint64(s.now), int(d), false)
	actual, wanted := link.NewModel(is, seed, 0), link.NewModel(s.network.modelled(w.expect.Parameters), seed, 0)
	same, lost, doubled, delay := 0, 0, 0, time.Duration(0)
	for i := range linkProbes {
		at, bytes := s.now+int64(i/2)*int64(probeSpacing), probeBytesMost
		if i%2 == 1 {
			bytes = probeBytes
		}
		fate := actual.Transmit(at, bytes)
		if fate == wanted.Transmit(at, bytes) {
			same++
		}
		switch {
		case fate.Verdict != link.Delivered:
			lost++
		case fate.Count > 1:
			doubled++
			fallthrough
		default:
			delay += time.Duration(fate.Arrivals[0].AtNS - at)
		}
	}
	if lost < linkProbes {
		delay /= time.Duration(linkProbes - lost)
	}
	return same == linkProbes, fmt.Sprintf("of %d probes %d were lost, %d doubled, the others took %v on average; %d fared as they should",
		linkProbes, lost, doubled, delay.Round(time.Microsecond), same)
}

// expected finds the direction that an expectation is about, or none where frames pass no
// stage.
func (s *trial) expected(e *faults.Expectation) (direction int32, known bool) {
	n := s.network
	if e.Kind == faults.ExpectPair {
		from, to := n.host(e.From), n.host(e.To)
		if stage, staged := n.stages[pair{from, to}]; staged {
			return stage, true
		}
		return none, from >= 0 && to >= 0
	}
	for i, l := range n.topology.Links {
		switch {
		case l.Name != e.Link:
		case l.A == e.From:
			return int32(2 * i), true
		case l.B == e.From:
			return int32(2*i + 1), true
		}
	}
	return none, false
}
