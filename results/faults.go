package results

// Faults is faults.json: what broke in a trial.
type Faults struct {
	// StartNS is when the load began; all times of Faults count from there.
	StartNS int64   `json:"start_ns"`
	Faults  []Fault `json:"faults"`
	// Schedule has the IDs of the schedule's entries in its order; older folders lack it.
	Schedule []string `json:"schedule,omitempty"`
	// Hosts maps each node's name to its host's, so that Fault.Pairs and links can be told
	// from nodes. Without it less can be derived.
	Hosts map[string]string `json:"hosts,omitempty"`
}

// What became of a fault: Fault.Outcome.
const (
	// FaultProved: all evidence was found.
	FaultProved = "proved"
	// FaultUnproved: evidence is missing, which voids the trial.
	FaultUnproved = "unproved"
	// FaultNeverFired: what it waited for never happened.
	FaultNeverFired = "never_fired"
	// FaultNobody: its selectors matched nobody that it could hit.
	FaultNobody = "hit_nobody"
	// FaultFailed: it couldn't be carried out.
	FaultFailed = "failed"
)

// Fault is one occurrence of a fault. Times are nanoseconds since the load began, on one
// clock; null where it didn't come to that.
type Fault struct {
	// ID is that of the schedule's entry, Kind that of the catalogue.
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// Occurrence counts those of the entry, from 1.
	Occurrence int  `json:"occurrence"`
	Optional   bool `json:"optional,omitempty"`
	// Trigger says what fired it, such as "at 60s".
	Trigger string `json:"trigger"`
	// Nodes, Links and Pairs ("FROM>TO", hosts) are what it hit. Of faults of the network,
	// Nodes are the processes that it cuts off from most servers, as far as it does that;
	// of changes of the configuration, those whose roles change.
	Nodes []string `json:"nodes,omitempty"`
	Links []string `json:"links,omitempty"`
	Pairs []string `json:"pairs,omitempty"`
	// Leader is who led when it fired; empty if nobody did, or nobody asked.
	Leader string `json:"leader,omitempty"`

	RequestedNS     *int64 `json:"requested_ns"`
	AppliedNS       *int64 `json:"applied_ns"`
	ObservedNS      *int64 `json:"observed_ns"`
	HealRequestedNS *int64 `json:"heal_requested_ns"`
	HealedNS        *int64 `json:"healed_ns"`
	// RecoveredNS is when its healing was observed.
	RecoveredNS *int64 `json:"recovered_ns"`

	Outcome  string     `json:"outcome"`
	Reason   string     `json:"reason,omitempty"`
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Evidence is what was measured of a fault's effect, or of its healing.
type Evidence struct {
	// Healed is true for evidence of the healing.
	Healed bool `json:"healed,omitempty"`
	// Kind is what was looked for, such as "down" or "cut", at Target.
	Kind   string `json:"kind"`
	Target string `json:"target"`
	// Found is true if it was there.
	Found bool `json:"found"`
	// Idle is true if nothing came that the fault could have shown itself by, such as a
	// message that would have been ignored: then it proves nothing either way.
	Idle bool `json:"idle,omitempty"`
	// Text says what was measured, such as "pid 4711 is gone, ended by killed".
	Text string `json:"text"`
}
