// Package sim is the engine "sim": it runs whole trials in virtual time, inside
// the calling process. It drives the same machines, applications and clients as
// a node does, over the link model of package link, so that an hour of cluster
// time takes seconds, and it promises that everything it returns or hands to a
// callback follows from the simulation alone, bit for bit.
//
// # What is modelled
//
// A process has one core. An input that arrives at t is handled from
// max(t, when the core is free) on and takes PerMessage and PerByteNS a byte,
// and PerSend and PerByteNS a byte for each message that the step sends. What
// it sends leaves when it is done. Messages to oneself cost their handling only.
//
// Processes on one host reach each other in no time. Other messages cross the
// links of the path that the topology's routing finds, each direction a link.Model with
// all that it does to frames, in the order in which they reach it. A message is one
// frame a segment of 1448 bytes. A frame that was corrupted goes all the way, and the
// host that it reaches refuses it.
//
// Over datagrams, a message of which a segment is lost is lost for good; one of a
// single segment that is doubled arrives twice. Over
// TCP, messages of one process to another keep their order, on a connection for
// each direction, as between real nodes. Where all links of the way and of the way
// back let each frame arrive alike (connection.go says when) they flow as they are
// sent, each in frames of its own, without acknowledgements or windows; else package
// tcp models all that, and messages that leave together share segments.
//
// Links may change while the load runs, by faults. What has come to a link by
// then keeps its time; frames keep the way that they were sent on. If a direction goes
// down or comes up, frames that are sent later take the paths that there are then; where
// links that are down bar all of them, the one that there would be if they were up. What
// comes to a link that is down is lost. Frames from one host to another may have to pass a
// stage before their first link, which is like one more direction. In a simulation with
// any fault of links or of pairs of hosts every
// frame goes by each link on its own, and all connections between hosts are modelled.
//
// A process starts at an instant drawn from the seed. Over TCP nothing listens
// before that, as after a kill, and it dials its peers then. Over datagrams, which
// nobody sends again, what comes before waits for its beginning. The load begins
// once all have begun.
//
// Everything happens at its own time: rows and events are handed out in the order
// of their times, those of one instant in the order in which they were caused.
//
// Storage: with memory nothing survives a process; with disk every record does. With
// fsync a sync takes Costs.Sync, one runs at a time, and all records that came meanwhile
// go with the next. A process's end leaves what was being synced, and loses what would
// have gone with the next sync; the end of its host's power (lost_unsynced, torn) leaves
// only those records whose sync is over. The part of a record that is torn is worth nothing.
//
// # Faults
//
// A faults.Director says what breaks; it is asked in virtual time, told what the
// processes report between two steps, and each of its orders and each piece of evidence is part of
// the trace. A trial without a schedule is the same, bit for bit, as if there were no faults at
// all.
//
//   - A process that is ended, paused or slowed is so between two steps.
//   - One that is paused does nothing: what comes to it waits, its timers are late, its
//     syncs end without anybody's noticing. What it has handed to the network goes
//     on, and its kernel goes on acknowledging.
//   - One that has a share of a processor stands still for the rest of each 10 ms, and
//     then runs.
//   - Injections are those of package injection. A process whose disk takes no more ends at
//     its next record or checkpoint; nothing of that step happens.
//   - At a failpoint the step is cut in two, exactly there. A crash loses the second part; a
//     stall puts it off. After a message was sent (after_send) the process stands still
//     until that has reached its receiver, for 1 s at most.
//   - Evidence is measured on what is simulated: processes are looked at each 1.7 ms, probes
//     are sent through models of their own with the parameters that the network's
//     directions have then, so that no real frame fares otherwise for them.
//   - In such a trial processes report whom they hear again after a silence
//     (consensus.EventHeard).
//
// # What isn't
//
// A kill takes effect at its instant, but between two steps: of one that has begun
// by then all is done and sent. The receive window of a paused process never closes, and
// its connections are dialled again while it stands still. A step that installs a
// snapshot has no failpoints where commands are applied. Handshakes of connections take the path's delays
// without queueing where package tcp doesn't model them. Disks have no bandwidth, hosts
// no memory limits, and the core that a process has is its own, also where processes
// share a host. What is left of a datagram of several segments is dropped once 64 later
// ones are in pieces too, not after a time.
package sim

import (
	"context"
	"fmt"
	"time"

	"quorumlab/harness/engine"
)

// Name is the engine's name in experiments.
const Name = "sim"

// maxHosts is the largest topology that is accepted.
const maxHosts = 5000

func init() { engine.Register(Engine{}) }

// Engine implements engine.Simulator.
type Engine struct{}

var _ engine.Simulator = Engine{}

// Name is Name.
func (Engine) Name() string { return Name }

// MaxHosts is the largest topology that the engine accepts.
func (Engine) MaxHosts() int { return maxHosts }

// Check finds the engine ready: it needs nothing of the machine that it runs on.
func (Engine) Check(context.Context) []engine.Readiness {
	return []engine.Readiness{{
		Name: Name, OK: true, Reason: "simulates in virtual time, inside this process, on any system",
	}}
}

// DefaultCosts are those of an experiment that says nothing: what BenchmarkCosts
// of node/driver measured of a busy node, 16 messages a batch, on a core of a
// virtual server of 2026, and a sync of its disk. (A node with little to do takes
// some 20 microseconds of CPU a message, which hardly shows beside a network's
// delays; costs count where the load is high.) `make bench` measures them again.
func DefaultCosts() engine.Costs {
	return engine.Costs{
		PerMessage: 900 * time.Nanosecond,
		PerSend:    650 * time.Nanosecond,
		PerByteNS:  1,
		Sync:       320 * time.Microsecond,
	}
}

// Simulate runs one trial.
func (Engine) Simulate(ctx context.Context, simulation engine.Simulation) (*engine.Simulated, error) {
	s, err := newTrial(ctx, simulation)
	if err != nil {
		return nil, fmt.Errorf("simulating: %w", err)
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	return s.result(), nil
}
