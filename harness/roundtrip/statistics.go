// Package roundtrip derives from the rows of a study of round trips what to say of them: for
// each ordered pair of machines mean, spread and percentiles, a normal distribution
// fitted to the bulk, and figures. It measures nothing.
package roundtrip

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"quorumlab/results"
)

// Percentiles that are given of each pair: the quartiles, and those of the tail.
var Percentiles = []float64{25, 50, 75, 80, 90, 95, 98, 99, 99.9}

// Pair is what was measured from one machine to another. Times are in milliseconds; of
// a pair without an answer they are null.
type Pair struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Sent     int    `json:"sent"`
	Answered int    `json:"answered"`
	// LostShare is of the probes sent.
	LostShare float64  `json:"lost_share"`
	Mean      *float64 `json:"mean"`
	// Stddev is that of the sample; null with fewer than two answers.
	Stddev *float64 `json:"stddev"`
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
	// Percentiles maps "50" and so on to values, interpolated linearly between the
	// closest ranks (Hyndman and Fan's type 7, as most statistics programs do).
	Percentiles map[string]float64 `json:"percentiles"`
	// DeclaredMS is what the topology predicts; null between real machines.
	DeclaredMS *float64 `json:"declared"`
	// Normal is fitted to the bulk; null with fewer than MinFit answers or where more
	// than half of them are the same.
	Normal *Normal `json:"normal"`
}

// Normal is a normal distribution fitted to the bulk of round trips: those within three
// standard deviations of its mean.
type Normal struct {
	Mean   float64 `json:"mean"`
	Stddev float64 `json:"stddev"`
	// Share of the answers is in the bulk.
	Share float64 `json:"share"`
	// KS is the greatest distance between the distributions of the bulk and of the fit:
	// 0 is the same.
	KS float64 `json:"ks"`
}

// Study is all that was measured.
type Study struct {
	Protocol string `json:"protocol"`
	// Planned is how many probes were to be sent, Sent how many have a row: fewer if the
	// study ended early.
	Planned int `json:"planned"`
	Sent    int `json:"sent"`
	// Pairs are in the order of the machines; All is over those of different machines
	// (of one that only probed itself, over that), its From and To empty.
	Pairs []Pair `json:"pairs"`
	All   Pair   `json:"all"`
	// samples has each pair's rows, for the figures.
	samples map[[2]string]*sample
	all     []float64
	beganNS int64
	// machines is how many there are.
	machines int
}

// counts tells the pairs that all is over.
func (s *Study) counts(from, to string) bool { return from != to || s.machines == 1 }

// sample is a pair's answers in the order that they came in.
type sample struct {
	sent   int
	sentNS []int64
	ms     []float64
}

// Summarise reads a study's rows. Machines are listed in the plan's order; rows about
// others are an error, as are rows that can't be read.
func Summarise(rows iter.Seq2[results.RTTRow, error], plan *results.RTTPlan) (*Study, error) {
	s := &Study{Protocol: plan.Protocol, machines: len(plan.Machines), samples: map[[2]string]*sample{}, beganNS: math.MaxInt64}
	s.Planned = plan.Count * len(plan.Machines) * (len(plan.Machines) - 1)
	if plan.Self {
		s.Planned += plan.Count * len(plan.Machines)
	}
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		key := [2]string{row.From, row.To}
		if s.samples[key] == nil {
			if !slices.Contains(plan.Machines, row.From) || !slices.Contains(plan.Machines, row.To) {
				return nil, fmt.Errorf("a row is about %q and %q, which the manifest doesn't both list", row.From, row.To)
			}
			s.samples[key] = &sample{}
		}
		s.samples[key].add(row)
		s.beganNS = min(s.beganNS, row.SentNS)
	}
	sent := 0 // between different machines
	for _, from := range plan.Machines {
		for _, to := range plan.Machines {
			found := s.samples[[2]string{from, to}]
			if found == nil {
				continue
			}
			pair := describe(slices.Sorted(slices.Values(found.ms)), found.sent)
			pair.From, pair.To = from, to
			if ns, known := plan.DeclaredNS[from][to]; known {
				ms := float64(ns) / 1e6
				pair.DeclaredMS = &ms
			}
			s.Pairs = append(s.Pairs, pair)
			s.Sent += found.sent
			if s.counts(from, to) {
				s.all = append(s.all, found.ms...)
				sent += found.sent
			}
		}
	}
	slices.Sort(s.all)
	s.All = describe(s.all, sent)
	return s, nil
}

func (s *sample) add(row results.RTTRow) {
	s.sent++
	if row.RTTNS > 0 {
		s.sentNS = append(s.sentNS, row.SentNS)
		s.ms = append(s.ms, float64(row.RTTNS)/1e6)
	}
}

// describe makes a pair's statistics of its answers, which are sorted.
func describe(sorted []float64, sent int) Pair {
	p := Pair{Sent: sent, Answered: len(sorted), Percentiles: map[string]float64{}}
	if sent > 0 {
		p.LostShare = float64(sent-len(sorted)) / float64(sent)
	}
	if len(sorted) == 0 {
		return p
	}
	mean := stat.Mean(sorted, nil)
	least, most := sorted[0], sorted[len(sorted)-1]
	p.Mean, p.Min, p.Max = &mean, &least, &most
	if len(sorted) > 1 {
		stddev := stat.StdDev(sorted, nil)
		p.Stddev = &stddev
	}
	for _, percent := range Percentiles {
		p.Percentiles[fmt.Sprint(percent)] = quantile(sorted, percent/100)
	}
	p.Normal = fitNormal(sorted)
	return p
}

// quantile interpolates between the closest ranks of sorted values.
func quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// MinFit is the fewest answers that a normal distribution is fitted to.
const MinFit = 20

const (
	// bulkWidth is how many standard deviations the bulk reaches from its mean.
	bulkWidth = 3
	// madToStddev makes of a normal distribution's median absolute deviation its
	// standard deviation.
	madToStddev = 1.4826
	maxFitSteps = 100
)

// narrowing is by how much cutting a normal distribution's tails off at bulkWidth
// narrows it.
var narrowing = func() float64 {
	n := distuv.UnitNormal
	return math.Sqrt(1 - 2*bulkWidth*n.Prob(bulkWidth)/(n.CDF(bulkWidth)-n.CDF(-bulkWidth)))
}()

// fitNormal fits a normal distribution to the bulk of sorted values: it begins with the
// median and the median deviation, which outliers don't move, and takes mean and
// deviation of what lies within three standard deviations until that doesn't change any
// more.
func fitNormal(sorted []float64) *Normal {
	if len(sorted) < MinFit {
		return nil
	}
	mean := quantile(sorted, 0.5)
	deviations := make([]float64, len(sorted))
	for i, x := range sorted {
		deviations[i] = math.Abs(x - mean)
	}
	slices.Sort(deviations)
	stddev := madToStddev * quantile(deviations, 0.5)
	var bulk []float64
	for range maxFitSteps {
		if stddev <= 0 {
			return nil
		}
		from, _ := slices.BinarySearch(sorted, mean-bulkWidth*stddev)
		to, _ := slices.BinarySearch(sorted, mean+bulkWidth*stddev)
		if to-from == len(bulk) || to-from < MinFit/2 {
			break
		}
		bulk = sorted[from:to]
		mean, stddev = stat.Mean(bulk, nil), stat.StdDev(bulk, nil)/narrowing
	}
	if len(bulk) == 0 || stddev <= 0 {
		return nil
	}
	fit := &Normal{Mean: mean, Stddev: stddev, Share: float64(len(bulk)) / float64(len(sorted))}
	normal := distuv.Normal{Mu: mean, Sigma: stddev}
	for i, x := range bulk {
		f := normal.CDF(x)
		fit.KS = max(fit.KS, math.Abs(f-float64(i)/float64(len(bulk))), math.Abs(float64(i+1)/float64(len(bulk))-f))
	}
	return fit
}
