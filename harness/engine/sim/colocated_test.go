package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/results"
	"quorumlab/topologies"
)

func TestProcessesThatShareHostsWorkOnAnyTopology(t *testing.T) {
	pairs := topologies.Star(4, topologies.Parameters{})
	pairs.Switches, pairs.Links = nil, nil
	for i := range 4 { // a mesh of hosts without a switch
		for j := range i {
			a, b := pairs.Hosts[j].Name, pairs.Hosts[i].Name
			pairs.Links = append(pairs.Links, topologies.Link{Name: a + "-" + b, A: a, B: b})
		}
	}
	random := rand.New(rand.NewPCG(5, 5))
	shapes := map[string]*topologies.Topology{
		"star": topologies.Star(4, topologies.Parameters{}), "circle": circle(5, topologies.Parameters{}), "mesh": pairs,
	}
	for i := range 10 {
		shapes[fmt.Sprint("random ", i)] = randomTopology(random, 0)
	}
	for shape, topology := range shapes {
		for links, p := range map[string]topologies.Parameters{
			"delay": {Delay: 2 * time.Millisecond}, "rate": {Delay: 2 * time.Millisecond, RateBPS: 1e8},
			"loss": {Delay: 2 * time.Millisecond, Loss: 0.01}, "changing": {Delay: 2 * time.Millisecond},
		} {
			sc := newScenario(multipaxos.Name, topologies.Parameters{}, 1,
				replica, replica, leader, leader, acceptor, acceptor, acceptor)
			sc.Topology = topology
			sc.links(func(declared *topologies.Parameters) { *declared = p })
			for i, node := range sc.Cluster.Nodes { // each role together, the client beside the leaders
				sc.onHost([]int{0, 0, 1, 1, len(topology.Hosts) - 1, len(topology.Hosts) - 1, 0, 1}[i], node.Name)
			}
			if links == "changing" {
				sc.setLink(time.Second, topology.Links[0].Name, topologies.Parameters{Delay: time.Millisecond})
			}
			sc.load(func(load *control.Load) { load.RateRPS = 50 })
			r := sc.run(t)
			agree(t, r)
			linearizable(t, sc.rows)
			if given := sc.outcomes()[results.OutcomeTimeout]; given > 0 || len(sc.rows) < 100 {
				t.Errorf("%s, %s: %d of %d requests were given up", shape, links, given, len(sc.rows))
			}
			if modelled := links == "loss" || links == "changing"; modelled != (len(r.Sockets) > 0) {
				t.Errorf("%s, %s: %d connections are modelled", shape, links, len(r.Sockets))
			}
			for _, socket := range r.Sockets {
				if sc.Hosts[socket.Node] == sc.Hosts[socket.Peer] {
					t.Errorf("%s, %s: a connection is modelled within a host: %+v", shape, links, socket)
				}
				if links == "changing" && socket.Opened != 1 || socket.SegmentsSent < 3 || socket.CongestionWindow < 1 || links == "loss" && socket.SmoothedRTTNS < int64(p.Delay) {
					t.Errorf("%s, %s: %+v", shape, links, socket)
				}
			}
		}
	}
}

func TestRetransmissionsAreThoseOfTheFramesThatWereLost(t *testing.T) {
	sc := newScenario(multipaxos.Name, topologies.Parameters{Delay: 2 * time.Millisecond, Loss: 0.01}, 1, allRoles, allRoles, allRoles)
	sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 200, int64(10*time.Second) })
	r := sc.run(t)
	agree(t, r)
	var sent, again, lost, offered uint64
	for _, socket := range r.Sockets {
		sent, again = sent+socket.SegmentsSent, again+socket.Retransmitted
	}
	for _, d := range r.Links.Directions {
		lost += d.LossDrops
		if d.From != "s1" {
			offered += d.Frames + d.LossDrops
		}
	}
	// About half of the frames are acknowledgements, whose loss costs nothing mostly.
	if len(r.Sockets) != 12 || r.Sockets[0].Node != "n1" || r.Sockets[11].Peer != "n3" || again < lost/4 || again > lost || sent > offered || sent < offered/3 {
		t.Errorf("%d connections sent %d segments, %d again; hosts sent %d frames, %d were lost", len(r.Sockets), sent, again, offered, lost)
	}
}

func TestNodesThatAreDeadReportNoSockets(t *testing.T) {
	sc := newScenario(multipaxos.Name, topologies.Parameters{Delay: time.Millisecond, Loss: 0.001}, 1, allRoles, allRoles, allRoles)
	sc.kill(time.Second, "n2")
	r := sc.run(t)
	if len(r.Sockets) != 9 || slices.ContainsFunc(r.Sockets, func(s control.Socket) bool { return s.Node == "n2" }) {
		t.Errorf("%+v, want those of n1, n3 and n4 to three peers each", r.Sockets)
	}
}

func TestMultiPaxosIsLinearizableWhateverFramesMeet(t *testing.T) {
	for _, transport := range []string{engine.TransportTCP, engine.TransportDatagram} {
		sc := newScenario(multipaxos.Name, topologies.Parameters{
			Delay: 2 * time.Millisecond, Jitter: time.Millisecond, JitterDistribution: topologies.JitterPareto, JitterReorders: true,
			Duplicate: 0.1, Reorder: 0.1, Corrupt: 0.02, Loss: 0.02, LossCorrelation: 0.3,
		}, 3, allRoles, allRoles, allRoles)
		sc.Transport, sc.Cluster.Storage = transport, control.StorageFsync
		sc.load(func(load *control.Load) {
			load.RateRPS, load.DurationNS, load.Arrivals, load.Keys = 200, int64(5*time.Second), "poisson", 3
		})
		sc.restart(time.Second, 500*time.Millisecond, "n1")
		r := sc.run(t)
		agree(t, r)
		linearizable(t, sc.rows)
		answered := len(sc.rows) - sc.outcomes()[results.OutcomeTimeout]
		if least := map[string]int{engine.TransportTCP: 9, engine.TransportDatagram: 5}[transport]; answered < len(sc.rows)*least/10 {
			t.Errorf("%s: %d of %d requests were answered", transport, answered, len(sc.rows))
		}
		var sum engine.DirectionReport
		for _, d := range r.Links.Directions {
			sum.Duplicates, sum.Corrupted, sum.Reordered = sum.Duplicates+d.Duplicates, sum.Corrupted+d.Corrupted, sum.Reordered+d.Reordered
			sum.LossDrops += d.LossDrops
		}
		if min(sum.Duplicates, sum.Corrupted, sum.Reordered, sum.LossDrops) < 500 {
			t.Errorf("%s: the links did little: %+v", transport, sum)
		}
	}
}
