package measure

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"quorumlab/results"
)

// mendInterrupted is what to do about a run that was cut short.
const mendInterrupted = "run the experiment again and let it finish"

// Summarise derives the summary from the run folder alone and writes nothing.
// Points come in the order of their numbers, those without a trial included.
func Summarise(folder *results.Folder) (*results.Summary, error) {
	manifest := folder.Manifest()
	verdicts, err := folder.Trials()
	if err != nil {
		return nil, fmt.Errorf("summarising %s: %w", folder.Dir(), err)
	}
	missing, err := folder.Missing()
	if err != nil {
		return nil, fmt.Errorf("summarising %s: %w", folder.Dir(), err)
	}
	summary := &results.Summary{
		Experiment:   manifest.Experiment,
		Seed:         manifest.Seed,
		Engine:       manifest.Engine,
		EngineReason: manifest.EngineReason,
		Links:        manifest.Links,
		Repeat:       manifest.Repeat,
		Simulated:    manifest.Simulated,
		Interrupted:  len(missing) > 0,
		Points:       []results.Point{},
	}
	if manifest.Simulated {
		summary.Label = results.LabelSimulated
	}
	byPoint := map[int][]results.Verdict{}
	for _, verdict := range verdicts {
		byPoint[verdict.Point] = append(byPoint[verdict.Point], verdict)
	}
	var late timing
	for _, planned := range plannedPoints(manifest.Plan) {
		point, err := summarisePoint(folder, planned.params, byPoint[planned.number], &late)
		if err != nil {
			return nil, fmt.Errorf("summarising %s: %w", folder.Dir(), err)
		}
		summary.Points = append(summary.Points, point)
	}
	summary.FaultTiming = late.summary()
	judge(summary, verdicts, len(missing))
	return summary, nil
}

type plannedPoint struct {
	number int
	params json.RawMessage
}

func plannedPoints(plan []results.PlannedTrial) []plannedPoint {
	var points []plannedPoint
	seen := map[int]bool{}
	for _, trial := range plan {
		if !seen[trial.Point] {
			seen[trial.Point] = true
			points = append(points, plannedPoint{trial.Point, trial.Params})
		}
	}
	slices.SortFunc(points, func(a, b plannedPoint) int { return cmp.Compare(a.number, b.number) })
	return points
}

// judge says whether the run counts: whether every point has as many valid
// trials as were asked for, and if not, why.
func judge(summary *results.Summary, verdicts []results.Verdict, missing int) {
	summary.VoidReasons = []string{}
	short := 0
	for _, point := range summary.Points {
		if point.Trials < summary.Repeat {
			short++
		}
	}
	summary.Valid = short == 0 && missing == 0 && len(summary.Points) > 0
	if summary.Valid {
		return
	}
	if len(summary.Points) == 0 {
		summary.VoidReasons = append(summary.VoidReasons, "nothing was planned")
	}
	if missing > 0 {
		summary.VoidReasons = append(summary.VoidReasons, fmt.Sprintf(
			"interrupted: %d of %s without a verdict", missing, plural(len(verdicts)+missing, "trial")))
		summary.Mend = mendInterrupted
	}
	if short > 0 {
		summary.VoidReasons = append(summary.VoidReasons, shortReason(summary, short))
	}
	groups := groupReasons(verdicts)
	for _, group := range groups {
		summary.VoidReasons = append(summary.VoidReasons, group.String())
	}
	if len(groups) > 0 && groups[0].mend != "" {
		summary.Mend = groups[0].mend
	}
}

func shortReason(summary *results.Summary, short int) string {
	if len(summary.Points) == 1 {
		return fmt.Sprintf("too few trials: %d valid of %d wanted", summary.Points[0].Trials, summary.Repeat)
	}
	return fmt.Sprintf("too few trials: %d of %d points with fewer than %d valid",
		short, len(summary.Points), summary.Repeat)
}

// reasonGroup is one kind of reason with the trials that it made void.
type reasonGroup struct {
	code, text, mend string
	trials           int
	// various is set if the trials' texts differ; text is then the first one.
	various bool
}

func (g reasonGroup) String() string {
	text := fmt.Sprintf("%s (%s): %s", g.code, plural(g.trials, "trial"), g.text)
	if g.various {
		text += " (and others like it)"
	}
	return text
}

// groupReasons groups the void trials' reasons by code, the most frequent
// first, equally frequent ones in the order in which they occurred.
func groupReasons(verdicts []results.Verdict) []reasonGroup {
	var groups []reasonGroup
	for _, verdict := range verdicts {
		if verdict.Valid {
			continue
		}
		reasons := verdict.Reasons
		if len(reasons) == 0 {
			reasons = []results.VoidReason{{Code: "unexplained", Text: "the verdict gives no reason"}}
		}
		counted := map[string]bool{}
		for _, reason := range reasons {
			i := slices.IndexFunc(groups, func(g reasonGroup) bool { return g.code == reason.Code })
			if i < 0 {
				i = len(groups)
				groups = append(groups, reasonGroup{code: reason.Code, text: reason.Text, mend: reason.Mend})
			}
			groups[i].various = groups[i].various || groups[i].text != reason.Text
			groups[i].mend = cmp.Or(groups[i].mend, reason.Mend)
			if !counted[reason.Code] {
				counted[reason.Code] = true
				groups[i].trials++
			}
		}
	}
	slices.SortStableFunc(groups, func(a, b reasonGroup) int { return cmp.Compare(b.trials, a.trials) })
	return groups
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
