package results

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInputsAreKeptUnderNamesOfTheirOwn(t *testing.T) {
	manifest := Manifest{Experiment: "x"}
	files := []struct{ path, data, file string }{
		{"rtt.csv", "1\n", "inputs/rtt.csv"},
		{"a/rtt.csv", "2\n", "inputs/rtt-2.csv"},
		{"../b/RTT.csv", "3\n", "inputs/RTT-3.csv"},
		{"/tmp/.ber lin", "4\n", "inputs/ber-lin"},
		{"..", "5\n", "inputs/run"},
	}
	for _, f := range files {
		manifest.AddInput(f.path, []byte(f.data))
	}
	dir := filepath.Join(t.TempDir(), "run")
	folder, err := Create(dir, manifest)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if got := manifest.Inputs[i].File; got != f.file {
			t.Errorf("%s is kept as %s, want %s", f.path, got, f.file)
		}
		if err := folder.WriteInput(f.path, []byte(f.data)); err != nil {
			t.Error(err)
		}
	}
	opened, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, input := range opened.Manifest().Inputs {
		data, err := os.ReadFile(filepath.Join(dir, input.File))
		if err != nil || string(data) != files[i].data || len(input.SHA256) != 64 {
			t.Errorf("%s holds %q (%v), its sum is %q", input.File, data, err, input.SHA256)
		}
	}
}

func TestAnInputThatIsNotTheListedOneIsNotKept(t *testing.T) {
	manifest := Manifest{Experiment: "x"}
	manifest.AddInput("rtt.csv", []byte("1\n"))
	folder, err := Create(filepath.Join(t.TempDir(), "run"), manifest)
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string]string{"rtt.csv": "2\n", "other.csv": "1\n"} {
		if err := folder.WriteInput(path, []byte(data)); err == nil {
			t.Errorf("%s with %q was kept", path, data)
		}
	}
}
