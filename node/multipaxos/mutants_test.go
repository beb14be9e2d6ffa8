package multipaxos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A test that can't fail proves nothing: each mutant must make one fail. The
// table at the end says which one did, and how long it took.
func TestEachMutantIsCaught(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes a minute or two")
	}
	verdicts := make([]verdict, len(mutants))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for i := range next {
				verdicts[i] = mutants[i].try(t)
			}
		})
	}
	for i := range mutants {
		next <- i
	}
	close(next)
	workers.Wait()
	var table strings.Builder
	for i, v := range verdicts {
		fmt.Fprintf(&table, "\n%-55s %4.1fs  %s", mutants[i].name, v.took.Seconds(), v.caughtBy)
		if v.caughtBy == "" {
			t.Errorf("%s: survived %s:\n%s", mutants[i].name, mutants[i].run, v.output)
		}
	}
	t.Log(table.String())
}

type verdict struct {
	// caughtBy is the test that failed first, empty if none did.
	caughtBy string
	output   string
	took     time.Duration
}

// try runs the tests with the mutant's source in place of the real one.
func (m mutant) try(t *testing.T) verdict {
	start := time.Now()
	folder, err := os.MkdirTemp("", "mutant")
	if err != nil {
		t.Error(err)
		return verdict{}
	}
	defer func() { _ = os.RemoveAll(folder) }()
	overlay, err := m.overlay(folder)
	if err != nil {
		return verdict{output: err.Error()}
	}
	command := exec.Command("go", "test", "-overlay", overlay, "-vet=off", "-ldflags=-s -w", "-count=1", "-failfast",
		"-timeout=60s", "-run", m.run, m.packages)
	output, err := command.CombinedOutput()
	v := verdict{took: time.Since(start), output: string(output)}
	switch {
	case err == nil || bytes.Contains(output, []byte("build failed")) || bytes.Contains(output, []byte("no tests to run")):
	case firstFailure.Match(output):
		m := firstFailure.FindSubmatch(output)
		v.caughtBy = fmt.Sprintf("%s: %.100s", m[1], m[2])
	case bytes.Contains(output, []byte("panic: test timed out")):
		v.caughtBy = "time limit"
	case bytes.Contains(output, []byte("panic: ")):
		v.caughtBy = "panic"
	}
	return v
}

// firstFailure finds the innermost test that failed and the first thing it said.
var firstFailure = regexp.MustCompile(`--- FAIL: (\S+) \([0-9.]+s\)\n +\S+_test\.go:\d+: *(.*)`)

// overlay writes the mutated file and what tells the compiler of it.
func (m mutant) overlay(folder string) (string, error) {
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	text := string(source)
	for _, e := range m.edits {
		if n := strings.Count(text, e.before); n != 1 {
			return "", fmt.Errorf("%s holds %q %d times, want once", m.file, e.before, n)
		}
		text = strings.Replace(text, e.before, e.after, 1)
	}
	mutated := filepath.Join(folder, "mutated.go")
	if err := os.WriteFile(mutated, []byte(text), 0o600); err != nil {
		return "", err
	}
	data, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(folder, "overlay.json")
	return overlay, os.WriteFile(overlay, data, 0o600)
}

// The purity test reads sources itself, so that it needs a tree of its own.
func TestARealClockInTheProtocolIsCaught(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("builds another package's tests")
	}
	tree := t.TempDir()
	binary := filepath.Join(tree, "consensus.test")
	if output, err := exec.Command("go", "test", "-c", "-o", binary, "../consensus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, folder := range []string{"consensus", "multipaxos/wire"} {
		if err := os.MkdirAll(filepath.Join(tree, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"multipaxos.go", "wire/wire.go"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, "multipaxos", name), source, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pure := func() error {
		command := exec.Command(binary, "-test.run", "TestProtocolsArePure")
		command.Dir = filepath.Join(tree, "consensus")
		return command.Run()
	}
	if err := pure(); err != nil {
		t.Fatalf("the sources as they are: %v", err)
	}
	clock := "package multipaxos\n\nimport \"time\"\n\nvar started = time.Now()\n"
	if err := os.WriteFile(filepath.Join(tree, "multipaxos", "clock.go"), []byte(clock), 0o600); err != nil {
		t.Fatal(err)
	}
	if pure() == nil {
		t.Error("a real clock passed")
	}
}
