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

	"quorumlab/node/application"
	"quorumlab/node/control"
)

// Due is a request of the schedule.
type Due struct {
	// At is when the request is due, from the start of the load.
	At        time.Duration
	Sequence  uint64
	Operation application.Operation
	// Reads is that of the operation's kind.
	Reads bool
}

// Schedule is the sequence of requests that a load consists of, in the order
// in which they are due. Two schedules of the same load are the same.
//
// If the mix has operations that need their key to be present, a load whose
// client is the first one begins by creating every key, one each millisecond
// beside the requests of the mix.
type Schedule struct {
	load   control.Load
	prefix string
	random *rand.Rand
	kinds  []application.Kind
	upTo   []float64 // cumulated shares
	// create is the kind that makes keys present.
	create   application.Kind
	creates  int
	created  int
	mixed    int
	at       float64 // seconds, of the mix's next request
	sequence uint64
	// buffer is what a value is written to, kept for reuse; padding is as long
	// as the load wants values to be.
	buffer  []byte
	padding string
}

// CheckLoad refuses orders that no schedule can follow. The error says what
// would be right; it wraps application.ErrUnknown or application.ErrKind where
// that is the matter.
func CheckLoad(load control.Load) error {
	app, err := application.Find(load.Application)
	if err != nil {
		return err
	}
	if _, _, err := shares(app, load.Mix); err != nil {
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

// shares turns a mix into kinds of operations with cumulated shares.
func shares(app application.Application, mix map[string]float64) (kinds []application.Kind, upTo []float64, err error) {
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(mix)) {
		kind, known := application.KindNamed(app, name)
		share := mix[name]
		switch {
		case !known:
			return nil, nil, fmt.Errorf("mix: %w %q, want %s", application.ErrKind, name, kindNames(app))
		case !(share >= 0): // NaN too
			return nil, nil, fmt.Errorf("mix has %s: %v, want a share of at least 0", name, share)
		case share > 0:
			sum += share
			kinds = append(kinds, kind)
			upTo = append(upTo, sum)
		}
	}
	if !(math.Abs(sum-1) <= 1e-6) {
		return nil, nil, fmt.Errorf("the shares of mix sum to %v, want 1", sum)
	}
	return kinds, upTo, nil
}

// kindNames lists an application's operations for an error.
func kindNames(app application.Application) string {
	var names []string
	for _, kind := range app.Kinds() {
		names = append(names, kind.Name)
	}
	return strings.Join(names, " or ")
}

// NewSchedule makes the schedule of a client; name distinguishes the values
// that it writes from other clients'. First says whether this client creates
// the keys. The error is CheckLoad's.
func NewSchedule(load control.Load, name string, first bool) (*Schedule, error) {
	if err := CheckLoad(load); err != nil {
		return nil, err
	}
	app, err := application.Find(load.Application)
	if err != nil {
		return nil, err
	}
	s := &Schedule{load: load, prefix: name, random: rand.New(rand.NewPCG(load.Seed, 0x6c6f6164)),
		padding: strings.Repeat(".", load.ValueBytes)}
	if s.kinds, s.upTo, err = shares(app, load.Mix); err != nil {
		return nil, err
	}
	if first && application.NeedsKeys(app, load.Mix) {
		create := slices.IndexFunc(app.Kinds(), func(k application.Kind) bool { return k.Creates })
		s.create, s.creates = app.Kinds()[create], load.Keys
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
		return s.due(createAt, s.create, uint64(s.created-1)), true
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

func (s *Schedule) kind() application.Kind {
	draw := s.random.Float64() * s.upTo[len(s.upTo)-1]
	for i, upTo := range s.upTo {
		if draw < upTo {
			return s.kinds[i]
		}
	}
	return s.kinds[len(s.kinds)-1]
}

func (s *Schedule) due(at time.Duration, kind application.Kind, key uint64) Due {
	d := Due{At: at, Sequence: s.sequence, Operation: application.Operation{Kind: kind.Name}, Reads: kind.Reads}
	if kind.Keyed {
		d.Operation.Key = key
	}
	if kind.Writes {
		d.Operation.Value = s.value()
	}
	return d
}

// value is different for every request of every client, and as long as the
// load says, or longer where that is too short to tell them apart.
func (s *Schedule) value() string {
	value := append(append(s.buffer[:0], s.prefix...), '.')
	value = strconv.AppendUint(value, s.sequence, 10)
	value = append(value, s.padding[min(len(value), len(s.padding)):]...)
	s.buffer = value
	return string(value)
}
