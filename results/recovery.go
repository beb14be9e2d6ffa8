package results

import (
	"slices"
	"strconv"
)

// FaultEntry is what became of one entry of a schedule, over all trials of a point.
type FaultEntry struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// Trigger says what fires it, as the first occurrence has it.
	Trigger  string `json:"trigger"`
	Optional bool   `json:"optional,omitempty"`
	// Occurrences are those that fired, of which so many were Proved, and so on.
	// NeverFired counts the trials in which it never did.
	Occurrences int `json:"occurrences"`
	Proved      int `json:"proved"`
	Unproved    int `json:"unproved"`
	HitNobody   int `json:"hit_nobody"`
	Failed      int `json:"failed"`
	NeverFired  int `json:"never_fired"`
	// Hit counts what was hit, the most frequent first; at most MaxHits of them.
	Hit []Hit `json:"hit,omitempty"`
	// RequestedS and AppliedS are in seconds since the load began, ActiveS is the time
	// from the effect to its healing; null where that never came.
	RequestedS *Range `json:"requested_s"`
	AppliedS   *Range `json:"applied_s"`
	ActiveS    *Range `json:"active_s"`
	// Evidence is what proved one of them, Missing what another lacked.
	Evidence string `json:"evidence,omitempty"`
	Missing  string `json:"missing,omitempty"`
}

// MaxHits bounds FaultEntry.Hit.
const MaxHits = 8

// Hit is what an occurrence hit: nodes, else links, else pairs of hosts ("a>b", or "a<>b"
// for both ways; by the node's name where the host has one only), joined by "+"; and how
// many did.
type Hit struct {
	What  string `json:"what"`
	Times int    `json:"times"`
}

// Range describes a few values.
type Range struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

// Recovery is what an entry's faults cost, over the valid trials of a point.
// docs/recovery.md defines each number. An estimate is null where nothing can be said.
type Recovery struct {
	// Trials had Occurrences of it while requests fell due.
	Trials      int `json:"trials"`
	Occurrences int `json:"occurrences"`

	UnavailableMS *Estimate `json:"unavailable_ms"`
	DetectionMS   *Estimate `json:"detection_ms"`
	ElectionMS    *Estimate `json:"election_ms"`
	FirstCommitMS *Estimate `json:"first_commit_ms"`
	BackMS        *Estimate `json:"back_to_normal_ms"`
	// Rounds are the ballots, terms or views used until the first commit, Elections the
	// processes that came to lead.
	Rounds    *Estimate `json:"rounds"`
	Elections *Estimate `json:"elections"`
	// TCPMS is from the healing until connections worked again, ProtocolMS from then to
	// the first commit.
	TCPMS      *Estimate `json:"tcp_ms"`
	ProtocolMS *Estimate `json:"protocol_ms"`
	// Late and Timeouts count requests of one occurrence, in flight or due in its window.
	Late     *Estimate `json:"late"`
	Timeouts *Estimate `json:"timeouts"`

	// Requests are counted over all occurrences.
	Requests FaultRequests `json:"requests"`
	// Before is the same for all entries; During and After are of their requests.
	Before *PhaseLatency `json:"latency_before_ms"`
	During *PhaseLatency `json:"latency_during_ms"`
	After  *PhaseLatency `json:"latency_after_ms"`
}

// Estimate is a mean over trials, each of which has the mean of its occurrences.
type Estimate struct {
	Mean *float64 `json:"mean"`
	// LowerBound is true if some occurrence was censored: it counts with the time that it
	// was watched for, so that the mean is a lower bound, and has no interval.
	LowerBound bool        `json:"lower_bound,omitempty"`
	CI95       *[2]float64 `json:"ci95"`
	CIMethod   string      `json:"ci_method,omitempty"`
	// Median is the Kaplan-Meier estimate over the occurrences; null if more than half are
	// censored too early to tell.
	Median *float64 `json:"median"`
	// N is the trials with a value.
	N int `json:"n"`
	// Occurrences were measured; of them Censored were only seen to take longer. None
	// counts further ones, in which there was nothing to measure: no election, for
	// example, because the service went on without one.
	Occurrences int `json:"occurrences"`
	Censored    int `json:"censored"`
	None        int `json:"none,omitempty"`
}

// FaultRequests counts the requests of a fault's window. A retried one was sent by its
// client more than once.
type FaultRequests struct {
	Requests int `json:"requests"`
	Late     int `json:"late"`
	Timeout  int `json:"timeout"`
	Retried  int `json:"retried"`
}

// PhaseLatency is in milliseconds. The mean is that of the trials' means over answered
// requests; percentiles are of all requests pooled, a timeout counting as infinitely late.
type PhaseLatency struct {
	Trials   int         `json:"n_trials"`
	Requests int         `json:"n_requests"`
	Timeouts int         `json:"timeouts"`
	Mean     *float64    `json:"mean"`
	CI95     *[2]float64 `json:"ci95"`
	P50      *float64    `json:"p50"`
	P99      *float64    `json:"p99"`
}

// FaultTiming is a histogram of the time from when faults were to be applied to when they
// were.
type FaultTiming struct {
	Faults int `json:"faults"`
	// Within5MS is the share that was applied within 5 ms, MaxMS the longest time.
	Within5MS float64        `json:"within_5ms"`
	MaxMS     float64        `json:"max_ms"`
	Buckets   []TimingBucket `json:"buckets"`
}

// TimingBucket counts what took longer than the bucket before says and at most UpToMS; the
// last bucket has no bound: null.
type TimingBucket struct {
	UpToMS *float64 `json:"up_to_ms"`
	Faults int      `json:"faults"`
}

// estimates are what a Recovery has, as summary.csv names them.
var estimates = []struct {
	name string
	of   func(*Recovery) *Estimate
}{
	{"unavailable_ms", func(r *Recovery) *Estimate { return r.UnavailableMS }},
	{"detection_ms", func(r *Recovery) *Estimate { return r.DetectionMS }},
	{"election_ms", func(r *Recovery) *Estimate { return r.ElectionMS }},
	{"first_commit_ms", func(r *Recovery) *Estimate { return r.FirstCommitMS }},
	{"back_to_normal_ms", func(r *Recovery) *Estimate { return r.BackMS }},
	{"rounds", func(r *Recovery) *Estimate { return r.Rounds }},
	{"elections", func(r *Recovery) *Estimate { return r.Elections }},
	{"tcp_ms", func(r *Recovery) *Estimate { return r.TCPMS }},
	{"protocol_ms", func(r *Recovery) *Estimate { return r.ProtocolMS }},
	{"late", func(r *Recovery) *Estimate { return r.Late }},
	{"timeouts", func(r *Recovery) *Estimate { return r.Timeouts }},
}

// estimateColumns are those of each estimate.
var estimateColumns = []struct {
	name string
	cell func(*Estimate) string
}{
	{"mean", func(e *Estimate) string { return cell(e.Mean) }},
	{"ci95_low", func(e *Estimate) string { return bound(e.CI95, 0) }},
	{"ci95_high", func(e *Estimate) string { return bound(e.CI95, 1) }},
	{"median", func(e *Estimate) string { return cell(e.Median) }},
	{"n", func(e *Estimate) string { return strconv.Itoa(e.N) }},
	{"occurrences", func(e *Estimate) string { return strconv.Itoa(e.Occurrences) }},
	{"censored", func(e *Estimate) string { return strconv.Itoa(e.Censored) }},
	{"none", func(e *Estimate) string { return strconv.Itoa(e.None) }},
}

// recoveryColumns are recovery_ID_ESTIMATE_COLUMN for each entry of any point's schedule.
func (s *Summary) recoveryColumns() []column {
	var columns []column
	for _, id := range s.FaultIDs() {
		for _, estimate := range estimates {
			for _, part := range estimateColumns {
				columns = append(columns, column{"recovery_" + id + "_" + estimate.name + "_" + part.name, func(p *Point) string {
					recovery, ok := p.Recovery[id]
					if !ok || estimate.of(&recovery) == nil {
						return ""
					}
					return part.cell(estimate.of(&recovery))
				}})
			}
		}
	}
	return columns
}

// FaultIDs are the entries of all points' schedules, in their order.
func (s *Summary) FaultIDs() []string {
	var ids []string
	for _, point := range s.Points {
		for _, entry := range point.Faults {
			if !slices.Contains(ids, entry.ID) {
				ids = append(ids, entry.ID)
			}
		}
	}
	return ids
}
