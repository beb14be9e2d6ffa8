//go:build linux

package echo

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
)

// rowsOf reads a file of rows.
func rowsOf(t *testing.T, path string) [][]int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]int64
	for _, line := range strings.Fields(string(data)) {
		var values []int64
		for _, field := range strings.Split(line, ",") {
			var value int64
			if _, err := fmt.Sscan(field, &value); err != nil {
				t.Fatalf("%s: %q: %v", path, line, err)
			}
			values = append(values, value)
		}
		rows = append(rows, values)
	}
	return rows
}

func receive(t *testing.T, s *Streams, name string) (address string) {
	t.Helper()
	receiving, err := s.Receive(control.Receive{Stream: name})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", receiving.Port)
}

func TestEveryFrameOfAStreamIsStampedAtBothEnds(t *testing.T) {
	from, to := NewStreams(t.TempDir()), NewStreams(t.TempDir())
	defer from.Close()
	defer to.Close()
	const count, interval = 50, time.Millisecond
	address := receive(t, to, "one")
	before := int64(clock.Now())
	sent, err := from.Send(t.Context(), control.Send{Stream: "one", Address: address, Count: count, IntervalNS: int64(interval), FrameBytes: 200})
	if err != nil || sent != (control.Sent{Frames: count}) {
		t.Fatalf("%+v, %v", sent, err)
	}
	received, err := to.Finish(t.Context(), control.Finish{Stream: "one", Count: count, WaitNS: int64(10 * time.Second)})
	after := int64(clock.Now())
	if err != nil || received != (control.Received{Frames: count, Distinct: count}) {
		t.Fatalf("%+v, %v", received, err)
	}
	sentRows, receivedRows := rowsOf(t, filepath.Join(from.dir, "one.sent.csv")), rowsOf(t, filepath.Join(to.dir, "one.received.csv"))
	if len(sentRows) != count || len(receivedRows) != count {
		t.Fatalf("%d rows sent, %d received", len(sentRows), len(receivedRows))
	}
	for i, r := range receivedRows {
		if r[0] != int64(i) || sentRows[i][0] != int64(i) || r[1] != sentRows[i][1] {
			t.Errorf("row %d: sent %v, received %v", i, sentRows[i], r)
		}
		// The kernel stamps on another clock; 10 us allow for the conversion.
		if r[1] < before || r[2] < r[1]-10_000 || r[2] > after {
			t.Errorf("row %d: sent at %d, received at %d, all within %d to %d", i, r[1], r[2], before, after)
		}
		if due := sentRows[0][1] + int64(i)*int64(interval); i > 0 && r[1] < due-int64(interval)/2 {
			t.Errorf("row %d was sent %v early", i, time.Duration(due-r[1]))
		}
	}
}

func TestDuplicatesDamageStraysAndGapsAreToldApart(t *testing.T) {
	streams := NewStreams(t.TempDir())
	defer streams.Close()
	address := receive(t, streams, "s")
	conn, err := net.Dial("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	packet := func(stream string, sequence uint32, flip bool) {
		p := make([]byte, 100)
		binary.BigEndian.PutUint64(p[nonceAt:], nonceOf(stream))
		binary.BigEndian.PutUint32(p[sequenceAt:], sequence)
		pad(p, sequence)
		if flip {
			p[60] ^= 4
		}
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	packet("s", 3, false)
	packet("another", 1, false)
	packet("s", 1, false)
	packet("s", 3, false)
	packet("s", 2, true)
	_, _ = conn.Write([]byte("short"))
	packet("s", 0, false)
	received, err := streams.Finish(t.Context(), control.Finish{Stream: "s", Count: 3, WaitNS: int64(10 * time.Second)})
	if err != nil || received != (control.Received{Frames: 4, Distinct: 3, Damaged: 1}) {
		t.Fatalf("%+v, %v", received, err)
	}
	var order []int64
	for _, row := range rowsOf(t, filepath.Join(streams.dir, "s.received.csv")) {
		order = append(order, row[0])
	}
	if fmt.Sprint(order) != "[3 1 3 0]" {
		t.Errorf("order %v", order)
	}
}

func TestAReceiverDoesNotWaitForeverForWhatIsLost(t *testing.T) {
	streams := NewStreams(t.TempDir())
	defer streams.Close()
	receive(t, streams, "s")
	if received, err := streams.Finish(t.Context(), control.Finish{Stream: "s", Count: 9, WaitNS: 1}); err != nil || received != (control.Received{}) {
		t.Errorf("%+v, %v", received, err)
	}
	if _, err := streams.Finish(t.Context(), control.Finish{Stream: "s"}); err == nil {
		t.Error("a stream was finished twice")
	}
	receive(t, streams, "t")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := streams.Finish(ctx, control.Finish{Stream: "t", Count: 1, WaitNS: int64(time.Hour)}); err != nil {
		t.Error(err)
	}
}

func TestStreamsThatMakeNoSenseAreRefused(t *testing.T) {
	streams := NewStreams(t.TempDir())
	receive(t, streams, "s")
	good := control.Send{Stream: "s", Address: "127.0.0.1:9", Count: 1, FrameBytes: 64}
	for what, send := range map[string]func(*control.Send){
		"no name":      func(o *control.Send) { o.Stream = "" },
		"a path":       func(o *control.Send) { o.Stream = "../s" },
		"a long name":  func(o *control.Send) { o.Stream = strings.Repeat("s", 101) },
		"no address":   func(o *control.Send) { o.Address = "nowhere" },
		"IPv6":         func(o *control.Send) { o.Address = "[::1]:9" },
		"no frames":    func(o *control.Send) { o.Count = 0 },
		"many frames":  func(o *control.Send) { o.Count = MaxStreamFrames + 1 },
		"a past":       func(o *control.Send) { o.IntervalNS = -1 },
		"small frames": func(o *control.Send) { o.FrameBytes = MinFrameBytes - 1 },
		"large frames": func(o *control.Send) { o.FrameBytes = MaxFrameBytes + 1 },
	} {
		order := good
		send(&order)
		if sent, err := streams.Send(t.Context(), order); err == nil {
			t.Errorf("%s: accepted: %+v", what, sent)
		}
	}
	if _, err := streams.Receive(control.Receive{Stream: "s"}); err == nil {
		t.Error("a stream is received twice at once")
	}
	if _, err := NewStreams("").Receive(control.Receive{Stream: "s"}); err == nil {
		t.Error("a stream without a folder was accepted")
	}
	streams.Close()
	if _, err := streams.Receive(control.Receive{Stream: "u"}); err == nil {
		t.Error("a stream was accepted after the end")
	}
}

func TestASenderEndsWithItsContext(t *testing.T) {
	streams := NewStreams(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := streams.Send(ctx, control.Send{Stream: "s", Address: "127.0.0.1:9", Count: 1000, IntervalNS: int64(time.Hour), FrameBytes: 64})
	if err == nil {
		t.Error("no error")
	}
}

func TestDatagramsThatASocketHasNoRoomForAreCounted(t *testing.T) {
	full, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := full.SetReadBuffer(1); err != nil { // the kernel has a least size
		t.Fatal(err)
	}
	conn, err := net.Dial("udp4", full.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := overflows()
	for range 100 {
		_, _ = conn.Write(make([]byte, 1000))
	}
	if after := overflows(); after < before+50 {
		t.Errorf("%d before, %d after a hundred datagrams that nobody read", before, after)
	}
}
