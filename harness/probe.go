package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

const (
	echoPort = 7001
	// probeCount is the number of probes a pair; the least round trip counts.
	probeCount    = 5
	probeInterval = 20 * time.Millisecond
	// allPairsUpTo is the number of hosts up to which all pairs are probed;
	// beyond it each host probes sampledPeers others.
	allPairsUpTo = 50
	sampledPeers = 20
)

// startEchoes runs an echo process on every host.
func startEchoes(ctx context.Context, lab engine.Lab, topology *topologies.Topology, start starter) (map[string]*session, error) {
	echoes := map[string]*session{}
	for _, host := range topology.Hosts {
		address := net.JoinHostPort(host.Address.String(), strconv.Itoa(echoPort))
		s, err := start(ctx, lab, host.Name, "echo-"+host.Name, "echo", "--listen", address, "--name", host.Name)
		if err != nil {
			return nil, err
		}
		echoes[host.Name] = s
	}
	for _, host := range topology.Hosts {
		if _, err := echoes[host.Name].greet(ctx); err != nil {
			return nil, err
		}
	}
	return echoes, nil
}

// measureRTTs probes the pairs of hosts and sets each least round trip beside
// its prediction.
func measureRTTs(ctx context.Context, topology *topologies.Topology, echoes map[string]*session, seed uint64) ([]results.RTT, error) {
	graph, err := topology.Graph()
	if err != nil {
		return nil, err
	}
	longest := time.Duration(0)
	type job struct {
		from  topologies.Host
		rtts  []results.RTT
		peers []control.Peer
	}
	var jobs []job
	for i, from := range topology.Hosts {
		paths := graph.From(i)
		j := job{from: from}
		for _, k := range probePeers(i, len(topology.Hosts), seed) {
			to := topology.Hosts[k]
			if paths[k] == nil {
				return nil, fmt.Errorf("topology: %s can't reach %s", from.Name, to.Name)
			}
			predicted := topology.Delay(paths[k]) + topology.Delay(graph.From(k)[i])
			longest = max(longest, predicted)
			j.rtts = append(j.rtts, results.RTT{From: from.Name, To: to.Name, PredictedNS: int64(predicted), Sent: probeCount})
			j.peers = append(j.peers, control.Peer{Name: to.Name, Address: net.JoinHostPort(to.Address.String(), strconv.Itoa(echoPort))})
		}
		if len(j.peers) > 0 {
			jobs = append(jobs, j)
		}
	}
	var all []results.RTT
	for _, j := range jobs { // one host after the other: probes mustn't queue behind each other
		probe := &control.Probe{Peers: j.peers, Count: probeCount, IntervalNS: int64(probeInterval),
			TimeoutNS: int64(longest + time.Second)}
		line, err := echoes[j.from.Name].call(ctx, control.Command{Command: control.CommandProbe, Probe: probe})
		if err != nil {
			return nil, err
		}
		for _, r := range j.rtts {
			if line.Probe != nil && len(line.Probe.RTTs[r.To]) > 0 {
				r.Answered = len(line.Probe.RTTs[r.To])
				r.LeastNS = slices.Min(line.Probe.RTTs[r.To])
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// probePeers chooses whom host i of n probes: those after it, so that each
// pair is probed once, or a sample.
func probePeers(i, n int, seed uint64) []int {
	var peers []int
	if n <= allPairsUpTo {
		for k := i + 1; k < n; k++ {
			peers = append(peers, k)
		}
		return peers
	}
	random := rand.New(rand.NewPCG(seed, uint64(i)))
	for _, k := range random.Perm(n) {
		if k != i && len(peers) < sampledPeers {
			peers = append(peers, k)
		}
	}
	return peers
}
