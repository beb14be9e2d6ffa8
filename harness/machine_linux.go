package harness

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"quorumlab/results"
)

// ownBinary is the file that this process runs, even if another has taken its
// place since.
func ownBinary() string { return "/proc/self/exe" }

// recordedSysctls are those of the host that a measurement may depend on.
var recordedSysctls = []string{
	"net/core/rmem_max", "net/core/wmem_max", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem",
	"net/ipv4/tcp_congestion_control", "net/ipv4/tcp_available_congestion_control",
	"net/ipv4/tcp_slow_start_after_idle", "kernel/sched_rt_runtime_us",
}

// describeSystem adds what Linux tells of the machine.
func describeSystem(m *results.Machine) {
	m.CPU = procField("/proc/cpuinfo", "model name")
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if kib, err := strconv.ParseInt(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.MemoryBytes = kib << 10
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		m.Limits["open_files"] = strconv.FormatUint(limit.Cur, 10)
	}
	for _, name := range recordedSysctls {
		if data, err := os.ReadFile("/proc/sys/" + name); err == nil {
			m.Sysctls[strings.ReplaceAll(name, "/", ".")] = strings.Join(strings.Fields(string(data)), " ")
		}
	}
}

// procField is the value of the first "name: value" line of a file.
func procField(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if key, value, ok := strings.Cut(scanner.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// readProcessorTime reads the first line of /proc/stat: user, nice, system, idle,
// iowait, irq, softirq, steal. (Guests' time is in user and nice already.)
func readProcessorTime() (processorTime, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return processorTime{}, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return processorTime{}, errNoLoad
	}
	var t processorTime
	for i, field := range fields[1:9] {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return processorTime{}, errNoLoad
		}
		t.total += ticks
		switch i {
		case 3, 4:
			t.idle += ticks
		case 7:
			t.stolen = ticks
		}
	}
	return t, nil
}

// loadAverage is that of the last minute, 0 if unknown, and the number of processors.
func loadAverage() (average float64, cpus int) {
	data, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	average, _ = strconv.ParseFloat(first, 64)
	return average, runtime.NumCPU()
}
