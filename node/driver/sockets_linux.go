package driver

import (
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"quorumlab/node/control"
)

// infiniteThreshold is the kernel's slow-start threshold before a loss.
const infiniteThreshold = 0x7fffffff

// socketInfo reads the kernel's TCP_INFO.
func socketInfo(conn *net.TCPConn) (control.Socket, bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return control.Socket{}, false
	}
	var info *unix.TCPInfo
	if raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) }) != nil || err != nil {
		return control.Socket{}, false
	}
	threshold := info.Snd_ssthresh
	if threshold >= infiniteThreshold {
		threshold = 0
	}
	return control.Socket{
		SegmentsSent: uint64(info.Segs_out), Retransmitted: uint64(info.Total_retrans), BytesSent: info.Bytes_sent,
		SmoothedRTTNS: int64(info.Rtt) * 1000, CongestionWindow: info.Snd_cwnd, SlowStartThreshold: threshold,
	}, true
}

// unacknowledgedBytes are those that the other side hasn't acknowledged yet, unsent ones
// too.
func unacknowledgedBytes(raw syscall.RawConn) (bytes int, ok bool) {
	var failure error
	err := raw.Control(func(fd uintptr) { bytes, failure = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return bytes, err == nil && failure == nil
}

// TCPSettings reads what this process's network namespace does with connections.
func TCPSettings() (congestionControl string, slowStartAfterIdle bool) {
	return setting("tcp_congestion_control"), setting("tcp_slow_start_after_idle") == "1"
}

// setting is empty if the kernel doesn't tell.
func setting(name string) string {
	data, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
