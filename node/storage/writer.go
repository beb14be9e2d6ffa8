package storage

import (
	"errors"
	"fmt"
)

// run is the writer's goroutine.
func (s *Storage) run() {
	defer close(s.stopped)
	for {
		select {
		case <-s.wake:
		case <-s.stop:
			s.writeWaiting()
			return
		}
		s.writeWaiting()
	}
}

// writeWaiting writes what waits, until nothing does, and makes it durable. After
// an error it does nothing any more: nobody knows what a failed sync has left.
func (s *Storage) writeWaiting() {
	for {
		s.mu.Lock()
		taken := s.waiting
		if taken.empty() || s.failed {
			s.mu.Unlock()
			return
		}
		s.waiting = batch{group: s.spare[:0]}
		s.spare = nil
		s.room.Broadcast()
		s.mu.Unlock()

		err := s.write(taken)

		s.mu.Lock()
		s.failed = err != nil
		if cap(taken.group) <= keptBytes {
			s.spare = taken.group
		}
		s.room.Broadcast()
		s.mu.Unlock()
		if err != nil {
			s.onError(fmt.Errorf("writing the storage: %w", err))
			return
		}
		s.durable.Store(taken.position)
		select {
		case s.notify <- struct{}{}:
		default:
		}
	}
}

func (s *Storage) write(b batch) error {
	if b.checkpoint != nil {
		if err := s.writeCheckpoint(b.checkpoint); err != nil {
			return err
		}
	}
	if len(b.group) == 0 {
		return nil
	}
	if err := putHeader(b.group, groupMarker, b.group[frameHeaderBytes:]); err != nil {
		return err
	}
	if _, err := s.file.Write(b.group); err != nil {
		return err
	}
	s.writes.Add(1)
	s.size += int64(len(b.group))
	if err := s.sync(s.file); err != nil {
		return err
	}
	return s.markSynced()
}

func (s *Storage) sync(file file) error {
	if !s.fsync {
		return nil
	}
	s.syncs.Add(1)
	return file.Sync()
}

// writeCheckpoint writes the checkpoint to a new file, has that take the log's
// name, and goes on with it. At each point the name stands for a whole file.
func (s *Storage) writeCheckpoint(c *checkpoint) error {
	header := make([]byte, frameHeaderBytes)
	if err := putHeader(header, checkpointMarker, c.snapshotSize[:], c.snapshot, c.records); err != nil {
		return err
	}
	fresh, err := s.folder.create(newName)
	if err != nil {
		return err
	}
	for _, part := range [][]byte{header, c.snapshotSize[:], c.snapshot, c.records} {
		if _, err := fresh.Write(part); err != nil {
			return errors.Join(err, fresh.Close())
		}
	}
	if err := s.sync(fresh); err != nil {
		return errors.Join(err, fresh.Close())
	}
	// Marked before it has the name, so that a log with nothing about it never has it.
	s.size = int64(c.size())
	copy(s.identity[:], header[identityOffset:])
	if err := s.markSynced(); err != nil {
		return errors.Join(err, fresh.Close())
	}
	if err := s.folder.rename(newName, logName); err != nil {
		return errors.Join(err, fresh.Close())
	}
	old := s.file
	s.file = fresh
	// Before this sync the name may still stand for the old file, so nothing in
	// the new one is durable.
	if s.fsync {
		if err := s.folder.sync(); err != nil {
			return err
		}
	}
	s.checkpointed.Add(1)
	if old != nil {
		return old.Close()
	}
	return nil
}
