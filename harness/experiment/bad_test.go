package experiment

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected errors in testdata/bad")

// Every file of testdata/bad is refused with the one line beside it, exact to
// the column.
func TestBadFilesAreRefusedInOneClearLine(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.[yj]*") // YAML, and JSON of Coracle
	if err != nil || len(files) < 150 {
		t.Fatalf("only %d bad files (%v)", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, filepath.Ext(name)), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(name, data, testOverrides())
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("got %v (%T), want an *Error", err, err)
			}
			golden := strings.TrimSuffix(file, filepath.Ext(file)) + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, readErr := os.ReadFile(golden)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("got  %swant %s", got, want)
			}
		})
	}
}
