package link

import (
	"math"
	"math/rand/v2"
	"time"

	"quorumlab/topologies"
)

// maxExcessNS bounds what jitter adds to a delay: a Pareto distribution has no bound of
// its own.
const maxExcessNS = float64(24 * time.Hour)

// jitterKind is a distribution of delays.
type jitterKind uint8

const (
	jitterNone jitterKind = iota
	jitterUniform
	jitterNormal
	jitterExponential
	jitterPareto
	jitterTable
)

// jitter draws delays.
type jitter struct {
	kind jitterKind
	// scaleNS is Parameters.Jitter, of which scale is the Pareto distribution's.
	scaleNS int64
	scale   float64
	// exponent is -1/shape of the Pareto distribution.
	exponent float64
	table    []time.Duration
}

func newJitter(p topologies.Parameters) jitter {
	j := jitter{scaleNS: p.Jitter.Nanoseconds(), scale: float64(p.Jitter)}
	switch {
	case p.JitterTable != nil:
		j.kind, j.table = jitterTable, p.JitterTable.Excess
	case p.Jitter == 0:
	case p.JitterDistribution == topologies.JitterNormal:
		j.kind = jitterNormal
	case p.JitterDistribution == topologies.JitterExponential:
		j.kind = jitterExponential
	case p.JitterDistribution == topologies.JitterPareto:
		shape := p.JitterShape
		if shape == 0 {
			shape = topologies.DefaultJitterShape
		}
		// A Lomax distribution's mean is scale / (shape - 1).
		j.kind, j.scale, j.exponent = jitterPareto, j.scale*(shape-1), -1/shape
	default:
		j.kind = jitterUniform
	}
	return j
}

// draw draws the delay of one frame, at least 0.
func (j *jitter) draw(random *rand.Rand, delayNS int64) int64 {
	switch j.kind {
	case jitterUniform:
		return max(0, delayNS-j.scaleNS+random.Int64N(2*j.scaleNS+1))
	case jitterNormal:
		return max(0, delayNS+int64(math.Round(random.NormFloat64()*j.scale)))
	case jitterExponential:
		return delayNS + int64(math.Round(min(random.ExpFloat64()*j.scale, maxExcessNS)))
	case jitterPareto:
		// The inverse of its distribution function, of a number above 0.
		power := math.Pow(1-random.Float64(), j.exponent)
		return delayNS + int64(math.Round(min(j.scale*(power-1), maxExcessNS)))
	case jitterTable:
		return delayNS + int64(j.table[random.IntN(len(j.table))])
	}
	return delayNS
}
