package harness

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/harness/experiment"
	"quorumlab/results"
)

// Version is the tool's version; releases set it when linking.
var Version = "0.1.0-dev"

// recordedSysctls are those of the host that a measurement may depend on.
var recordedSysctls = []string{
	"net/core/rmem_max", "net/core/wmem_max", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem",
	"net/ipv4/tcp_congestion_control", "net/ipv4/tcp_available_congestion_control",
	"net/ipv4/tcp_slow_start_after_idle", "kernel/sched_rt_runtime_us",
}

func manifestOf(source *experiment.Source, options Options, plan []experiment.Trial, node string) (results.Manifest, error) {
	manifest := results.Manifest{
		Experiment: source.Spec.Name, SpecFile: source.File, Spec: string(source.Data),
		Overrides: source.Overrides, Seed: source.Spec.Seed, Repeat: source.Spec.Repeat,
		StartedAt: time.Now(),
		Tool: results.Tool{
			Version: Version, Go: runtime.Version(), BenchSHA256: hashFile("/proc/self/exe"),
			NodeSHA256: hashFile(node), CommandLine: options.CommandLine,
		},
		Machine: describeMachine(),
	}
	for _, planned := range plan {
		params, err := json.Marshal(planned.Point.Params)
		if err != nil {
			return manifest, fmt.Errorf("recording the swept values of trial %d: %w", planned.Number, err)
		}
		manifest.Plan = append(manifest.Plan, results.PlannedTrial{
			Trial: planned.Number, Point: planned.Point.Index, Repeat: planned.Repeat, Seed: planned.Seed, Params: params,
		})
	}
	return manifest, nil
}

// hashFile is the SHA-256 of a file in hexadecimal; empty if it can't be read.
func hashFile(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// describeMachine records what a measurement may depend on. What can't be read
// is left out.
func describeMachine() results.Machine {
	m := results.Machine{
		OS: runtime.GOOS, CPUs: runtime.NumCPU(), CongestionControl: congestionControl,
		CPU: procField("/proc/cpuinfo", "model name"), Limits: map[string]string{}, Sysctls: map[string]string{},
	}
	m.Hostname, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		m.User = u.Username
	}
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
	return m
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
