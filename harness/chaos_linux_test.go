package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/experiment"
	"quorumlab/harness/report"
)

// chaosTime is how long faults rage in the gate; `make soak` takes the experiment's own
// ten minutes, with three servers and with five.
const chaosTime = 20 * time.Second

// Faults rage at random: whatever happens, no acknowledged write is lost, every read fits,
// and neither the controller nor the lab's own processes leak.
func TestFaultsThatRageLoseNoAcknowledgedWriteAndLeakNothing(t *testing.T) {
	needNetns(t)
	set := []string{}
	long := os.Getenv(soak) != ""
	if !long {
		set = append(set, fmt.Sprintf("phases.measure=%v", chaosTime))
	}
	source, err := experiment.Load("../experiments/soak/chaos.yaml", experiment.Overrides{
		Engine: "netns", Engines: []string{"netns", "sim"}, Set: set,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !long {
		source.Points = source.Points[:1]
	}
	before := descriptors(os.Getpid())
	use := &usage{Progress: quiet()}
	folder := broken(t, source, func(o *Options) { o.Progress = use })
	verdicts, err := folder.Trials()
	if err != nil || len(verdicts) != len(source.Points) {
		t.Fatalf("%d trials, %v", len(verdicts), err)
	}
	for _, v := range verdicts {
		if v.Linearizable != "ok" || v.Agreement != "ok" {
			t.Errorf("trial %d: linearizable %s (%s), agreement %s", v.Trial, v.Linearizable, v.History.Reason, v.Agreement)
		}
		for _, reason := range v.Reasons {
			if reason.Mend != mendBusy {
				t.Errorf("trial %d is void: %s: %s", v.Trial, reason.Code, reason.Text)
			}
		}
		record, err := folder.ReadFaults(v.Trial)
		if err != nil {
			t.Fatal(err)
		}
		fired := 0
		for _, fault := range record.Faults {
			if fault.AppliedNS != nil {
				fired++
			}
		}
		t.Logf("trial %d: valid %v, linearizable %s (%d operations), agreement %s, %d faults applied, %v",
			v.Trial, v.Valid, v.Linearizable, v.History.Operations, v.Agreement, fired, v.Reasons)
		if seconds := float64(v.MeasureEndNS-v.MeasureStartNS) / 1e9; float64(fired) < seconds/8 {
			t.Errorf("trial %d: %d faults in %.0f s", v.Trial, fired, seconds)
		}
	}
	use.judge(t, long)
	if left := children(os.Getpid()); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if after := descriptors(os.Getpid()); after > before+5 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// usage samples what the controller and the lab's own processes use while loads run.
type usage struct {
	report.Progress
	at      time.Time
	samples [][]consumption
}

// consumption is what a process uses.
type consumption struct {
	name                          string
	resident, descriptors, routes int
}

func (u *usage) TrialStart(number, total int, text string) {
	u.samples = append(u.samples, nil)
	u.Progress.TrialStart(number, total, text)
}

func (u *usage) TrialLive(elapsed, total time.Duration, rate float64, latency time.Duration) {
	if time.Since(u.at) < time.Second {
		return
	}
	u.at = time.Now()
	last := &u.samples[len(u.samples)-1]
	*last = append(*last, consumption{
		name: "controller", resident: int(residentHeap()), descriptors: descriptors(os.Getpid()), routes: runtime.NumGoroutine(),
	})
	for _, pid := range children(os.Getpid()) {
		name := commandOf(pid)
		if !strings.HasPrefix(name, "quorumlab-netns") {
			continue
		}
		bytes, err := residentBytes(filepath.Join("/proc", strconv.Itoa(pid)))
		if err == nil {
			*last = append(*last, consumption{name: name, resident: int(bytes), descriptors: descriptors(pid)})
		}
	}
}

// judge sets the most of each trial's last third against that of its second.
func (u *usage) judge(t *testing.T, long bool) {
	t.Helper()
	for i, samples := range u.samples {
		middle, last := map[string]consumption{}, map[string]consumption{}
		for j, s := range samples {
			third := middle
			switch {
			case j < len(samples)/3:
				continue
			case j >= 2*len(samples)/3:
				third = last
			}
			most := third[s.name]
			third[s.name] = consumption{
				resident: max(most.resident, s.resident), descriptors: max(most.descriptors, s.descriptors), routes: max(most.routes, s.routes),
			}
		}
		for name, m := range middle {
			l := last[name]
			t.Logf("trial %d, %s: %d KiB, %d descriptors, %d goroutines; then %d KiB, %d, %d",
				i+1, name, m.resident>>10, m.descriptors, m.routes, l.resident>>10, l.descriptors, l.routes)
			if !long {
				continue // a short trial's first third is too short for what is used once
			}
			if l.resident > m.resident+m.resident/5+(4<<20) || l.descriptors > m.descriptors+20 || l.routes > m.routes+50 {
				t.Errorf("trial %d: %s grows", i+1, name)
			}
		}
		if len(middle) < 3 {
			t.Errorf("trial %d: saw only %v, want the controller, the lab's init and the emulator", i+1, middle)
		}
	}
}

// children are the processes that descend from a process.
func children(pid int) []int {
	parents := map[int]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything.
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && len(fields) > 1 {
			parents[child], _ = strconv.Atoi(fields[1])
		}
	}
	var found []int
	for child := range parents {
		for ancestor := parents[child]; ancestor > 1; ancestor = parents[ancestor] {
			if ancestor == pid {
				found = append(found, child)
				break
			}
		}
	}
	return found
}

func commandOf(pid int) string {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(string(data), "\x00")
	return filepath.Base(name)
}

// descriptors counts a process's open files; 0 if it has ended.
func descriptors(pid int) int {
	entries, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	return len(entries)
}
