package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The README's examples are blocks of commands ("$ " before each) with what
// they print. The test runs each of them in a folder laid out like the
// repository and compares: numbers that are measured may differ, "..." stands
// for any text.
func TestTheReadmesCommandsPrintWhatItShows(t *testing.T) {
	needNetns(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := layOut(t)
	examples := consoleExamples(string(readme))
	if len(examples) < 5 {
		t.Fatalf("found only %d examples in the README", len(examples))
	}
	for _, e := range examples {
		t.Run(e.command, func(t *testing.T) {
			out := e.run(t, dir)
			for tries := 0; tries < 2 && tooBusy(out); tries++ {
				out = e.run(t, dir)
			}
			if tooBusy(out) {
				t.Skipf("three times the machine was too busy for a run that counts: %s", firstVoid(out))
			}
			if !e.matches(out) {
				t.Errorf("it printed\n%s\nthe README shows\n%s", out, e.shown)
			}
		})
	}
}

// tooBusy tells output of a run that is void because this machine had no time for it: a
// void run's JSON has no latency.
func tooBusy(out string) bool {
	return strings.Contains(out, "while the machine is idle") || strings.Contains(out, `"latency_ms": null`)
}

// firstVoid is the first line that says why a trial is void.
func firstVoid(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "VOID: ") {
			return strings.TrimSpace(line)
		}
	}
	return "see above"
}

// layOut makes a folder with bin/ and experiments/ as in the repository.
func layOut(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	experiments, err := filepath.Abs("../../experiments")
	if err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"bin": binaries, "experiments": experiments} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

type example struct{ command, shown string }

func (e example) run(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", e.command)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out)
}

// consoleExamples finds the commands of the README's console blocks.
func consoleExamples(readme string) []example {
	var examples []example
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, shown, _ := strings.Cut(part, "\n")
			examples = append(examples, example{command, shown})
		}
	}
	return examples
}

var (
	measured = regexp.MustCompile(`\d+([.,:-]\d+)*`)
	blanks   = regexp.MustCompile(`[ \t]+|-{2,}`)
)

// normalise takes out what may differ: digits, and the space that they take.
func normalise(text string) string {
	return strings.TrimSpace(blanks.ReplaceAllString(measured.ReplaceAllString(text, "0"), " "))
}

// matches compares line by line; a shown line "..." skips any number of lines.
func (e example) matches(printed string) bool {
	pattern := `(?s)^`
	for _, line := range strings.Split(strings.TrimSpace(e.shown), "\n") {
		if strings.TrimSpace(line) == "..." {
			pattern += `.*`
		} else {
			pattern += strings.ReplaceAll(regexp.QuoteMeta(normalise(line)), `\.\.\.`, `.*`) + `\n`
		}
	}
	var lines bytes.Buffer
	for _, line := range strings.Split(strings.TrimSpace(printed), "\n") {
		lines.WriteString(normalise(line) + "\n")
	}
	return regexp.MustCompile(pattern + `$`).MatchString(lines.String())
}

func TestTheReadmesComparisonNoticesADifference(t *testing.T) {
	e := example{shown: "mean 240.31 ms\n...\nvalid"}
	for printed, want := range map[string]bool{
		"mean 239.00 ms\nanything\nat all\nvalid\n": true,
		"mean 239.00 ms\nvalid\n":                   true,
		"mean 239.00 ms\nanything\nVOID\n":          false,
		"median 239.00 ms\nvalid\n":                 false,
	} {
		if e.matches(printed) != want {
			t.Errorf("%q: matches is %v", printed, !want)
		}
	}
}

// The quickstart stands in the README as it is shipped.
func TestTheReadmeShowsTheShippedQuickstart(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := os.ReadFile(shipped(t, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```yaml\n"+string(spec)+"```") {
		t.Error("README.md doesn't show experiments/quickstart.yaml as it is")
	}
	for _, target := range []string{"run", "test", "bench"} {
		cmd := exec.Command("make", "-n", target)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
	}
}
