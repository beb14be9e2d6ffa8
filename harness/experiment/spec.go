// Package experiment reads experiment files and makes plans of them. It is
// strict: what it doesn't know, it refuses, naming the file, the line, the
// column, the bad value and what would be right. It runs nothing.
package experiment

import (
	"time"

	"quorumlab/harness/engine"
)

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
	// Faults are what breaks.
	Faults []Fault `yaml:"faults" json:"faults,omitempty"`
	Stop   Stop    `yaml:"stop" json:"stop"`
	// Capture are the links whose frames labs write down, by name or pattern.
	Capture []string `yaml:"capture" json:"capture,omitempty"`
	// Simulation is for the engine sim only; others run in real time.
	Simulation Simulation `yaml:"simulation" json:"simulation"`
	// Sweep maps dotted paths to the values that they take in turn: the grid
	// of all combinations, the last key varying fastest.
	Sweep []Axis `yaml:"-" json:"sweep,omitempty"`

	// inputs are the files that the topology names.
	inputs *inputs
}

// Axis is one swept field.
type Axis struct {
	Path   string `json:"path"`
	Values []any  `json:"values"`
}

// System is what is measured.
type System struct {
	Protocol string `yaml:"protocol" json:"protocol"`
	// Application is what is replicated: a name of package application.
	Application string `yaml:"application" json:"application"`
	// Roles maps "replicas", "leaders", "acceptors" (a protocol's roles in the
	// plural) to how many processes have them.
	Roles map[string]int `yaml:"roles" json:"roles"`
	// Spares maps roles, as Roles does, to how many further processes are started
	// and stand by until a reconfiguration calls on them.
	Spares map[string]int `yaml:"spares" json:"spares,omitempty"`
	// Options are the protocol's own.
	Options map[string]any `yaml:"options" json:"options,omitempty"`
	// Storage is control.StorageMemory, StorageDisk or StorageFsync.
	Storage string `yaml:"storage" json:"storage"`
	// Transport is engine.TransportTCP or, for the engine sim,
	// engine.TransportDatagram.
	Transport string `yaml:"transport" json:"transport"`
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
	// Mix maps the application's operations, such as nop, update and read, to
	// their shares; the shares sum to 1.
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

// Stop ends a trial before its phases do (engine sim only). The zero value
// never does.
type Stop struct {
	// Requests is how many answered ones end the load, those of the warm-up too;
	// 0 is no limit.
	Requests uint64 `yaml:"requests" json:"requests"`
	// Leader ends the trial, before any load, once exactly one live process leads.
	// It isn't awaited that others learn of it.
	Leader bool `yaml:"leader" json:"leader"`
}

// Conditions are what a simulation is told.
func (s Stop) Conditions() engine.Stop {
	return engine.Stop{FirstLeader: s.Leader, Requests: s.Requests}
}

// Simulation is what the engine sim takes processes and disks to cost (engine sim
// only). What is nil has the engine's default.
type Simulation struct {
	// PerMessage is the processor's time to receive and handle a message or a
	// timer, PerSend that to send one, PerByte that for each byte of either.
	PerMessage *Duration    `yaml:"per_message" json:"per_message,omitempty"`
	PerSend    *Duration    `yaml:"per_send" json:"per_send,omitempty"`
	PerByte    *Nanoseconds `yaml:"per_byte" json:"per_byte,omitempty"`
	// Sync is how long a disk takes to make what was written durable; it counts
	// with System.Storage fsync only.
	Sync *Duration `yaml:"sync" json:"sync,omitempty"`
}

// Costs are the defaults with those in their places that the experiment sets.
func (s Simulation) Costs(defaults engine.Costs) engine.Costs {
	costs := defaults
	for _, c := range []struct {
		given  *Duration
		target *time.Duration
	}{{s.PerMessage, &costs.PerMessage}, {s.PerSend, &costs.PerSend}, {s.Sync, &costs.Sync}} {
		if c.given != nil {
			*c.target = time.Duration(*c.given)
		}
	}
	if s.PerByte != nil {
		costs.PerByteNS = float64(*s.PerByte)
	}
	return costs
}

// Scalars of the format. In YAML and JSON they are written with their unit.
type (
	// Duration is written as "20ms", "1.5s", "1m".
	Duration time.Duration
	// Nanoseconds is a duration that may be a fraction of a nanosecond, written
	// as "0.5ns" or "1.5us".
	Nanoseconds float64
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
