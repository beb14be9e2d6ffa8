//go:build linux

package netns

import (
	"syscall"

	"quorumlab/harness/engine"
	"quorumlab/harness/passing"
	"quorumlab/topologies"
)

// request goes from the controller to a lab's init. Exactly one of the
// pointers is set.
type request struct {
	ID     uint64         `json:"id"`
	Probe  *probeRequest  `json:"probe,omitempty"`
	Build  *buildRequest  `json:"build,omitempty"`
	Start  *startRequest  `json:"start,omitempty"`
	Signal *signalRequest `json:"signal,omitempty"`
	// State asks how a process is, Throttle gives it a share of a processor.
	State    *stateRequest    `json:"state,omitempty"`
	Throttle *throttleRequest `json:"throttle,omitempty"`
	Report   *reportRequest   `json:"report,omitempty"`
	Set      *setRequest      `json:"set,omitempty"`
	// Files is the number of file descriptors that came with the request.
	Files int `json:"files,omitempty"`
}

// probeRequest asks what works in a lab made here.
type probeRequest struct{}

// reportRequest asks what the kernel's links did.
type reportRequest struct{}

// startRequest starts a process. Its files are standard input, output and
// error; without the last, the init's own is used.
type startRequest struct {
	// Process is the number that the controller gave it.
	Process uint64 `json:"process"`
	// Host is empty for the fabric.
	Host      string         `json:"host,omitempty"`
	Path      passing.Text   `json:"path"`
	Arguments []passing.Text `json:"arguments"`
	// Child is the mode of RunIfChild, if it is to be one.
	Child string `json:"child,omitempty"`
	// Program is set for a program of somebody who walks in.
	Program *programRequest `json:"program,omitempty"`
}

// programRequest is what a program gets and a node doesn't.
type programRequest struct {
	Environment []passing.Text `json:"environment"`
	Dir         passing.Text   `json:"dir"`
	// Terminal makes standard input the program's controlling terminal.
	Terminal bool `json:"terminal,omitempty"`
}

type signalRequest struct {
	Process uint64         `json:"process"`
	Signal  syscall.Signal `json:"signal"`
	// Group sends it to all of the process's group.
	Group bool `json:"group,omitempty"`
}

type stateRequest struct {
	Process uint64 `json:"process"`
}

type throttleRequest struct {
	Process uint64  `json:"process"`
	Share   float64 `json:"share"`
}

// setRequest changes a link that the kernel executes.
type setRequest struct {
	Link string                `json:"link"`
	AToB topologies.Parameters `json:"a_to_b"`
	BToA topologies.Parameters `json:"b_to_a"`
}

// message goes from a lab's init to the controller: the answer to the request
// with the same ID or, with ID 0, something unasked.
type message struct {
	ID uint64 `json:"id,omitempty"`
	// Error says why a request failed; Errno is its cause, if the kernel's, and
	// Unsupported is set if it wraps engine.ErrUnsupported.
	Error       string        `json:"error,omitempty"`
	Errno       syscall.Errno `json:"errno,omitempty"`
	Unsupported bool          `json:"unsupported,omitempty"`

	Hello  *hello             `json:"hello,omitempty"`
	Probed *probed            `json:"probed,omitempty"`
	Report *engine.LinkReport `json:"report,omitempty"`
	Exited *exited            `json:"exited,omitempty"`
	// State answers a stateRequest.
	State *engine.ProcessState `json:"state,omitempty"`
}

// hello is an init's first message.
type hello struct {
	// Failed names the first thing that the init could not do in its own
	// namespaces, and Errno why; empty if all is well.
	Failed string        `json:"failed,omitempty"`
	Errno  syscall.Errno `json:"errno,omitempty"`
}

// exited tells of a process's end.
type exited struct {
	Process uint64      `json:"process"`
	Exit    engine.Exit `json:"exit"`
}
