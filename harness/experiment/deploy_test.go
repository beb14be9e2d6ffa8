package experiment

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quorumlab/harness/engine"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/topologies"
)

const small = `
version: 1
system: {roles: {acceptors: 3, replicas: 2, leaders: 1}}
workload: {clients: 2}
topology: {link: {delay: 10ms, loss: 1%, rate: 10mbit, queue: 50}}
`

func TestDeploymentFollowsTheRolesInOrder(t *testing.T) {
	var got []string
	for _, p := range parse(t, small).Points[0].Spec.Deployment() {
		got = append(got, fmt.Sprintf("%s %d %s %v %s", p.Host, p.ID, p.Name, p.Roles, p.Address))
	}
	want := []string{
		"h1 1 replica1 [replica] 198.18.0.1:7000", "h2 2 replica2 [replica] 198.18.0.2:7000",
		"h3 3 leader1 [leader] 198.18.0.3:7000",
		"h4 4 acceptor1 [acceptor] 198.18.0.4:7000", "h5 5 acceptor2 [acceptor] 198.18.0.5:7000",
		"h6 6 acceptor3 [acceptor] 198.18.0.6:7000",
		"h7 7 client1 [client] 198.18.0.7:7000", "h8 8 client2 [client] 198.18.0.8:7000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSparesFollowTheProcessesOfTheirRole(t *testing.T) {
	spec := parse(t, small, "system.spares={leaders: 2, acceptors: 1}").Points[0].Spec
	var got []string
	for _, p := range spec.Cluster(1).Nodes {
		got = append(got, fmt.Sprintf("%d %s %v %v", p.ID, p.Name, p.Roles, p.Spare))
	}
	want := []string{
		"1 replica1 [replica] false", "2 replica2 [replica] false",
		"3 leader1 [leader] false", "4 leader2 [leader] true", "5 leader3 [leader] true",
		"6 acceptor1 [acceptor] false", "7 acceptor2 [acceptor] false", "8 acceptor3 [acceptor] false", "9 acceptor4 [acceptor] true",
		"10 client1 [client] false", "11 client2 [client] false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if hosts := len(spec.Network().Hosts); hosts != len(want) {
		t.Errorf("%d hosts for %d processes", hosts, len(want))
	}
}

func TestNetworkHasAHostForEveryProcess(t *testing.T) {
	for _, c := range []struct {
		link string
		want topologies.Parameters
	}{
		{"{delay: 10ms, loss: 1%, rate: 10mbit, queue: 50}",
			topologies.Parameters{Delay: 10 * time.Millisecond, Loss: 0.01, RateBPS: 10e6, QueueFrames: 50}},
		{"{jitter: 2ms, rate: unlimited, queue: 0}",
			topologies.Parameters{Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond, JitterDistribution: topologies.JitterNormal}},
		{"{jitter: 2ms, jitter_distribution: uniform, rate: 1mbit, queue: 1}",
			topologies.Parameters{Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond, JitterDistribution: topologies.JitterUniform,
				RateBPS: 1e6, QueueFrames: 1}},
	} {
		spec := parse(t, small, "topology.link="+c.link).Points[0].Spec
		network := spec.Network()
		if diff := cmp.Diff(topologies.Star(8, c.want), network, cmp.Comparer(func(a, b topologies.Host) bool { return a == b })); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.link, diff)
		}
		for i, placement := range spec.Deployment() {
			host := network.Hosts[i]
			if host.Name != placement.Host || host.Address.String()+":7000" != placement.Address {
				t.Errorf("%s is placed on %s, %s; that host is %v", placement.Name, placement.Host, placement.Address, host)
			}
		}
	}
}

func TestClusterIsWhatProcessesAreGiven(t *testing.T) {
	spec := parse(t, "version: 1\nsystem: {protocol: testpaxos, application: counter, storage: fsync, options: {window: 5}}\n").Points[0].Spec
	text, err := json.Marshal(spec.Cluster(77))
	if err != nil {
		t.Fatal(err)
	}
	var cluster control.Cluster
	if err := json.Unmarshal(text, &cluster); err != nil {
		t.Fatal(err)
	}
	node := func(id consensus.NodeID, name, role, address string) control.Node {
		return control.Node{Member: consensus.Member{ID: id, Name: name, Roles: []string{role}}, Address: address}
	}
	want := control.Cluster{Protocol: "testpaxos", Options: map[string]any{"window": 5.0},
		Application: "counter", Storage: "fsync", Seed: 77, Nodes: []control.Node{
			node(1, "server1", "server", "198.18.0.1:7000"), node(2, "server2", "server", "198.18.0.2:7000"),
			node(3, "server3", "server", "198.18.0.3:7000"), node(4, "client1", "client", "198.18.0.4:7000"),
		}}
	if diff := cmp.Diff(want, cluster); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestPredictedLatencyIsTheMeanOverClients(t *testing.T) {
	// Four passages of two links of 7 ms each, plus 1, 2 and 3 ms for the clients.
	spec := parse(t, "version: 1\nsystem: {protocol: testpaxos}\nworkload: {clients: 3}\ntopology: {link: {delay: 7ms}}\n").Points[0].Spec
	if got, ok := spec.PredictedLatency(); !ok || got != 4*14*time.Millisecond+2*time.Millisecond {
		t.Errorf("predicted %v, %v; want 58ms", got, ok)
	}
	if got, ok := parse(t, "version: 1\n").Points[0].Spec.PredictedLatency(); ok {
		t.Errorf("a protocol that doesn't predict predicts %v", got)
	}
}

func TestThePredictionCountsFramesThatSkipTheDelay(t *testing.T) {
	spec := parse(t, "version: 1\nsystem: {protocol: testpaxos}\nworkload: {clients: 3}\ntopology: {link: {delay: 7ms, reorder: 50%, reorder_gap: 6}}\n").Points[0].Spec
	// One of seven frames arrives at once.
	if got, ok := spec.PredictedLatency(); !ok || got != 4*12*time.Millisecond+2*time.Millisecond {
		t.Errorf("predicted %v, %v; want 50ms", got, ok)
	}
}

func TestAPredictionIsNotedToLeaveOutWhatIsRandom(t *testing.T) {
	for topology, want := range map[string]bool{
		"{link: {delay: 7ms, rate: 1mbit}}":             false,
		"{link: {jitter: 1ms}}":                         true,
		"{link: {duplicate: 1%}}":                       true,
		"{links: [{match: h1-s1, from: s1, loss: 1%}]}": true,
		"{kind: custom, custom: {hosts: [a, b, c], switches: [s], links: [{between: [a, s]}, {between: [b, s]}, {between: [c, s], loss: 1%}]}, placement: {by: together, at: {replicas: [a], leaders: [a], acceptors: [a], clients: [b]}}}": false,
	} {
		note := parse(t, "version: 1\ntopology: "+topology+"\n").Points[0].Spec.PredictionNote()
		if (note != "") != want {
			t.Errorf("%s: %q", topology, note)
		}
	}
}

func TestSpareProcessesDoNotChangeThePrediction(t *testing.T) {
	const file = "version: 1\nsystem: {protocol: testpaxos}\n"
	without, _ := parse(t, file).Points[0].Spec.PredictedLatency()
	with, ok := parse(t, file, "system.spares.servers=2").Points[0].Spec.PredictedLatency()
	// The test's clients are numbered behind the spares, 1 ms for each.
	if !ok || with != without+2*time.Millisecond {
		t.Errorf("predicted %v with spares, %v without", with, without)
	}
}

func TestSimulatedCostsReplaceTheDefaults(t *testing.T) {
	defaults := engine.Costs{PerMessage: 3000, PerSend: 1500, PerByteNS: 1, Sync: time.Millisecond}
	for set, want := range map[string]engine.Costs{
		"simulation={}":                                  defaults,
		"simulation.per_message=10us":                    {PerMessage: 10000, PerSend: 1500, PerByteNS: 1, Sync: time.Millisecond},
		"simulation={per_send: 0, sync: 0}":              {PerMessage: 3000, PerByteNS: 1},
		"simulation={per_byte: 0.25ns, sync: 1m}":        {PerMessage: 3000, PerSend: 1500, PerByteNS: 0.25, Sync: time.Minute},
		"simulation={per_byte: 1us, per_message: 1.5ms}": {PerMessage: 1500000, PerSend: 1500, PerByteNS: 1000, Sync: time.Millisecond},
	} {
		spec := parse(t, "version: 1\nengine: sim\n", set).Points[0].Spec
		if got := spec.Simulation.Costs(defaults); got != want {
			t.Errorf("%s: got %+v, want %+v", set, got, want)
		}
	}
}

func TestStopConditionsAreThoseOfTheSimulator(t *testing.T) {
	for set, want := range map[string]engine.Stop{
		"stop={}": {}, "stop.requests=1000": {Requests: 1000}, "stop.leader=true": {FirstLeader: true},
	} {
		if got := parse(t, "version: 1\nengine: sim\n", set).Points[0].Spec.Stop.Conditions(); got != want {
			t.Errorf("%s: got %+v, want %+v", set, got, want)
		}
	}
}

func TestUnregisteredProtocolIsAProgrammingError(t *testing.T) {
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "zab") {
			t.Errorf("panicked with %s", text)
		}
	}()
	(&Spec{System: System{Protocol: "zab"}}).Deployment()
	t.Error("no panic")
}
