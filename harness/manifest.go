package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"runtime"
	"time"

	"quorumlab/harness/experiment"
	"quorumlab/results"
)

// Version is the tool's version; releases set it when linking.
var Version = "0.1.0-dev"

func manifestOf(source *experiment.Source, options Options, plan []experiment.Trial, node string) (results.Manifest, error) {
	manifest := results.Manifest{
		Experiment: source.Spec.Name, SpecFile: source.File, Spec: string(source.Data),
		Overrides: source.Overrides, Seed: source.Spec.Seed, Repeat: source.Spec.Repeat,
		StartedAt: time.Now(),
		Tool:      describeTool(node, options.CommandLine), Machine: describeMachine(),
	}
	for _, input := range source.Inputs {
		manifest.AddInput(input.Path, input.Data)
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

// describeTool records which binaries run, and how they were called.
func describeTool(node string, commandLine []string) results.Tool {
	return results.Tool{
		Version: Version, Go: runtime.Version(), BenchSHA256: hashFile(ownBinary()),
		NodeSHA256: hashFile(node), CommandLine: commandLine,
	}
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
		Limits: map[string]string{}, Sysctls: map[string]string{},
	}
	m.Hostname, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		m.User = u.Username
	}
	describeSystem(&m)
	return m
}
