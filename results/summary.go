package results

import "encoding/json"

// Summary is summary.json. What is unknown is null.
type Summary struct {
	Experiment string `json:"experiment"`
	Seed       uint64 `json:"seed"`
	Engine     string `json:"engine"`
	// EngineReason says why that engine was chosen.
	EngineReason string `json:"engine_reason"`
	// Links is the link executor, Repeat the planned trials of each point.
	Links       string   `json:"links"`
	Repeat      int      `json:"repeat"`
	Valid       bool     `json:"valid"`
	VoidReasons []string `json:"void_reasons"`
	// Mend is the one action that would most likely mend a void run.
	Mend      string `json:"mend,omitempty"`
	Simulated bool   `json:"simulated"`
	// Label stands in all that is derived from a simulated run: LabelSimulated.
	Label string `json:"label,omitempty"`
	// Interrupted is true if trials of the plan are missing.
	Interrupted bool    `json:"interrupted"`
	Points      []Point `json:"points"`
	// FaultTiming is how far behind their requested times faults were applied, in all
	// trials; null without faults.
	FaultTiming *FaultTiming `json:"fault_timing,omitempty"`
}

// LabelSimulated marks what wasn't measured on a real network.
const LabelSimulated = "SIMULATED"

// Point is one combination of the swept values.
type Point struct {
	Params map[string]json.RawMessage `json:"params"`
	// Trials are the valid ones, Void those that don't count, Attempted both.
	Trials      int               `json:"trials"`
	Void        int               `json:"void"`
	Attempted   int               `json:"attempted"`
	Latency     *Latency          `json:"latency_ms"`
	PredictedMS *float64          `json:"predicted_ms"`
	Throughput  *Throughput       `json:"throughput_rps"`
	Outcomes    Outcomes          `json:"outcomes"`
	Counters    map[string]uint64 `json:"counters,omitempty"`
	// BallotsPerDecision is the ballots that leaders started over the slots
	// decided; null where the protocol has no ballots or nothing was decided.
	BallotsPerDecision *float64 `json:"ballots_per_decision"`
	// Linearizable and Agreement are the worst findings of all trials, void ones
	// too; not_checked only if none was checked.
	Linearizable string `json:"linearizable"`
	Agreement    string `json:"agreement"`
	// CheckedOperations is how many requests the checks of the histories covered.
	CheckedOperations int `json:"checked_operations"`
	// Violations are the files that show violations, relative to the run folder.
	Violations []string `json:"violations,omitempty"`
	// FirstLeader is how long after their start the processes agreed on a leader,
	// in milliseconds; null unless the trials end then.
	FirstLeader   *Spread    `json:"first_leader_ms"`
	Links         LinkErrors `json:"links"`
	ClientLimited bool       `json:"client_limited"`
	// Transport sums what the valid trials' connections did; null if none reported any.
	Transport *Transport `json:"transport"`
	// Captured is true if frames were captured in some trial, which costs time.
	Captured bool `json:"captured,omitempty"`
	// Faults are the entries of the schedule, in the order in which they are recorded,
	// with what became of them in all trials, void ones too. Recovery is what they cost, by entry, in the valid ones.
	Faults   []FaultEntry        `json:"faults,omitempty"`
	Recovery map[string]Recovery `json:"recovery,omitempty"`
}

// Latency is in milliseconds, from the intended time to the first answer. Mean
// is the mean of the trials' means over answered requests. Percentiles are of
// all trials' requests pooled, a timeout counting as infinitely late: null if
// the percentile falls among the timeouts.
type Latency struct {
	Trials   int      `json:"n_trials"`
	Requests int      `json:"n_requests"`
	Mean     *float64 `json:"mean"`
	// Stddev is that of the trial means; null with fewer than two trials.
	Stddev   *float64    `json:"stddev"`
	CI95     *[2]float64 `json:"ci95"`
	CIMethod string      `json:"ci_method"`
	// CI95Normal is the dissertation's interval, 1.96 sigma / sqrt(M).
	CI95Normal *[2]float64 `json:"ci95_normal"`
	Min        *float64    `json:"min"`
	P50        *float64    `json:"p50"`
	P90        *float64    `json:"p90"`
	P95        *float64    `json:"p95"`
	P99        *float64    `json:"p99"`
	P999       *float64    `json:"p999"`
	Max        *float64    `json:"max"`
}

// Spread is of one value a trial.
type Spread struct {
	Trials   int         `json:"n_trials"`
	Mean     *float64    `json:"mean"`
	Stddev   *float64    `json:"stddev"`
	CI95     *[2]float64 `json:"ci95"`
	CIMethod string      `json:"ci_method"`
	Min      *float64    `json:"min"`
	Max      *float64    `json:"max"`
}

// Throughput is in responses a second: the first answers that came within the
// measured phase, whenever their requests were due, over its length.
type Throughput struct {
	Trials     int         `json:"n_trials"`
	Offered    float64     `json:"offered"`
	Mean       *float64    `json:"mean"`
	Stddev     *float64    `json:"stddev"`
	CI95       *[2]float64 `json:"ci95"`
	CIMethod   string      `json:"ci_method"`
	CI95Normal *[2]float64 `json:"ci95_normal"`
}

// Outcomes counts the requests of the measured phase.
type Outcomes struct {
	OK      int `json:"ok"`
	Fail    int `json:"fail"`
	Timeout int `json:"timeout"`
	Retried int `json:"retried"`
}

// LinkErrors says how the links behaved, over a point's trials.
type LinkErrors struct {
	// RTTErrorMSP50 and P99 are of the probed pairs' absolute difference
	// between least and predicted round trip.
	RTTErrorMSP50     *float64 `json:"rtt_error_ms_p50"`
	RTTErrorMSP99     *float64 `json:"rtt_error_ms_p99"`
	LateFrames        uint64   `json:"late_frames"`
	DroppedByEmulator uint64   `json:"dropped_by_emulator"`
}
