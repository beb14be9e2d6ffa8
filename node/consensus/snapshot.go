package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// ErrSnapshot is returned for bytes that are no snapshot of an Application.
var ErrSnapshot = errors.New("malformed snapshot")

// Snapshot encodes the whole application: slot, fingerprint, sessions, and the
// machine's state. Equal applications give equal bytes.
func (a *Application) Snapshot() []byte {
	snapshot := binary.AppendUvarint(nil, a.slot)
	snapshot = append(snapshot, a.log[:]...)
	snapshot = binary.AppendUvarint(snapshot, uint64(len(a.sessions)))
	for _, client := range slices.Sorted(maps.Keys(a.sessions)) {
		snapshot = binary.AppendUvarint(snapshot, uint64(client))
		snapshot = a.sessions[client].append(snapshot)
	}
	return a.machine.AppendSnapshot(snapshot)
}

func (s *session) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, s.firstUnanswered)
	dst = binary.AppendUvarint(dst, uint64(len(s.results)))
	for _, sequence := range slices.Sorted(maps.Keys(s.results)) {
		response := s.results[sequence]
		dst = binary.AppendUvarint(dst, sequence)
		dst = binary.AppendUvarint(dst, response.Slot)
		dst = binary.AppendUvarint(dst, uint64(response.Index))
		dst = binary.AppendUvarint(dst, uint64(len(response.Result)))
		dst = append(dst, response.Result...)
	}
	return dst
}

// Restore replaces the application's state by a snapshot's. The error wraps
// ErrSnapshot, or is the machine's; the state is unchanged then.
func (a *Application) Restore(snapshot []byte) error {
	d := snapshotReader{rest: snapshot}
	restored := Application{machine: a.machine, slot: d.number(), sessions: map[ClientID]*session{}}
	copy(restored.log[:], d.bytes(uint64(len(restored.log))))
	for clients := d.number(); clients > 0 && !d.failed; clients-- {
		client := ClientID(d.number())
		restored.sessions[client] = d.session(client)
	}
	if d.failed {
		return fmt.Errorf("%w: %d bytes", ErrSnapshot, len(snapshot))
	}
	if err := a.machine.Restore(d.rest); err != nil {
		return fmt.Errorf("restoring the application at slot %d: %w", restored.slot, err)
	}
	*a = restored
	return nil
}

// snapshotReader decodes a snapshot; after a failure it gives zeros.
type snapshotReader struct {
	rest   []byte
	failed bool
}

func (d *snapshotReader) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *snapshotReader) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.failed, d.rest = true, nil
		return nil
	}
	taken := slices.Clone(d.rest[:n])
	d.rest = d.rest[n:]
	return taken
}

func (d *snapshotReader) session(client ClientID) *session {
	s := newSession()
	s.firstUnanswered = d.number()
	for results := d.number(); results > 0 && !d.failed; results-- {
		response := Response{Client: client, Sequence: d.number(), Slot: d.number()}
		index := d.number()
		d.failed = d.failed || index > math.MaxUint32
		response.Index = uint32(index)
		response.Result = d.bytes(d.number())
		s.results[response.Sequence] = response
	}
	return s
}
