//go:build linux

package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
)

// state asks the kernel how a process is. One that has ended has no letter.
func (r *reaper) state(process uint64) (engine.ProcessState, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	c, alive := r.children[process]
	if !alive {
		return engine.ProcessState{}, nil
	}
	state, err := c.state()
	if err != nil {
		return state, fmt.Errorf("asking for a process's state: %w", err)
	}
	if state.Letter == "Z" && hasEnded(c.pid) {
		state.Letter = ""
	}
	return state, nil
}

// state is a child's that is yet to be reaped.
func (c *child) state() (engine.ProcessState, error) {
	number, err := numberInProc(c.pid)
	if err != nil {
		return engine.ProcessState{}, err
	}
	data, err := os.ReadFile("/proc/" + number + "/stat")
	if err != nil {
		return engine.ProcessState{}, err
	}
	state, err := parseStat(data)
	if err != nil {
		return state, err
	}
	if exact, err := processTime(c.pid); err == nil {
		state.CPUNS = exact
	}
	state.StoppedNS = c.stoppedNS
	// On a busy machine a process that is to stop may have to wait for a processor to do
	// so (R); one that sleeps (S) was never told.
	if !c.stoppedSince.IsZero() && (state.Letter == "T" || state.Letter == "R") {
		state.StoppedNS += max(0, int64(time.Since(c.stoppedSince))-(state.CPUNS-c.stoppedAtNS))
	}
	return state, nil
}

// ticksPerSecond is the unit of times in /proc, the same on every machine (USER_HZ).
const ticksPerSecond = 100

// Fields of /proc/PID/stat behind the program's name, counted from 0.
const (
	statLetter = 0
	statUser   = 11
	statSystem = 12
)

// parseStat reads the text of /proc/PID/stat: "PID (NAME) LETTER ...", where the name may
// hold anything.
func parseStat(data []byte) (engine.ProcessState, error) {
	var state engine.ProcessState
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return state, fmt.Errorf("%.80q is no process's stat", data)
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= statSystem || len(fields[statLetter]) != 1 {
		return state, fmt.Errorf("%.80q is no process's stat", data)
	}
	for _, field := range []int{statUser, statSystem} {
		ticks, err := strconv.ParseInt(fields[field], 10, 64)
		if err != nil || ticks < 0 || ticks > int64(1<<62)/int64(time.Second/ticksPerSecond) {
			return state, fmt.Errorf("%q is no number of clock ticks", fields[field])
		}
		state.CPUNS += ticks * int64(time.Second/ticksPerSecond)
	}
	state.Letter = fields[statLetter]
	return state, nil
}

// processTime is what all threads of a process have used of processors, to the
// nanosecond; /proc has hundredths of a second.
func processTime(pid int) (int64, error) {
	// CPUCLOCK_SCHED of a whole process: clock_getcpuclockid(3).
	const sched = 2
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &used); err != nil {
		return 0, err
	}
	return used.Nano(), nil
}

// hasEnded tells whether a child is a zombie with all of its threads, and leaves it one.
func hasEnded(pid int) bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && info.Signo == int32(unix.SIGCHLD)
	}
}

// numberInProc is a child's pid as /proc shows it. It may be the /proc of another PID
// namespace, if a new one couldn't be mounted.
func numberInProc(pid int) (string, error) {
	if procIsOurs() {
		return strconv.Itoa(pid), nil
	}
	return numberByDescriptor(pid)
}

// procIsOurs tells whether /proc has the numbers that this process knows. It is asked
// only once all mounts are made.
var procIsOurs = sync.OnceValue(func() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == strconv.Itoa(os.Getpid())
})

// numberByDescriptor asks /proc itself which process a pidfd is of.
func numberByDescriptor(pid int) (string, error) {
	descriptor, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "", fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(descriptor)
	information, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", descriptor))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(information)) {
		if number, found := strings.CutPrefix(line, "Pid:"); found {
			return strings.TrimSpace(number), nil
		}
	}
	return "", fmt.Errorf("the kernel doesn't say which process %d is", pid)
}
