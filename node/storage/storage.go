// Package storage keeps what a process must remember across its end: a log of
// records, and from time to time a checkpoint that takes the place of all
// records before it.
//
// One file holds both: first the last checkpoint, then what was appended since,
// in groups. Each has a checksum. A checkpoint is written to a new file, which
// then takes the old one's name: whenever the process ends, the folder holds
// either the old state or the new one.
//
//	Append -> waiting -> writer's goroutine -> file -> Durable, Notify
//
// Whoever appends never waits for the disk unless it lags far behind. What is
// appended while the writer is busy goes with its next group, all together: with
// StorageFsync one sync makes the whole group durable.
//
// It promises that:
//   - what Durable covers comes back from Open, in order, after the process was
//     killed at any point (StorageDisk, StorageFsync) or the machine lost power
//     (StorageFsync);
//   - what is beyond it comes back too or is cut off, from some record on;
//   - a file that has changed otherwise is an error, never a shorter history;
//   - two processes never use one folder.
//
// A Disk has faults: slow syncs, writes that fail. Cut and Erase do to a folder whose
// process has ended what the end of power, or a new disk, would have done to it.
package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"sync/atomic"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// Errors of Open.
var (
	// ErrCorrupt is returned for a file that holds what was never written.
	ErrCorrupt = errors.New("storage: corrupt file")
	// ErrLocked is returned for a folder that another process uses.
	ErrLocked = errors.New("storage: the folder is in use by another process")
	// ErrKind is returned for a kind of storage that there isn't.
	ErrKind = errors.New("storage: unknown kind")
)

const (
	// maxWaitingBytes is when appending begins to wait for the disk.
	maxWaitingBytes = 16 << 20
	// minCheckpointBytes is how much is appended before a checkpoint is due, at
	// least.
	minCheckpointBytes = 8 << 20
	// keptBytes is the largest buffer that is kept for reuse.
	keptBytes = 4 << 20
)

// Recovered is what a process has to remember.
type Recovered struct {
	// Snapshot is the last checkpoint's; nil if there is none.
	Snapshot []byte
	// Records are the last checkpoint's and those appended since, in order.
	Records []consensus.Message
	// TornBytes is how much was cut off at the end: a group whose writing was
	// interrupted, so that nobody had been told that it is durable.
	TornBytes int
}

// Counts is what a storage has done since it was opened.
type Counts struct {
	// Records counts those appended, Writes the groups that they were written in;
	// Checkpoints counts those written, Syncs all syncs of files.
	Records, Writes, Checkpoints, Syncs uint64
}

// Storage is one process's. Append, Checkpoint and Flush belong to one
// goroutine; the other methods may be called from any.
type Storage struct {
	codec   consensus.Codec
	folder  folder // nil: nothing is kept
	disk    *Disk  // nil in tests of their own folder
	fsync   bool
	onError func(error)

	wake, notify, stop, stopped chan struct{}

	durable                     atomic.Uint64
	writes, checkpointed, syncs atomic.Uint64

	mu      sync.Mutex
	room    sync.Cond
	waiting batch
	spare   []byte
	// position counts appended groups of records and checkpoints.
	position uint64
	records  uint64
	// since is how many bytes were appended since the last checkpoint, which
	// took up checkpointBytes.
	since, checkpointBytes int
	failed                 bool

	// The rest belongs to the writer's goroutine: the file, its size, and what tells it
	// from other files, for Cut.
	file     file
	size     int64
	identity [identityBytes]byte
}

// batch is what the writer takes at once.
type batch struct {
	// checkpoint comes before the records; nil if there is none.
	checkpoint *checkpoint
	// group is a frame to be, without its header; empty if there are no records.
	group    []byte
	position uint64
}

func (b *batch) empty() bool { return b.checkpoint == nil && len(b.group) == 0 }

// Memory is a storage that keeps nothing and to which all is durable at once.
func Memory() *Storage { return &Storage{} }

// Open opens the folder on a disk without faults: see Disk.Open.
func Open(dir, kind string, codec consensus.Codec, onError func(error)) (*Storage, Recovered, error) {
	return new(Disk).Open(dir, kind, codec, onError)
}

// Open opens the folder, which is made if it isn't there, and returns what it
// holds. kind is one of control's; empty or StorageMemory keeps nothing and
// makes no folder. The codec encodes the records. onError is called once, from
// another goroutine, with the first error of writing; nothing becomes durable
// after it. The error of Open wraps ErrCorrupt, ErrLocked, ErrKind or the
// file system's.
func (d *Disk) Open(dir, kind string, codec consensus.Codec, onError func(error)) (*Storage, Recovered, error) {
	switch kind {
	case "", control.StorageMemory:
		return Memory(), Recovered{}, nil
	case control.StorageDisk, control.StorageFsync:
	default:
		return nil, Recovered{}, fmt.Errorf("%w: %q", ErrKind, kind)
	}
	fsync := kind == control.StorageFsync
	folder, err := openDirectory(dir, fsync)
	if err != nil {
		return nil, Recovered{}, fmt.Errorf("opening the storage: %w", err)
	}
	s, recovered, err := open(faultyFolder{folder, d}, fsync, codec, onError)
	if err != nil {
		_ = folder.close()
		return nil, Recovered{}, fmt.Errorf("opening the storage: %w", err)
	}
	s.disk = d
	return s, recovered, nil
}

// open is Open on any folder.
func open(folder folder, fsync bool, codec consensus.Codec, onError func(error)) (*Storage, Recovered, error) {
	s := &Storage{
		codec: codec, folder: folder, fsync: fsync, onError: onError,
		wake: make(chan struct{}, 1), notify: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.room.L = &s.mu
	recovered, err := s.recover()
	if err != nil {
		if s.file != nil {
			_ = s.file.Close()
		}
		return nil, Recovered{}, err
	}
	go s.run()
	return s, recovered, nil
}

// recover reads the folder and makes it ready to be appended to. What it
// returns is durable: otherwise the process could act on a record that its
// predecessor wrote but never synced, and that a loss of power still undoes.
func (s *Storage) recover() (Recovered, error) {
	if err := s.folder.remove(newName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Recovered{}, err
	}
	data, err := s.folder.read(logName)
	if errors.Is(err, fs.ErrNotExist) {
		return Recovered{}, s.writeCheckpoint(newCheckpoint(nil, nil))
	}
	if err != nil {
		return Recovered{}, err
	}
	found, err := decode(data, s.codec)
	if err != nil {
		return Recovered{}, fmt.Errorf("%w in %s", err, s.folder.path(logName))
	}
	s.checkpointBytes, s.since = found.checkpointEnd, found.end-found.checkpointEnd
	if s.file, err = s.folder.open(logName, int64(found.end)); err != nil {
		return Recovered{}, err
	}
	s.size = int64(found.end)
	copy(s.identity[:], data[identityOffset:])
	if s.fsync {
		if err := errors.Join(s.file.Sync(), s.folder.sync(), s.markSynced()); err != nil {
			return Recovered{}, err
		}
	}
	return Recovered{Snapshot: found.snapshot, Records: found.records, TornBytes: len(data) - found.end}, nil
}

// Keeps is false if nothing is kept, so that checkpoints are of no use.
func (s *Storage) Keeps() bool { return s.folder != nil }

// Append adds records and returns the position that Durable reaches when they,
// and all before them, are durable. They are written after Flush, or with what
// is being written.
func (s *Storage) Append(records []consensus.Message) (position uint64) {
	if s.folder == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting.group) > maxWaitingBytes && !s.failed {
		s.signal()
		s.room.Wait()
	}
	s.position++
	if s.failed {
		return s.position
	}
	if len(s.waiting.group) == 0 {
		s.waiting.group = append(s.waiting.group, make([]byte, frameHeaderBytes)...)
	}
	before := len(s.waiting.group)
	s.waiting.group = appendRecords(s.waiting.group, s.codec, records)
	s.waiting.position = s.position
	s.since += len(s.waiting.group) - before
	s.records += uint64(len(records))
	return s.position
}

// Checkpoint puts a snapshot and records in the place of everything before, and
// returns their position as Append does. The snapshot isn't copied.
func (s *Storage) Checkpoint(snapshot []byte, records []consensus.Message) (position uint64) {
	if s.folder == nil {
		return 0
	}
	c := newCheckpoint(snapshot, appendRecords(nil, s.codec, records))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position++
	if s.failed {
		return s.position
	}
	s.waiting = batch{checkpoint: c, group: s.waiting.group[:0], position: s.position}
	s.since, s.checkpointBytes = 0, c.size()
	s.signal()
	return s.position
}

// CheckpointDue is true once so much has been appended since the last
// checkpoint that another one is worth its while.
func (s *Storage) CheckpointDue() bool {
	if s.folder == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since > max(minCheckpointBytes, 2*s.checkpointBytes)
}

// Flush has the writer begin with what waits, unless it is busy: then what
// waits goes next.
func (s *Storage) Flush() {
	if s.folder == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.waiting.empty() {
		s.signal()
	}
}

func (s *Storage) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Durable is the position up to which everything is durable.
func (s *Storage) Durable() uint64 { return s.durable.Load() }

// Notify receives a value after Durable has grown. It is nil if nothing is
// kept.
func (s *Storage) Notify() <-chan struct{} { return s.notify }

// Counts reads the counters.
func (s *Storage) Counts() Counts {
	s.mu.Lock()
	records := s.records
	s.mu.Unlock()
	return Counts{
		Records: records, Writes: s.writes.Load(), Checkpoints: s.checkpointed.Load(), Syncs: s.syncs.Load(),
	}
}

// Close writes what waits, unless writing has failed before, and gives up the
// folder. It is to be called once, and nothing else after it.
func (s *Storage) Close() error {
	if s.folder == nil {
		return nil
	}
	if s.disk != nil {
		s.disk.Hurry()
	}
	close(s.stop)
	<-s.stopped
	if err := errors.Join(s.file.Close(), s.folder.close()); err != nil {
		return fmt.Errorf("closing the storage: %w", err)
	}
	return nil
}

// appendRecords appends each record's length, in four bytes, and the record.
func appendRecords(dst []byte, codec consensus.Codec, records []consensus.Message) []byte {
	for _, record := range records {
		start := len(dst)
		dst = codec.Append(append(dst, 0, 0, 0, 0), record)
		size := len(dst) - start - 4
		if size > math.MaxUint32 {
			panic(fmt.Sprintf("storage: a record of %d bytes", size))
		}
		binary.LittleEndian.PutUint32(dst[start:], uint32(size))
	}
	return dst
}
