//go:build unix

package sim

import (
	"syscall"
	"time"
)

// cpuTime is the CPU time that this process has used: on a busy machine a
// better measure than the time that went by.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
