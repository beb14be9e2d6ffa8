package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quorumlab/node/consensus"
)

// encodeFile is what a storage writes for a checkpoint and groups of records.
func encodeFile(t testing.TB, snapshot string, records []consensus.Message, groups ...[]consensus.Message) []byte {
	t.Helper()
	d := newDisk()
	s, _, err := open(d, false, numberCodec{}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	await(t, s, s.Checkpoint([]byte(snapshot), records))
	for _, group := range groups {
		await(t, s, s.Append(group))
	}
	closeStorage(t, s)
	return d.names[logName].data
}

func TestATornEndIsCutOffWhateverFollows(t *testing.T) {
	whole := encodeFile(t, "2", numbers(3, 3), numbers(4, 5))
	longer := encodeFile(t, "2", numbers(3, 3), numbers(4, 5), numbers(6, 8))
	random := make([]byte, 100)
	source := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(source.Uint32())
	}
	for cut := len(whole); cut < len(longer); cut++ {
		for name, garbage := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 50), "noise": random, "a marker": []byte("xxQLG1")} {
			if cut == len(longer)-1 && garbage != nil {
				continue // the garbage could be the missing byte
			}
			data := slices.Concat(longer[:cut], garbage)
			c, err := decode(data, numberCodec{})
			if err != nil {
				t.Fatalf("cut at %d, followed by %s: %v", cut, name, err)
			}
			if c.end != len(whole) || string(c.snapshot) != "2" || !slices.Equal(c.records, numbers(3, 5)) {
				t.Fatalf("cut at %d, followed by %s: %+v", cut, name, c)
			}
		}
	}
}

func TestOpenCutsATornEndOffAndSaysSo(t *testing.T) {
	d := newDisk()
	whole := encodeFile(t, "2", numbers(3, 3), numbers(4, 5))
	d.put(logName, append(slices.Clone(whole), "torn"...))
	d.put(newName, []byte("half a checkpoint"))
	s, recovered, err := open(d, false, numberCodec{}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	if recovered.TornBytes != 4 || check(t, recovered) != 5 {
		t.Errorf("%+v", recovered)
	}
	await(t, s, s.Append(numbers(6, 6)))
	closeStorage(t, s)
	if _, left := d.names[newName]; left {
		t.Error("the half checkpoint is still there")
	}
	_, recovered, err = open(d, false, numberCodec{}, nil)
	if err != nil || recovered.TornBytes != 0 || check(t, recovered) != 6 {
		t.Errorf("%+v, %v", recovered, err)
	}
}

// Each byte before the last group in turn is damaged: that is no torn write.
func TestDamageInTheMiddleIsAnErrorThatNamesFileAndOffset(t *testing.T) {
	data := encodeFile(t, "2", numbers(3, 3), numbers(4, 5), numbers(6, 6))
	first := encodeFile(t, "2", numbers(3, 3))
	second := encodeFile(t, "2", numbers(3, 3), numbers(4, 5))
	for i := range second {
		damaged := slices.Clone(data)
		damaged[i] ^= 0x10
		d := newDisk()
		d.put(logName, damaged)
		_, _, err := open(d, false, numberCodec{}, nil)
		where := "byte 0"
		if i >= len(first) {
			where = "a damaged group at byte " + strconv.Itoa(len(first)) + ", a good one at byte " + strconv.Itoa(len(second))
		}
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), "/disk/log") {
			t.Fatalf("byte %d damaged: %v, want %q", i, err, where)
		}
	}
	for i := len(second); i < len(data); i++ { // the last group may be a torn write
		damaged := slices.Clone(data)
		damaged[i] ^= 0x10
		if c, err := decode(damaged, numberCodec{}); err != nil || c.end != len(second) {
			t.Fatalf("byte %d damaged: %v, end %d", i, err, c.end)
		}
	}
}

// frame makes a frame with a good checksum of any payload.
func frame(t testing.TB, marker string, payload []byte) []byte {
	t.Helper()
	header := make([]byte, frameHeaderBytes)
	if err := putHeader(header, marker, payload); err != nil {
		t.Fatal(err)
	}
	return append(header, payload...)
}

func TestAGoodChecksumOfNonsenseIsAnErrorToo(t *testing.T) {
	size := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	good := frame(t, checkpointMarker, size(0))
	for name, data := range map[string][]byte{
		"nothing":                nil,
		"a group first":          frame(t, groupMarker, nil),
		"no size of a snapshot":  frame(t, checkpointMarker, []byte("1234567")),
		"a snapshot too long":    frame(t, checkpointMarker, append(size(2), 'x')),
		"a record cut off":       append(slices.Clone(good), frame(t, groupMarker, []byte{8, 0, 0, 0, 1})...),
		"a record without size":  append(slices.Clone(good), frame(t, groupMarker, []byte{8, 0})...),
		"a record that is none":  append(slices.Clone(good), frame(t, groupMarker, []byte{1, 0, 0, 0, 7})...),
		"a bad checkpointed one": frame(t, checkpointMarker, append(size(0), 1, 0, 0, 0, 7)),
	} {
		if _, err := decode(data, numberCodec{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encodeFile(f, "2", numbers(3, 3), numbers(4, 5), numbers(6, 6)))
	f.Add(encodeFile(f, "", nil))
	f.Add(append(encodeFile(f, "", nil, numbers(1, 1)), 0, 0, 0))
	f.Add(append(frame(f, checkpointMarker, make([]byte, 8)), frame(f, groupMarker, []byte{8, 0, 0, 0, 1})...))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode(data, numberCodec{})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v isn't ErrCorrupt", err)
			}
			return
		}
		if c.checkpointEnd > c.end || c.end > len(data) {
			t.Fatalf("%+v of %d bytes", c, len(data))
		}
		// What is kept decodes to the same, whole.
		again, err := decode(data[:c.end], numberCodec{})
		if err != nil || again.end != c.end || !bytes.Equal(again.snapshot, c.snapshot) || !slices.Equal(again.records, c.records) {
			t.Errorf("cut, it decodes to %+v, %v; whole to %+v", again, err, c)
		}
	})
}
