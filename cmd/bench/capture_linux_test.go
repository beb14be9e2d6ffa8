package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sighting is a frame at one end of a captured link.
type sighting struct {
	// interfaceName is the end's.
	interfaceName string
	at            time.Duration
	// datagram tells the datagrams apart: who sent it, and what it says, in hexadecimal.
	datagram string
}

// captureQuestions captures the link h1-s1 of a lab while h1 asks and h2 answers.
func captureQuestions(t *testing.T) (file string) {
	t.Helper()
	_, name, _ := labUp(t)
	answer := startBench(t, nil, "exec", "h2", "--lab", name, "--", testBinary(t), "answer", "7777")
	answer.until("answering")
	capturing := startBench(t, nil, "capture", "h1-s1", "--lab", name, "-o", "link.pcapng")
	file = filepath.Join(capturing.cmd.Dir, "link.pcapng")
	waitFor(t, "the capture's beginning", func() bool { info, err := os.Stat(file); return err == nil && info.Size() > 0 })
	if got := bench(t, "/", "exec", "h1", "--lab", name, "--", testBinary(t), "ask", "h2:7777", "30"); !strings.Contains(got.stdout, "answered") {
		t.Fatalf("asking h2: status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	if err := capturing.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := capturing.end(); status != exitGood {
		t.Fatalf("the capture ended with status %d\n%s", status, &capturing.stderr)
	}
	return file
}

// expectDelay pairs the sightings of each datagram at the two ends of h1-s1, which the
// quickstart gives 20 ms and 1 Gbit/s: what one of these frames adds to the delay is less
// than 10 µs.
func expectDelay(t *testing.T, sightings []sighting) {
	t.Helper()
	ends := map[string]map[string]time.Duration{}
	for _, s := range sightings {
		if ends[s.datagram] == nil {
			ends[s.datagram] = map[string]time.Duration{}
		}
		ends[s.datagram][s.interfaceName] = s.at
	}
	there, back := 0, 0
	for datagram, times := range ends {
		host, ok := times["h1-s1 at h1"]
		far, ok2 := times["h1-s1 at s1"]
		if !ok || !ok2 {
			continue // it was on the link when the capture ended
		}
		took := far - host
		if took > 0 {
			there++
		} else {
			back++
		}
		if took := took.Abs(); took < 20*time.Millisecond || took > 20*time.Millisecond+10*time.Microsecond {
			t.Errorf("datagram %s took %v, want 20ms", datagram, took)
		}
	}
	if there < 10 || back < 10 {
		t.Errorf("%d datagrams were seen at both ends on their way there, %d on their way back", there, back)
	}
}

func TestACaptureShowsALinksDelay(t *testing.T) {
	data, err := os.ReadFile(captureQuestions(t))
	if err != nil {
		t.Fatal(err)
	}
	expectDelay(t, readCapture(t, data))
}

// readCapture reads the UDP datagrams of a pcapng file in this machine's byte order, with
// times in nanoseconds.
func readCapture(t *testing.T, data []byte) (sightings []sighting) {
	t.Helper()
	var interfaces []string
	number := func(block []byte, at int) uint32 { return binary.NativeEndian.Uint32(block[at:]) }
	for len(data) >= 12 {
		length := number(data, 4)
		if length < 12 || int(length) > len(data) || number(data, int(length)-4) != length {
			t.Fatalf("a block of %d bytes, where %d are left", length, len(data))
		}
		block := data[:length]
		data = data[length:]
		switch number(block, 0) {
		case 1: // an interface; its first option is its name
			bytes := int(binary.NativeEndian.Uint16(block[18:]))
			interfaces = append(interfaces, string(block[20:20+bytes]))
		case 6: // a packet
			frame := block[28 : 28+number(block, 20)]
			if len(frame) < 42 || frame[23] != 17 {
				continue
			}
			sightings = append(sightings, sighting{
				interfaceName: interfaces[number(block, 8)],
				at:            time.Duration(uint64(number(block, 12))<<32 | uint64(number(block, 16))),
				datagram:      fmt.Sprintf("%d.%d.%d.%d %x", frame[26], frame[27], frame[28], frame[29], frame[42:]),
			})
		}
	}
	if len(data) != 0 {
		t.Errorf("%d bytes are left at the end", len(data))
	}
	return sightings
}

func TestTsharkOpensACaptureAndSeesTheDelay(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark isn't installed")
	}
	file := captureQuestions(t)
	output, err := exec.Command(tshark, "-r", file, "-Y", "udp", "-T", "fields",
		"-e", "frame.time_epoch", "-e", "frame.interface_name", "-e", "ip.src", "-e", "udp.payload").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	var sightings []sighting
	for line := range strings.Lines(string(output)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 4 {
			t.Fatalf("tshark printed %q", line)
		}
		var seconds, nanoseconds int64
		if _, err := fmt.Sscanf(fields[0], "%d.%d", &seconds, &nanoseconds); err != nil {
			t.Fatalf("tshark printed the time %q: %v", fields[0], err)
		}
		sightings = append(sightings, sighting{
			interfaceName: fields[1], at: time.Duration(seconds*1e9 + nanoseconds), datagram: fields[2] + " " + strings.ReplaceAll(fields[3], ":", ""),
		})
	}
	expectDelay(t, sightings)
}
