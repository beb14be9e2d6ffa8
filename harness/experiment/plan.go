package experiment

import (
	"math"
	"time"
)

// Trial is one run of one point.
type Trial struct {
	// Number counts from 1, in the order of running.
	Number int
	// Point is what to run.
	Point Point
	// Repeat counts the trials of the point, from 0.
	Repeat int
	// Seed is the root of all of the trial's randomness.
	Seed uint64
}

// Plan lists every trial in the order in which they run: in blocks, one for
// each repeat, each with one trial of every point. Within a block the points
// are shuffled, so that a drift of the machine doesn't pass for an effect of
// what was swept. The plan follows from the experiment alone: it is the same
// each time, and repeating more often adds trials behind it and changes none.
func (s *Source) Plan() []Trial {
	trials := make([]Trial, 0, len(s.Points)*s.Spec.Repeat)
	order := make([]int, len(s.Points))
	for repeat := range s.Spec.Repeat {
		for i := range order {
			order[i] = i
		}
		shuffle(order, mix(mix(s.Spec.Seed)^uint64(repeat)))
		for _, index := range order {
			point := s.Points[index]
			trials = append(trials, Trial{
				Number: len(trials) + 1, Point: point, Repeat: repeat,
				Seed: TrialSeed(point.Spec.Seed, index, repeat),
			})
		}
	}
	return trials
}

// TrialSeed derives a trial's seed from the experiment's, the point's index and
// the number of the repeat:
//
//	mix(mix(mix(seed) + point + 1) + repeat + 1) >> 11
//
// where mix is the output function of SplitMix64 (Steele, Lea and Flood, "Fast
// Splittable Pseudorandom Number Generators", OOPSLA 2014). 53 bits remain, so
// that readers of JSON that know only doubles don't change it.
func TrialSeed(seed uint64, point, repeat int) uint64 {
	return mix(mix(mix(seed)+uint64(point)+1)+uint64(repeat)+1) >> 11
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// shuffle is Fisher and Yates's, written out because the plan must not depend
// on the version of a library. The remainder's bias is below 2^-40.
func shuffle(order []int, seed uint64) {
	for i := len(order) - 1; i > 0; i-- {
		seed = mix(seed)
		j := int(seed % uint64(i+1))
		order[i], order[j] = order[j], order[i]
	}
}

const (
	// setupTime is about what a trial in a lab takes apart from its load: building
	// the lab, probing it, waiting for the last answers.
	setupTime = 2 * time.Second
	// rowBytes is about what a request takes in requests.csv.gz: 11 to 17 bytes in
	// simulations, 25 in labs, whose times are less regular.
	rowBytes = 20
	// simulatedStep is about what a simulation computes for a request at one
	// process, quietRate how many requests a second the timers and heartbeats of
	// an idle cluster are like. Measured with Multi-Paxos of 8 to 300 processes.
	simulatedStep = 2 * time.Microsecond
	quietRate     = 3
)

// Estimate is about what running a plan takes.
type Estimate struct {
	Points int
	Trials int
	// Requests are those sent, during warm-up too.
	Requests int64
	// Time is what the clock on the wall will show. In a lab that is the warm-up
	// and measurement of each trial and about 2 s around them. A simulation
	// takes what it has to compute, which is only guessed, on one core: trials
	// share the cores that there are.
	Time time.Duration
	// Virtual is the warm-up and measurement of the simulated trials, in virtual
	// time, as far as Stop.Requests lets them come; 0 if none is simulated. It is
	// the most that trials with Stop.Leader may take.
	Virtual time.Duration
	// DiskBytes is about 20 bytes a request, compressed.
	DiskBytes int64
}

// Estimate foretells what the whole plan takes, in labs where the engine is
// left to the tool. What would not fit in a field is given as its greatest
// value.
func (s *Source) Estimate() Estimate { return s.EstimateOn(EngineAuto) }

// EstimateOn is Estimate once it is known which engine "auto" stands for.
func (s *Source) EstimateOn(auto string) Estimate {
	var requests, nanoseconds, virtual float64
	for _, point := range s.Points {
		spec := point.Spec
		load := time.Duration(spec.Phases.Warmup + spec.Phases.Measure)
		sent := load.Seconds() * float64(spec.Workload.Rate)
		if most := float64(spec.Stop.Requests); most > 0 && most < sent {
			sent = most
			load = time.Duration(most / float64(spec.Workload.Rate) * float64(time.Second))
		}
		if spec.Stop.Leader {
			sent = 0
		}
		requests += sent
		if spec.Engine == EngineSim || spec.Engine == EngineAuto && auto == EngineSim {
			virtual += float64(load)
			nanoseconds += (sent + quietRate*load.Seconds()) * float64(spec.processes()) * float64(simulatedStep)
		} else {
			nanoseconds += float64(load + setupTime)
		}
	}
	repeat := float64(s.Spec.Repeat)
	return Estimate{
		Points: len(s.Points), Trials: len(s.Points) * s.Spec.Repeat,
		Requests:  saturated(requests * repeat),
		Time:      time.Duration(saturated(nanoseconds * repeat)),
		Virtual:   time.Duration(saturated(virtual * repeat)),
		DiskBytes: saturated(requests * repeat * rowBytes),
	}
}

func saturated(x float64) int64 {
	if x >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(math.Round(x))
}
