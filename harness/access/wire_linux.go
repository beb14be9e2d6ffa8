package access

import (
	"syscall"

	"quorumlab/harness/passing"
)

// request is a line from a client. A connection begins with one that has exactly one of
// Describe, Program and Capture; what may follow are a Signal, for a program, and End,
// for a capture.
type request struct {
	Describe bool            `json:"describe,omitempty"`
	Program  *programRequest `json:"program,omitempty"`
	Capture  *captureRequest `json:"capture,omitempty"`
	Signal   syscall.Signal  `json:"signal,omitempty"`
	End      bool            `json:"end,omitempty"`
}

// programRequest runs a program; its standard input, output and error come with it.
type programRequest struct {
	// Host is a host or a process of the experiment.
	Host        string         `json:"host"`
	Path        passing.Text   `json:"path"`
	Arguments   []passing.Text `json:"arguments"`
	Environment []passing.Text `json:"environment"`
	Dir         passing.Text   `json:"dir"`
	Terminal    bool           `json:"terminal,omitempty"`
}

// captureRequest captures a link to the file that comes with it.
type captureRequest struct {
	Link string `json:"link"`
}

// answer is a line to a client. Begun says that the program runs or that frames are
// captured; the last line of a connection is another.
type answer struct {
	Description *Description `json:"description,omitempty"`
	Begun       bool         `json:"begun,omitempty"`
	// Status is how a program ended: its exit status, or 128 and the signal's number.
	Status *int `json:"status,omitempty"`
	// Ended says that a capture is complete.
	Ended bool `json:"ended,omitempty"`
	// Error says what failed; Unknown is set if it wraps ErrUnknown, NotRunnable if
	// ErrNotRunnable.
	Error       string `json:"error,omitempty"`
	Unknown     bool   `json:"unknown,omitempty"`
	NotRunnable bool   `json:"not_runnable,omitempty"`
}
