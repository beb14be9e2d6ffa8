//go:build !linux

package harness

import (
	"os"
	"runtime"

	"quorumlab/results"
)

// ownBinary is the file that this process was started from; empty if unknown.
func ownBinary() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return path
}

// describeSystem adds nothing: only simulations run here, and what they measure
// depends on no setting of the machine.
func describeSystem(*results.Machine) {}

func readProcessorTime() (processorTime, error) { return processorTime{}, errNoLoad }

func loadAverage() (average float64, cpus int) { return 0, runtime.NumCPU() }
