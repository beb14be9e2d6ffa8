package link

import (
	"fmt"
	"math"
	"time"

	"quorumlab/topologies"
)

// Netem's distribution tables have at most 16384 signed 16-bit entries, each equally
// likely. An entry of 8192 is once the jitter, which is 31 bits of nanoseconds.
const (
	netemTableSize = 16384
	netemTableUnit = 8192
	maxNetemJitter = math.MaxInt32
	// maxNetemSpread is the greatest difference between two delays.
	maxNetemSpread = 2 * maxNetemJitter / netemTableUnit * math.MaxInt16 * time.Nanosecond
	// maxTableStep is the greatest share of the jitter that delays may be rounded to
	// multiples of; what is below harmlessStepNS no timer notices.
	maxTableStep   = 0.005
	harmlessStepNS = 10_000
)

// netemJitter is a distribution of delays as netem takes it: a frame's delay
// differs from Parameters.Delay by centreNS + spreadNS * entry / 8192.
type netemJitter struct {
	centreNS, spreadNS int64
	table              []int16
}

// newNetemJitter puts a jitter into a table. Each entry stands for its share of the
// distribution, with the share's mean; so the mean is exact, and the distribution
// within 1/16384 and the rounding to 16 bits. Of a tail only its mean is
// kept beyond the last 16384th. It fails if the range of values is too wide.
func newNetemJitter(p topologies.Parameters) (netemJitter, error) {
	means := shareMeans(p)
	least, most := means[0], means[len(means)-1]
	half := (most - least) / 2
	if spread := time.Duration(2 * half); spread > maxNetemSpread {
		return netemJitter{}, fmt.Errorf("the delays of its jitter spread over %v, netem's at most over %v", spread.Round(time.Millisecond), maxNetemSpread.Round(time.Millisecond))
	}
	j := netemJitter{
		centreNS: int64(math.Round(least + half)),
		spreadNS: max(1, int64(math.Ceil(half*netemTableUnit/math.MaxInt16))),
		table:    make([]int16, len(means)),
	}
	scale := float64(p.Jitter)
	if p.JitterTable != nil {
		scale = float64(p.MeanDelay() - p.Delay)
	}
	step := float64(j.spreadNS) / netemTableUnit
	if step > harmlessStepNS && step > maxTableStep*scale {
		return netemJitter{}, fmt.Errorf("the tail of its jitter is too long for netem's tables of 16 bits, which would round delays to multiples of %v",
			time.Duration(step).Round(time.Microsecond))
	}
	for i, mean := range means {
		entry := math.Round((mean - float64(j.centreNS)) / step)
		j.table[i] = int16(min(max(entry, math.MinInt16), math.MaxInt16))
	}
	return j, nil
}

// shareMeans splits a jitter's distribution into equally likely shares, ascending,
// and tells each one's mean in nanoseconds over Parameters.Delay.
func shareMeans(p topologies.Parameters) []float64 {
	if p.JitterTable != nil {
		return tableMeans(p.JitterTable.Excess)
	}
	jitter := float64(p.Jitter)
	// integral is that of the quantile function, up to a constant, at the share s
	// of values that are greater.
	var integral func(s float64) float64
	switch p.JitterDistribution {
	case topologies.JitterUniform:
		integral = func(s float64) float64 { return jitter * s * (s - 1) }
	case topologies.JitterNormal:
		integral = func(s float64) float64 {
			z := math.Sqrt2 * math.Erfinv(1-2*s)
			return -jitter * math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
		}
	case topologies.JitterExponential:
		integral = func(s float64) float64 {
			if s == 0 {
				return 0
			}
			return -jitter * (s - s*math.Log(s))
		}
	case topologies.JitterPareto:
		shape := p.JitterShape
		if shape == 0 {
			shape = topologies.DefaultJitterShape
		}
		// Lomax: its quantile is scale (s^(-1/shape) - 1).
		scale, power := jitter*(shape-1), 1-1/shape
		integral = func(s float64) float64 { return -scale * (math.Pow(s, power)/power - s) }
	default:
		panic("link: no table for the jitter distribution " + p.JitterDistribution)
	}
	means := make([]float64, netemTableSize)
	for i := range means {
		from := 1 - float64(i)/netemTableSize
		means[i] = (integral(from-1.0/netemTableSize) - integral(from)) * netemTableSize
	}
	return means
}

// tableMeans keeps a short table and averages neighbours of a long one.
func tableMeans(excess []time.Duration) []float64 {
	means := make([]float64, min(len(excess), netemTableSize))
	for i := range means {
		share := excess[i*len(excess)/len(means) : (i+1)*len(excess)/len(means)]
		for _, value := range share {
			means[i] += float64(value) / float64(len(share))
		}
	}
	return means
}
