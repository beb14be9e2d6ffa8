package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/echo"
	"quorumlab/results"
	"quorumlab/topologies"
)

const (
	echoPort = 7001
	// probeCount is the number of probes a pair; the least round trip counts. A
	// pair whose least is not as predicted is probed again, up to probeTries
	// times in all: a busy moment of the machine makes probes late, but only a
	// wrong link makes all of them wrong.
	probeCount    = 5
	probeTries    = 4
	probeInterval = 20 * time.Millisecond
	probePatience = 100 * time.Millisecond
	// allPairsUpTo is the number of hosts up to which all pairs are probed;
	// beyond it each host probes sampledPeers others.
	allPairsUpTo = 50
	sampledPeers = 20
)

// startEchoes runs an echo process on every host of the topology, monitors included. All of them write
// the rows of one-way streams to one folder.
func startEchoes(ctx context.Context, topology *topologies.Topology, dir string, start starter) (map[string]*session, error) {
	echoes := map[string]*session{}
	for _, host := range topology.Hosts {
		address := net.JoinHostPort(host.Address.String(), strconv.Itoa(echoPort))
		s, err := start(ctx, host.Name, "echo-"+host.Name, "echo", "--listen", address, "--name", host.Name, "--dir", dir)
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

// probed is a pair of hosts: its round trip, and what the links between allow to say
// about it.
type probed struct {
	results.RTT
	// steady is true if every frame takes as long as any other, sure if every one
	// arrives.
	steady, sure bool
}

// measureRTTs probes the pairs of hosts and sets each least round trip beside
// its prediction.
func measureRTTs(ctx context.Context, topology *topologies.Topology, echoes map[string]*session, seed uint64) ([]probed, error) {
	pairs, err := pairsToProbe(topology, seed)
	if err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	for _, host := range topology.Hosts {
		addresses[host.Name] = net.JoinHostPort(host.Address.String(), strconv.Itoa(echoPort))
	}
	for range probeTries {
		again := false
		for _, host := range topology.Hosts { // one after the other: probes mustn't queue behind each other
			var wanting []*probed
			for i := range pairs {
				if pairs[i].From == host.Name && (pairs[i].Sent == 0 || !asPredicted(pairs[i])) {
					wanting = append(wanting, &pairs[i])
				}
			}
			if len(wanting) == 0 {
				continue
			}
			again = true
			if err := probeFrom(ctx, echoes[host.Name], wanting, addresses); err != nil {
				return nil, err
			}
		}
		if !again {
			break
		}
	}
	return pairs, nil
}

// pairsToProbe lists the pairs with their predicted round trips.
func pairsToProbe(topology *topologies.Topology, seed uint64) ([]probed, error) {
	graph, err := topology.Graph()
	if err != nil {
		return nil, err
	}
	paths := make([][][]topologies.Hop, len(topology.Hosts))
	for i := range topology.Hosts {
		paths[i] = graph.From(i)
	}
	var pairs []probed
	for i, from := range topology.Hosts {
		for _, k := range probePeers(i, len(topology.Hosts), seed) {
			to := topology.Hosts[k]
			there, back := paths[i][k], paths[k][i]
			if there == nil || back == nil {
				return nil, fmt.Errorf("topology: %s and %s can't reach each other", from.Name, to.Name)
			}
			pair := probed{steady: true, sure: true}
			pair.From, pair.To = from.Name, to.Name
			pair.PredictedNS = int64(probeTime(topology, there) + probeTime(topology, back))
			for _, hop := range slices.Concat(there, back) {
				p := topology.Parameters(hop)
				pair.steady = pair.steady && !p.Jitters() && p.Reorder == 0
				pair.sure = pair.sure && !p.Lossy() && p.Corrupt == 0
			}
			pairs = append(pairs, pair)
		}
	}
	return pairs, nil
}

// probeTime is how long a probe takes over a path: the delays, and its
// serialisation on each link.
func probeTime(topology *topologies.Topology, path []topologies.Hop) time.Duration {
	sum := topology.Delay(path)
	for _, hop := range path {
		if rate := topology.Parameters(hop).RateBPS; rate > 0 {
			sum += time.Duration(echo.FrameBytes * 8 * int64(time.Second) / rate)
		}
	}
	return sum
}

// probeFrom sends one host's probes and notes the least round trips.
func probeFrom(ctx context.Context, prober *session, pairs []*probed, addresses map[string]string) error {
	order := &control.Probe{Count: probeCount, IntervalNS: int64(probeInterval), TimeoutNS: int64(probePatience)}
	for _, pair := range pairs {
		order.Peers = append(order.Peers, control.Peer{Name: pair.To, Address: addresses[pair.To]})
		wait := pair.PredictedNS + int64(time.Second)
		if !pair.sure { // some are lost: nobody waits long for those
			wait = 2*pair.PredictedNS + int64(probePatience)
		}
		order.TimeoutNS = max(order.TimeoutNS, wait)
	}
	line, err := prober.call(ctx, control.Command{Command: control.CommandProbe, Probe: order})
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		pair.Sent += probeCount
		if line.Probe == nil || len(line.Probe.RTTs[pair.To]) == 0 {
			continue
		}
		least := slices.Min(line.Probe.RTTs[pair.To])
		if pair.Answered == 0 || least < pair.LeastNS {
			pair.LeastNS = least
		}
		pair.Answered += len(line.Probe.RTTs[pair.To])
	}
	return nil
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
