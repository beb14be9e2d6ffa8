// Package control is the language between the controller and a node: one JSON
// object a line on the node's standard input and output. docs/node-protocol.md
// specifies it for programs in other languages. It carries commands, answers
// and a few events, never bulk, and never blocks a node: what can't be written
// is dropped and counted.
package control

import (
	"encoding/json"
	"time"

	"quorumlab/node/consensus"
)

// Version is the version of the language.
const Version = 1

// Commands that a node understands.
const (
	// CommandStatus asks where the node stands; any node answers it.
	CommandStatus = "status"
	// CommandLoad starts the load that a client generates. It is answered at
	// once; EventLoadDone tells its end.
	CommandLoad = "load"
	// CommandProbe measures round trips to other hosts' echo processes; it is
	// answered when done (bench-node echo only).
	CommandProbe = "probe"
	// CommandReceive, CommandSend and CommandFinish are a one-way stream of datagrams
	// from one echo process to another: the receiver listens for it, the sender sends
	// it and answers when done, the receiver writes down what came (bench-node echo
	// only).
	CommandReceive = "receive"
	CommandSend    = "send"
	CommandFinish  = "finish"
	// CommandMeasure measures round trips probe by probe, for as long as that takes;
	// it is answered when done. The rows go to a file (bench-node echo only).
	CommandMeasure = "measure"
	// CommandReconfigure has the cluster's configuration changed. It is answered
	// once the change was handed to the protocol; Status.Configuration tells when
	// it is in force (nodes that serve clients only).
	CommandReconfigure = "reconfigure"
	// CommandSockets asks what the node's TCP did so far.
	CommandSockets = "sockets"
	// CommandStop ends the node, as end of file on its standard input does.
	CommandStop = "stop"
)

// Kinds of lines that a node writes.
const (
	// TypeHello is the first line, written once the node listens.
	TypeHello = "hello"
	// TypeAnswer answers the command with the same ID.
	TypeAnswer = "answer"
	// TypeEvent reports something unasked.
	TypeEvent = "event"
)

// Events of a client.
const (
	// EventProgress comes every half second while a load runs.
	EventProgress = "progress"
	// EventLoadDone says that every request is answered or timed out and that
	// all rows are on disk.
	EventLoadDone = "load_done"
)

// Command is a line from the controller.
type Command struct {
	// ID is chosen by the controller and returned in the answer.
	ID      uint64   `json:"id"`
	Command string   `json:"command"`
	Load    *Load    `json:"load,omitempty"`
	Probe   *Probe   `json:"probe,omitempty"`
	Receive *Receive `json:"receive,omitempty"`
	Send    *Send    `json:"send,omitempty"`
	Finish  *Finish  `json:"finish,omitempty"`
	Measure *Measure `json:"measure,omitempty"`
	// Reconfigure is the change, in the protocol's own JSON.
	Reconfigure json.RawMessage `json:"reconfigure,omitempty"`
	// Injection is CommandInject's, Subscriptions CommandSubscribe's.
	Injection     *Injection     `json:"injection,omitempty"`
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
}

// Line is a line from the node.
type Line struct {
	Type string `json:"type"`
	// ID is that of the command answered.
	ID uint64 `json:"id,omitempty"`
	// Error says why a command failed; empty if it succeeded.
	Error    string    `json:"error,omitempty"`
	Event    string    `json:"event,omitempty"`
	Hello    *Hello    `json:"hello,omitempty"`
	Status   *Status   `json:"status,omitempty"`
	Probe    *Probed   `json:"probe,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	// Sockets answers CommandSockets.
	Sockets *Sockets `json:"sockets,omitempty"`
	// Receiving answers CommandReceive, Sent CommandSend, Received CommandFinish.
	Receiving *Receiving `json:"receiving,omitempty"`
	Sent      *Sent      `json:"sent,omitempty"`
	Received  *Received  `json:"received,omitempty"`
	Measured  *Measured  `json:"measured,omitempty"`
	// Standing answers CommandStanding; Trace and Reached are those of their events.
	Standing *Standing `json:"standing,omitempty"`
	Trace    *Trace    `json:"trace,omitempty"`
	Reached  *Reached  `json:"reached,omitempty"`
}

// Hello introduces a node.
type Hello struct {
	Version int      `json:"version"`
	Name    string   `json:"name"`
	Roles   []string `json:"roles"`
	// PID is the process that faults should hit, as the node itself sees it.
	PID int `json:"pid"`
	// ClockNS is the node's CLOCK_MONOTONIC when it wrote the line.
	ClockNS int64 `json:"clock_ns"`
}

// Status is where a node stands.
type Status struct {
	consensus.Status
	// StateHash is the application's state, in hexadecimal (learners only).
	StateHash string `json:"state_hash,omitempty"`
	// Connected counts the peers that the node has a live connection to, of
	// Peers that it needs one to.
	Connected int `json:"connected"`
	Peers     int `json:"peers"`
	// DroppedMessages counts messages dropped because a peer's queue was full.
	DroppedMessages uint64 `json:"dropped_messages"`
	// BadFrames counts connections closed because of a frame that couldn't be
	// parsed.
	BadFrames uint64 `json:"bad_frames"`
	// DroppedLines counts lines that couldn't be written to the control
	// channel in time; anything but 0 voids the trial.
	DroppedLines uint64 `json:"dropped_lines"`
	// ClockNS is the node's CLOCK_MONOTONIC when it wrote the line.
	ClockNS int64 `json:"clock_ns"`
}

// Sockets is what a node's TCP did: loss on a link is delay to a protocol, and here it
// is seen.
type Sockets struct {
	// CongestionControl and SlowStartAfterIdle are those of the node's connections.
	CongestionControl  string `json:"congestion_control"`
	SlowStartAfterIdle bool   `json:"slow_start_after_idle"`
	// Connections are those to peers that the node has dialled, one row a peer.
	Connections []Socket `json:"connections"`
}

// Socket sums a node's connections to one peer since it started, as the kernel's
// TCP_INFO has it.
type Socket struct {
	// Node is filled in by the controller, Peer the other node's name.
	Node string `json:"node,omitempty"`
	Peer string `json:"peer"`
	// Opened counts the connections, one after the other.
	Opened uint64 `json:"opened"`
	// SegmentsSent includes Retransmitted ones.
	SegmentsSent  uint64 `json:"segments_sent"`
	Retransmitted uint64 `json:"retransmitted"`
	BytesSent     uint64 `json:"bytes_sent"`
	// SmoothedRTTNS, CongestionWindow (in segments) and SlowStartThreshold (0: none yet)
	// are those of the last connection at the end.
	SmoothedRTTNS      int64  `json:"smoothed_rtt_ns"`
	CongestionWindow   uint32 `json:"congestion_window"`
	SlowStartThreshold uint32 `json:"slow_start_threshold"`
}

// Load is what a client is to do. The schedule follows from it alone.
type Load struct {
	// StartNS is when the schedule begins, on the node's CLOCK_MONOTONIC.
	StartNS int64 `json:"start_ns"`
	// DurationNS is how long requests fall due.
	DurationNS int64 `json:"duration_ns"`
	// TimeoutNS is how long after its intended time a request is given up.
	TimeoutNS int64 `json:"timeout_ns"`
	// RateRPS is this client's own rate, in requests a second.
	RateRPS float64 `json:"rate_rps"`
	// Arrivals is "fixed" or "poisson".
	Arrivals string `json:"arrivals"`
	// Application is that of the cluster; empty means "kv".
	Application string `json:"application,omitempty"`
	// Mix maps operations to their shares.
	Mix map[string]float64 `json:"mix"`
	// Keys is the number of keys, ValueBytes the size of values written.
	Keys       int    `json:"keys"`
	ValueBytes int    `json:"value_bytes"`
	Seed       uint64 `json:"seed"`
}

// MaxRoundTrip is the round trip from which on nodes can't talk to each other:
// data that isn't acknowledged by then ends a connection, so that TCP adds
// little to an outage.
const MaxRoundTrip = time.Second

// CreateInterval separates the creations of keys with which a load begins whose
// mix needs them.
const CreateInterval = time.Millisecond

// Progress is how far a load has come.
type Progress struct {
	Sent     uint64 `json:"sent"`
	Answered uint64 `json:"answered"`
	TimedOut uint64 `json:"timed_out"`
	// MeanLatencyNS is over the answers since the last progress event; 0 if
	// there were none.
	MeanLatencyNS int64 `json:"mean_latency_ns"`
	// LateNS is the most that a request was sent after its intended time.
	LateNS int64 `json:"late_ns"`
}

// Probe asks for round trips to other hosts.
type Probe struct {
	Peers []Peer `json:"peers"`
	// Count is the number of probes a peer, IntervalNS the time that one round
	// (a probe to each peer) takes, TimeoutNS how long to await the last.
	Count      int   `json:"count"`
	IntervalNS int64 `json:"interval_ns"`
	TimeoutNS  int64 `json:"timeout_ns"`
}

// Peer is where an echo process listens.
type Peer struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Probed is the answer to a probe.
type Probed struct {
	// RTTs maps a peer's name to the round trips of the probes it answered.
	RTTs map[string][]int64 `json:"rtts_ns"`
	// Sent is the number of probes a peer.
	Sent int `json:"sent"`
}

// Receive asks an echo process to listen for a stream.
type Receive struct {
	// Stream names the stream: 1 to 100 letters, digits, dots, dashes, underscores. The
	// rows go to the file Stream.received.csv in the receiver's folder.
	Stream string `json:"stream"`
}

// Receiving is where it listens.
type Receiving struct {
	Port int `json:"port"`
}

// Send asks an echo process to send a stream of datagrams.
type Send struct {
	// Stream is the name that the receiver was given. The rows go to the file
	// Stream.sent.csv in the sender's folder.
	Stream string `json:"stream"`
	// Address is the receiver's, with the port that it listens at.
	Address string `json:"address"`
	// Count datagrams are sent, one each IntervalNS; with 0 back to back.
	Count      int   `json:"count"`
	IntervalNS int64 `json:"interval_ns"`
	// FrameBytes is the size of each on a link, with the headers of UDP, IP and
	// Ethernet.
	FrameBytes int `json:"frame_bytes"`
}

// Sent is what became of it.
type Sent struct {
	// Frames were handed to the network, Refused not taken by it.
	Frames  int `json:"frames"`
	Refused int `json:"refused"`
}

// Finish asks the receiver of a stream to write down what came.
type Finish struct {
	Stream string `json:"stream"`
	// Count is how many datagrams were sent, WaitNS how long to await those that
	// haven't come.
	Count  int   `json:"count"`
	WaitNS int64 `json:"wait_ns"`
}

// Received is what came of a stream.
type Received struct {
	// Frames came, Distinct of them were different.
	Frames   int `json:"frames"`
	Distinct int `json:"distinct"`
	// Damaged ones came with other bytes than were sent; they count nowhere else.
	Damaged int `json:"damaged"`
	// Overflowed is how many datagrams the receiver's sockets had no room for meanwhile.
	Overflowed uint64 `json:"overflowed"`
}

// Cluster is the one file that all processes of a cluster are given, in JSON.
type Cluster struct {
	Protocol string `json:"protocol"`
	// Options are the protocol's own.
	Options map[string]any `json:"options,omitempty"`
	// Application is the replicated application's name; empty means "kv".
	Application string `json:"application,omitempty"`
	// Storage is StorageMemory, StorageDisk or StorageFsync; empty means the
	// first.
	Storage string `json:"storage,omitempty"`
	// Seed is the root of all the nodes' seeds.
	Seed  uint64 `json:"seed"`
	Nodes []Node `json:"nodes"`
}

// Storages: what a process remembers when it is started again.
const (
	// StorageMemory forgets all; a process must not be started again.
	StorageMemory = "memory"
	// StorageDisk writes to files and leaves it to the operating system when they
	// reach the disk: it survives the end of the process, not of the machine.
	StorageDisk = "disk"
	// StorageFsync has files synced before what depends on them is sent, many
	// records at a time.
	StorageFsync = "fsync"
)

// Node is one process of the cluster.
type Node struct {
	consensus.Member
	// Address is where it listens, such as "198.18.0.1:7000".
	Address string `json:"address"`
}
