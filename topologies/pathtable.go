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
	// Delay sums the links' declared delays, MeanDelay their mean ones. What a frame
	// waits in queues, and its serialisation, come on top.
	Delay, MeanDelay time.Duration
	// Jitters is true if frames' delays differ.
	Jitters bool
	// Loss is the long-run share of frames that are lost on the way other than by a full
	// queue or a gap of a trace.
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

// PathsFrom predicts the paths from one host to all others.
func (t *Topology) PathsFrom(host string) ([]Path, error) {
	g, err := t.Graph()
	if err != nil {
		return nil, err
	}
	source, ok := g.Node(host)
	if !ok || source >= len(t.Hosts) {
		return nil, fmt.Errorf("topology: no host %q", host)
	}
	return predictor{g, t.means()}.appendPaths(nil, source), nil
}

// predictor has what predicting many paths needs once: the mean delays of links.
type predictor struct {
	*Graph
	means [][2]time.Duration
}

func (p predictor) mean(hop Hop) time.Duration {
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
		path.MeanDelay += p.mean(hop)
		path.Jitters = path.Jitters || direction.Jitters()
		logArrives += math.Log1p(-direction.MeanLoss())
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
		sum += p.mean(back[node].hop)
		node = back[node].before
	}
	return sum
}
