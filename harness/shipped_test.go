package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/experiment"
)

// shipped reads an experiment of the repository, cut short.
func shipped(t *testing.T, file string, set ...string) *experiment.Source {
	t.Helper()
	path := filepath.Join("../experiments", file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	short := []string{"repeat=1"}
	switch faults := string(text); {
	case !strings.Contains(faults, "\nfaults:"):
		short = append(short, "phases.measure=5s")
	case strings.Contains(faults, "random:"): // others have their times
		short = append(short, "phases.measure=30s")
	}
	source, err := experiment.Load(path, experiment.Overrides{
		Engine: "sim", Engines: []string{"netns", "sim"}, Set: append(short, set...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestEveryShippedExperimentRunsInTheSimulatorInSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates hours")
	}
	files, err := filepath.Glob("../experiments/*.yaml")
	more, err2 := filepath.Glob("../experiments/*/*.yaml")
	if err != nil || err2 != nil || len(files) < 2 || len(more) < 5 {
		t.Fatal("experiments are missing", files, more, err, err2)
	}
	for _, file := range slices.Concat(files, more) {
		name := strings.TrimPrefix(file, "../experiments/")
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			folder, summary := simulated(t, shipped(t, name), nil)
			for _, point := range summary.Points {
				if point.Trials != 1 || point.Outcomes.OK+point.Outcomes.Fail == 0 {
					t.Errorf("point %v: %d trials, outcomes %+v", point.Params, point.Trials, point.Outcomes)
				}
			}
			for _, input := range folder.Manifest().Inputs {
				data, err := os.ReadFile(filepath.Join(folder.Dir(), input.File))
				sum := sha256.Sum256(data)
				if err != nil || hex.EncodeToString(sum[:]) != input.SHA256 {
					t.Errorf("the run's copy of %s isn't the input (%v)", input.Path, err)
				}
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

// The dissertation's section 4.1.4: six paths of two links each in the star, of three in
// the row of switches; in the tree, with the client at the last leaf, 32 links in all.
func TestTheDissertationsTopologiesTakeWhatTheyPredict(t *testing.T) {
	_, summary := simulated(t, shipped(t, "multipaxos-dissertation/topologies.yaml"), nil)
	for i, want := range []float64{240, 360, 640} {
		point := summary.Points[i]
		if point.PredictedMS == nil || *point.PredictedMS != want {
			t.Errorf("%v predicts %v ms, want %v", point.Params, point.PredictedMS, want)
		}
		if mean := *point.Latency.Mean; math.Abs(mean-want) > 0.02*want {
			t.Errorf("%v takes %v ms, want %v within 2%%", point.Params, mean, want)
		}
	}
}

// A process reaches those on its own host at once: of the six paths the four to and from
// the client and the second acceptor remain.
func TestProcessesOfOneHostHaveNoLinkBetweenThem(t *testing.T) {
	_, summary := simulated(t, shipped(t, "links/together.yaml"), nil)
	for i, want := range []float64{240, 160} {
		if mean := *summary.Points[i].Latency.Mean; math.Abs(mean-want) > 1 {
			t.Errorf("%v takes %v ms, want %v", summary.Points[i].Params, mean, want)
		}
	}
}

func TestThePlanDescribesNetworksAndWarnsOnce(t *testing.T) {
	lines, err := PlanLines(t.Context(), shipped(t, "multipaxos-dissertation/topologies.yaml", "topology.link.queue=0"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"point 1: kind star, star of 8 hosts, predicted latency 240ms", "point 2: kind linear, linear of 8 hosts, predicted latency 360ms",
		"point 3: kind tree, tree of 8 hosts, predicted latency 640ms",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the plan lacks %q:\n%s", want, text)
		}
	}
	_, summary := simulated(t, shipped(t, "links/replay.yaml"), nil)
	if len(summary.Points) != 2 {
		t.Errorf("%d points", len(summary.Points))
	}
	lines, err = PlanLines(t.Context(), shipped(t, "links/replay.yaml"))
	if text := strings.Join(lines, "\n"); err != nil || strings.Count(text, "warning: Measured round-trip times") != 1 {
		t.Errorf("the plan should warn once of what half a round trip assumes: %v\n%s", err, text)
	}
}

// Where auto turns out to be the simulator, nothing could be captured.
func TestASimulatorThatAutoChoseDoesNotCapture(t *testing.T) {
	source := load(t, "auto", "--set", "capture=h1-s1")
	if source.Points[0].Spec.Captured()[0] != "h1-s1" {
		t.Errorf("captured: %v", source.Points[0].Spec.Captured())
	}
	source.Spec.Engine = "sim"
	if _, _, err := Run(t.Context(), source, Options{Dir: filepath.Join(t.TempDir(), "run"), Progress: quiet()}); err == nil || !strings.Contains(err.Error(), "capture") {
		t.Errorf("the simulator ran with a capture: %v", err)
	}
}
