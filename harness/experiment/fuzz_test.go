package experiment

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzParse reads any bytes as an experiment: never a panic, always either one
// *Error of one line or a plan whose points can be deployed.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.[yj]*", "testdata/good/*", "template.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no files match %s (%v)", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, "topology.link.delay=5ms")
		}
	}
	f.Add([]byte("version: 1\n"), "sweep.system.options.a=[{b: 1}, [2]]")
	f.Fuzz(func(t *testing.T, data []byte, set string) {
		overrides := testOverrides()
		if set != "" {
			overrides.Set = []string{set}
		}
		source, err := Parse("fuzz.yaml", data, overrides)
		if err != nil {
			checkError(t, err)
			return
		}
		if len(source.Points) == 0 || source.Estimate().Trials != len(source.Points)*source.Spec.Repeat {
			t.Errorf("%d points, estimate %+v", len(source.Points), source.Estimate())
		}
		for _, point := range source.Points[:min(3, len(source.Points))] {
			if hosts := len(point.Spec.Network().Hosts); hosts != len(point.Spec.Deployment()) {
				t.Errorf("%d hosts for %d processes", hosts, len(point.Spec.Deployment()))
			}
			if _, err := point.Params.MarshalJSON(); err != nil {
				t.Errorf("the parameters %v: %v", point.Params, err)
			}
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var bad *Error
	if !errors.As(err, &bad) {
		t.Fatalf("%T: %v", err, err)
	}
	text := err.Error()
	if strings.ContainsAny(text, "\n\r") || !strings.HasPrefix(text, "fuzz.yaml:") && !strings.HasPrefix(text, "fuzz.json:") && !strings.HasPrefix(text, "--set ") {
		t.Errorf("not a good error: %q", text)
	}
	if bad.Line < 0 || (bad.Line == 0) != (bad.Column == 0) {
		t.Errorf("the position is %d:%d in %q", bad.Line, bad.Column, text)
	}
}

// Hostile files of the largest size are refused quickly. Without the bounds,
// some of these take minutes and some overflow the stack.
func TestHostileFilesAreRefusedSoon(t *testing.T) {
	refuse := func(piece string, size int, prefixes ...string) {
		for _, prefix := range prefixes {
			count := size / len(piece)
			_, err := Parse("fuzz.yaml", []byte(prefix+strings.Repeat(piece, count)), Overrides{})
			if err == nil {
				t.Fatalf("%q %d times behind %q is an experiment", piece, count, prefix)
			}
			checkError(t, err)
		}
	}
	start := time.Now()
	for _, piece := range []string{"[", "a: b\n"} {
		refuse(piece, maxFileBytes, "")
	}
	for _, piece := range []string{
		"[", "{a: ", "- ", "? ", ": ", "a: b\n", "- b\n", "&a ", "*a ", "! ", "!", "%a\n", "'", `"`, "|\n",
		"x", "a: ", ",", "]", "x\n", "a:\n", "<<: ", "{", "a: |\n x\n", "- - ", "\\",
	} {
		refuse(piece, maxTokens/8*len(piece), "", "version: 1\nname: ", "version: 1\nname: [")
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
