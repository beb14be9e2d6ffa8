package topologies

import (
	"fmt"
	"math"
	"time"
)

// Path is what the links on the way from one host to another predict.
type Path struct {
	From, To string
	// Hops is the way; nil if there is none, and then nothing below is set. Nodes are
	// the hosts and switches on it, From and To included.
	Hops  []Hop
	Nodes []string
	// Delay sums the links' declared delays, MeanDelay those of Parameters.MeanPropagation.
	// What a frame waits in queues, and its serialisation, come on top.
	Delay, MeanDelay time.Duration
	// Jitters is true if frames' delays differ.
	Jitters bool
	// Loss is the long-run share of frames that are lost on the way other than by a full
	// queue.
	Loss float64
	// RateBPS is the least rate on the way, in bits a second; 0 means unlimited.
	// Bottleneck is the first hop that has it; QueueFrames and QueueBytes bound the
	// queue there, 0 meaning unbounded.
	RateBPS     int64
	Bottleneck  Hop
	QueueFrames int
	QueueBytes  int64
	// RTT is the mean delay there and back; 0 without a way back.
	RTT time.Duration
	// BandwidthDelayBytes is what is on the way when a sender keeps the bottleneck
	// busy: RateBPS for one RTT. 0 if the rate is unlimited.
	BandwidthDelayBytes int64
}

// Paths predicts what each ordered pair of hosts meets, monitors apart, in the order of
// the hosts. It holds all pairs in memory: for thousands of hosts take PathsFrom.
func (t *Topology) Paths() ([]Path, error) {
	g, err := t.Graph()
	if err != nil {
		return nil, err
	}
	n := len(t.Hosts)
	paths := make([]Path, 0, n*max(n-1, 0))
	p := predictor{g, t.means()}
	for i, host := range t.Hosts {
		if !host.Monitor {
			paths = p.appendPaths(paths, i)
		}
	}
	return paths, nil
}

// PathsFrom predicts the paths from one host to all others. From many hosts, one after
// the other, PathTable does it faster.
func (t *Topology) PathsFrom(host string) ([]Path, error) {
	table, err := t.PathTable()
	if err != nil {
		return nil, err
	}
	return table.From(host)
}

// PathTable predicts paths from one host at a time. The topology must not change
// meanwhile.
type PathTable struct{ predictor predictor }

// PathTable makes the topology ready for predicting paths. It fails where Graph does.
func (t *Topology) PathTable() (*PathTable, error) {
	g, err := t.Graph()
	if err != nil {
		return nil, err
	}
	return &PathTable{predictor{g, t.means()}}, nil
}

// From predicts the paths from a host to all others. It fails if there is no such host.
func (p *PathTable) From(host string) ([]Path, error) {
	source, ok := p.predictor.Node(host)
	if !ok || source >= len(p.predictor.topology.Hosts) {
		return nil, fmt.Errorf("topology: no host %q", host)
	}
	return p.predictor.appendPaths(nil, source), nil
}

// Uncertain tells whether frames between some of these hosts meet a direction that
// loses, corrupts, duplicates or reorders some, or delays them differently: then what
// follows from mean delays is less than what is measured.
func (t *Topology) Uncertain(hosts []string) bool {
	uncertain := make([][2]bool, len(t.Links))
	some := false
	for i := range t.Links {
		for side, p := range []*Parameters{&t.Links[i].AToB, &t.Links[i].BToA} {
			uncertain[i][side] = !p.Down && (p.Jitters() || p.Lossy() || p.Duplicate > 0 || p.Corrupt > 0 || p.Reorder > 0)
			some = some || uncertain[i][side]
		}
	}
	g, err := t.Graph()
	if !some || err != nil {
		return false
	}
	for _, host := range hosts {
		source, ok := g.Node(host)
		if !ok {
			continue
		}
		reached := g.search(source, false)
		for _, other := range hosts {
			target, _ := g.Node(other)
			for _, hop := range way(reached, target) {
				side := 0
				if hop.Reverse {
					side = 1
				}
				if uncertain[hop.Link][side] {
					return true
				}
			}
		}
	}
	return false
}

// predictor has what predicting many paths needs once: what links do in the long run.
type predictor struct {
	*Graph
	means [][2]means
}

func (p predictor) mean(hop Hop) means {
	if hop.Reverse {
		return p.means[hop.Link][1]
	}
	return p.means[hop.Link][0]
}

func (p predictor) appendPaths(paths []Path, source int) []Path {
	there, back := p.search(source, false), p.search(source, true)
	for node, host := range p.topology.Hosts {
		if node != source && !host.Monitor {
			paths = append(paths, p.path(there, back, source, node))
		}
	}
	return paths
}

func (p predictor) path(there, back []reached, source, node int) Path {
	t := p.topology
	path := Path{From: t.Hosts[source].Name, To: t.Hosts[node].Name, Hops: way(there, node)}
	if path.Hops == nil {
		return path
	}
	path.Nodes = make([]string, 0, len(path.Hops)+1)
	path.Nodes = append(path.Nodes, path.From)
	logArrives := 0.0 // of the share that arrives, exact for small losses
	for _, hop := range path.Hops {
		direction, link := t.parameters(hop), &t.Links[hop.Link]
		path.Delay += direction.Delay
		path.MeanDelay += p.mean(hop).delay
		path.Jitters = path.Jitters || direction.Jitters()
		logArrives += math.Log1p(-p.mean(hop).loss)
		if rate := direction.RateBPS; rate > 0 && (path.RateBPS == 0 || rate < path.RateBPS) {
			path.RateBPS, path.Bottleneck, path.QueueFrames, path.QueueBytes = rate, hop, direction.QueueFrames, direction.QueueBytes
		}
		if hop.Reverse {
			path.Nodes = append(path.Nodes, link.A)
		} else {
			path.Nodes = append(path.Nodes, link.B)
		}
	}
	path.Loss = math.Abs(math.Expm1(logArrives))
	if back[node].found {
		path.RTT = path.MeanDelay + p.meanBack(back, node)
		path.BandwidthDelayBytes = int64(math.Round(float64(path.RateBPS) / 8 * path.RTT.Seconds()))
	}
	return path
}

// meanBack is the mean delay of the way that a backward search found from a node.
func (p predictor) meanBack(back []reached, node int) time.Duration {
	var sum time.Duration
	for back[node].hops > 0 {
		sum += p.mean(back[node].hop).delay
		node = back[node].before
	}
	return sum
}
