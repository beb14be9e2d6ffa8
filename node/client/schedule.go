// Package client generates load: it sends commands to the replicas when they
// are due, notes when each was due, sent and answered, and promises that its
// schedule follows from its orders alone. It knows no protocol.
//
// Machine is pure, as package consensus demands of protocols, so that a
// simulator can drive it too.
package client

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/kv"
)

// Due is a request of the schedule.
type Due struct {
	// At is when the request is due, from the start of the load.
	At        time.Duration
	Sequence  uint64
	Operation kv.Operation
}

// Schedule is the sequence of requests that a load consists of, in the order
// in which they are due. Two schedules of the same load are the same.
//
// If the mix has operations that need their key to be present, a load whose
// client is the first one begins by creating every key, one each millisecond
// beside the requests of the mix.
type Schedule struct {
	load     control.Load
	prefix   string
	random   *rand.Rand
	kinds    []kv.Kind
	upTo     []float64 // cumulated shares
	creates  int
	created  int
	mixed    int
	at       float64 // seconds, of the mix's next request
	sequence uint64
}

// CheckLoad refuses orders that no schedule can follow.
func CheckLoad(load control.Load) error {
	if _, _, err := shares(load.Mix); err != nil {
		return err
	}
	switch {
	case load.RateRPS <= 0 || math.IsNaN(load.RateRPS) || math.IsInf(load.RateRPS, 0):
		return fmt.Errorf("rate_rps is %v, want a number above 0", load.RateRPS)
	case load.Arrivals != "fixed" && load.Arrivals != "poisson":
		return fmt.Errorf("arrivals is %q, want fixed or poisson", load.Arrivals)
	case load.DurationNS <= 0:
		return fmt.Errorf("duration_ns is %d, want more than 0", load.DurationNS)
	case load.TimeoutNS <= 0:
		return fmt.Errorf("timeout_ns is %d, want more than 0", load.TimeoutNS)
	case load.Keys < 1:
		return fmt.Errorf("keys is %d, want at least 1", load.Keys)
	case load.ValueBytes < 0:
		return fmt.Errorf("value_bytes is %d, want at least 0", load.ValueBytes)
	}
	return nil
}

// shares turns a mix into operations with cumulated shares.
func shares(mix map[string]float64) (kinds []kv.Kind, upTo []float64, err error) {
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(mix)) {
		kind, known := kv.ParseKind(name)
		share := mix[name]
		if !known || !(share >= 0) {
			return nil, nil, fmt.Errorf("mix has %s: %v, want nop, create, update, read or remove with a share of at least 0", name, share)
		}
		if share > 0 {
			sum += share
			kinds = append(kinds, kind)
			upTo = append(upTo, sum)
		}
	}
	if math.Abs(sum-1) > 1e-6 {
		return nil, nil, fmt.Errorf("the shares of mix sum to %v, want 1", sum)
	}
	return kinds, upTo, nil
}

// NewSchedule makes the schedule of a client; name distinguishes the values
// that it writes from other clients'. First says whether this client creates
// the keys. The error is CheckLoad's.
func NewSchedule(load control.Load, name string, first bool) (*Schedule, error) {
	if err := CheckLoad(load); err != nil {
		return nil, err
	}
	s := &Schedule{load: load, prefix: name, random: rand.New(rand.NewPCG(load.Seed, 0x6c6f6164))}
	s.kinds, s.upTo, _ = shares(load.Mix)
	needsKeys := slices.ContainsFunc(s.kinds, func(k kv.Kind) bool { return k == kv.Update || k == kv.Read || k == kv.Remove })
	if first && needsKeys {
		s.creates = load.Keys
	}
	if load.Arrivals == "poisson" {
		s.at = s.random.ExpFloat64() / load.RateRPS
	}
	return s, nil
}

// Next is the next request; ok is false after the last.
func (s *Schedule) Next() (due Due, ok bool) {
	mixAt := time.Duration(math.Round(s.at * 1e9))
	if s.load.Arrivals == "fixed" {
		mixAt = time.Duration(math.Round(float64(s.mixed) / s.load.RateRPS * 1e9))
	}
	createAt := time.Duration(s.created) * control.CreateInterval
	if s.created < s.creates && createAt <= mixAt && createAt < time.Duration(s.load.DurationNS) {
		s.created++
		s.sequence++
		return s.due(createAt, kv.Create, uint64(s.created-1)), true
	}
	if mixAt >= time.Duration(s.load.DurationNS) {
		return Due{}, false
	}
	s.mixed++
	s.at += s.random.ExpFloat64() / s.load.RateRPS
	s.sequence++
	kind, key := s.kind(), uint64(s.random.IntN(s.load.Keys))
	return s.due(mixAt, kind, key), true
}

func (s *Schedule) kind() kv.Kind {
	draw := s.random.Float64() * s.upTo[len(s.upTo)-1]
	for i, upTo := range s.upTo {
		if draw < upTo {
			return s.kinds[i]
		}
	}
	return s.kinds[len(s.kinds)-1]
}

func (s *Schedule) due(at time.Duration, kind kv.Kind, key uint64) Due {
	d := Due{At: at, Sequence: s.sequence, Operation: kv.Operation{Kind: kind, Key: key}}
	switch kind {
	case kv.Nop:
		d.Operation.Key = 0
	case kv.Create, kv.Update:
		d.Operation.Value = s.value()
	}
	return d
}

// value is different for every request of every client, and as long as the
// load says, or longer where that is too short to tell them apart.
func (s *Schedule) value() string {
	value := s.prefix + "." + strconv.FormatUint(s.sequence, 10)
	if missing := s.load.ValueBytes - len(value); missing > 0 {
		value += strings.Repeat(".", missing)
	}
	return value
}
