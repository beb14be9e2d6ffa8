package storage

import (
	"errors"
	"io/fs"
	"slices"
)

// errCrash is what everything returns once the disk has crashed.
var errCrash = errors.New("the disk has crashed")

// disk is a folder in memory that ends in the middle of a given step, and tells
// what a process or a machine that ends there finds afterwards.
type disk struct {
	// names are the files as processes see them, synced those that a loss of
	// power leaves.
	names, synced map[string]*inode
	// steps counts the changes so far; the one numbered crashAt, from 1, is done
	// by half and the last. 0 never comes.
	steps, crashAt int
	log            []string
	syncs          int
	marked         string
}

// inode is a file; a loss of power leaves what was synced, and any part of what
// came after it.
type inode struct {
	data   []byte
	synced int
}

func newDisk() *disk { return &disk{names: map[string]*inode{}, synced: map[string]*inode{}} }

// step counts one change. It is false after the crash, and half is true in the
// middle of it.
func (d *disk) step(what string) (alive, half bool) {
	if d.crashAt > 0 && d.steps >= d.crashAt {
		return false, false
	}
	d.steps++
	d.log = append(d.log, what)
	return true, d.steps == d.crashAt
}

// afterKill is what the next process finds if this one was killed.
func (d *disk) afterKill() *disk {
	after := newDisk()
	for name, file := range d.names {
		after.put(name, file.data)
	}
	return after
}

// afterPowerLoss is what is left if of each file's unsynced bytes some share is,
// with the rest of them lost or turned to zeros; renamed tells whether names
// that weren't synced are there.
func (d *disk) afterPowerLoss(share float64, zeros, renamed bool) *disk {
	names := d.synced
	if renamed {
		names = d.names
	}
	after := newDisk()
	for name, file := range names {
		kept := file.synced + int(share*float64(len(file.data)-file.synced))
		data := slices.Clone(file.data[:kept])
		if zeros {
			data = append(data, make([]byte, len(file.data)-kept)...)
		}
		after.put(name, data)
	}
	return after
}

func (d *disk) put(name string, data []byte) {
	file := &inode{data: slices.Clone(data), synced: len(data)}
	d.names[name], d.synced[name] = file, file
}

func (d *disk) path(name string) string { return "/disk/" + name }
func (d *disk) close() error            { return nil }
func (d *disk) mark(data []byte) error {
	d.marked = string(data)
	return nil
}

func (d *disk) read(name string) ([]byte, error) {
	file := d.names[name]
	if file == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(file.data), nil
}

func (d *disk) create(name string) (file, error) {
	if alive, half := d.step("create"); !alive || half {
		return nil, errCrash
	}
	d.names[name] = &inode{}
	return &handle{d, d.names[name]}, nil
}

func (d *disk) open(name string, size int64) (file, error) {
	if alive, half := d.step("truncate"); !alive || half {
		return nil, errCrash
	}
	file := d.names[name]
	file.data = file.data[:size]
	file.synced = min(file.synced, len(file.data))
	return &handle{d, file}, nil
}

func (d *disk) rename(from, to string) error {
	if alive, half := d.step("rename"); !alive || half {
		return errCrash
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

func (d *disk) remove(name string) error {
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	if alive, half := d.step("remove"); !alive || half {
		return errCrash
	}
	delete(d.names, name)
	return nil
}

func (d *disk) sync() error {
	if alive, half := d.step("sync names"); !alive || half {
		return errCrash
	}
	d.synced = map[string]*inode{}
	for name, file := range d.names {
		d.synced[name] = file
	}
	return nil
}

type handle struct {
	disk *disk
	file *inode
}

func (h *handle) Write(data []byte) (int, error) {
	alive, half := h.disk.step("write")
	switch {
	case !alive:
		return 0, errCrash
	case half:
		h.file.data = append(h.file.data, data[:len(data)/2]...)
		return len(data) / 2, errCrash
	}
	h.file.data = append(h.file.data, data...)
	return len(data), nil
}

func (h *handle) Sync() error {
	if alive, half := h.disk.step("sync"); !alive || half {
		return errCrash
	}
	h.disk.syncs++
	h.file.synced = len(h.file.data)
	return nil
}

func (h *handle) Close() error { return nil }
