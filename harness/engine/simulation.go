package engine

import (
	"context"
	"time"

	"quorumlab/faults"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// Simulator is an engine without labs: it runs whole trials itself, in virtual
// time, inside the calling process.
type Simulator interface {
	Engine
	// Simulate runs one trial. It fails if the simulation makes no sense, or
	// with the context's cause if that ends early. It may be called from many
	// goroutines; each call uses one core. What it returns, and all that it hands
	// to the callbacks, follows from the simulation alone, bit for bit.
	Simulate(ctx context.Context, simulation Simulation) (*Simulated, error)
}

// Simulation is one trial to simulate. Times count from the start of the
// processes.
type Simulation struct {
	Cluster  control.Cluster
	Topology *topologies.Topology
	// Hosts maps the name of each node to that of its host. Nodes may share one;
	// messages between them take no time.
	Hosts map[string]string
	// Loads are the clients' orders, by name; StartNS counts from the beginning
	// of the load.
	Loads map[string]control.Load
	// Seed is the root of the links' randomness; Cluster.Seed is that of the
	// nodes'.
	Seed uint64
	// Transport is TransportTCP or TransportDatagram.
	Transport string
	Costs     Costs
	// StartSpread is how late processes may start, each at an instant drawn from
	// the seed: real ones are started one after another, and those of a protocol
	// that begin at the very same instant may stay in step for ever. Over TCP a
	// process listens and dials from its instant on; over datagrams what comes
	// before it waits.
	StartSpread time.Duration
	// LeaderTimeout is how long the load waits for a process that leads, once all
	// have started, Lead how long it waits after that.
	LeaderTimeout, Lead time.Duration
	// Drain bounds the time after the load until all live replicas have
	// committed the same slots.
	Drain time.Duration
	Stop  Stop
	// Faults is the schedule of what breaks, which faults.Check has nothing against.
	Faults []faults.Fault
	// Row takes each request once it is answered or given up, Event what the named
	// node reports, both in the order of their times; Live, unless nil, is called
	// now and then.
	Row   func(results.Row)
	Event func(at consensus.Time, node string, event consensus.Event)
	Live  func(elapsed time.Duration, progress control.Progress)
}

// Transports.
const (
	// TransportTCP keeps messages between two processes in order and sends lost
	// ones again, as TCP does.
	TransportTCP = "tcp"
	// TransportDatagram sends each message once.
	TransportDatagram = "datagram"
)

// Costs model the time that a process's one core and its disk take.
type Costs struct {
	// PerMessage is the CPU time to receive and handle a message or a timer, and
	// PerSend that to send one; PerByte is for each byte sent or received.
	PerMessage time.Duration `json:"per_message_ns"`
	PerSend    time.Duration `json:"per_send_ns"`
	PerByteNS  float64       `json:"per_byte_ns"`
	// Sync is how long the disk takes to make what was written durable
	// (storage fsync only).
	Sync time.Duration `json:"sync_ns"`
}

// Stop ends a load early; zero values never do.
type Stop struct {
	// FirstLeader ends the trial once exactly one live process leads, before any
	// load.
	FirstLeader bool `json:"first_leader,omitempty"`
	// Requests ends the load once so many requests are answered.
	Requests uint64 `json:"requests,omitempty"`
}

// Simulated is what came of a simulation.
type Simulated struct {
	// LoadStart is when the load began; Elapsed is the whole virtual time.
	LoadStart consensus.Time
	Elapsed   time.Duration
	// LedAfter is when a process led first; negative if none did before the load.
	LedAfter time.Duration
	// Finished is false if clients still awaited answers at the end.
	Finished bool
	// Statuses are the live nodes' at the end; Drained tells whether all of them
	// had committed the same slots by then.
	Statuses map[string]control.Status
	Drained  bool
	Links    LinkReport
	// CPU is the time that each node's core was busy.
	CPU map[string]time.Duration
	// Sockets are the modelled connections between processes, as a lab's nodes report
	// theirs; none where no connection is modelled.
	Sockets []control.Socket
	// Faults are what became of the schedule.
	Faults []results.Fault
	// TraceHash fingerprints every event of the simulation in its order; Events
	// counts them.
	TraceHash uint64
	Events    uint64
}
