package driver

import (
	"strconv"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/driver/clock"
	"quorumlab/node/driver/logfile"
)

// EventLog writes events.jsonl: what the machine reports of itself, and the
// connections that come and go, one JSON object a line, in the order of time.
// Its methods may be called on nil, which writes nothing.
type EventLog struct {
	file *logfile.File
	node string
}

// NewEventLog writes the events of the named node to a file.
func NewEventLog(file *logfile.File, node string) *EventLog {
	return &EventLog{file: file, node: node}
}

// Machine writes the events of one step.
func (l *EventLog) Machine(events []consensus.Event) {
	if l == nil || len(events) == 0 {
		return
	}
	l.file.Append(func(dst []byte) []byte {
		// The time is read inside, where lines are in order.
		now := clock.Now()
		for _, event := range events {
			dst = l.begin(dst, now, event.Role, event.Kind)
			dst = appendNumber(dst, `,"slot":`, event.Slot)
			dst = appendNumber(dst, `,"round":`, event.Round)
			dst = appendNumber(dst, `,"leader":`, uint64(event.Leader))
			if event.Hash != "" {
				dst = strconv.AppendQuote(append(dst, `,"hash":`...), event.Hash)
			}
			dst = append(dst, '}', '\n')
		}
		return dst
	})
}

// connection writes that a connection to a peer was made or lost.
func (l *EventLog) connection(kind string, peer consensus.NodeID) {
	if l == nil {
		return
	}
	l.file.Append(func(dst []byte) []byte {
		dst = l.begin(dst, clock.Now(), consensus.RoleTransport, kind)
		dst = appendNumber(dst, `,"peer":`, uint64(peer))
		return append(dst, '}', '\n')
	})
}

// heard writes that a peer was heard after a silence.
func (l *EventLog) heard(peer consensus.NodeID, silence time.Duration) {
	if l == nil {
		return
	}
	l.file.Append(func(dst []byte) []byte {
		dst = l.begin(dst, clock.Now(), consensus.RoleTransport, consensus.EventHeard)
		dst = appendNumber(dst, `,"peer":`, uint64(peer))
		dst = appendNumber(dst, `,"silence_ns":`, uint64(silence))
		return append(dst, '}', '\n')
	})
}

// begin appends what all events have. Names, roles, kinds and hashes are plain
// ASCII, which Go and JSON quote alike.
func (l *EventLog) begin(dst []byte, now consensus.Time, role, kind string) []byte {
	dst = append(dst, `{"time_ns":`...)
	dst = strconv.AppendInt(dst, int64(now), 10)
	dst = append(dst, `,"node":`...)
	dst = strconv.AppendQuote(dst, l.node)
	dst = append(dst, `,"role":`...)
	dst = strconv.AppendQuote(dst, role)
	dst = append(dst, `,"kind":`...)
	return strconv.AppendQuote(dst, kind)
}

// appendNumber leaves out 0, as it means "doesn't apply".
func appendNumber(dst []byte, name string, number uint64) []byte {
	if number == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, name...), number, 10)
}
