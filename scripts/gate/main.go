// Command gate reads the output of `go test -json` on standard input and prints
// what a person wants to know: each package's result as it comes, the output of
// what failed, and a closing table of what was skipped and why. It exits with 1
// if anything failed; where the environment has CI=true, also if tests of an
// engine were skipped, since CI installs what they need.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// engineSkip begins the reason of a skip that means: this machine lacks what an
// engine needs.
const engineSkip = "engine "

type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
	// ImportPath names the package of a build event.
	ImportPath string
}

type gate struct {
	out                     io.Writer
	output                  map[string][]string
	passed, failed, skipped int
	skips                   []string
	engineSkipped           bool
	// running are the packages whose tests have begun and not ended.
	running map[string]bool
	// failedRun is true if the go command says that something failed.
	failedRun bool
}

func main() {
	g := newGate(os.Stdout)
	if err := g.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
	if !g.close(os.Getenv("CI") == "true") {
		os.Exit(1)
	}
}

func newGate(out io.Writer) *gate {
	return &gate{out: out, output: map[string][]string{}, running: map[string]bool{}}
}

func (g *gate) read(r io.Reader) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		var e event
		if json.Unmarshal(scanner.Bytes(), &e) != nil {
			fmt.Fprintln(g.out, scanner.Text()) // the go command itself complains
			continue
		}
		g.take(e)
	}
	return scanner.Err()
}

func (g *gate) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "start":
		g.running[e.Package] = true
	case "exit-status":
		g.failedRun = true
	case "output":
		g.output[key] = append(g.output[key], e.Output)
	case "build-output":
		fmt.Fprint(g.out, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			g.endPackage(e)
		} else {
			g.endTest(e, key)
		}
		delete(g.output, key)
	}
}

func (g *gate) endPackage(e event) {
	delete(g.running, e.Package)
	switch e.Action {
	case "fail":
		g.failed++
		fmt.Fprintf(g.out, "FAIL %s (%.1f s)\n%s", e.Package, e.Elapsed, strings.Join(g.output[e.Package+" "], ""))
	case "pass":
		fmt.Fprintf(g.out, "ok   %s (%.1f s)\n", e.Package, e.Elapsed)
	}
}

func (g *gate) endTest(e event, key string) {
	switch e.Action {
	case "pass":
		g.passed++
	case "fail":
		g.failed++
		fmt.Fprintf(g.out, "FAIL %s %s\n%s", e.Package, e.Test, strings.Join(g.output[key], ""))
	case "skip":
		g.skipped++
		reason := skipReason(g.output[key])
		g.engineSkipped = g.engineSkipped || strings.HasPrefix(reason, engineSkip)
		g.skips = append(g.skips, fmt.Sprintf("%-40s %s", e.Test, reason))
	}
}

// skipReason finds what the test said: the line "file.go:12: reason".
func skipReason(output []string) string {
	for _, line := range slices.Backward(output) {
		if _, reason, ok := strings.Cut(line, ".go:"); ok {
			_, reason, _ = strings.Cut(reason, ": ")
			return strings.TrimSpace(reason)
		}
	}
	return "no reason given"
}

func (g *gate) close(ci bool) bool {
	if len(g.skips) > 0 {
		slices.Sort(g.skips)
		fmt.Fprintf(g.out, "\nskipped on this machine:\n  %s\n", strings.Join(slices.Compact(g.skips), "\n  "))
	}
	for name := range g.running {
		fmt.Fprintf(g.out, "FAIL %s: its tests began and never ended\n", name)
		g.failed++
	}
	if g.failedRun && g.failed == 0 {
		fmt.Fprintln(g.out, "FAIL: the go command failed")
		g.failed++
	}
	good := g.failed == 0 && g.passed > 0
	if ci && g.engineSkipped {
		fmt.Fprintln(g.out, "\nan engine was skipped, which CI doesn't allow")
		good = false
		g.failed++
	}
	fmt.Fprintf(g.out, "\n%d passed, %d failed, %d skipped\n", g.passed, g.failed, g.skipped)
	return good
}
