package faults

import (
	"encoding/json"
	"time"

	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// Order says what shall be from now on. It has whole states, so that carrying one out
// twice does no harm.
type Order struct {
	// Occurrence indexes Director.Records: on whose behalf it is.
	Occurrence int
	// Heal is true if the occurrence ends.
	Heal bool
	// Requested is when it shall happen.
	Requested time.Duration
	// Nodes, Links and Pairs are what changes, in order of their names.
	Nodes []NodeState
	Links []LinkState
	Pairs []PairState
	// Reconfigure is a change of the configuration; nil if there is none.
	Reconfigure *Reconfiguration
	// Expect is what proves it.
	Expect []Expectation
	// arms is true if it but arms a failpoint, which may fire before all nodes have it.
	arms bool
}

// NodeState is how a node shall be. Down comes before Paused, Paused before CPUShare.
// What Injection says holds again for a process that is started again.
type NodeState struct {
	Node string
	// Down: the process is ended, as SIGKILL does. Disk is what it finds when it comes
	// back: one of the Disk constants.
	Down bool
	Disk string
	// Paused: the process is stopped, as SIGSTOP does.
	Paused bool
	// CPUShare is the share of a processor that it has, above 0, 1 for all of it.
	CPUShare float64
	// Injection is what is carried out inside the process.
	Injection control.Injection
	// Start: the process may have ended by itself (its disk failed) and shall be started
	// again if it has.
	Start bool
}

// LinkState is how a link shall be.
type LinkState struct {
	Link       string
	AToB, BToA topologies.Parameters
}

// PairState is what frames from one host to another pass before they enter the network;
// nil is nothing. Down loses them all.
type PairState struct {
	From, To   string
	Parameters *topologies.Parameters
}

// Reconfiguration is handed to one of Nodes, which serve clients: to the first that lives.
type Reconfiguration struct {
	Nodes  []string
	Change json.RawMessage
}

// ExpectationKind says what would prove an order.
type ExpectationKind string

// What proves faults, and their healing where Order.Heal is set.
const (
	// ExpectDown: Node's process is gone. Healed: it lives and has its connections.
	ExpectDown ExpectationKind = "down"
	// ExpectPaused: the kernel says that Node's process is stopped. Healed: it isn't.
	ExpectPaused ExpectationKind = "paused"
	// ExpectSlow: Node's process is stopped for 1 - Share of the time.
	ExpectSlow ExpectationKind = "slow"
	// ExpectCut: no frame gets from host From to host To. Healed: frames do.
	ExpectCut ExpectationKind = "cut"
	// ExpectLink: one direction of a link (Link, From its end) treats frames as Parameters
	// say.
	ExpectLink ExpectationKind = "link"
	// ExpectPair: frames from host From to host To are treated as Parameters say, on top
	// of their path.
	ExpectPair ExpectationKind = "pair"
	// ExpectIgnored: Node has ignored messages, about Share of those that it might; 0 where
	// several faults have it ignore some. Healed: it ignores no more.
	ExpectIgnored ExpectationKind = "ignored"
	// ExpectClock: Node's timers run at Rate, or have jumped by Jump. Healed: they run at
	// Rate again, which is 1, or have jumped back, by Jump.
	ExpectClock ExpectationKind = "clock"
	// ExpectSlowSync: syncs at Node take Delay at least. Healed: they don't.
	ExpectSlowSync ExpectationKind = "slow_sync"
	// ExpectRefused: Node's disk has refused bytes, and its process has ended for it.
	// Healed: it lives.
	ExpectRefused ExpectationKind = "refused"
	// ExpectDisk: what Node's disk lost, by Disk; it comes with the crash, and again with no
	// healing.
	ExpectDisk ExpectationKind = "disk"
	// ExpectConfiguration: a further configuration is in force.
	ExpectConfiguration ExpectationKind = "configuration"
)

// Expectation is one piece of evidence that is awaited. Which fields count, its kind says.
type Expectation struct {
	Kind       ExpectationKind
	Node       string
	Link       string
	From, To   string
	Parameters topologies.Parameters
	Share      float64
	Rate       float64
	Jump       time.Duration
	Delay      time.Duration
	Disk       string
}

// Target names what the evidence is to be found at: a node, "FROM>TO" of hosts, "LINK from
// END", or "cluster".
func (e Expectation) Target() string {
	switch {
	case e.Node != "":
		return e.Node
	case e.Link != "":
		return e.Link + " from " + e.From
	case e.From != "":
		return e.From + ">" + e.To
	}
	return "cluster"
}

// Evidence is what the director wants to be told in Prove of an expectation of an order:
// whether it was fulfilled, and what was measured.
func (o Order) Evidence(e Expectation, found bool, text string) results.Evidence {
	return results.Evidence{Healed: o.Heal, Kind: string(e.Kind), Target: e.Target(), Found: found, Text: text}
}
