package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files of a folder.
const (
	logName = "log"
	// newName is a log to be, of no meaning after a restart.
	newName  = "log.new"
	lockName = "lock"
	// SyncedName is the file that tells how much of the log is synced (StorageFsync): see
	// Cut.
	SyncedName = "synced"
)

// folder is what the storage asks of the file system below its folder.
type folder interface {
	// path names a file for errors.
	path(name string) string
	read(name string) ([]byte, error)
	// create makes a file to write, or empties it.
	create(name string) (file, error)
	// open opens a file to append to, cut to a size.
	open(name string, size int64) (file, error)
	rename(from, to string) error
	remove(name string) error
	// sync makes renaming durable.
	sync() error
	// mark writes the file SyncedName, which nobody syncs.
	mark(data []byte) error
	close() error
}

// file is one that is written.
type file interface {
	Write(data []byte) (int, error)
	Sync() error
	Close() error
}

// directory is a real folder, locked for this process.
type directory struct {
	dir    string
	lock   *os.File
	marked *os.File // nil until the first mark
}

// openDirectory makes the folder, if it isn't there, and locks it. The lock ends
// with the process, however that ends. With fsync the folder's own name is
// durable too.
func openDirectory(dir string, fsync bool) (*directory, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err = lockFile(lock); err != nil {
		err = fmt.Errorf("%w: %s", err, dir)
	} else if fsync {
		err = syncDirectory(filepath.Dir(filepath.Clean(dir)))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &directory{dir: dir, lock: lock}, nil
}

func (d *directory) path(name string) string { return filepath.Join(d.dir, name) }

func (d *directory) read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

func (d *directory) create(name string) (file, error) { return os.Create(d.path(name)) }

func (d *directory) open(name string, size int64) (file, error) {
	opened, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	if err := opened.Truncate(size); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

func (d *directory) rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d *directory) remove(name string) error { return os.Remove(d.path(name)) }

func (d *directory) sync() error { return syncDirectory(d.dir) }

func (d *directory) mark(data []byte) error {
	if d.marked == nil {
		marked, err := os.OpenFile(d.path(SyncedName), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		d.marked = marked
	}
	_, err := d.marked.WriteAt(data, 0)
	return err
}

func (d *directory) close() error {
	if d.marked != nil {
		return errors.Join(d.marked.Close(), d.lock.Close())
	}
	return d.lock.Close()
}

func syncDirectory(dir string) error {
	opened, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}
