// Package results reads and writes run folders, the only source of truth about
// an experiment: what was planned, on what machine, each request's times, what
// broke, what the links did, and whether a trial counts. It promises that a trial counts
// only once its verdict.json has been renamed into place, and that fields are
// only ever added.
//
//	manifest.json      what was run, with what, where
//	inputs/            copies of the files that the experiment names
//	trials/0001/       one trial: requests.csv.gz, events.jsonl.gz, links.json,
//	                   faults.json (if there was a schedule of them), nodes/
//	                   (logs, exit statuses), verdict.json; where a history isn't
//	                   linearizable, violation.json and .html; derived of trials
//	                   with faults: trace.csv
//	summary.json       derived: the points with their statistics
//	summary.csv        the same, one row a point
//
// A study of round trips (Manifest.Kind is KindRTT) has rtts.csv.gz in its one trial,
// and rtt.json, rtt.csv and rtt.html are derived.
//
// Times are nanoseconds of the controller's CLOCK_MONOTONIC, or of a simulated
// trial's virtual time, unless a name says otherwise.
package results

import (
	"encoding/json"
	"time"
)

// Outcomes of a request.
const (
	// OutcomeOK is a request that was answered and whose operation succeeded.
	OutcomeOK = "ok"
	// OutcomeFail is a request that was answered by the application's Failure,
	// such as a read of a key that isn't present. It counts as answered.
	OutcomeFail = "fail"
	// OutcomeTimeout is a request without an answer; whether its operation was
	// applied is unknown.
	OutcomeTimeout = "timeout"
)

// Findings about safety: Verdict.Linearizable and Verdict.Agreement.
const (
	FindingOK        = "ok"
	FindingViolation = "violation"
	// FindingUnknown is a check that came to no end.
	FindingUnknown = "unknown"
	// FindingNotChecked is where there was nothing to check. It is never ok.
	FindingNotChecked = "not_checked"
)

// Row is one request: a line of requests.csv.gz.
type Row struct {
	// Client is the client's name, such as "client1".
	Client   string
	Sequence uint64
	// Operation is one of the application's: nop, create, update, read or remove
	// (kv), nop, increment, decrement or read (counter).
	Operation string
	// Key is what it was about; meaningless for a nop.
	Key uint64
	// Value is what a create or update writes.
	Value string
	// IntendedNS is when the request was due, SentNS when it was handed to the
	// network, DoneNS when its first answer came (0 for a timeout).
	IntendedNS, SentNS, DoneNS int64
	Outcome                    string
	// Result is what a successful operation returned, if anything; if that can't be
	// decoded, its bytes in quotes, up to 64 characters of them.
	Result string
	// Slot and Index say where the log had the operation applied, as
	// consensus.Response does; both are 0 for a timeout.
	Slot  uint64
	Index uint32
}

// Manifest is manifest.json: all that is needed to run the experiment again,
// and to judge whether that would be comparable.
type Manifest struct {
	// Format is FormatVersion; Create sets it.
	Format int `json:"format"`
	// Kind is empty for a run of an experiment, or KindRTT.
	Kind string `json:"kind,omitempty"`
	// RTT is there if the kind is KindRTT.
	RTT *RTTPlan `json:"rtt,omitempty"`
	// Experiment is the spec's name.
	Experiment string `json:"experiment"`
	// SpecFile is the path that was given, Spec its bytes.
	SpecFile string `json:"spec_file"`
	Spec     string `json:"spec"`
	// Overrides are the --set, --seed, --repeat that were applied.
	Overrides []string `json:"overrides,omitempty"`
	// Inputs are the files that the spec names.
	Inputs []Input `json:"inputs,omitempty"`
	Seed   uint64  `json:"seed"`
	Repeat int     `json:"repeat"`
	// Plan is every trial, in the order in which they run.
	Plan []PlannedTrial `json:"plan"`

	Engine       string    `json:"engine"`
	EngineReason string    `json:"engine_reason"`
	Links        string    `json:"links"`
	LinksReason  string    `json:"links_reason"`
	Simulated    bool      `json:"simulated"`
	StartedAt    time.Time `json:"started_at"`
	// Costs are the modelled costs of a simulated run, before any sweep of them.
	Costs json.RawMessage `json:"costs,omitempty"`
	// TraceHash fingerprints a simulated run: the SHA-256, in hexadecimal, of a
	// line "TRIAL HASH" for each trial of the plan. It is there once all of them
	// have run.
	TraceHash string `json:"trace_hash,omitempty"`

	Tool    Tool    `json:"tool"`
	Machine Machine `json:"machine"`
}

// PlannedTrial is one trial of the plan.
type PlannedTrial struct {
	// Trial numbers the folder, from 1.
	Trial int `json:"trial"`
	// Point numbers the combination of swept values, from 0; Repeat counts the
	// trials of one point, from 0.
	Point  int    `json:"point"`
	Repeat int    `json:"repeat"`
	Seed   uint64 `json:"seed"`
	// Params are the swept values by dotted path.
	Params json.RawMessage `json:"params"`
	// TraceHash is that of the verdict of a simulated trial, once it has one.
	TraceHash string `json:"trace_hash,omitempty"`
}

// Tool says which binaries ran.
type Tool struct {
	Version     string   `json:"version"`
	Go          string   `json:"go"`
	BenchSHA256 string   `json:"bench_sha256"`
	NodeSHA256  string   `json:"bench_node_sha256"`
	CommandLine []string `json:"command_line"`
}

// Machine says where they ran.
type Machine struct {
	Hostname    string            `json:"hostname"`
	OS          string            `json:"os"`
	Kernel      string            `json:"kernel"`
	CPU         string            `json:"cpu"`
	CPUs        int               `json:"cpus"`
	MemoryBytes int64             `json:"memory_bytes"`
	User        string            `json:"user"`
	Limits      map[string]string `json:"limits,omitempty"`
	Sysctls     map[string]string `json:"sysctls,omitempty"`
	// CongestionControl is what the lab's hosts use.
	CongestionControl string `json:"congestion_control,omitempty"`
}

// Verdict is verdict.json: whether a trial counts, and what was counted.
type Verdict struct {
	Trial  int             `json:"trial"`
	Point  int             `json:"point"`
	Repeat int             `json:"repeat"`
	Params json.RawMessage `json:"params"`
	Valid  bool            `json:"valid"`
	// Reasons say why the trial is void, each with what would mend it.
	Reasons []VoidReason `json:"reasons,omitempty"`
	// PredictedNS is the latency that the topology predicts.
	PredictedNS int64 `json:"predicted_ns"`
	// MeasureStartNS and MeasureEndNS bound the intended times that count: from the
	// first, before the second. Both are 0 if there was no load, or if that ended
	// before the measured phase. Where a number of answers ended the phase, its end
	// is the last answer, which doesn't count: a phase that was made to end with an
	// answer has one more than its length explains.
	MeasureStartNS int64 `json:"measure_start_ns"`
	MeasureEndNS   int64 `json:"measure_end_ns"`
	// OfferedRPS is the declared rate of all clients.
	OfferedRPS float64 `json:"offered_rps"`
	// Linearizable is a finding about the requests, Agreement one about the
	// replicas' states and the commands that they have decided.
	Linearizable string `json:"linearizable"`
	Agreement    string `json:"agreement"`
	// History says what of the requests was checked.
	History History `json:"history"`
	// Counters sum the nodes' counters over the whole trial, by role and name,
	// such as "leader.ballots".
	Counters map[string]uint64 `json:"counters,omitempty"`
	// ClientLimited is true if the client fell behind its own schedule.
	ClientLimited bool `json:"client_limited"`
	// LedAfterNS is how long after the processes' start exactly one live process
	// led; only trials that end then have it.
	LedAfterNS *int64 `json:"led_after_ns,omitempty"`
	// Simulation is there if the trial was simulated.
	Simulation *Simulation `json:"simulation,omitempty"`
	// Faults is how many records faults.json has; 0 if there is none.
	Faults int `json:"faults,omitempty"`
	// Captured is true if frames were captured during the trial, which costs time: such
	// trials are labelled wherever they are shown.
	Captured bool `json:"captured,omitempty"`
	// Machine is what else kept the machine busy; nil in simulated trials.
	Machine *Load `json:"machine,omitempty"`
	// Transport sums the nodes' connections; nil if none reported any.
	Transport *Transport `json:"transport,omitempty"`
	// TraceHash fingerprints every event of a simulated trial, in hexadecimal: the
	// same trial has the same hash, wherever and whenever it runs.
	TraceHash string `json:"trace_hash,omitempty"`
}

// Load is what the machine did from the load's beginning to its end.
type Load struct {
	// BusyShare, StealShare are of all processors' time: not idle, and taken away by the
	// hypervisor.
	BusyShare  float64 `json:"busy_share"`
	StealShare float64 `json:"steal_share"`
	// LoadAverage is the one of the last minute, at the end.
	LoadAverage float64 `json:"load_average"`
	CPUs        int     `json:"cpus"`
}

// Transport tells losses of frames, on links, from losses of messages. TCP turns the
// former into delay: it sends again, and slows down.
type Transport struct {
	CongestionControl  string `json:"congestion_control,omitempty"`
	SlowStartAfterIdle bool   `json:"slow_start_after_idle"`
	SegmentsSent       uint64 `json:"segments_sent"`
	Retransmitted      uint64 `json:"retransmitted"`
	// FramesLost were lost by the links: by loss, full queues, links that were down, and
	// by corruption, since the receiver refuses what is corrupted.
	FramesLost uint64 `json:"frames_lost"`
	// MessagesLost were given up by nodes whose queue to a peer was full, or died with a
	// datagram.
	MessagesLost uint64 `json:"messages_lost"`
}

// History is what the check of a trial's history covered.
type History struct {
	// Operations were checked, of Keys keys; Witnessed of these keys by the log's
	// order alone.
	Operations int `json:"operations"`
	Keys       int `json:"keys"`
	Witnessed  int `json:"witnessed"`
	// Reason says why the finding isn't ok.
	Reason string `json:"reason,omitempty"`
}

// Simulation is what a simulated trial tells of itself.
type Simulation struct {
	// Events were simulated within ElapsedNS of virtual time.
	Events    uint64 `json:"events"`
	ElapsedNS int64  `json:"elapsed_ns"`
	// CPUNS is how long each node's core was busy.
	CPUNS map[string]int64 `json:"cpu_ns"`
}

// VoidReason is one reason why a trial doesn't count.
type VoidReason struct {
	// Code is short and stable, such as "rtt" or "agreement".
	Code string `json:"code"`
	// Text says what was seen and what was expected.
	Text string `json:"text"`
	// Mend is the one action that would most likely mend it.
	Mend string `json:"mend"`
}

// Links is links.json: declared and measured links.
type Links struct {
	Executor string `json:"executor"`
	Reason   string `json:"reason"`
	// RTTs are the probed round trips, one row a pair.
	RTTs []RTT `json:"rtts"`
	// Calibration is each link's check before the load, as far as there was one.
	Calibration []LinkCheck `json:"calibration,omitempty"`
	// Captured are the links whose frames were written to capture files.
	Captured []string `json:"captured,omitempty"`
	// CaptureMissed counts the frames that those files lack: they crossed the link, but
	// could not be written in time.
	CaptureMissed uint64 `json:"capture_missed,omitempty"`
	// Report is what the links counted, from the end of the trial.
	Report json.RawMessage `json:"report"`
}

// Findings about a link's parameter: LinkCheck.Finding.
const (
	LinkPass = "pass"
	LinkFail = "fail"
	// LinkNotTested is a parameter that this measurement can't judge; Reason says why.
	LinkNotTested = "not_tested"
)

// LinkCheck sets one parameter of one direction of a link, as measured, beside its
// declaration.
type LinkCheck struct {
	Link string `json:"link"`
	From string `json:"from"`
	To   string `json:"to"`
	// Parameter is delay, trace, jitter, loss, burst, duplicate, corrupt, reorder,
	// reorder_correlation, rate or queue.
	Parameter string `json:"parameter"`
	// Unit is that of the numbers: ms, share, bit/s, frames, bytes, or empty for a
	// statistic.
	Unit string `json:"unit,omitempty"`
	// Declared and Measured are the value; Low and High bound what Measured may be if
	// the link is as declared.
	Declared float64 `json:"declared"`
	Measured float64 `json:"measured"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	// Frames is how many the measurement rests on.
	Frames  int    `json:"frames"`
	Finding string `json:"finding"`
	Reason  string `json:"reason,omitempty"`
}

// RTT is the round trip between two hosts, before the load.
type RTT struct {
	From        string `json:"from"`
	To          string `json:"to"`
	PredictedNS int64  `json:"predicted_ns"`
	// LeastNS is the least of Answered probes out of Sent.
	LeastNS  int64 `json:"least_ns"`
	Answered int   `json:"answered"`
	Sent     int   `json:"sent"`
}
