package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
)

// number is a record of the tests; numbers are appended in their order, from 1.
// From large on they take up much room.
type number uint64

const (
	large      = 1 << 40
	largeBytes = 64 << 10
)

func (number) Label() consensus.Label { return consensus.Label{Kind: "number"} }

type numberCodec struct{}

func (numberCodec) Append(dst []byte, message consensus.Message) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(message.(number)))
	if message.(number) >= large {
		dst = append(dst, make([]byte, largeBytes-8)...)
	}
	return dst
}

func (c numberCodec) Size(message consensus.Message) int { return len(c.Append(nil, message)) }

func (numberCodec) Decode(src []byte) (consensus.Message, error) {
	if len(src) != 8 && len(src) != largeBytes {
		return nil, errors.New("no number")
	}
	return number(binary.BigEndian.Uint64(src)), nil
}

// numbers are records from first to last.
func numbers(first, last uint64) []consensus.Message {
	var records []consensus.Message
	for n := first; n <= last; n++ {
		records = append(records, number(n))
	}
	return records
}

// await waits until the storage is durable up to a position.
func await(t testing.TB, s *Storage, position uint64) {
	t.Helper()
	s.Flush()
	for s.Durable() < position {
		<-s.Notify()
	}
}

func openReal(t testing.TB, dir, kind string) (*Storage, Recovered) {
	t.Helper()
	s, recovered, err := Open(dir, kind, numberCodec{}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return s, recovered
}

func closeStorage(t testing.TB, s *Storage) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatWasAppendedComesBackInOrder(t *testing.T) {
	for _, kind := range []string{control.StorageDisk, control.StorageFsync} {
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "storage")
			s, recovered := openReal(t, dir, kind)
			if recovered.Snapshot != nil || recovered.Records != nil || recovered.TornBytes != 0 || !s.Keeps() {
				t.Errorf("a new folder holds %+v", recovered)
			}
			s.Append(numbers(1, 3))
			await(t, s, s.Append(numbers(4, 4)))
			s.Append(numbers(5, 9)) // Close writes it
			closeStorage(t, s)

			s, recovered = openReal(t, dir, kind)
			if recovered.Snapshot != nil || !slices.Equal(recovered.Records, numbers(1, 9)) {
				t.Fatalf("recovered %+v", recovered)
			}
			s.Append(numbers(10, 11)) // the checkpoint takes its place
			s.Checkpoint([]byte("nine"), numbers(8, 9))
			await(t, s, s.Append(numbers(12, 13)))
			closeStorage(t, s)

			s, recovered = openReal(t, dir, kind)
			defer closeStorage(t, s)
			want := slices.Concat(numbers(8, 9), numbers(12, 13))
			if string(recovered.Snapshot) != "nine" || !slices.Equal(recovered.Records, want) || recovered.TornBytes != 0 {
				t.Errorf("recovered %+v", recovered)
			}
			entries, err := os.ReadDir(dir)
			if want := map[bool]string{false: "[- lock - log]", true: "[- lock - log - synced]"}[kind == control.StorageFsync]; err != nil || fmt.Sprint(entries) != want {
				t.Errorf("the folder holds %v, want %s", entries, want)
			}
		})
	}
}

func TestMemoryKeepsNothingAndIsDurableAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage")
	for _, kind := range []string{"", control.StorageMemory} {
		s, recovered := openReal(t, dir, kind)
		records := numbers(1, 1)
		allocations := testing.AllocsPerRun(100, func() {
			if position := s.Append(records); position > s.Durable() {
				t.Errorf("position %d isn't durable", position)
			}
			s.Flush()
		})
		if allocations > 0 || s.CheckpointDue() || s.Keeps() || recovered.Records != nil || s.Checkpoint(nil, records) > s.Durable() {
			t.Errorf("%q: %v allocations, or something is kept", kind, allocations)
		}
		closeStorage(t, s)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("memory made a folder: %v", err)
	}
}

func TestAnUnknownKindIsRefused(t *testing.T) {
	if _, _, err := Open(t.TempDir(), "tape", numberCodec{}, nil); !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), `"tape"`) {
		t.Errorf("got %v", err)
	}
}

func TestTwoProcessesNeverUseOneFolder(t *testing.T) {
	dir := t.TempDir()
	s, _ := openReal(t, dir, control.StorageDisk)
	if _, _, err := Open(dir, control.StorageFsync, numberCodec{}, nil); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one: %v, want ErrLocked with the folder", err)
	}
	closeStorage(t, s)
	s, _ = openReal(t, dir, control.StorageDisk)
	closeStorage(t, s)
}

func TestAFolderThatCannotBeMadeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(filepath.Join(file, "storage"), control.StorageDisk, numberCodec{}, nil); err == nil {
		t.Error("a folder below a file was opened")
	}
}

// slowDisk lets the test decide when a sync ends.
type slowDisk struct {
	*disk
	begun, end chan struct{}
}

func (d *slowDisk) create(name string) (file, error) {
	made, err := d.disk.create(name)
	return &slowFile{made, d}, err
}

type slowFile struct {
	file
	disk *slowDisk
}

func (f *slowFile) Sync() error {
	f.disk.begun <- struct{}{}
	<-f.disk.end
	return f.file.Sync()
}

func TestRecordsAppendedWhileASyncIsInFlightGoWithTheNextOneAllTogether(t *testing.T) {
	d := &slowDisk{disk: newDisk(), begun: make(chan struct{}, 1), end: make(chan struct{}, 1)}
	d.end <- struct{}{} // for the empty checkpoint
	s, _, err := open(d, true, numberCodec{}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	<-d.begun
	before := s.Counts()
	first := s.Append(numbers(1, 1))
	s.Flush()
	<-d.begun
	var last uint64
	for n := uint64(2); n <= 1001; n++ {
		last = s.Append(numbers(n, n))
		s.Flush()
	}
	if s.Durable() >= first {
		t.Error("a record was durable before its sync ended")
	}
	d.end <- struct{}{}
	<-d.begun
	if got := s.Durable(); got < first || got >= last {
		t.Errorf("durable up to %d with the second sync in flight, want %d", got, first)
	}
	d.end <- struct{}{}
	await(t, s, last)
	counts := s.Counts()
	if syncs := counts.Syncs - before.Syncs; syncs != 2 || counts.Records != 1001 || counts.Writes != 2 {
		t.Errorf("%d syncs, %+v: want 1,001 records in two groups", syncs, counts)
	}
	closeStorage(t, s)
}

// history is what a process did with its storage before the disk crashed.
type history struct {
	// appended is the last number, durable the last one that was acknowledged.
	appended, durable uint64
}

// live appends numbers in groups, with checkpoints in between whose snapshots
// stand for the numbers up to theirs, until all is done or the disk crashes.
func live(t *testing.T, d *disk, fsync bool, from uint64) (h history) {
	t.Helper()
	h.durable = from
	failed := make(chan error, 1)
	s, recovered, err := open(d, fsync, numberCodec{}, func(err error) { failed <- err })
	if err != nil {
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		h.appended = from
		return h
	}
	defer func() { _ = s.Close() }()
	if got := check(t, recovered); got != from {
		t.Fatalf("the life begins with %d, want %d", got, from)
	}
	h.appended = from
	wait := func(position uint64) bool {
		for s.Flush(); s.Durable() < position; {
			select {
			case <-s.Notify():
			case err := <-failed:
				if !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				return false
			}
		}
		h.durable = h.appended
		return true
	}
	for _, step := range []string{"1", "3", "c", "2", "2c", "c1", "1c4"} {
		var position uint64
		for _, c := range step {
			if c == 'c' {
				// The checkpoint keeps the last number as a record.
				snapshot := fmt.Sprint(h.appended - 1)
				position = s.Checkpoint([]byte(snapshot), numbers(h.appended, h.appended))
				continue
			}
			count := uint64(c - '0')
			position = s.Append(numbers(h.appended+1, h.appended+count))
			h.appended += count
		}
		if !wait(position) {
			break
		}
	}
	return h
}

// check returns the last number of what was recovered, without a gap.
func check(t *testing.T, recovered Recovered) uint64 {
	t.Helper()
	var last uint64
	if recovered.Snapshot != nil {
		if _, err := fmt.Sscan(string(recovered.Snapshot), &last); err != nil {
			t.Fatalf("snapshot %q: %v", recovered.Snapshot, err)
		}
	}
	if want := numbers(last+1, last+uint64(len(recovered.Records))); !slices.Equal(recovered.Records, want) {
		t.Fatalf("after %d come %v", last, recovered.Records)
	}
	return last + uint64(len(recovered.Records))
}

// The process or the machine ends in the middle of every single change to the
// disk; what was acknowledged comes back, in order, and the storage goes on.
func TestNothingAcknowledgedIsLostWhereverTheProcessOrTheMachineEnds(t *testing.T) {
	for _, fsync := range []bool{false, true} {
		whole := newDisk()
		live(t, whole, fsync, 0)
		if whole.steps < 20 || !slices.Contains(whole.log, "rename") {
			t.Fatalf("only %d steps: %v", whole.steps, whole.log)
		}
		for at := 1; at <= whole.steps; at++ {
			crashed := newDisk()
			crashed.crashAt = at
			h := live(t, crashed, fsync, 0)
			ends := map[string]*disk{"kill": crashed.afterKill()}
			if fsync {
				for _, share := range []float64{0, 0.3, 0.9, 1} {
					for _, renamed := range []bool{false, true} {
						name := fmt.Sprintf("power loss, %v of what wasn't synced left, names %v", share, renamed)
						ends[name] = crashed.afterPowerLoss(share, false, renamed)
						ends[name+", zeros"] = crashed.afterPowerLoss(share, true, renamed)
					}
				}
			}
			for name, after := range ends {
				t.Run(fmt.Sprintf("fsync %v, %s at step %d (%s)", fsync, name, at, whole.log[at-1]), func(t *testing.T) {
					s, recovered, err := open(after, fsync, numberCodec{}, func(err error) { t.Error(err) })
					if err != nil {
						t.Fatal(err)
					}
					closeStorage(t, s)
					got := check(t, recovered)
					if got < h.durable || got > h.appended {
						t.Errorf("recovered up to %d; %d was durable, %d appended", got, h.durable, h.appended)
					}
					live(t, after, fsync, got)
				})
			}
		}
	}
}

// A predecessor's record that was written but never synced must not count before
// it is durable: a loss of power could still undo it.
func TestWhatOpenReturnsIsDurable(t *testing.T) {
	d := newDisk()
	live(t, d, true, 0)
	for at := d.steps; at > 0; at-- {
		crashed := newDisk()
		crashed.crashAt = at
		live(t, crashed, true, 0)
		crashed.crashAt = 0 // the process was killed, the machine lives on
		s, recovered, err := open(crashed, true, numberCodec{}, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		closeStorage(t, s)
		_, again, err := open(crashed.afterPowerLoss(0, false, false), true, numberCodec{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := check(t, again), check(t, recovered); got != want {
			t.Errorf("killed at step %d: recovered up to %d, after a loss of power up to %d", at, want, got)
		}
	}
}

func TestAfterAnErrorNothingBecomesDurableAndTheErrorIsReportedOnce(t *testing.T) {
	d := newDisk()
	reported := make(chan error, 10)
	s, _, err := open(d, true, numberCodec{}, func(err error) { reported <- err })
	if err != nil {
		t.Fatal(err)
	}
	await(t, s, s.Append(numbers(1, 1)))
	d.crashAt = d.steps + 2 // the next sync
	position := s.Append(numbers(2, 2))
	s.Flush()
	if err := <-reported; !errors.Is(err, errCrash) {
		t.Errorf("reported %v", err)
	}
	d.crashAt = 0 // the disk works again, but what it has lost is unknown
	s.Append(numbers(3, 3))
	s.Checkpoint([]byte("3"), nil)
	s.Flush()
	closeStorage(t, s)
	if s.Durable() >= position || len(reported) > 0 {
		t.Errorf("durable up to %d, the failed record is at %d; %d more errors", s.Durable(), position, len(reported))
	}
}

func TestCheckpointsAreDueOnceTheLogHasOutgrownTheLast(t *testing.T) {
	dir := t.TempDir()
	s, _ := openReal(t, dir, control.StorageDisk)
	record := numbers(large, large)
	const bytes = 4 + largeBytes
	grow := func(to int) {
		t.Helper()
		appended := 0
		for ; !s.CheckpointDue(); appended += bytes {
			await(t, s, s.Append(record))
			if appended > to+bytes {
				t.Fatalf("no checkpoint is due after %d bytes, want one after %d", appended, to)
			}
		}
		if appended < to {
			t.Fatalf("a checkpoint is due after %d bytes, want %d", appended, to)
		}
	}
	grow(minCheckpointBytes)
	const snapshotBytes = 6 << 20
	s.Checkpoint(make([]byte, snapshotBytes), nil)
	grow(2 * snapshotBytes)
	closeStorage(t, s)
	s, recovered := openReal(t, dir, control.StorageDisk) // knows it still
	if !s.CheckpointDue() || len(recovered.Snapshot) != snapshotBytes {
		t.Errorf("opened again: due %v, a snapshot of %d bytes", s.CheckpointDue(), len(recovered.Snapshot))
	}
	closeStorage(t, s)
}

func TestAppendingWaitsForADiskThatLagsFarBehind(t *testing.T) {
	d := &slowDisk{disk: newDisk(), begun: make(chan struct{}, 1000), end: make(chan struct{}, 1000)}
	d.end <- struct{}{}
	s, _, err := open(d, true, numberCodec{}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	<-d.begun
	s.Append(numbers(1, 1))
	s.Flush()
	<-d.begun // and stays
	var group sync.WaitGroup
	appended := make(chan uint64, 1)
	record := numbers(large, large)
	group.Go(func() {
		var last uint64
		for range 3 * maxWaitingBytes / largeBytes / 2 {
			last = s.Append(record)
		}
		appended <- last
	})
	s.mu.Lock()
	for len(s.waiting.group) <= maxWaitingBytes {
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
	s.mu.Unlock()
	select {
	case <-appended:
		t.Error("everything was appended while the disk stood still")
	default:
	}
	close(d.end)
	group.Wait()
	await(t, s, <-appended)
	closeStorage(t, s)
}

// What one small group costs, and how many records share a sync when there are
// many.
func BenchmarkSync(b *testing.B) {
	for _, kind := range []string{control.StorageDisk, control.StorageFsync} {
		b.Run(kind, func(b *testing.B) {
			s, _ := openReal(b, b.TempDir(), kind)
			record := numbers(1, 8)
			b.ReportAllocs()
			for b.Loop() {
				await(b, s, s.Append(record))
			}
			closeStorage(b, s)
		})
	}
}

func BenchmarkGroupCommit(b *testing.B) {
	s, _ := openReal(b, b.TempDir(), control.StorageFsync)
	record := numbers(1, 1)
	const outstanding = 1000
	for b.Loop() {
		position := s.Append(record)
		s.Flush()
		if position > outstanding {
			await(b, s, position-outstanding)
		}
	}
	counts := s.Counts()
	b.ReportMetric(float64(counts.Records)/float64(counts.Syncs), "records/sync")
	closeStorage(b, s)
}
