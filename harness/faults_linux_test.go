package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quorumlab/results"
)

// expectLives wants nodes to have been killed once and started again, and their storage to
// be kept if the trial is void.
func expectLives(t *testing.T, folder *results.Folder, names []string, valid bool) {
	t.Helper()
	for _, name := range names {
		exit, err := os.ReadFile(filepath.Join(folder.NodesDir(1), earlier(name+".exit.json", 1)))
		if err != nil || !strings.Contains(string(exit), "SIGKILL") {
			t.Errorf("how %s was killed: %s, %v", name, exit, err)
		}
		_, err = os.Stat(filepath.Join(folder.NodesDir(1), name, storageDir))
		if kept := err == nil; kept == valid {
			t.Errorf("%s: storage kept %v, trial valid %v", name, kept, valid)
		}
	}
}
