// Package logfile writes files of lines that others may read while they grow:
// events and request rows. Lines are gathered in memory and written every 100
// ms by a goroutine of the file's own, so that whoever appends doesn't wait for
// the disk unless it lags far behind.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// FlushInterval is how long a line waits in memory at most.
const FlushInterval = 100 * time.Millisecond

// maxWaitingBytes is when appending begins to wait for the disk.
const maxWaitingBytes = 64 << 20

// keptBytes is the largest buffer that is kept for reuse.
const keptBytes = 4 << 20

// File is a growing file of lines. Its methods may be called from several
// goroutines.
type File struct {
	file    *os.File
	onError func(error)
	stop    chan struct{}
	stopped chan struct{}

	mu      sync.Mutex
	waiting []byte
	err     error

	// writing makes flushes follow one another.
	writing sync.Mutex
	spare   []byte
}

// Create makes the file, or empties it. onError is called once, from another
// goroutine, with the first error of writing; after it, nothing more is written.
func Create(path string, onError func(error)) (*File, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("creating a log: %w", err)
	}
	return start(file, onError), nil
}

// Open makes the file, or goes on after its last whole line: what a process that
// was killed has left of another is cut off. onError is as Create's.
func Open(path string, onError func(error)) (*File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	if err := cutTornLine(file); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a log: %w", err), file.Close())
	}
	return start(file, onError), nil
}

func start(file *os.File, onError func(error)) *File {
	f := &File{file: file, onError: onError, stop: make(chan struct{}), stopped: make(chan struct{})}
	go f.flushRegularly()
	return f
}

// cutTornLine cuts the file after its last newline and goes there.
func cutTornLine(file *os.File) error {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for chunk := make([]byte, 4096); end > 0; {
		piece := chunk[:min(int64(len(chunk)), end)]
		if _, err := file.ReadAt(piece, end-int64(len(piece))); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(piece, '\n'); i >= 0 {
			end -= int64(len(piece) - i - 1)
			break
		}
		end -= int64(len(piece))
	}
	if err := file.Truncate(end); err != nil {
		return err
	}
	_, err = file.Seek(end, io.SeekStart)
	return err
}

// Append adds one or more whole lines, which build appends to the buffer that
// it is given.
func (f *File) Append(build func(dst []byte) []byte) {
	f.mu.Lock()
	f.waiting = build(f.waiting)
	full := len(f.waiting) > maxWaitingBytes
	f.mu.Unlock()
	if full {
		// The error is remembered and reported by flush itself.
		_ = f.Flush()
	}
}

// Write appends whole lines; it never fails, as errors are reported later.
func (f *File) Write(lines []byte) (int, error) {
	f.Append(func(dst []byte) []byte { return append(dst, lines...) })
	return len(lines), nil
}

// Flush writes what was appended so far and returns the first error of writing
// since the file was made.
func (f *File) Flush() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	lines, failed := f.waiting, f.err
	f.waiting = f.spare[:0]
	f.mu.Unlock()
	if cap(lines) <= keptBytes {
		f.spare = lines
	} else {
		f.spare = nil
	}
	if failed != nil || len(lines) == 0 {
		return failed
	}
	if _, err := f.file.Write(lines); err != nil {
		err = fmt.Errorf("writing a log: %w", err)
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		go f.onError(err)
		return err
	}
	return nil
}

// Close flushes and closes the file.
func (f *File) Close() error {
	close(f.stop)
	<-f.stopped
	err := f.Flush()
	if closeErr := f.file.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("closing a log: %w", closeErr)
	}
	return err
}

func (f *File) flushRegularly() {
	defer close(f.stopped)
	ticker := time.NewTicker(FlushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
			// The error is remembered, and onError was called with it.
			_ = f.Flush()
		}
	}
}
