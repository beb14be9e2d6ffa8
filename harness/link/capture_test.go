//go:build linux

package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/topologies"
)

// section is a parsed pcapng section.
type section struct {
	comment    string
	interfaces []string
	packets    []capturedPacket
}

type capturedPacket struct {
	at      string // the interface's name
	timeNS  int64
	flags   uint32
	comment string
	data    []byte
}

// readCapture parses a file strictly.
func readCapture(file []byte) (s section, err error) {
	number := binary.NativeEndian.Uint32
	for at := 0; at < len(file); {
		if len(file)-at < 12 {
			return s, fmt.Errorf("%d bytes are left at %d", len(file)-at, at)
		}
		kind, length := number(file[at:]), int(number(file[at+4:]))
		if length%4 != 0 || length < 12 || length > len(file)-at || number(file[at+length-4:]) != uint32(length) {
			return s, fmt.Errorf("a block of length %d at %d", length, at)
		}
		body := file[at+8 : at+length-4]
		at += length
		switch kind {
		case blockSection:
			if number(body) != sectionMagic || binary.NativeEndian.Uint16(body[4:]) != 1 {
				return s, fmt.Errorf("section %x", body[:8])
			}
			options, err := readOptions(body[16:])
			if err != nil {
				return s, err
			}
			s.comment = string(options[optionComment])
		case blockInterface:
			options, err := readOptions(body[8:])
			if err != nil {
				return s, err
			}
			if binary.NativeEndian.Uint16(body) != linkEthernet || !bytes.Equal(options[optionInterfaceUnit], []byte{9}) {
				return s, fmt.Errorf("interface %x", body)
			}
			s.interfaces = append(s.interfaces, string(options[optionInterfaceName]))
		case blockPacket:
			length := int(number(body[12:]))
			options, err := readOptions(body[20+length+padding(length):])
			if err != nil || number(body[16:]) != uint32(length) || int(number(body)) >= len(s.interfaces) {
				return s, fmt.Errorf("packet %x: %w", body[:20], err)
			}
			s.packets = append(s.packets, capturedPacket{
				at: s.interfaces[number(body)], timeNS: int64(number(body[4:]))<<32 | int64(number(body[8:])),
				flags: number(options[optionPacketFlags]), comment: string(options[optionComment]), data: body[20 : 20+length],
			})
		default:
			return s, fmt.Errorf("block type %d", kind)
		}
	}
	return s, nil
}

func readOptions(bytes []byte) (map[int][]byte, error) {
	options := map[int][]byte{}
	for len(bytes) >= 4 {
		code, length := int(binary.NativeEndian.Uint16(bytes)), int(binary.NativeEndian.Uint16(bytes[2:]))
		if 4+length+padding(length) > len(bytes) {
			return nil, fmt.Errorf("option %d of %d bytes", code, length)
		}
		if code == optionEnd {
			if len(bytes) != 4 {
				return nil, fmt.Errorf("%d bytes after the options", len(bytes)-4)
			}
			return options, nil
		}
		options[code] = bytes[4 : 4+length]
		bytes = bytes[4+length+padding(length):]
	}
	return nil, fmt.Errorf("options without an end")
}

// capture taps a link of an offline emulator. A capture's frames must be ended by end.
func (o *offline) capture(link int, path string) *capture {
	o.t.Helper()
	c, err := openCapture(o.e.topology.Links[link], path, 1_000_000_000_000)
	if err != nil {
		o.t.Fatal(err)
	}
	o.e.taps[2*link], o.e.taps[2*link+1] = c, c
	return c
}

// emptyFile makes a file to capture into.
func emptyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "link.pcapng")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// endCapture ends a capture and parses its file.
func endCapture(t *testing.T, c *capture, path string) section {
	t.Helper()
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := readCapture(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestACaptureShowsFramesAtBothEndsAtTheModelsTimes(t *testing.T) {
	topology := chainTopology()
	topology.Links[1].AToB.Delay = 20 * time.Millisecond
	o := newOffline(t, topology)
	path := emptyFile(t)
	c := o.capture(1, path)
	o.send(0, 1, 0)
	o.send(1, 0, 3*ms)
	o.send(0, 1, 40*ms) // still on the link at the end
	o.runUntil(55 * ms)
	s := endCapture(t, c, path)
	if !strings.Contains(s.comment, "have no exit") || !slices.Equal(s.interfaces, []string{"s1-s2 at s1", "s1-s2 at s2"}) {
		t.Errorf("section %q, interfaces %q", s.comment, s.interfaces)
	}
	type seen struct {
		at     string
		timeNS int64
		flags  uint32
		number byte
	}
	var got []seen
	for _, p := range s.packets {
		if p.comment != "" || len(p.data) != 94 || !accepted(p.data) {
			t.Errorf("packet %+v", p)
		}
		got = append(got, seen{p.at, p.timeNS - 1_000_000_000_000, p.flags, p.data[3]})
	}
	want := []seen{
		{"s1-s2 at s1", 10 * ms, flagOutbound, 1},
		{"s1-s2 at s2", 13 * ms, flagOutbound, 2},
		{"s1-s2 at s1", 23 * ms, flagInbound, 2},
		{"s1-s2 at s2", 30 * ms, flagInbound, 1},
		{"s1-s2 at s1", 50 * ms, flagOutbound, 3},
	}
	if !slices.Equal(got, want) {
		t.Errorf("captured %v, want %v", got, want)
	}
	if c.missed[0].Load() != 0 || c.missed[1].Load() != 0 {
		t.Error("an easy capture missed something")
	}
}

func TestACaptureSaysWhatBefellFrames(t *testing.T) {
	for _, c := range []struct {
		name string
		p    topologies.Parameters
		want []string // where, and the comment
	}{
		{"loss", topologies.Parameters{Loss: 1}, []string{"h1-s1 at h1: lost by loss"}},
		{"down", topologies.Parameters{Down: true}, []string{"h1-s1 at h1: lost by a link that is down"}},
		{"duplication", topologies.Parameters{Duplicate: 1}, []string{"h1-s1 at h1: ", "h1-s1 at s1: ", "h1-s1 at s1: duplicate"}},
		{"corruption", topologies.Parameters{Corrupt: 1}, []string{"h1-s1 at h1: ", "h1-s1 at s1: corrupted"}},
		{"reordering", topologies.Parameters{Reorder: 1}, []string{"h1-s1 at h1: ", "h1-s1 at s1: reordered"}},
	} {
		topology := chainTopology()
		topology.Links[0].AToB = c.p
		o := newOffline(t, topology)
		path := emptyFile(t)
		capture := o.capture(0, path)
		o.send(0, 1, 0)
		o.runUntil(100 * ms)
		var got []string
		for _, p := range endCapture(t, capture, path).packets {
			got = append(got, p.at+": "+p.comment)
			if accepted(p.data) != !strings.HasSuffix(p.comment, "corrupted") {
				t.Errorf("%s: the checksums of the frame %q are otherwise", c.name, p.comment)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: captured %q, want %q", c.name, got, c.want)
		}
	}
	o := newOffline(t, topologies.Star(2, topologies.Parameters{RateBPS: 1000, QueueFrames: 1}))
	path := emptyFile(t)
	capture := o.capture(0, path)
	for range 4 {
		o.send(0, 1, 0)
	}
	lost := 0
	for _, p := range endCapture(t, capture, path).packets {
		if p.comment == "lost by queue" {
			lost++
		}
	}
	if lost != 2 {
		t.Errorf("%d of 4 frames are lost by the queue in the capture, want 2", lost)
	}
}

func TestCapturedFramesHaveTheirChecksums(t *testing.T) {
	path := emptyFile(t)
	c, err := openCapture(topologies.Link{Name: "l", A: "a", B: "b"}, path, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for i, length := range []int{49, 1500, 2023, 2024, 2025, 65535, 100} {
		packet := packet(protocolTCP, length, uint64(i))
		want = append(want, packet)
		f := frameOf(packet)
		f.partial(protocolTCP)
		before := f.ethernet()
		c.entered(f, false, int64(i), Delivered)
		if !slices.Equal(f.ethernet(), before) || f.small[virtioFlags] == 0 {
			t.Error("capturing changed the frame")
		}
	}
	packets := endCapture(t, c, path).packets
	if len(packets) != len(want) {
		t.Fatalf("captured %d packets of %d", len(packets), len(want))
	}
	for i, p := range packets {
		if !slices.Equal(p.data, want[i]) {
			t.Errorf("packet %d, of %d bytes, isn't what was sent", i, len(want[i]))
		}
	}
}

func TestWhatACaptureCannotWriteIsCounted(t *testing.T) {
	c, err := openCapture(topologies.Link{Name: "l", A: "a", B: "b"}, "/dev/full", 0)
	if err != nil {
		t.Skipf("no /dev/full: %v", err)
	}
	const frames = 1000
	f := frameOf(udpPacket(1000, 1))
	for i := range frames {
		c.entered(f, i%4 == 0, 0, Delivered)
		f.reverse = i%4 == 0
		c.left(f, 1)
	}
	if err := c.end(); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("ended with %v", err)
	}
	if missed := [2]uint64{c.missed[0].Load(), c.missed[1].Load()}; missed != [2]uint64{2 * frames * 3 / 4, 2 * frames / 4} {
		t.Errorf("missed %v of %d", missed, frames)
	}
}

// pipe makes a pipe, and a path to its writing end.
func pipe(t *testing.T) (reader *os.File, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	return reader, path
}

func TestAPipeThatNobodyReadsAnyMoreEndsTheCapture(t *testing.T) {
	reader, path := pipe(t)
	c, err := openCapture(topologies.Link{Name: "l", A: "a", B: "b"}, path, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	f := frameOf(udpPacket(1000, 1))
	eventually(t, "the capture is over", func() bool {
		c.entered(f, false, 0, Delivered)
		return c.state.Load() == captureUnread
	})
	if err := c.end(); err != nil || c.missed[0].Load() != 0 {
		t.Errorf("ended with %v, missed %d: whoever read has seen enough", err, c.missed[0].Load())
	}
}

func TestAPipeWithoutAReaderIsRefused(t *testing.T) {
	reader, path := pipe(t)
	_ = reader.Close()
	if _, err := openCapture(topologies.Link{}, path, 0); err == nil {
		t.Error("a pipe that nobody reads was opened")
	}
	if _, err := openCapture(topologies.Link{}, filepath.Join(t.TempDir(), "none"), 0); !os.IsNotExist(err) {
		t.Errorf("a file that doesn't exist: %v", err)
	}
}

func TestAFullPipeHoldsUpNeitherFramesNorTheEnd(t *testing.T) {
	reader, path := pipe(t)
	c, err := openCapture(topologies.Link{Name: "l", A: "a", B: "b"}, path, 0)
	if err != nil {
		t.Fatal(err)
	}
	const frames = 20_000 // 20 MB: neither the pipe nor the ring hold them
	f := frameOf(udpPacket(1000, 1))
	for range frames {
		c.entered(f, false, 0, Delivered)
	}
	early := c.missed[0].Load()
	err = c.end()
	if early == 0 || err == nil {
		t.Errorf("missed %d, ended with %v", early, err)
	}
	var got []byte
	buffer := make([]byte, 1<<16)
	for {
		n, err := reader.Read(buffer)
		if n == 0 || err != nil {
			break
		}
		got = append(got, buffer[:n]...)
	}
	// The pipe ends within a block.
	whole := 0
	for at := 0; len(got)-at >= 12; whole++ {
		length := int(binary.NativeEndian.Uint32(got[at+4:]))
		if length > len(got)-at {
			break
		}
		at += length
	}
	whole -= 3 // the section and the interfaces
	if missed := int(c.missed[0].Load()); whole < 1 || missed+whole != frames {
		t.Errorf("%d frames are in the pipe, %d are missed, of %d", whole, missed, frames)
	}
}

func TestWhatGoesIntoTheRingComesOut(t *testing.T) {
	generator := rand.New(rand.NewPCG(1, 2))
	r := newByteRing(256)
	var in, out []byte
	position := uint64(0)
	for len(in) < 100_000 {
		piece := make([]byte, generator.IntN(100))
		for i := range piece {
			piece[i] = byte(generator.Uint32())
		}
		if len(piece) <= r.free() {
			position = r.put(position, piece)
			in = append(in, piece...)
			r.publish(position)
		}
		if generator.IntN(2) == 0 {
			next := r.next(1 + generator.IntN(80))
			copied := make([]byte, len(next))
			r.get(uint64(len(out)), copied)
			if !bytes.Equal(next, copied) {
				t.Fatal("get and next differ")
			}
			out = append(out, next...)
			r.release(len(next))
		}
	}
	for next := r.next(1000); len(next) > 0; next = r.next(1000) {
		out = append(out, next...)
		r.release(len(next))
	}
	if !bytes.Equal(in, out) || r.free() != 256 {
		t.Errorf("%d bytes went in, %d came out, %d are free", len(in), len(out), r.free())
	}
}
