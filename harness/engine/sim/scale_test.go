package sim

import (
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/topologies"
)

// kept counts what a trial holds at its end, in entries of all its buffers.
func (s *trial) kept() (entries int) {
	n := s.network
	entries = len(n.slab) + len(n.segments) + cap(s.queue.heap) + cap(s.posted)
	for i := range n.directions {
		d := &n.directions[i]
		entries += len(d.entering.ordered.slots) + len(d.arriving.slots)
		for _, q := range []*queue{d.entering.late, d.overtaking} {
			if q != nil {
				entries += cap(q.heap)
			}
		}
	}
	for _, p := range n.paths {
		entries += len(p.lane.slots) + len(p.waiting.slots)
		if p.modelled != nil {
			entries += len(p.modelled.messages.slots)
		}
	}
	for _, p := range s.processes {
		entries += len(p.inbox.slots) + len(p.egress.slots) + len(p.storage.held.slots) + p.timers.Cap()
	}
	return entries
}

func TestALongerTrialTakesNoMoreMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long under the race detector, which has nothing to find here")
	}
	for name, change := range map[string]func(*scenario){
		"tcp":      func(*scenario) {},
		"datagram": func(sc *scenario) { sc.Transport = engine.TransportDatagram },
		"direct":   func(sc *scenario) { sc.links(func(p *topologies.Parameters) { p.RateBPS = 0 }) },
		"fsync":    func(sc *scenario) { sc.Cluster.Storage = control.StorageFsync },
		"loss":     func(sc *scenario) { sc.links(func(p *topologies.Parameters) { p.Loss = 0.001 }) },
	} {
		var kept [2]int
		for i, seconds := range []int64{5, 25} {
			sc := newScenario(multipaxos.Name, topologies.Parameters{Delay: 2 * time.Millisecond, RateBPS: 1e9}, 1, allRoles, allRoles, allRoles)
			change(sc)
			sc.load(func(load *control.Load) { load.RateRPS, load.DurationNS = 400, seconds*int64(time.Second) })
			s, err := newTrial(t.Context(), sc.Simulation)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			agree(t, s.result())
			kept[i] = s.kept()
		}
		// Longer trials see longer bursts of loss.
		if kept[1] > 4*kept[0] || kept[1] > 4000 {
			t.Errorf("%s: %d entries are kept after 2,000 requests, %d after 10,000", name, kept[0], kept[1])
		}
	}
}

func TestAThousandHostsAreNoTrouble(t *testing.T) {
	roles := [][]string{allRoles, allRoles, allRoles}
	for len(roles) < 999 {
		roles = append(roles, acceptor)
	}
	sc := newScenario(multipaxos.Name, topologies.Parameters{Delay: 10 * time.Millisecond, RateBPS: 1e9}, 1, roles...)
	sc.load(func(load *control.Load) {
		load.RateRPS, load.DurationNS, load.Mix = 5, int64(time.Second), map[string]float64{"nop": 1}
	})
	r := sc.run(t)
	agree(t, r)
	// The leader's core takes 1,000 messages in and sends 1,000 for each request.
	if len(sc.rows) != 5 || slowest(sc.rows, 1) > 140*time.Millisecond {
		t.Errorf("%d requests, the slowest took %v; want 5 of 120 ms and the leader's work", len(sc.rows), slowest(sc.rows, 1))
	}
}
