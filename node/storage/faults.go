package storage

import (
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"
)

// Faults are what goes wrong with the disk; the zero value is nothing.
type Faults struct {
	// SyncDelay is how much longer each sync takes, of files and of the folder.
	SyncDelay time.Duration
	// FailWrites has each write fail with EIO, FullDisk with ENOSPC. Nothing of it is
	// written then.
	FailWrites, FullDisk bool
}

// refusal is why nothing can be written; nil if it can.
func (f Faults) refusal() error {
	switch {
	case f.FullDisk:
		return syscall.ENOSPC
	case f.FailWrites:
		return syscall.EIO
	}
	return nil
}

// Disk is what a Storage writes through, for the sake of its faults. Whoever wants them
// there from the start makes one, sets them, and opens the storage on it. Its methods may
// be called from any goroutine.
type Disk struct {
	faults                      atomic.Pointer[active]
	slowSyncs, leastNS, refused atomic.Uint64
}

// active are faults in force, until over is closed.
type active struct {
	Faults
	over chan struct{}
}

// current are the faults in force.
func (d *Disk) current() Faults {
	if a := d.faults.Load(); a != nil {
		return a.Faults
	}
	return Faults{}
}

// Set puts faults in the place of those before, for what is under way too.
func (d *Disk) Set(faults Faults) {
	if d.current() == faults {
		return
	}
	var next *active
	if faults != (Faults{}) {
		next = &active{faults, make(chan struct{})}
	}
	if old := d.faults.Swap(next); old != nil {
		close(old.over)
	}
}

// Hurry ends delays, also for those who wait for a disk that lags far behind: their process
// is to end.
func (d *Disk) Hurry() {
	faults := d.current()
	faults.SyncDelay = 0
	d.Set(faults)
}

// DiskCounts is what the faults have done.
type DiskCounts struct {
	// SlowSyncs were delayed; the shortest of them took LeastSync, delay included.
	SlowSyncs uint64
	LeastSync time.Duration
	// RefusedBytes were not written.
	RefusedBytes uint64
}

// Counts reads the counters.
func (d *Disk) Counts() DiskCounts {
	return DiskCounts{SlowSyncs: d.slowSyncs.Load(), LeastSync: time.Duration(d.leastNS.Load()), RefusedBytes: d.refused.Load()}
}

// sync carries out a sync, slowly if it has to be. One whose delay was cut short counts
// for nothing.
func (d *Disk) sync(sync func() error) error {
	a := d.faults.Load()
	if a == nil || a.SyncDelay <= 0 {
		return sync()
	}
	start := time.Now()
	delay := time.NewTimer(a.SyncDelay)
	defer delay.Stop()
	select {
	case <-a.over:
		return sync()
	case <-delay.C:
	}
	err := sync()
	// Syncs of one storage follow one another.
	if took := uint64(time.Since(start)); d.slowSyncs.Load() == 0 || took < d.leastNS.Load() {
		d.leastNS.Store(took)
	}
	d.slowSyncs.Add(1)
	return err
}

// faultyFolder is a folder on the disk.
type faultyFolder struct {
	folder
	disk *Disk
}

func (f faultyFolder) create(name string) (file, error) {
	if err := f.disk.current().refusal(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: f.path(name), Err: err}
	}
	made, err := f.folder.create(name)
	return f.wrap(made, name, err)
}

func (f faultyFolder) open(name string, size int64) (file, error) {
	opened, err := f.folder.open(name, size)
	return f.wrap(opened, name, err)
}

func (f faultyFolder) wrap(inner file, name string, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{file: inner, disk: f.disk, path: f.path(name)}, nil
}

func (f faultyFolder) sync() error { return f.disk.sync(f.folder.sync) }

// faultyFile is a file on the disk.
type faultyFile struct {
	file
	disk *Disk
	path string
}

func (f *faultyFile) Write(data []byte) (int, error) {
	if err := f.disk.current().refusal(); err != nil {
		f.disk.refused.Add(uint64(len(data)))
		return 0, &fs.PathError{Op: "write", Path: f.path, Err: err}
	}
	return f.file.Write(data)
}

func (f *faultyFile) Sync() error { return f.disk.sync(f.file.Sync) }
