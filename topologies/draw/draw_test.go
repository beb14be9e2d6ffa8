package draw

import (
	"bytes"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"
)

var update = flag.Bool("update", false, "write the golden files")

var forms = map[string]func(io.Writer, Picture) error{
	"txt": func(w io.Writer, p Picture) error { return Text(w, p, 80) },
	"dot": DOT,
	"svg": SVG,
}

func TestDrawingsAreTheGoldenOnes(t *testing.T) {
	all := pictures()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for form, draw := range forms {
			t.Run(name+"."+form, func(t *testing.T) {
				var b bytes.Buffer
				if err := draw(&b, all[name]); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join("testdata", name+"."+form)
				if *update {
					if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), b.String()); diff != "" {
					t.Errorf("-want +got (go test -update writes them):\n%s", diff)
				}
			})
		}
	}
}

func TestTextKeepsToItsWidth(t *testing.T) {
	for name, p := range pictures() {
		for _, width := range []int{0, MinTextWidth, 80, 200} {
			var b bytes.Buffer
			if err := Text(&b, p, width); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				if got := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); got > max(width, MinTextWidth) {
					t.Errorf("%s at %d: %d columns: %s", name, width, got, line)
				}
			}
		}
	}
}

// What a link does is never cut off, however narrow the terminal.
func TestTextSaysAllOfALongLabel(t *testing.T) {
	p := Picture{Topology: slowWAN().Topology}
	var b bytes.Buffer
	if err := Text(&b, p, 60); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"1.43% loss in bursts, 0.2% doubled, 0.1% corrupted,", "queue 1000; ← 38 ms,", "→ 80 ms ← 90 ms, 10 Mbit/s", "further, down: america ─ asia"} {
		if !strings.Contains(strings.ReplaceAll(got, "│ ", ""), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
