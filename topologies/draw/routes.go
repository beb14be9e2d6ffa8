package draw

import (
	"fmt"
	"iter"
	"math"
	"time"

	"quorumlab/topologies"
)

// Route is what frames from one host to another meet, and who sends them. Its times
// are those of propagation: queues, serialisation and processing come on top.
type Route struct {
	// From and To are hosts; in a topology without hosts, switches.
	From          string    `json:"from"`
	To            string    `json:"to"`
	FromProcesses []Process `json:"from_processes,omitempty"`
	ToProcesses   []Process `json:"to_processes,omitempty"`
	// Way has the nodes from From to To; it is nil if there is no path, and then nothing
	// below is set.
	Way  []string `json:"way"`
	Hops int      `json:"hops"`
	// MeanDelayNS is one way; DeviationNS is about its standard deviation from frame to
	// frame, nil if that is infinite.
	MeanDelayNS int64  `json:"mean_delay_ns"`
	DeviationNS *int64 `json:"deviation_ns"`
	// Loss is the share of frames that don't arrive, queues apart.
	Loss float64 `json:"loss"`
	// RateBPS is the bottleneck's, 0 if there is none; Bottleneck the link's name.
	RateBPS    int64  `json:"rate_bps"`
	Bottleneck string `json:"bottleneck,omitempty"`
	// RTTNS is the mean delay there and back, BandwidthDelayBytes what is on the way in
	// that time at RateBPS.
	RTTNS               int64 `json:"rtt_ns"`
	BandwidthDelayBytes int64 `json:"bandwidth_delay_bytes"`
}

// Routes are those of all ordered pairs of hosts, or, unless all is true, of hosts that
// run processes, if any does. Where there are no hosts they are those between
// switches.
func Routes(p Picture, all bool) (iter.Seq[Route], error) {
	r, err := newRouter(p, all)
	if err != nil {
		return nil, err
	}
	return r.from(r.hosts), nil
}

func newRouter(p Picture, all bool) (*router, error) {
	r := &router{Picture: p, of: map[string]string{}, deviations: map[topologies.Hop]float64{}}
	if err := r.station(); err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	for _, host := range r.Topology.Hosts {
		if name := host.Name; !host.Monitor && (all || len(p.Processes) == 0 || len(p.Processes[name]) > 0) {
			r.hosts = append(r.hosts, name)
		}
	}
	return r, nil
}

// router finds routes.
type router struct {
	Picture
	hosts []string
	// of names the switch at which a host stands that was only made for its paths.
	of map[string]string
	// deviations are those of links' directions in nanoseconds, once they were asked for.
	deviations map[topologies.Hop]float64
}

// station gives every switch a host if there is none.
func (r *router) station() error {
	if _, err := r.Topology.Graph(); err != nil {
		return err
	}
	if len(r.Topology.Hosts) > 0 || len(r.Topology.Switches) == 0 {
		return nil
	}
	with, err := topologies.AttachHosts(r.Topology, len(r.Topology.Switches), topologies.Parameters{}, r.Topology.Switches)
	if err != nil {
		return err
	}
	for i, host := range with.Hosts {
		r.of[host.Name] = r.Topology.Switches[i]
	}
	r.Topology = with
	return nil
}

// from gives the routes from some of the hosts to all.
func (r *router) from(sources []string) iter.Seq[Route] {
	wanted := map[string]bool{}
	for _, name := range r.hosts {
		wanted[name] = true
	}
	return func(yield func(Route) bool) {
		table, err := r.Topology.PathTable()
		if err != nil {
			panic("draw: a topology that Graph accepted: " + err.Error())
		}
		for _, source := range sources {
			paths, err := table.From(source)
			if err != nil {
				panic("draw: a host of a topology that Graph accepted: " + err.Error())
			}
			for _, path := range paths {
				if wanted[path.To] && !yield(r.route(path)) {
					return
				}
			}
		}
	}
}

// sample are so many of the hosts, evenly spaced.
func (r *router) sample(most int) []string {
	if len(r.hosts) <= most {
		return r.hosts
	}
	var some []string
	for i := range most {
		some = append(some, r.hosts[i*len(r.hosts)/most])
	}
	return some
}

func (r *router) route(path topologies.Path) Route {
	route := Route{From: path.From, To: path.To, FromProcesses: r.Processes[path.From], ToProcesses: r.Processes[path.To]}
	if path.Hops == nil {
		return route.without(r.of)
	}
	route.Way, route.Hops = path.Nodes, len(path.Hops)
	route.MeanDelayNS, route.RTTNS = int64(path.MeanDelay), int64(path.RTT)
	route.Loss, route.RateBPS, route.BandwidthDelayBytes = path.Loss, path.RateBPS, path.BandwidthDelayBytes
	if path.RateBPS > 0 {
		route.Bottleneck = r.Topology.Links[path.Bottleneck.Link].Name
	}
	variance := 0.0
	for _, hop := range path.Hops {
		deviation, known := r.deviations[hop]
		if !known {
			deviation = Deviation(r.Topology.Parameters(hop))
			r.deviations[hop] = deviation
		}
		variance += deviation * deviation
	}
	if !math.IsInf(variance, 0) {
		deviation := int64(math.Round(math.Sqrt(variance)))
		route.DeviationNS = &deviation
	}
	return route.without(r.of)
}

// without takes the hosts away that were only made for paths.
func (r Route) without(of map[string]string) Route {
	if len(of) == 0 {
		return r
	}
	r.From, r.To = of[r.From], of[r.To]
	if r.Hops > 2 {
		r.Way, r.Hops = r.Way[1:len(r.Way)-1], r.Hops-2
	}
	return r
}

// Deviation is the standard deviation of a direction's delays in nanoseconds, from the
// declared distribution: apart from what staying in order changes, and from what would
// be below 0. It is infinite for Pareto jitter of a shape of at most 2.
func Deviation(p topologies.Parameters) float64 {
	jitter := float64(p.Jitter)
	switch {
	case p.Trace != nil:
		return traceDeviation(p.Trace)
	case p.JitterTable != nil:
		weights := make([]time.Duration, len(p.JitterTable.Excess))
		for i := range weights {
			weights[i] = 1
		}
		return weighedDeviation(p.JitterTable.Excess, weights)
	case p.Jitter == 0:
		return 0
	}
	switch p.JitterDistribution {
	case topologies.JitterUniform:
		return jitter / math.Sqrt(3)
	case topologies.JitterPareto:
		shape := p.JitterShape
		if shape == 0 {
			shape = topologies.DefaultJitterShape
		}
		if shape <= 2 {
			return math.Inf(1)
		}
		return jitter * math.Sqrt(shape/(shape-2))
	}
	return jitter // normal: its definition; exponential: its mean
}

// traceDeviation weighs each row by how long it lasts.
func traceDeviation(t *topologies.Trace) float64 {
	var values, lasts []time.Duration
	for i, excess := range t.Excess {
		until := t.Period
		if i+1 < len(t.Times) {
			until = t.Times[i+1]
		}
		if excess >= 0 {
			values, lasts = append(values, excess), append(lasts, until-t.Times[i])
		}
	}
	return weighedDeviation(values, lasts)
}

func weighedDeviation(values, weights []time.Duration) float64 {
	sum, total, squares := 0.0, 0.0, 0.0
	for i, value := range values {
		sum += float64(value) * float64(weights[i])
		total += float64(weights[i])
	}
	if total == 0 {
		return 0
	}
	for i, value := range values {
		off := float64(value) - sum/total
		squares += off * off * float64(weights[i])
	}
	return math.Sqrt(squares / total)
}
