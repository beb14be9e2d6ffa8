package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quorumlab/node/control"
)

// openOn opens a storage whose first error goes to the channel.
func openOn(t testing.TB, d *Disk, dir, kind string) (*Storage, Recovered, chan error) {
	t.Helper()
	failed := make(chan error, 10)
	s, recovered, err := d.Open(dir, kind, numberCodec{}, func(err error) { failed <- err })
	if err != nil {
		t.Fatal(err)
	}
	return s, recovered, failed
}

func TestADiskThatRefusesWritesEndsTheStorageAndNothingBecomesDurableAnyMore(t *testing.T) {
	for name, c := range map[string]struct {
		kind   string
		faults Faults
		want   error
	}{
		"full":            {control.StorageFsync, Faults{FullDisk: true}, syscall.ENOSPC},
		"full, no fsync":  {control.StorageDisk, Faults{FullDisk: true}, syscall.ENOSPC},
		"failing":         {control.StorageFsync, Faults{FailWrites: true}, syscall.EIO},
		"failing, slowly": {control.StorageFsync, Faults{FailWrites: true, SyncDelay: time.Hour}, syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var d Disk
			s, _, failed := openOn(t, &d, dir, c.kind)
			kept := s.Append(numbers(1, 3))
			await(t, s, kept)
			d.Set(c.faults)
			refused := s.Append(numbers(4, 4))
			s.Flush()
			if err := <-failed; !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			d.Set(Faults{}) // too late: nobody knows what a failed write has left
			s.Checkpoint([]byte("snapshot"), numbers(1, 4))
			s.Append(numbers(5, 5))
			s.Flush()
			closeStorage(t, s)
			if durable := s.Durable(); durable != kept || durable >= refused {
				t.Errorf("durable up to %d, want %d", durable, kept)
			}
			if counts := d.Counts(); counts.RefusedBytes == 0 || len(failed) > 0 {
				t.Errorf("%+v, and %d more errors", counts, len(failed))
			}
			again, recovered := openReal(t, dir, c.kind)
			closeStorage(t, again)
			if !slices.Equal(recovered.Records, numbers(1, 3)) {
				t.Errorf("recovered %v", recovered.Records)
			}
		})
	}
}

func TestADiskThatIsFullFromTheStartTakesNothing(t *testing.T) {
	dir := t.TempDir()
	var d Disk
	d.Set(Faults{FullDisk: true})
	fresh := filepath.Join(dir, "fresh")
	if _, _, err := d.Open(fresh, control.StorageFsync, numberCodec{}, nil); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a new storage: %v", err)
	}
	d.Set(Faults{})
	s, _, _ := openOn(t, &d, dir, control.StorageFsync)
	await(t, s, s.Append(numbers(1, 2)))
	closeStorage(t, s)
	d.Set(Faults{FullDisk: true})
	s, recovered, failed := openOn(t, &d, dir, control.StorageFsync)
	if len(recovered.Records) != 2 {
		t.Errorf("recovered %v", recovered.Records)
	}
	position := s.Append(numbers(3, 3))
	s.Flush()
	if err := <-failed; !errors.Is(err, syscall.ENOSPC) || s.Durable() >= position {
		t.Errorf("an old one: %v, durable up to %d", err, s.Durable())
	}
	closeStorage(t, s)
}

func TestSlowSyncsTakeLongerAreCountedAndEndWithTheFault(t *testing.T) {
	var d Disk
	s, _, _ := openOn(t, &d, t.TempDir(), control.StorageFsync)
	const delay = 10 * time.Millisecond
	d.Set(Faults{SyncDelay: delay})
	for n := range uint64(3) {
		start := time.Now()
		await(t, s, s.Append(numbers(n, n)))
		if took := time.Since(start); took < delay {
			t.Errorf("durable after %v", took)
		}
	}
	if counts := d.Counts(); counts.SlowSyncs != 3 || counts.LeastSync < delay {
		t.Errorf("%+v", counts)
	}
	d.Set(Faults{SyncDelay: time.Hour})
	syncs := s.Counts().Syncs
	position := s.Append(numbers(4, 4))
	s.Flush()
	for s.Counts().Syncs == syncs { // it is under way
		time.Sleep(time.Millisecond)
	}
	d.Set(Faults{SyncDelay: time.Hour}) // the same again changes nothing
	time.Sleep(20 * time.Millisecond)
	if s.Durable() >= position {
		t.Error("a sync of an hour has ended")
	}
	d.Set(Faults{})
	await(t, s, position)
	if counts := d.Counts(); counts.SlowSyncs != 3 {
		t.Errorf("a delay that was cut short counts: %+v", counts)
	}
	d.Set(Faults{SyncDelay: time.Hour})
	s.Append(numbers(5, 5))
	closeStorage(t, s) // doesn't wait for an hour
}

// copyOf is what is left of a storage's folder if its process is killed now.
func copyOf(t testing.TB, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(filepath.Join(left, "storage"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(left, "storage")
}

// unsynced is a folder in which records 1 to 3 are synced, 4 to 6 written only.
func unsynced(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	var d Disk
	s, _, _ := openOn(t, &d, dir, control.StorageFsync)
	await(t, s, s.Append(numbers(1, 3)))
	d.Set(Faults{SyncDelay: time.Hour})
	syncs := s.Counts().Syncs
	s.Append(numbers(4, 6))
	s.Flush()
	for s.Counts().Syncs == syncs {
		time.Sleep(time.Millisecond)
	}
	left := copyOf(t, dir)
	closeStorage(t, s)
	return left
}

func recoveredFrom(t testing.TB, dir string) Recovered {
	t.Helper()
	s, recovered := openReal(t, dir, control.StorageFsync)
	closeStorage(t, s)
	return recovered
}

func TestCutLeavesWhatWasSyncedAndATornCutAPartOfWhatWasNot(t *testing.T) {
	dir := unsynced(t)
	if got := recoveredFrom(t, copyOf(t, dir)); !slices.Equal(got.Records, numbers(1, 6)) {
		t.Fatalf("before the cut there is %v", got.Records)
	}
	lost := copyOf(t, dir)
	before, after, synced, err := Cut(lost, false, 0)
	if err != nil || after != synced || before <= after {
		t.Errorf("%d bytes, %d after, %d synced, %v", before, after, synced, err)
	}
	if again, same, _, err := Cut(lost, false, 0); err != nil || again != after || same != after {
		t.Errorf("a second cut: %d bytes, %d after, %v", again, same, err)
	}
	if got := recoveredFrom(t, lost); !slices.Equal(got.Records, numbers(1, 3)) || got.TornBytes != 0 {
		t.Errorf("recovered %v, %d torn bytes", got.Records, got.TornBytes)
	}
	lengths := map[int64]bool{}
	for seed := range uint64(50) {
		torn := copyOf(t, dir)
		_, after, _, err := Cut(torn, true, seed)
		if err != nil || after <= synced || after >= before {
			t.Errorf("seed %d: %d bytes are left of %d, %d of them synced, %v", seed, after, before, synced, err)
		}
		lengths[after] = true
		if got := recoveredFrom(t, torn); !slices.Equal(got.Records, numbers(1, 3)) || int64(got.TornBytes) != after-synced {
			t.Errorf("seed %d: recovered %v, %d torn bytes of %d", seed, got.Records, got.TornBytes, after-synced)
		}
	}
	if len(lengths) < 10 {
		t.Errorf("50 seeds have left %d lengths", len(lengths))
	}
}

// Whether the storage goes on after a checkpoint or after a restart, the file synced is
// about the log that there is.
func TestCutKnowsTheLogAfterCheckpointsAndRestarts(t *testing.T) {
	dir := t.TempDir()
	s, _ := openReal(t, dir, control.StorageFsync)
	whole := func(what string, want Recovered) {
		t.Helper()
		for seed := range uint64(10) {
			for _, torn := range []bool{false, true} {
				left := copyOf(t, dir)
				before, after, synced, err := Cut(left, torn, seed)
				if err != nil || synced != before || (after > before) != torn || after < before {
					t.Errorf("%s, torn %v: %d bytes, %d after, %d synced, %v", what, torn, before, after, synced, err)
				}
				got := recoveredFrom(t, left)
				if !slices.Equal(got.Records, want.Records) || string(got.Snapshot) != string(want.Snapshot) || int64(got.TornBytes) != after-before {
					t.Errorf("%s, torn %v: recovered %+v", what, torn, got)
				}
			}
		}
	}
	whole("new", Recovered{})
	await(t, s, s.Append(numbers(1, 9)))
	whole("with records", Recovered{Records: numbers(1, 9)})
	stale, err := os.ReadFile(filepath.Join(dir, SyncedName))
	if err != nil {
		t.Fatal(err)
	}
	nine := []byte(strings.Repeat("nine", 100)) // more than the records took up
	await(t, s, s.Checkpoint(nine, numbers(9, 9)))
	whole("with a checkpoint", Recovered{Snapshot: nine, Records: numbers(9, 9)})
	fresh, err := os.ReadFile(filepath.Join(dir, SyncedName))
	if err != nil {
		t.Fatal(err)
	}
	// As if the process had been killed once the new log had its name.
	if err := os.WriteFile(filepath.Join(dir, SyncedName), stale, 0o644); err != nil {
		t.Fatal(err)
	}
	whole("just renamed", Recovered{Snapshot: nine, Records: numbers(9, 9)})
	if err := os.WriteFile(filepath.Join(dir, SyncedName), fresh, 0o644); err != nil {
		t.Fatal(err)
	}
	await(t, s, s.Append(numbers(10, 11)))
	closeStorage(t, s)
	whole("closed", Recovered{Snapshot: nine, Records: numbers(9, 11)})
	s, _ = openReal(t, dir, control.StorageFsync)
	await(t, s, s.Append(numbers(12, 12)))
	closeStorage(t, s)
	whole("restarted", Recovered{Snapshot: nine, Records: numbers(9, 12)})
}

// atFiles is a folder whose process may be killed before and after each change of a name.
type atFiles struct {
	folder
	killed func()
}

func (f atFiles) rename(from, to string) error {
	f.killed()
	defer f.killed()
	return f.folder.rename(from, to)
}

func (f atFiles) sync() error {
	f.killed()
	return f.folder.sync()
}

func TestCutKnowsTheLogAtEachPointOfACheckpoint(t *testing.T) {
	dir := t.TempDir()
	real, err := openDirectory(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var cuts []string // what is recovered after each
	s, _, err := open(atFiles{real, func() {
		left := copyOf(t, dir)
		before, after, synced, err := Cut(left, false, 0)
		if err != nil || before != after || synced != before {
			t.Errorf("cut %d: %d bytes, %d after, %d synced, %v", len(cuts)+1, before, after, synced, err)
		}
		got := recoveredFrom(t, left)
		mu.Lock()
		defer mu.Unlock()
		cuts = append(cuts, fmt.Sprint(string(got.Snapshot), got.Records))
	}}, true, numberCodec{}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	await(t, s, s.Append(numbers(1, 3)))
	await(t, s, s.Checkpoint([]byte("three"), numbers(3, 3)))
	closeStorage(t, s)
	want := []string{"[]", "[]", "[]", "[1 2 3]", "three[3]", "three[3]"}
	if !slices.Equal(cuts, want) {
		t.Errorf("recovered after the cuts: %q, want %q", cuts, want)
	}
}

// Whoever recovered what was written may have acted on it.
func TestWhatARestartHasRecoveredIsSynced(t *testing.T) {
	dir := unsynced(t)
	recoveredFrom(t, dir)
	before, after, synced, err := Cut(dir, false, 0)
	if err != nil || before != after || synced != after {
		t.Errorf("%d bytes, %d after, %d synced, %v", before, after, synced, err)
	}
	if got := recoveredFrom(t, dir); !slices.Equal(got.Records, numbers(1, 6)) {
		t.Errorf("recovered %v", got.Records)
	}
}

func TestCutRefusesFoldersItKnowsNothingOf(t *testing.T) {
	dir := t.TempDir()
	s, _ := openReal(t, dir, control.StorageDisk)
	if _, _, _, err := Cut(dir, false, 0); !errors.Is(err, ErrLocked) {
		t.Errorf("in use: %v", err)
	}
	closeStorage(t, s)
	if _, _, _, err := Cut(dir, false, 0); !errors.Is(err, ErrNotSynced) {
		t.Errorf("never synced: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, SyncedName), []byte("short"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := Cut(dir, true, 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file synced that is none: %v", err)
	}
	if before, after, synced, err := Cut(filepath.Join(dir, "absent"), true, 0); before+after+synced != 0 || err != nil {
		t.Errorf("no log yet: %d, %d, %d, %v", before, after, synced, err)
	}
}

func TestAnErasedFolderIsNewAndOneInUseIsNotErased(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage")
	if err := Erase(dir); err != nil {
		t.Errorf("nothing to erase: %v", err)
	}
	s, _ := openReal(t, dir, control.StorageFsync)
	await(t, s, s.Append(numbers(1, 9)))
	if err := Erase(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("in use: %v", err)
	}
	closeStorage(t, s)
	if err := Erase(dir); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left are %v, %v", entries, err)
	}
	if got := recoveredFrom(t, dir); got.Records != nil || got.Snapshot != nil {
		t.Errorf("recovered %+v", got)
	}
}

func FuzzCut(f *testing.F) {
	dir := unsynced(f)
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil {
		f.Fatal(err)
	}
	mark, err := os.ReadFile(filepath.Join(dir, SyncedName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(log, mark, true)
	f.Add(log[:20], mark, false)
	f.Add(log, mark[:15], true)
	f.Add([]byte{}, mark, true)
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, log, mark []byte, torn bool) {
		for name, data := range map[string][]byte{logName: log, SyncedName: mark} {
			if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		before, after, synced, err := Cut(folder, torn, 1)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v isn't ErrCorrupt", err)
			}
			return
		}
		left, err := os.ReadFile(filepath.Join(folder, logName))
		if err != nil || before != int64(len(log)) || after != int64(len(left)) || synced > before || (after > synced) != torn {
			t.Errorf("%d bytes, %d after, %d synced, %d are there, %v", before, after, synced, len(left), err)
		}
		if string(left[:synced]) != string(log[:synced]) {
			t.Error("what was synced has changed")
		}
	})
}

func BenchmarkAppendWithFsync(b *testing.B) {
	s, _ := openReal(b, b.TempDir(), control.StorageFsync)
	defer closeStorage(b, s)
	for n := range uint64(b.N) {
		await(b, s, s.Append(numbers(n, n)))
	}
}

// What telling the synced length costs.
func BenchmarkMark(b *testing.B) {
	folder, err := openDirectory(b.TempDir(), false)
	if err != nil {
		b.Fatal(err)
	}
	defer folder.close()
	mark := make([]byte, syncedBytes)
	for b.Loop() {
		if err := folder.mark(mark); err != nil {
			b.Fatal(err)
		}
	}
}
