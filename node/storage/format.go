package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"quorumlab/node/consensus"
)

// A file is a frame that holds a checkpoint, then one frame a group of records.
// A frame is a marker of four bytes, which says which it is; the payload's
// length and the checksum of length and payload, four bytes each, little-endian;
// and the payload. That of a group is its records, each with its length before
// it. That of a checkpoint is the length of the snapshot, in eight bytes; the
// snapshot; and records likewise.
const (
	frameHeaderBytes = 12
	checkpointMarker = "QLC1"
	groupMarker      = "QLG1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// putHeader fills in the header of a frame whose payload is the given parts, one
// after the other.
func putHeader(header []byte, marker string, payload ...[]byte) error {
	size := 0
	for _, part := range payload {
		size += len(part)
	}
	if size > math.MaxUint32 {
		return fmt.Errorf("storage: %d bytes don't fit a frame", size)
	}
	copy(header, marker)
	binary.LittleEndian.PutUint32(header[4:], uint32(size))
	sum := crc32.Update(0, castagnoli, header[4:8])
	for _, part := range payload {
		sum = crc32.Update(sum, castagnoli, part)
	}
	binary.LittleEndian.PutUint32(header[8:], sum)
	return nil
}

// cutFrame returns the payload of the frame that data begins with.
func cutFrame(data []byte, marker string) (payload []byte, whole bool) {
	if len(data) < frameHeaderBytes || string(data[:4]) != marker {
		return nil, false
	}
	size := int64(binary.LittleEndian.Uint32(data[4:]))
	if size > int64(len(data)-frameHeaderBytes) {
		return nil, false
	}
	payload = data[frameHeaderBytes : frameHeaderBytes+size]
	sum := crc32.Update(crc32.Update(0, castagnoli, data[4:8]), castagnoli, payload)
	return payload, sum == binary.LittleEndian.Uint32(data[8:])
}

// checkpoint is the parts of a checkpoint's payload.
type checkpoint struct {
	snapshotSize      [8]byte
	snapshot, records []byte
}

func newCheckpoint(snapshot, records []byte) *checkpoint {
	c := &checkpoint{snapshot: snapshot, records: records}
	binary.LittleEndian.PutUint64(c.snapshotSize[:], uint64(len(snapshot)))
	return c
}

// size is that of the frame.
func (c *checkpoint) size() int {
	return frameHeaderBytes + len(c.snapshotSize) + len(c.snapshot) + len(c.records)
}

// contents is what a file holds.
type contents struct {
	snapshot []byte
	records  []consensus.Message
	// checkpointEnd is where the checkpoint ends, end where the last whole group
	// does.
	checkpointEnd, end int
}

// decode reads a file. What follows the last whole group is a torn write and is
// left out, unless a whole group follows that in turn: the writer begins a group
// only after the one before it is written, or even synced. The error wraps
// ErrCorrupt.
func decode(data []byte, codec consensus.Codec) (contents, error) {
	payload, whole := cutFrame(data, checkpointMarker)
	if !whole || len(payload) < 8 {
		return contents{}, fmt.Errorf("%w: no whole checkpoint at byte 0", ErrCorrupt)
	}
	c := contents{checkpointEnd: frameHeaderBytes + len(payload)}
	size, rest := binary.LittleEndian.Uint64(payload), payload[8:]
	if size > uint64(len(rest)) {
		return contents{}, fmt.Errorf("%w: the checkpoint's snapshot is longer than the checkpoint", ErrCorrupt)
	}
	if size > 0 {
		c.snapshot = bytes.Clone(rest[:size])
	}
	if err := c.decodeRecords(rest[size:], frameHeaderBytes+8+int(size), codec); err != nil {
		return contents{}, err
	}
	for c.end = c.checkpointEnd; c.end < len(data); {
		payload, whole := cutFrame(data[c.end:], groupMarker)
		if !whole {
			if next := findGroup(data, c.end+1); next >= 0 {
				return contents{}, fmt.Errorf("%w: a damaged group at byte %d, a good one at byte %d", ErrCorrupt, c.end, next)
			}
			break
		}
		if err := c.decodeRecords(payload, c.end+frameHeaderBytes, codec); err != nil {
			return contents{}, err
		}
		c.end += frameHeaderBytes + len(payload)
	}
	return c, nil
}

// findGroup returns where the first whole group from an offset on begins, or -1.
func findGroup(data []byte, from int) int {
	for {
		i := bytes.Index(data[from:], []byte(groupMarker))
		if i < 0 {
			return -1
		}
		from += i
		if _, whole := cutFrame(data[from:], groupMarker); whole {
			return from
		}
		from++
	}
}

// decodeRecords adds records that begin at an offset of the file.
func (c *contents) decodeRecords(data []byte, offset int, codec consensus.Codec) error {
	for len(data) > 0 {
		if len(data) < 4 || int64(binary.LittleEndian.Uint32(data)) > int64(len(data)-4) {
			return fmt.Errorf("%w: a record that is cut off at byte %d", ErrCorrupt, offset)
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		record, err := codec.Decode(data[4:end])
		if err != nil {
			return fmt.Errorf("%w: the record at byte %d: %w", ErrCorrupt, offset, err)
		}
		c.records = append(c.records, record)
		data, offset = data[end:], offset+end
	}
	return nil
}
