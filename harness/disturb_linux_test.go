package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/experiment"
	"quorumlab/node/control"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
)

// inLab runs the experiment in a lab that is disturbed, while the machine has
// time for it.
func inLab(t *testing.T, source *experiment.Source, disturb func(context.Context, *labTrial) error) *results.Folder {
	t.Helper()
	node := needNetns(t)
	for tries := 0; ; tries++ {
		folder, summary, err := Run(t.Context(), source, Options{
			Dir: filepath.Join(t.TempDir(), "run"), NodeBinary: node, Progress: quiet(), disturb: disturb,
		})
		if err != nil {
			t.Fatal(err)
		}
		if summary.Valid || summary.Mend != mendBusy || tries == 2 {
			return folder
		}
	}
}

func TestNodesThatAreKilledAndRestartedInTurnLoseNoAcknowledgedWrite(t *testing.T) {
	source := load(t, "netns", "--set", "repeat=1", "--set", "system.storage="+control.StorageDisk,
		"--set", "phases.measure=8s", "--set", "workload.timeout=3s")
	var over int64 // when all nodes were back
	folder := inLab(t, source, func(ctx context.Context, trial *labTrial) error {
		for _, name := range servers(source.Spec) {
			if err := sleep(ctx, 200*time.Millisecond); err != nil {
				return err
			}
			if err := trial.kill(ctx, name); err != nil {
				return err
			}
			if err := sleep(ctx, 200*time.Millisecond); err != nil {
				return err
			}
			if err := trial.restart(ctx, name); err != nil {
				return err
			}
		}
		over = int64(clock.Now())
		return nil
	})
	v := expectSafe(t, folder)
	if answered, due := answeredFrom(t, folder, v.MeasureStartNS); answered < due*7/10 {
		t.Errorf("%d of %d requests were answered", answered, due)
	}
	if answered, due := answeredFrom(t, folder, over+int64(time.Second)); answered < due || due == 0 {
		t.Errorf("once all nodes were back, %d of %d requests were answered", answered, due)
	}
	for _, name := range servers(source.Spec) {
		exit, err := os.ReadFile(filepath.Join(folder.NodesDir(1), earlier(name+".exit.json", 1)))
		if err != nil || !strings.Contains(string(exit), "SIGKILL") {
			t.Errorf("how %s was killed: %s, %v", name, exit, err)
		}
		_, err = os.Stat(filepath.Join(folder.NodesDir(1), name, storageDir))
		if kept := err == nil; kept == v.Valid {
			t.Errorf("%s: storage kept %v, trial valid %v", name, kept, v.Valid)
		}
	}
}

func TestLeadersAndAcceptorsAreReplacedByFreshNodesUnderLoad(t *testing.T) {
	source := load(t, "netns", "--set", "repeat=1", "--set", freshNodes,
		"--set", "phases.measure=5s", "--set", "workload.timeout=3s")
	var over int64
	folder := inLab(t, source, func(ctx context.Context, trial *labTrial) error {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		if err := trial.reconfigure(ctx, "replica1", toFreshNodes); err != nil {
			return err
		}
		for _, name := range retired {
			if err := trial.kill(ctx, name); err != nil {
				return err
			}
		}
		over = int64(clock.Now())
		return nil
	})
	expectSafe(t, folder)
	if answered, due := answeredFrom(t, folder, over+int64(time.Second)); answered < due || due == 0 {
		t.Errorf("with the retired nodes dead, %d of %d requests were answered", answered, due)
	}
}

func TestAMemberThatCannotBeDisturbedIsRefused(t *testing.T) {
	source := load(t, "netns", "--set", "repeat=1", "--set", "phases.measure=500ms")
	var errs []error
	folder := inLab(t, source, func(ctx context.Context, trial *labTrial) error {
		errs = []error{
			trial.kill(ctx, "client1"), trial.kill(ctx, "nobody"), trial.restart(ctx, "acceptor1"),
			trial.reconfigure(ctx, "nobody", toFreshNodes), trial.reconfigure(ctx, "acceptor1", toFreshNodes),
			trial.kill(ctx, "acceptor1"),
			trial.kill(ctx, "acceptor1"), trial.restart(ctx, "acceptor1"),
		}
		return nil
	})
	for i, want := range []string{"is a client", "no such process", "was not killed", "doesn't live", "acceptor1",
		"<nil>", "killed before", "storage is memory"} {
		if got := fmt.Sprint(errs[i]); !strings.Contains(got, want) {
			t.Errorf("error %d is %q, want %q", i, got, want)
		}
	}
	// A majority of the acceptors was alive all the time.
	expectSafe(t, folder)
}
