package harness

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"quorumlab/harness/engine/sim"
	"quorumlab/harness/experiment"
	"quorumlab/harness/report"
	"quorumlab/results"
)

// describeTrial names a trial by its swept values, the last segments of their
// paths, and its repeat.
func describeTrial(planned experiment.Trial) string {
	var text strings.Builder
	for _, param := range planned.Point.Params {
		value, err := json.Marshal(param.Value)
		if err != nil {
			panic("harness: a swept value that was read from YAML has no JSON: " + err.Error())
		}
		fmt.Fprintf(&text, "%s %s, ", param.Path[strings.LastIndex(param.Path, ".")+1:], report.Value(value))
	}
	fmt.Fprintf(&text, "repeat %d", planned.Repeat+1)
	return text.String()
}

// planLines say what is about to run, where and why there, and what it will
// cost.
func planLines(source *experiment.Source, plan []experiment.Trial, manifest results.Manifest, dir string) []string {
	lines := []string{fmt.Sprintf("%s, on %s with %s links", cost(source, plan, manifest.Simulated), manifest.Engine, manifest.Links)}
	if source.Spec.Engine != manifest.Engine && manifest.Simulated {
		lines = append(lines, fmt.Sprintf("engine %s, because %s", manifest.Engine, manifest.EngineReason))
	}
	return append(lines, "results go to "+dir)
}

// cost says how much there is to do; for a simulation in virtual time, as
// nobody knows how fast that passes.
func cost(source *experiment.Source, plan []experiment.Trial, simulated bool) string {
	estimate := source.Estimate()
	trials := fmt.Sprintf("%s of %s", count(len(plan), "trial"), count(len(source.Points), "point"))
	disk := fmt.Sprintf("%.1f MB of disk", max(float64(estimate.DiskBytes)/1e6, 0.1))
	if !simulated {
		return fmt.Sprintf("%s: %s, about %v and %s", source.Spec.Name, trials, estimate.Time.Round(time.Second), disk)
	}
	var virtual time.Duration
	for _, planned := range plan {
		virtual += time.Duration(planned.Point.Spec.Phases.Warmup + planned.Point.Spec.Phases.Measure)
	}
	return fmt.Sprintf("%s: %s, %s: %v of virtual time and about %s", source.Spec.Name, trials, results.LabelSimulated, virtual, disk)
}

// count puts a noun after a number.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// PlanLines describe what Run would do, without doing it.
func PlanLines(source *experiment.Source) []string {
	plan := source.Plan()
	lines := []string{cost(source, plan, source.Spec.Engine == sim.Name)}
	for _, planned := range plan {
		lines = append(lines, fmt.Sprintf("trial %d: %s, seed %d", planned.Number, describeTrial(planned), planned.Seed))
	}
	return lines
}
