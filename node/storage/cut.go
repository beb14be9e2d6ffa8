package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// The file SyncedName holds 16 bytes: which log it is about, by the length and the checksum
// of the checkpoint that the log begins with; and how many bytes of that log are synced,
// little-endian. It is written after each sync, and never synced itself: it outlives the
// process, as all that was written does, and is to tell what the end of power would
// have left. A new log is told about just before it takes the name. So if the log is
// another one, it is the one before, and all of it is synced: nothing is appended to it
// any more.
const (
	identityOffset = 4
	identityBytes  = 8
	syncedBytes    = identityBytes + 8
)

// markSynced says that the whole file is synced.
func (s *Storage) markSynced() error {
	if !s.fsync {
		return nil
	}
	var mark [syncedBytes]byte
	copy(mark[:], s.identity[:])
	binary.LittleEndian.PutUint64(mark[identityBytes:], uint64(s.size))
	return s.folder.mark(mark[:])
}

// ErrNotSynced is returned by Cut for a folder in which nothing was ever synced.
var ErrNotSynced = errors.New("storage: nothing tells what was synced")

// Cut does to a folder what the end of power might have done to it: what wasn't
// synced is lost. If torn, a part of it is there, or, if all was synced, a part of a
// group that was about to be written: something that recovery has to drop. The seed
// chooses it. The folder must have been used with StorageFsync, by a process that has
// ended. Cut returns the log's length before and after, and how much of it was synced;
// all are 0 if there is no log yet. The error wraps ErrNotSynced, ErrLocked, ErrCorrupt or the
// file system's.
func Cut(dir string, torn bool, seed uint64) (before, after, synced int64, err error) {
	folder, err := openDirectory(dir, false)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("cutting the log: %w", err)
	}
	before, after, synced, err = cut(folder, torn, seed)
	if err = errors.Join(err, folder.close()); err != nil {
		return 0, 0, 0, fmt.Errorf("cutting the log in %s: %w", dir, err)
	}
	return before, after, synced, nil
}

func cut(folder *directory, torn bool, seed uint64) (before, after, synced int64, err error) {
	data, err := folder.read(logName)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, 0, nil
	}
	if err != nil {
		return 0, 0, 0, err
	}
	if synced, err = syncedLength(folder, data); err != nil {
		return 0, 0, 0, err
	}
	before = int64(len(data))
	left := data[:synced]
	if torn {
		left = tear(data, synced, rand.New(rand.NewPCG(seed, 0)))
	}
	file, err := folder.open(logName, synced)
	if err != nil {
		return 0, 0, 0, err
	}
	_, err = file.Write(left[synced:])
	return before, int64(len(left)), synced, errors.Join(err, file.Close())
}

// syncedLength is how much of a log is synced.
func syncedLength(folder *directory, log []byte) (int64, error) {
	mark, err := folder.read(SyncedName)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNotSynced
	}
	if err != nil {
		return 0, err
	}
	if len(mark) != syncedBytes || len(log) < identityOffset+identityBytes {
		return 0, fmt.Errorf("%w: %s has %d bytes, %s has %d", ErrCorrupt, SyncedName, len(mark), logName, len(log))
	}
	synced := int64(len(log))
	if string(mark[:identityBytes]) == string(log[identityOffset:identityOffset+identityBytes]) {
		synced = min(synced, int64(binary.LittleEndian.Uint64(mark[identityBytes:])))
	}
	if synced < frameHeaderBytes {
		return 0, fmt.Errorf("%w: %s says %d bytes", ErrCorrupt, SyncedName, synced)
	}
	return synced, nil
}

// tear is what is left of a log with a torn end: less than the whole of what lies beyond
// the synced part, or else a part of a group.
func tear(log []byte, synced int64, random *rand.Rand) []byte {
	beyond := log[synced:]
	if len(beyond) < 2 {
		const payload = 64 // a record or two
		group := make([]byte, frameHeaderBytes+payload)
		for i := range group {
			group[i] = byte(random.Uint32())
		}
		if err := putHeader(group, groupMarker, group[frameHeaderBytes:]); err != nil {
			panic("storage: " + err.Error()) // for its size only
		}
		beyond = group
	}
	return append(log[:synced:synced], beyond[:1+random.IntN(len(beyond)-1)]...)
}

// Erase empties a folder that no process uses, as a new disk would be; one that isn't there
// is empty.
func Erase(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	folder, err := openDirectory(dir, false)
	if err != nil {
		return fmt.Errorf("erasing the storage: %w", err)
	}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	if err = errors.Join(err, folder.close()); err != nil {
		return fmt.Errorf("erasing the storage: %w", err)
	}
	return nil
}
