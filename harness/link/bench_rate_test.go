//go:build linux

package link

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// BenchmarkFrames floods a link with frames of 64 bytes from one core: how many come
// through in a second, what processor time a frame takes of the whole machine and of
// the emulator alone, and so how many the emulator carries on one core of its own. The
// kernel's bridge stands beside it in the same run, and a pair of hosts with a stage. Run it with -benchtime 1000000x.
func BenchmarkFrames(b *testing.B) {
	b.Run("bridge", func(b *testing.B) {
		l := newLab(b, topologies.Star(2, topologies.Parameters{}))
		l.buildKernel(KernelFeatures{Bridge: true})
		l.flood(b)
	})
	for _, c := range []struct {
		name string
		p    topologies.Parameters
		pair *topologies.Parameters
	}{
		{"emulator", topologies.Parameters{Delay: time.Millisecond}, nil},
		{"emulator-rate", topologies.Parameters{Delay: time.Millisecond, RateBPS: 10_000_000_000, QueueFrames: 10_000_000}, nil},
		{"emulator-pair", topologies.Parameters{Delay: time.Millisecond}, &topologies.Parameters{Delay: time.Millisecond}},
		{"emulator-pair-loss", topologies.Parameters{Delay: time.Millisecond}, &topologies.Parameters{Loss: 1e-6}},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := newLab(b, topologies.Star(2, c.p))
			remote := l.emulate(EmulatorConfig{})
			if c.pair != nil {
				if err := remote.SetPairs([]engine.PairChange{{From: "h1", To: "h2", Parameters: c.pair}}); err != nil {
					b.Fatal(err)
				}
			}
			l.flood(b)
		})
	}
}

// flood sends b.N datagrams in batches and reports what became of them.
func (l *lab) flood(b *testing.B) {
	b.Helper()
	l.listenUDP(1) // nobody reads: the kernel takes each frame in, and drops it then
	socket := l.listenUDP(0)
	roundTripTo(b, socket, l.address(1))
	before, busy, own := l.received(b), busyTime(b), l.emulatorTime(b)
	b.ResetTimer()
	began := time.Now()
	sendBatches(b, socket, l.address(1).Addr().As4(), b.N)
	// All have arrived once nothing comes any more.
	arrived, took := before, time.Duration(0)
	for quiet := 0; quiet < 5; time.Sleep(5 * time.Millisecond) {
		if now := l.received(b); now != arrived {
			arrived, took, quiet = now, time.Since(began), 0
			continue
		}
		quiet++
	}
	b.StopTimer()
	frames := float64(arrived - before)
	if frames == 0 {
		b.Fatal("no frame came through")
	}
	b.ReportMetric(frames/took.Seconds(), "frames/s")
	b.ReportMetric(100*frames/float64(b.N), "%arrived")
	b.ReportMetric(float64(busyTime(b)-busy)/frames, "machine-ns/frame")
	if l.emulatorPID != 0 {
		perFrame := float64(l.emulatorTime(b)-own) / frames
		b.ReportMetric(perFrame, "emulator-ns/frame")
		b.ReportMetric(1e9/perFrame, "frames/s-of-one-core")
	}
}

// roundTripTo warms the way up.
func roundTripTo(b *testing.B, c *net.UDPConn, to interface{ String() string }) {
	address, err := net.ResolveUDPAddr("udp4", to.String())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.WriteToUDP([]byte("warm"), address); err != nil {
		b.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
}

// sendBatches sends datagrams of 64-byte frames, 64 a system call.
func sendBatches(b *testing.B, socket *net.UDPConn, to [4]byte, count int) {
	b.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 64-ethernetBytes-ipv4Bytes-8)
	address := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(testPort), Addr: to}
	vector := unix.Iovec{Base: &payload[0]}
	vector.SetLen(len(payload))
	messages := make([]unix.Mmsghdr, 64)
	for i := range messages {
		messages[i].Hdr.Name, messages[i].Hdr.Namelen = (*byte)(unsafe.Pointer(&address)), unix.SizeofSockaddrInet4
		messages[i].Hdr.Iov = &vector
		messages[i].Hdr.SetIovlen(1)
	}
	var failed unix.Errno
	err = raw.Write(func(fd uintptr) bool {
		for count > 0 {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&messages[0])), uintptr(min(count, len(messages))), 0, 0, 0)
			if errno == unix.EAGAIN {
				return false
			}
			if errno != 0 && errno != unix.EINTR {
				failed = errno
				return true
			}
			count -= int(n)
		}
		return true
	})
	if err = errors.Join(err); err != nil || failed != 0 {
		b.Fatalf("sending: %v, %v", err, failed)
	}
}

// received counts the frames that have reached the second host.
func (l *lab) received(b *testing.B) uint64 {
	b.Helper()
	var frames uint64
	l.hosts[1].must(b, "reading eth0's counters", func() error {
		device, err := netlink.LinkByName("eth0")
		if err == nil {
			frames = device.Attrs().Statistics.RxPackets
		}
		return err
	})
	return frames
}

// ticksPerSecond is the kernel's USER_HZ.
const ticksPerSecond = 100

// busyTime is what all processors have worked so far.
func busyTime(b *testing.B) time.Duration {
	b.Helper()
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	var ticks uint64
	for i, field := range strings.Fields(line)[1:8] {
		if n, err := strconv.ParseUint(field, 10, 64); err == nil && i != 3 && i != 4 { // idle, iowait
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// emulatorTime is the processor time of the emulator's process so far, by the
// scheduler's account; 0 if there is none.
func (l *lab) emulatorTime(b *testing.B) time.Duration {
	b.Helper()
	if l.emulatorPID == 0 {
		return 0
	}
	var total time.Duration
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", l.emulatorPID))
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", l.emulatorPID, task.Name()))
		if err != nil {
			continue // it has ended
		}
		ns, _, _ := strings.Cut(string(data), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		total += time.Duration(n)
	}
	return total
}
