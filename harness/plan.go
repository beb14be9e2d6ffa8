package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/sim"
	"quorumlab/harness/experiment"
	"quorumlab/results"
	"quorumlab/topologies"
)

// describeTrial names a trial by its point and its repeat.
func describeTrial(planned experiment.Trial) string {
	return fmt.Sprintf("%srepeat %d", describePoint(planned.Point), planned.Repeat+1)
}

// describePoint names a point by its swept values, the last segments of their paths,
// each followed by a comma.
func describePoint(point experiment.Point) string {
	var text strings.Builder
	for _, param := range point.Params {
		fmt.Fprintf(&text, "%s %s, ", param.Path[strings.LastIndex(param.Path, ".")+1:], experiment.ValueText(param.Value))
	}
	return text.String()
}

// maxPlannedPoints bounds the points whose networks are described: a plan shall not
// take long.
const maxPlannedPoints = 100

// pointLines describe the network of each point and the latency that it predicts, and say
// once what the predictions of some leave out.
func pointLines(source *experiment.Source) []string {
	var lines, notes []string
	for _, point := range source.Points[:min(maxPlannedPoints, len(source.Points))] {
		network := point.Spec.Network()
		line := fmt.Sprintf("point %d: %s%s of %s", point.Index+1, describePoint(point), network.Kind, count(len(network.Hosts), "host"))
		if predicted, ok := point.Spec.PredictedLatency(); ok {
			line += fmt.Sprintf(", predicted latency %v", predicted.Round(time.Microsecond))
			if note := point.Spec.PredictionNote(); note != "" && !slices.Contains(notes, note) {
				notes = append(notes, note)
			}
		}
		lines = append(lines, line)
	}
	if more := len(source.Points) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %s more", count(more, "point")))
	}
	return append(lines, notes...)
}

// CarriesBPS is about what the userspace emulator carries of full frames on a small
// machine: 1.9 to 2.2 Gbit/s were measured with two cores. Warnings compare rates with
// it; bench calibrate measures what this machine does.
const CarriesBPS = 2_000_000_000

// warningLines say once what of the networks can't be emulated well by an engine with
// these links, or is assumed.
func warningLines(source *experiment.Source, engineName, links string) []string {
	var lines []string
	if engineName == sim.Name && captures(source) {
		lines = append(lines, "warning: nothing is captured: simulated frames can't be written down")
	}
	carries := int64(CarriesBPS)
	if engineName == sim.Name || links == engine.LinksKernel {
		carries = 0 // not bounded, or not known
	}
	seen := map[string]bool{}
	for _, point := range source.Points[:min(maxPlannedPoints, len(source.Points))] {
		network := point.Spec.Network()
		key, err := json.Marshal([]any{point.Spec.Topology, len(network.Hosts)})
		if err != nil {
			panic("harness: a topology that was read from YAML has no JSON: " + err.Error())
		}
		if seen[string(key)] {
			continue
		}
		seen[string(key)] = true
		for _, warning := range topologies.Warnings(network, carries) {
			if line := "warning: " + warning; !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// scheduleLines say what breaks, a line for each entry of the schedule: once, with the
// points that have it so, unless all have.
func scheduleLines(source *experiment.Source) []string {
	points := source.Points[:min(maxPlannedPoints, len(source.Points))]
	var lines []string
	at := map[string][]string{}
	for _, point := range points {
		for _, line := range point.Spec.ScheduleLines() {
			if at[line] == nil {
				lines = append(lines, line)
			}
			at[line] = append(at[line], strconv.Itoa(point.Index+1))
		}
	}
	for i, line := range lines {
		lines[i] = "fault " + line
		switch which := at[line]; {
		case len(which) == len(points):
		case len(which) == 1:
			lines[i] += " (point " + which[0] + ")"
		default:
			lines[i] += " (points " + strings.Join(which, ", ") + ")"
		}
	}
	return lines
}

// captures tells whether any point's links are to be captured.
func captures(source *experiment.Source) bool {
	return slices.ContainsFunc(source.Points, func(p experiment.Point) bool { return len(p.Spec.Captured()) > 0 })
}

// planLines say what is about to run, where and why there, and what it will
// cost.
func planLines(source *experiment.Source, plan []experiment.Trial, manifest results.Manifest, dir string) []string {
	lines := []string{fmt.Sprintf("%s, on %s with %s links", cost(source, plan, manifest.Engine), manifest.Engine, manifest.Links)}
	lines = append(lines, because(source, manifest.Engine, manifest.EngineReason)...)
	lines = append(lines, warningLines(source, manifest.Engine, manifest.Links)...)
	return append(lines, "results go to "+dir)
}

// because says why a run is simulated that needn't be.
func because(source *experiment.Source, engine, reason string) []string {
	if source.Spec.Engine == engine || engine != sim.Name {
		return nil
	}
	return []string{fmt.Sprintf("engine %s, because %s", engine, reason)}
}

// cost says how much there is to do; for a simulation in virtual time, as
// nobody knows how fast that passes.
func cost(source *experiment.Source, plan []experiment.Trial, engine string) string {
	estimate := source.EstimateOn(engine)
	trials := fmt.Sprintf("%s of %s", count(len(plan), "trial"), count(len(source.Points), "point"))
	disk := fmt.Sprintf("%.1f MB of disk", max(float64(estimate.DiskBytes)/1e6, 0.1))
	if engine != sim.Name {
		return fmt.Sprintf("%s: %s, about %v and %s", source.Spec.Name, trials, estimate.Time.Round(time.Second), disk)
	}
	virtual := estimate.Virtual.Round(time.Millisecond).String()
	if slices.ContainsFunc(source.Points, func(p experiment.Point) bool { return p.Spec.Stop.Leader }) {
		virtual = "at most " + virtual
	}
	return fmt.Sprintf("%s: %s, %s: %s of virtual time and about %s", source.Spec.Name, trials, results.LabelSimulated, virtual, disk)
}

// count puts a noun after a number.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// PlanLines describe what Run would do, without doing it: on the engine that it
// would choose. The error wraps ErrUnavailable if no engine works, is an
// *experiment.Error if the one chosen can't do what the experiment asks for, or is the
// context's cause.
func PlanLines(ctx context.Context, source *experiment.Source) ([]string, error) {
	return planWith(ctx, engine.Lookup, source)
}

// planWith is PlanLines among these engines.
func planWith(ctx context.Context, find lookup, source *experiment.Source) ([]string, error) {
	name, reason := source.Spec.Engine, ""
	if name == experiment.EngineAuto {
		chosen, why, err := chooseEngine(ctx, find, name)
		if err != nil {
			return nil, err
		}
		name, reason = chosen.Name(), why
	}
	if err := source.CheckOn(name); err != nil {
		return nil, err
	}
	plan := source.Plan()
	lines := append([]string{cost(source, plan, name)}, because(source, name, reason)...)
	lines = slices.Concat(lines, pointLines(source), scheduleLines(source), warningLines(source, name, ""))
	for _, planned := range plan {
		lines = append(lines, fmt.Sprintf("trial %d: %s, seed %d", planned.Number, describeTrial(planned), planned.Seed))
	}
	return lines, nil
}
