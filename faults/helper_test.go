package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/node/multipaxos"
	"quorumlab/results"
	"quorumlab/topologies"
)

// declared is what each link of testWorld does.
var declared = topologies.Parameters{Delay: 20 * time.Millisecond, RateBPS: 1e9}

// testWorld is Multi-Paxos on a star, a host each: replica1 and 2 on h1 and h2, leader1 and
// 2 on h3 and h4, the spare leader3 on h5, acceptor1 to 3 on h6 to h8, the spare acceptor4
// on h9, client1 on h10.
func testWorld() World {
	w := World{
		Protocol: &multipaxos.Protocol, Hosts: map[string]string{}, Load: 100 * time.Second,
		Cluster: control.Cluster{Protocol: multipaxos.Name, Storage: control.StorageFsync},
	}
	for _, m := range []struct {
		role          string
		count, spares int
	}{{"replica", 2, 0}, {"leader", 2, 1}, {"acceptor", 3, 1}, {"client", 1, 0}} {
		for i := range m.count + m.spares {
			id := len(w.Cluster.Nodes) + 1
			name := fmt.Sprintf("%s%d", m.role, i+1)
			w.Cluster.Nodes = append(w.Cluster.Nodes, control.Node{Member: consensus.Member{
				ID: consensus.NodeID(id), Name: name, Roles: []string{m.role}, Spare: i >= m.count,
			}})
			w.Hosts[name] = fmt.Sprintf("h%d", id)
		}
	}
	w.Topology = topologies.Star(len(w.Cluster.Nodes), declared)
	return w
}

func at(d time.Duration) Trigger   { return Trigger{At: &d} }
func lasting(d time.Duration) Span { return Span{Least: d, Most: d} }
func share(x float64) *float64     { return &x }
func lossy(p topologies.Parameters) topologies.Parameters {
	p.Loss = 0.5
	return p
}
func slower(p topologies.Parameters) topologies.Parameters {
	p.Delay += 5 * time.Millisecond
	return p
}

// lab carries out orders at once, and knows how all is.
type lab struct {
	t      *testing.T
	d      *Director
	world  World
	orders []Order
	nodes  map[string]NodeState
	links  map[string]LinkState
	pairs  map[string]*topologies.Parameters
	leads  []string
	// blind has orders carried out without anything being proved.
	blind bool
	asked int
}

func newLab(t *testing.T, world World, schedule ...Fault) *lab {
	return seeded(t, world, 1, schedule...)
}

func seeded(t *testing.T, world World, seed uint64, schedule ...Fault) *lab {
	t.Helper()
	for i := range schedule {
		if schedule[i].ID == "" {
			schedule[i].ID = fmt.Sprintf("%s%d", schedule[i].Kind, i+1)
		}
	}
	for _, problem := range Check(schedule, world) {
		t.Fatalf("the schedule is refused: %+v", problem)
	}
	l := &lab{
		t: t, world: world, nodes: map[string]NodeState{}, links: map[string]LinkState{}, pairs: map[string]*topologies.Parameters{},
		leads: []string{"leader1"},
	}
	l.d = NewDirector(schedule, world, seed, func() []string { l.asked++; return l.leads })
	return l
}

// carry carries out orders, and what comes of them.
func (l *lab) carry(orders []Order) []Order {
	done := slices.Clone(orders)
	for len(orders) > 0 {
		order := orders[0]
		orders = orders[1:]
		l.orders = append(l.orders, order)
		for _, node := range order.Nodes {
			l.nodes[node.Node] = node
		}
		for _, link := range order.Links {
			l.links[link.Link] = link
		}
		for _, pair := range order.Pairs {
			l.pairs[pair.From+">"+pair.To] = pair.Parameters
		}
		if !l.blind {
			for _, e := range order.Expect {
				l.d.Prove(order.Occurrence, order.Requested, order.Evidence(e, true, "seen"))
			}
		}
		more := l.d.Done(order, order.Requested, nil)
		done = append(done, more...)
		orders = append(more, orders...)
	}
	return done
}

// until advances, exactly when something is due, to a time.
func (l *lab) until(end time.Duration) []Order {
	var orders []Order
	for {
		next, ok := l.d.Next()
		if !ok || next > end {
			return orders
		}
		orders = append(orders, l.carry(l.d.Advance(next))...)
	}
}

func (l *lab) end() []Order {
	orders := l.until(l.world.Load)
	return append(orders, l.carry(l.d.End(l.world.Load))...)
}

func (l *lab) node(name string) NodeState { return l.d.State(name) }

// times are when orders were requested that begin, or heal.
func times(orders []Order, heal bool) []time.Duration {
	var at []time.Duration
	for _, o := range orders {
		if o.Heal == heal {
			at = append(at, o.Requested)
		}
	}
	return at
}

func (l *lab) record(i int) results.Fault {
	l.t.Helper()
	records := l.d.Records()
	if i >= len(records) {
		l.t.Fatalf("there are %d records, want one more: %+v", len(records), records)
	}
	return records[i]
}

func kindsOf(expect []Expectation) []ExpectationKind {
	var kinds []ExpectationKind
	for _, e := range expect {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
