package sim

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/topologies"
)

// randomScenario varies all that a simulation has: protocol, roles, hosts,
// links, transport, storage, costs, loads, kills.
func randomScenario(seed uint64) *scenario {
	random := rand.New(rand.NewPCG(seed, 1))
	link := topologies.Parameters{Delay: time.Duration(1+random.IntN(20)) * time.Millisecond}
	if random.IntN(2) == 0 {
		link.RateBPS, link.QueueFrames = 1e8, []int{0, 50, 10_000_000}[random.IntN(3)]
	}
	if random.IntN(3) == 0 {
		link.Jitter, link.JitterDistribution = time.Millisecond, []string{topologies.JitterNormal, topologies.JitterUniform}[random.IntN(2)]
	}
	link.Loss = []float64{0, 0, 0.01, 0.05}[random.IntN(4)]
	protocol := journalName
	roles := [][]string{{roleServer}, {roleServer}, {roleServer}}
	if random.IntN(3) > 0 {
		protocol = multipaxos.Name
		roles = [][][]string{
			{replica, replica, leader, leader, acceptor, acceptor, acceptor},
			{allRoles, allRoles, allRoles},
			{{multipaxos.RoleReplica, multipaxos.RoleLeader}, {multipaxos.RoleLeader, multipaxos.RoleReplica}, acceptor, acceptor, acceptor},
		}[random.IntN(3)]
	}
	sc := newScenario(protocol, link, 1+random.IntN(3), roles...)
	sc.Seed, sc.Cluster.Seed = seed, seed+1
	if random.IntN(3) == 0 { // one link unlike the others
		sc.Topology.Links[0].AToB = topologies.Parameters{Delay: time.Millisecond, Loss: 0.02}
	}
	sc.Transport = []string{engine.TransportTCP, engine.TransportDatagram}[random.IntN(2)]
	sc.Cluster.Storage = []string{control.StorageMemory, control.StorageDisk, control.StorageFsync}[random.IntN(3)]
	rps, arrivals := float64(20+random.IntN(200)), []string{"fixed", "poisson"}[random.IntN(2)]
	sc.load(func(load *control.Load) {
		load.RateRPS, load.Arrivals, load.DurationNS = rps, arrivals, int64(time.Second)
	})
	if random.IntN(3) == 0 {
		sc.onHost(0, sc.Cluster.Nodes[1].Name, sc.Cluster.Nodes[2].Name)
	}
	for range random.IntN(4) {
		node := sc.Cluster.Nodes[random.IntN(len(roles))].Name
		at := time.Duration(random.IntN(800)) * time.Millisecond
		down := time.Duration(random.IntN(200)) * time.Millisecond
		if sc.Cluster.Storage == control.StorageMemory {
			down = 0
		}
		sc.restart(at, down, node)
	}
	sc.Drain = 5 * time.Second
	return sc
}

// outcome is all that a simulation hands out.
type outcome struct {
	simulated *engine.Simulated
	rows      string
	events    []string
	err       error
}

func (sc *scenario) outcome(t testing.TB) outcome {
	sc.rows, sc.events = nil, nil
	r, err := Engine{}.Simulate(t.Context(), sc.Simulation)
	return outcome{simulated: r, rows: fmt.Sprint(sc.rows), events: slices.Clone(sc.events), err: err}
}

// differences names what of two outcomes isn't the same.
func (o outcome) differences(other outcome) (differ []string) {
	for name, same := range map[string]bool{
		"errors": o.err == other.err, "rows": o.rows == other.rows, "events": slices.Equal(o.events, other.events),
		"results": reflect.DeepEqual(o.simulated, other.simulated),
	} {
		if !same {
			differ = append(differ, name)
		}
	}
	if o.simulated != nil && other.simulated != nil && o.simulated.TraceHash != other.simulated.TraceHash {
		differ = append(differ, "traces")
	}
	return differ
}

func seeds() uint64 {
	if testing.Short() {
		return 20
	}
	return 200
}

func TestTheSameSimulationIsTheSameBitForBit(t *testing.T) {
	hashes := map[uint64]uint64{}
	for seed := range seeds() {
		first, second := randomScenario(seed).outcome(t), randomScenario(seed).outcome(t)
		if first.err != nil {
			t.Fatalf("seed %d: %v", seed, first.err)
		}
		if differ := first.differences(second); differ != nil {
			t.Fatalf("seed %d: the %q differ", seed, differ)
		}
		if other, seen := hashes[first.simulated.TraceHash]; seen {
			t.Errorf("seeds %d and %d have the same trace", seed, other)
		}
		hashes[first.simulated.TraceHash] = seed
		if first.simulated.Drained {
			agree(t, first.simulated)
		}
	}
}

func TestManySimulationsAtOnceAreEachAsIfAlone(t *testing.T) {
	count := min(seeds(), 40) / 2
	alone := make([]outcome, count)
	for seed := range count {
		alone[seed] = randomScenario(seed).outcome(t)
	}
	for _, threads := range []int{1, 2} {
		before := runtime.GOMAXPROCS(threads)
		var group sync.WaitGroup
		for seed := range count {
			group.Go(func() {
				if differ := randomScenario(seed).outcome(t).differences(alone[seed]); differ != nil {
					t.Errorf("seed %d on %d threads: the %q differ", seed, threads, differ)
				}
			})
		}
		group.Wait()
		runtime.GOMAXPROCS(before)
	}
}

func TestAnotherSeedIsAnotherTrace(t *testing.T) {
	sc := journalScenario(5 * time.Millisecond)
	sc.links(func(p *topologies.Parameters) { p.Loss = 0.05 })
	first := sc.run(t).TraceHash
	sc.Seed++
	if sc.run(t).TraceHash == first {
		t.Error("the links' seed changes nothing")
	}
}
