package sim

import (
	"fmt"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// scenario is a simulation being put together; rows and events collect what it
// hands out.
type scenario struct {
	engine.Simulation
	rows   []results.Row
	events []string
}

// newScenario is a cluster of the given roles, one process each with its host in
// a star, then clients, each with a load of its own.
func newScenario(protocol string, link topologies.Parameters, clients int, roles ...[]string) *scenario {
	sc := &scenario{}
	sc.Cluster = control.Cluster{Protocol: protocol, Seed: 7}
	sc.Topology = topologies.Star(len(roles)+clients, link)
	sc.Hosts, sc.Loads = map[string]string{}, map[string]control.Load{}
	for i := range clients {
		roles = append(roles, []string{roleClient})
		sc.Loads[fmt.Sprint("n", len(roles))] = control.Load{
			StartNS: int64(i) * int64(time.Millisecond), DurationNS: int64(2 * time.Second), TimeoutNS: int64(5 * time.Second),
			RateRPS: 20, Arrivals: "fixed", Mix: map[string]float64{"update": 0.5, "read": 0.5},
			Keys: 5, ValueBytes: 16, Seed: uint64(i),
		}
	}
	for i, has := range roles {
		name := fmt.Sprint("n", i+1)
		sc.Cluster.Nodes = append(sc.Cluster.Nodes, control.Node{
			Member: consensus.Member{ID: consensus.NodeID(i + 1), Name: name, Roles: has},
		})
		sc.Hosts[name] = sc.Topology.Hosts[i].Name
	}
	sc.Seed, sc.Transport, sc.Costs = 3, engine.TransportTCP, DefaultCosts()
	sc.LeaderTimeout, sc.Lead, sc.Drain = 10*time.Second, 200*time.Millisecond, 10*time.Second
	sc.Row = func(row results.Row) { sc.rows = append(sc.rows, row) }
	sc.Event = func(at consensus.Time, node string, event consensus.Event) {
		sc.events = append(sc.events, fmt.Sprint(at, node, event))
	}
	return sc
}

// journalScenario is three servers and a client.
func journalScenario(delay time.Duration) *scenario {
	server := []string{roleServer}
	return newScenario(journalName, topologies.Parameters{Delay: delay}, 1, server, server, server)
}

// load changes all clients' loads.
func (sc *scenario) load(change func(*control.Load)) {
	for name, load := range sc.Loads {
		change(&load)
		sc.Loads[name] = load
	}
}

// links changes all links, both directions.
func (sc *scenario) links(change func(*topologies.Parameters)) {
	for i := range sc.Topology.Links {
		change(&sc.Topology.Links[i].AToB)
		change(&sc.Topology.Links[i].BToA)
	}
}

// onHost moves nodes to one host.
func (sc *scenario) onHost(host int, names ...string) {
	for _, name := range names {
		sc.Hosts[name] = sc.Topology.Hosts[host].Name
	}
}

// run simulates; the rows and events are those of this run.
func (sc *scenario) run(t testing.TB) *engine.Simulated {
	t.Helper()
	sc.rows, sc.events = nil, nil
	r, err := Engine{}.Simulate(t.Context(), sc.Simulation)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ok counts the rows by outcome.
func (sc *scenario) outcomes() map[string]int {
	counts := map[string]int{}
	for _, row := range sc.rows {
		counts[row.Outcome]++
	}
	return counts
}

// agree fails the test unless all live learners are in one state at one slot.
func agree(t testing.TB, r *engine.Simulated) {
	t.Helper()
	if !r.Drained {
		t.Errorf("not drained: %+v", slots(r))
	}
	first := ""
	for name, status := range r.Statuses {
		if !status.Learner {
			continue
		}
		if first == "" {
			first = name
		}
		if status.StateHash != r.Statuses[first].StateHash {
			t.Errorf("%s and %s are in different states: %+v", first, name, slots(r))
		}
	}
}

func slots(r *engine.Simulated) map[string]uint64 {
	slots := map[string]uint64{}
	for name, status := range r.Statuses {
		slots[name] = status.Slot
	}
	return slots
}
