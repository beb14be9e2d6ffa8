package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/report"
	"quorumlab/node/control"
	"quorumlab/results"
)

// Memory must be flat: with bounded keys and clients, over the last 80% of a
// load, it may grow by bytesPerCommand for each command at most. `make soak` asks
// for the long loads; the gate runs a short one in the simulator.
const (
	bytesPerCommand = 1
	soak            = "QUORUMLAB_SOAK"
)

// growth sets the greatest memory of the last two fifths of a load against that
// of the two fifths before.
type growth struct {
	commands     uint64
	first, last  uint64
	firsts, seen int
}

// sample notes the memory in use after so many commands.
func (g *growth) sample(done, bytes uint64) {
	switch {
	case done < g.commands/5:
	case done < g.commands*3/5:
		g.first = max(g.first, bytes)
		g.firsts++
	default:
		g.last = max(g.last, bytes)
		g.seen++
	}
}

func (g *growth) judge(t *testing.T, what string) {
	t.Helper()
	perCommand := (float64(g.last) - float64(g.first)) / (float64(g.commands) * 2 / 5)
	t.Logf("%s: %d bytes, then %d: %.3f a command of %d", what, g.first, g.last, perCommand, g.commands)
	if g.firsts < 3 || g.seen < 3 {
		t.Errorf("%s: sampled %d and %d times only", what, g.firsts, g.seen)
	}
	if perCommand > bytesPerCommand {
		t.Errorf("%s grows by %.3f bytes a command, want at most %d", what, perCommand, bytesPerCommand)
	}
}

func TestASimulationsMemoryIsFlat(t *testing.T) {
	const rate = 2000
	// Fewer commands end before all buffers have been used once.
	commands, storages := uint64(400_000), []string{control.StorageMemory}
	if os.Getenv(soak) != "" {
		commands, storages = 5_000_000, []string{control.StorageMemory, control.StorageFsync}
	} else if testing.Short() {
		t.Skip("simulates many commands")
	}
	for _, storage := range storages {
		t.Run(storage, func(t *testing.T) {
			source := load(t, "sim", "--set", "repeat=1", "--set", fmt.Sprintf("workload.rate=%d/s", rate),
				"--set", "system.storage="+storage, "--set", fmt.Sprintf("phases.measure=%ds", commands/rate))
			s := &sampler{Progress: quiet(), growth: growth{commands: commands}}
			folder, _ := simulated(t, source, func(o *Options) { o.Progress = s })
			expectSafe(t, folder)
			s.growth.judge(t, "the simulator's heap")
		})
	}
}

// sampler looks at the heap twenty times while the simulation goes on.
type sampler struct {
	report.Progress
	growth growth
	next   uint64
}

func (s *sampler) TrialsLive(_ int, elapsed, total time.Duration) {
	done := uint64(float64(s.growth.commands) * min(1, elapsed.Seconds()/total.Seconds()))
	if done >= s.next {
		s.next = done + s.growth.commands/20
		s.growth.sample(done, residentHeap())
	}
}

// residentHeap is what is in use on the heap once garbage is gone.
func residentHeap() uint64 {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// A lab's processes. What a process has resident varies by what its garbage
// collector does at the moment: the greatest value of each tenth of the load
// counts. And it grows in steps of half a megabyte, one of which some process or
// other takes late, however many commands there are: the mean over the processes
// is judged.
func TestALabsMemoryIsFlat(t *testing.T) {
	if os.Getenv(soak) == "" {
		t.Skip("loads a lab for two minutes; make soak asks for it")
	}
	const rate, seconds = 5000, 110
	source := load(t, "netns", "--set", "repeat=1", "--set", fmt.Sprintf("workload.rate=%d/s", rate),
		"--set", fmt.Sprintf("phases.measure=%ds", seconds), "--set", "topology.link.delay=1ms")
	var processes map[string]*growth
	folder := broken(t, source, func(o *Options) {
		processes = map[string]*growth{}
		o.Progress = &residents{Progress: quiet(), nodesDir: filepath.Join(o.Dir, "trials"), commands: rate * seconds, processes: processes}
	})
	expectSafe(t, folder)
	if len(processes) != len(source.Spec.Deployment()) {
		t.Errorf("saw %d processes, want %d", len(processes), len(source.Spec.Deployment()))
	}
	mean := growth{commands: rate * seconds}
	for name, g := range processes {
		t.Logf("%s: %d bytes, then %d", name, g.first, g.last)
		mean.first += g.first / uint64(len(processes))
		mean.last += g.last / uint64(len(processes))
		mean.firsts, mean.seen = g.firsts, g.seen
	}
	mean.judge(t, "a process, on average,")
	if counted := rows(t, folder); counted < 500_000 {
		t.Errorf("%d commands, want 500000", counted)
	}
}

// residents samples what processes have resident while a load runs.
type residents struct {
	report.Progress
	nodesDir  string
	commands  uint64
	processes map[string]*growth
	tenth     time.Duration
	most      map[string]uint64
}

func (r *residents) TrialLive(elapsed, total time.Duration, _ float64, _ time.Duration) {
	if tenth := 10 * elapsed / total; tenth != r.tenth {
		for name, bytes := range r.most {
			if r.processes[name] == nil {
				r.processes[name] = &growth{commands: r.commands}
			}
			r.processes[name].sample(uint64(tenth)*r.commands/10, bytes)
		}
		r.tenth, r.most = tenth, nil
	}
	if r.most == nil {
		r.most = map[string]uint64{}
	}
	for name, bytes := range residentProcesses(r.nodesDir) {
		r.most[name] = max(r.most[name], bytes)
	}
}

func rows(t *testing.T, folder *results.Folder) (count int) {
	t.Helper()
	for _, err := range folder.Requests(1) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	return count
}

// residentProcesses finds the nodes of a trial by their command lines, and what
// each has resident.
func residentProcesses(nodesDir string) map[string]uint64 {
	resident := map[string]uint64{}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		arguments := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		if len(arguments) < 3 || filepath.Base(arguments[0]) != "bench-node" {
			continue
		}
		for i, argument := range arguments[:len(arguments)-1] {
			if argument == "--dir" && strings.HasPrefix(arguments[i+1], nodesDir) {
				if bytes, err := residentBytes(filepath.Dir(file)); err == nil {
					resident[filepath.Base(arguments[i+1])] = bytes
				}
			}
		}
	}
	return resident
}

func residentBytes(proc string) (uint64, error) {
	data, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}
