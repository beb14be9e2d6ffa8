// Package experiment reads experiment files and makes plans of them. It is
// strict: what it doesn't know, it refuses, naming the file, the line, the
// column, the bad value and what would be right. It runs nothing.
package experiment

import "time"

// Spec is an experiment file after defaults have been filled in. The yaml keys
// are the dotted paths of sweeps and of --set.
type Spec struct {
	Version  int      `yaml:"version" json:"version"`
	Name     string   `yaml:"name" json:"name"`
	Seed     uint64   `yaml:"seed" json:"seed"`
	Repeat   int      `yaml:"repeat" json:"repeat"`
	Engine   string   `yaml:"engine" json:"engine"`
	System   System   `yaml:"system" json:"system"`
	Topology Topology `yaml:"topology" json:"topology"`
	Workload Workload `yaml:"workload" json:"workload"`
	Phases   Phases   `yaml:"phases" json:"phases"`
	// Sweep maps dotted paths to the values that they take in turn: the grid
	// of all combinations, the last key varying fastest.
	Sweep []Axis `yaml:"-" json:"sweep,omitempty"`
}

// Axis is one swept field.
type Axis struct {
	Path   string `json:"path"`
	Values []any  `json:"values"`
}

// System is what is measured.
type System struct {
	Protocol string `yaml:"protocol" json:"protocol"`
	// Roles maps "replicas", "leaders", "acceptors" (a protocol's roles in the
	// plural) to how many processes have them.
	Roles map[string]int `yaml:"roles" json:"roles"`
	// Options are the protocol's own.
	Options map[string]any `yaml:"options" json:"options,omitempty"`
	// Storage is "memory".
	Storage string `yaml:"storage" json:"storage"`
	// Transport is "tcp".
	Transport string `yaml:"transport" json:"transport"`
}

// Topology is the network to emulate.
type Topology struct {
	// Kind is "star".
	Kind string `yaml:"kind" json:"kind"`
	Link Link   `yaml:"link" json:"link"`
}

// Link is what every link is like, in each direction.
type Link struct {
	Delay              Duration    `yaml:"delay" json:"delay"`
	Jitter             Duration    `yaml:"jitter" json:"jitter"`
	JitterDistribution string      `yaml:"jitter_distribution" json:"jitter_distribution"`
	Loss               Probability `yaml:"loss" json:"loss"`
	Rate               BitRate     `yaml:"rate" json:"rate"`
	// Queue is in frames; 0 means unbounded.
	Queue int `yaml:"queue" json:"queue"`
}

// Workload is what the clients do.
type Workload struct {
	// Clients is the number of client processes.
	Clients int `yaml:"clients" json:"clients"`
	// Target is "all": each request goes to every replica.
	Target string `yaml:"target" json:"target"`
	// Loop is "open".
	Loop string `yaml:"loop" json:"loop"`
	// Rate is of all clients together, in requests a second.
	Rate Rate `yaml:"rate" json:"rate"`
	// Arrivals is "fixed" or "poisson".
	Arrivals string `yaml:"arrivals" json:"arrivals"`
	// Mix maps nop, create, update, read, remove to their shares; the shares
	// sum to 1.
	Mix map[string]float64 `yaml:"mix" json:"mix"`
	// Keys is how many keys the operations choose from, uniformly.
	Keys int `yaml:"keys" json:"keys"`
	// ValueSize is the size of the values written.
	ValueSize Bytes `yaml:"value_size" json:"value_size"`
	// Timeout is how long after its intended time a request counts as
	// unanswered.
	Timeout Duration `yaml:"timeout" json:"timeout"`
}

// Phases divides a trial's time. Requests that were due in Warmup are sent
// but not counted. After Measure no more are sent; answers are awaited for
// Workload.Timeout, then Drain bounds the wait for the replicas to catch up with
// each other.
type Phases struct {
	Warmup  Duration `yaml:"warmup" json:"warmup"`
	Measure Duration `yaml:"measure" json:"measure"`
	Drain   Duration `yaml:"drain" json:"drain"`
}

// Scalars of the format. In YAML and JSON they are written with their unit.
type (
	// Duration is written as "20ms", "1.5s", "1m".
	Duration time.Duration
	// Rate is requests a second, written as "20/s" or 20.
	Rate float64
	// BitRate is bits a second, written as "1gbit", "10mbit", "64kbit"; 0 or
	// "unlimited" means no limit.
	BitRate int64
	// Probability is 0 to 1, written as "0.1%" or 0.001.
	Probability float64
	// Bytes is a size, written as "16B", "4KiB", "1kB" or a number.
	Bytes int64
)
