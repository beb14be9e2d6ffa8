package sim

import (
	"fmt"
	"slices"

	"quorumlab/faults"
	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// minCheckpoint is the least number of records worth a checkpoint; one is made
// too only once there are twice as many as the last one kept.
const minCheckpoint = 10_000

// diskUndecided stands for what the disk of a process keeps until resolve is told.
const diskUndecided = "undecided"

// storage models a process's write-ahead log and checkpoints. Positions count
// what was ever written: records and checkpoints alike.
type storage struct {
	kind string
	// base is the last durable checkpoint; its position is where it was written.
	base checkpoint
	// records are those since base, the first at position first.
	records []consensus.Message
	first   uint64
	// written is the last position written, durable the last that survives a kill.
	written, durable uint64
	// pending are checkpoints that aren't durable yet.
	pending []checkpoint
	// since counts the records since the last checkpoint, durable or not.
	since int
	kept  int

	// syncing is true while a sync runs; it will make syncs durable, at syncAt.
	syncing bool
	syncs   uint64
	syncAt  int64
	// held are messages that wait for a sync.
	held ring[heldMessage]

	// undecided is true for a process that has crashed at a failpoint until it is known
	// what its disk loses.
	undecided bool

	// recovered are the records that a restarted machine is given.
	recovered []consensus.Message
}

// checkpoint replaces all that was written before its position.
type checkpoint struct {
	position uint64
	snapshot []byte
	records  []consensus.Message
}

type heldMessage struct {
	after   uint64
	to      int32
	size    int32
	message consensus.Message
}

func newStorage(kind string) (storage, error) {
	switch kind {
	case "":
		kind = control.StorageMemory
	case control.StorageMemory, control.StorageDisk, control.StorageFsync:
	default:
		return storage{}, fmt.Errorf("storage is %q, want %s, %s or %s", kind, control.StorageMemory, control.StorageDisk, control.StorageFsync)
	}
	return storage{kind: kind, first: 1}, nil
}

// append writes records.
func (st *storage) append(records []consensus.Message) {
	if st.kind == control.StorageMemory || len(records) == 0 {
		return
	}
	st.records = append(st.records, records...)
	st.since += len(records)
	st.write(uint64(len(records)))
}

// write counts what was written; without fsync it is durable at once.
func (st *storage) write(count uint64) {
	st.written += count
	if st.kind != control.StorageFsync {
		st.settle(st.written)
	}
}

// wantsCheckpoint tells whether the records have become too many.
func (st *storage) wantsCheckpoint() bool {
	return st.since > minCheckpoint && st.since > 2*st.kept
}

// checkpoint writes a checkpoint; the records are copied.
func (st *storage) checkpoint(snapshot []byte, records []consensus.Message) {
	if st.kind == control.StorageMemory {
		return
	}
	st.since, st.kept = 0, len(records)
	// A checkpoint takes a position of its own, at which there is no record.
	st.records = append(st.records, nil)
	st.pending = append(st.pending, checkpoint{
		position: st.written + 1, snapshot: snapshot, records: slices.Clone(records),
	})
	st.write(1)
}

// settle makes durable what was written up to a position.
func (st *storage) settle(position uint64) {
	st.durable = position
	n := 0
	for n < len(st.pending) && st.pending[n].position <= position {
		n++
	}
	if n == 0 {
		return
	}
	st.base = st.pending[n-1]
	st.pending = append(st.pending[:0], st.pending[n:]...)
	behind := st.base.position + 1 - st.first
	kept := copy(st.records, st.records[behind:])
	clear(st.records[kept:])
	st.records, st.first = st.records[:kept], st.base.position+1
}

// hold keeps a message back if something isn't durable that it depends on.
func (st *storage) hold(m *outgoing) bool {
	if st.durable == st.written || st.kind == control.StorageMemory {
		return false
	}
	*st.held.push() = heldMessage{after: st.written, to: m.to, size: m.size, message: m.message}
	return true
}

// last is the position of the last write that is there.
func (st *storage) last() uint64 { return st.first + uint64(len(st.records)) - 1 }

// resolve has a process that has crashed at a failpoint lose what its disk loses, which
// the fault's order says.
func (st *storage) resolve(disk string) {
	if st.undecided {
		st.crash(disk)
	}
}

// crash ends the process; disk says what is left of what it has written. What waited
// for a sync is lost.
func (st *storage) crash(disk string) {
	st.undecided = disk == diskUndecided
	if st.undecided {
		return
	}
	st.held.clear()
	st.recovered = nil
	if disk == faults.DiskEmpty {
		*st = storage{kind: st.kind, first: 1}
	}
	if st.syncing && (disk == faults.DiskSame || disk == "") {
		// What is being synced has been written, and what came since hasn't.
		st.settle(st.syncs)
	}
	clear(st.pending)
	st.pending = st.pending[:0]
	st.syncing = false
	if st.kind == control.StorageMemory {
		return
	}
	count := int(st.durable + 1 - st.first)
	clear(st.records[count:])
	st.records, st.written = st.records[:count], st.durable
	st.since = len(st.records)
}

// recover restores the application and the records that the machine is given.
func (st *storage) recover(application *consensus.Application) error {
	st.kept = len(st.base.records)
	st.recovered = slices.Concat(st.base.records, st.records)
	if st.base.snapshot == nil {
		return nil
	}
	return application.Restore(st.base.snapshot)
}

// sync begins one if there is something to make durable and none runs.
func (s *trial) sync(p *process) {
	st := &p.storage
	if st.syncing || st.durable == st.written {
		return
	}
	st.syncing, st.syncs = true, st.written
	st.syncAt = max(s.now, p.freeAt) + s.costs.sync
	if c := p.condition; c != nil {
		c.syncAsked, c.syncing = s.now, max(s.now, p.freeAt)
		st.syncAt += c.syncDelay
	}
	s.schedule(st.syncAt, eventSync, p.index)
}

// synced ends a sync: what waited for it leaves, and the next one begins.
func (s *trial) synced(p *process) {
	st := &p.storage
	if !st.syncing || st.syncAt != s.now || !p.alive {
		return // the process was killed meanwhile
	}
	s.trace.event(s.now, markSync, p.index, st.syncs)
	st.syncing = false
	if c := p.condition; c != nil {
		c.counters.syncAt, c.counters.syncTook = c.syncAsked, s.now-c.syncing
		s.persisted(p)
	}
	st.settle(st.syncs)
	if p.condition != nil && p.condition.still() {
		return // until it goes on
	}
	s.release(p)
	s.sync(p)
	s.wake(p) // for messages to itself
}

// release sends what waited for what is durable now.
func (s *trial) release(p *process) {
	st := &p.storage
	leave := max(s.now, p.freeAt)
	if p.condition != nil {
		leave = p.condition.duty.next(leave)
	}
	for st.held.count > 0 && st.held.at(0).after <= st.durable {
		m := st.held.at(0)
		goes, halts := true, false
		if p.condition != nil {
			goes, halts = s.sending(p, m.to, m.message)
		}
		if goes {
			m := st.held.pop()
			s.send(p, leave, m.to, m.size, m.message)
		}
		if halts {
			s.stop(p)
			return
		}
	}
}

// install replaces the application's state by a snapshot's and returns the cost.
func (s *trial) install(p *process, snapshot *consensus.Snapshot) int64 {
	s.commits++
	if err := p.application.Restore(snapshot.State); err != nil {
		s.fail(fmt.Errorf("%s installing a snapshot of slot %d: %w", p.node.Name, snapshot.Slot, err))
	} else if slot := p.application.Slot(); slot != snapshot.Slot {
		s.fail(fmt.Errorf("%s installing a snapshot of slot %d: its state is that of slot %d", p.node.Name, snapshot.Slot, slot))
	}
	return s.costs.bytes(int32(len(snapshot.State)))
}

// checkpoint has the machine say what it needs beside the application's state
// and makes both take the place of the log. It returns the cost.
func (s *trial) checkpoint(p *process) int64 {
	if p.storage.kind == control.StorageMemory {
		return 0
	}
	if c := p.condition; c != nil && c.refuses {
		s.refuse(p, len(p.application.Snapshot()))
		return 0
	}
	p.machine.Step(p.local(s.now), consensus.Input{Kind: consensus.InputCheckpoint}, &s.out)
	snapshot := p.application.Snapshot()
	p.storage.checkpoint(snapshot, s.out.Records)
	s.trace.event(s.now, markCheckpoint, p.index, uint64(len(s.out.Records)))
	s.out.Reset()
	return s.costs.message + s.costs.bytes(int32(len(snapshot)))
}
