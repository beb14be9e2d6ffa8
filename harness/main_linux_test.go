package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/netns"
)

// binaries is a folder for bench-node, which needNetns builds.
var binaries string

func TestMain(m *testing.M) {
	netns.RunIfChild()
	if others := os.Getenv(pingerMode); others != "" {
		fmt.Fprintln(os.Stderr, pingOthers(others))
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "quorumlab-harness-")
	if err != nil {
		panic(err)
	}
	binaries = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

var checkNetns = sync.OnceValue(func() engine.Readiness {
	e, _ := engine.Lookup("netns")
	return e.Check(context.Background())[0]
})

var buildNode = sync.OnceValues(func() (string, error) {
	build := exec.Command("go", "build", "-o", binaries, "../cmd/bench-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	return string(output), err
})

// needNetns skips where the engine can't work, with its reason; it returns the
// path of bench-node.
func needNetns(t *testing.T) (node string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs labs for many seconds")
	}
	if r := checkNetns(); !r.OK {
		t.Skipf("engine netns: %s", r.Reason)
	}
	if output, err := buildNode(); err != nil {
		t.Fatalf("building bench-node: %v\n%s", err, strings.TrimSpace(output))
	}
	return filepath.Join(binaries, "bench-node")
}
