package results

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
)

// column is a column of summary.csv after the params.
type column struct {
	name string
	cell func(*Point) string
}

// summaryColumns are only ever added to, at the end.
var summaryColumns = []column{
	{"trials", func(p *Point) string { return strconv.Itoa(p.Trials) }},
	{"void", func(p *Point) string { return strconv.Itoa(p.Void) }},
	{"attempted", func(p *Point) string { return strconv.Itoa(p.Attempted) }},
	latencyColumn("n_trials", func(l *Latency) string { return strconv.Itoa(l.Trials) }),
	latencyColumn("n_requests", func(l *Latency) string { return strconv.Itoa(l.Requests) }),
	latencyColumn("mean", func(l *Latency) string { return cell(l.Mean) }),
	latencyColumn("stddev", func(l *Latency) string { return cell(l.Stddev) }),
	latencyColumn("ci95_low", func(l *Latency) string { return bound(l.CI95, 0) }),
	latencyColumn("ci95_high", func(l *Latency) string { return bound(l.CI95, 1) }),
	latencyColumn("ci_method", func(l *Latency) string { return l.CIMethod }),
	latencyColumn("ci95_normal_low", func(l *Latency) string { return bound(l.CI95Normal, 0) }),
	latencyColumn("ci95_normal_high", func(l *Latency) string { return bound(l.CI95Normal, 1) }),
	latencyColumn("min", func(l *Latency) string { return cell(l.Min) }),
	latencyColumn("p50", func(l *Latency) string { return cell(l.P50) }),
	latencyColumn("p90", func(l *Latency) string { return cell(l.P90) }),
	latencyColumn("p95", func(l *Latency) string { return cell(l.P95) }),
	latencyColumn("p99", func(l *Latency) string { return cell(l.P99) }),
	latencyColumn("p999", func(l *Latency) string { return cell(l.P999) }),
	latencyColumn("max", func(l *Latency) string { return cell(l.Max) }),
	{"predicted_ms", func(p *Point) string { return cell(p.PredictedMS) }},
	throughputColumn("n_trials", func(t *Throughput) string { return strconv.Itoa(t.Trials) }),
	throughputColumn("offered", func(t *Throughput) string { return number(t.Offered) }),
	throughputColumn("mean", func(t *Throughput) string { return cell(t.Mean) }),
	throughputColumn("stddev", func(t *Throughput) string { return cell(t.Stddev) }),
	throughputColumn("ci95_low", func(t *Throughput) string { return bound(t.CI95, 0) }),
	throughputColumn("ci95_high", func(t *Throughput) string { return bound(t.CI95, 1) }),
	throughputColumn("ci_method", func(t *Throughput) string { return t.CIMethod }),
	throughputColumn("ci95_normal_low", func(t *Throughput) string { return bound(t.CI95Normal, 0) }),
	throughputColumn("ci95_normal_high", func(t *Throughput) string { return bound(t.CI95Normal, 1) }),
	{"outcomes_ok", func(p *Point) string { return strconv.Itoa(p.Outcomes.OK) }},
	{"outcomes_fail", func(p *Point) string { return strconv.Itoa(p.Outcomes.Fail) }},
	{"outcomes_timeout", func(p *Point) string { return strconv.Itoa(p.Outcomes.Timeout) }},
	{"outcomes_retried", func(p *Point) string { return strconv.Itoa(p.Outcomes.Retried) }},
	{"ballots_per_decision", func(p *Point) string { return cell(p.BallotsPerDecision) }},
	{"linearizable", func(p *Point) string { return p.Linearizable }},
	{"agreement", func(p *Point) string { return p.Agreement }},
	{"links_rtt_error_ms_p50", func(p *Point) string { return cell(p.Links.RTTErrorMSP50) }},
	{"links_rtt_error_ms_p99", func(p *Point) string { return cell(p.Links.RTTErrorMSP99) }},
	{"links_late_frames", func(p *Point) string { return strconv.FormatUint(p.Links.LateFrames, 10) }},
	{"links_dropped_by_emulator", func(p *Point) string { return strconv.FormatUint(p.Links.DroppedByEmulator, 10) }},
	{"client_limited", func(p *Point) string { return strconv.FormatBool(p.ClientLimited) }},
	{"checked_operations", func(p *Point) string { return strconv.Itoa(p.CheckedOperations) }},
	leaderColumn("n_trials", func(s *Spread) string { return strconv.Itoa(s.Trials) }),
	leaderColumn("mean", func(s *Spread) string { return cell(s.Mean) }),
	leaderColumn("ci95_low", func(s *Spread) string { return bound(s.CI95, 0) }),
	leaderColumn("ci95_high", func(s *Spread) string { return bound(s.CI95, 1) }),
}

// runColumns follow, the same in each row, so that rows of several runs can be
// put together and none passes for what it isn't.
var runColumns = []struct {
	name string
	cell func(*Summary) string
}{
	{"engine", func(s *Summary) string { return s.Engine }},
	{"label", func(s *Summary) string { return s.Label }},
}

func leaderColumn(name string, value func(*Spread) string) column {
	return column{"first_leader_ms_" + name, func(p *Point) string {
		if p.FirstLeader == nil {
			return ""
		}
		return value(p.FirstLeader)
	}}
}

func latencyColumn(name string, value func(*Latency) string) column {
	return column{"latency_ms_" + name, func(p *Point) string {
		if p.Latency == nil {
			return ""
		}
		return value(p.Latency)
	}}
}

func throughputColumn(name string, value func(*Throughput) string) column {
	return column{"throughput_rps_" + name, func(p *Point) string {
		if p.Throughput == nil {
			return ""
		}
		return value(p.Throughput)
	}}
}

func number(value float64) string { return strconv.FormatFloat(value, 'g', -1, 64) }

func cell(value *float64) string {
	if value == nil {
		return ""
	}
	return number(*value)
}

func bound(interval *[2]float64, i int) string {
	if interval == nil {
		return ""
	}
	return number(interval[i])
}

// writeCSV writes a row for each point: the swept values in alphabetical order
// of their paths, then the statistics, at last the recovery from each entry of the
// schedule of faults; what is null is empty.
func (s *Summary) writeCSV(w io.Writer) error {
	paths := s.paramPaths()
	header := slices.Clone(paths)
	for _, column := range summaryColumns {
		header = append(header, column.name)
	}
	for _, column := range runColumns {
		header = append(header, column.name)
	}
	recovery := s.recoveryColumns()
	for _, column := range recovery {
		header = append(header, column.name)
	}
	writer := csv.NewWriter(w)
	if err := writer.Write(header); err != nil {
		return err
	}
	for i := range s.Points {
		row := make([]string, 0, len(header))
		for _, path := range paths {
			row = append(row, plainValue(s.Points[i].Params[path]))
		}
		for _, column := range summaryColumns {
			row = append(row, column.cell(&s.Points[i]))
		}
		for _, column := range runColumns {
			row = append(row, column.cell(s))
		}
		for _, column := range recovery {
			row = append(row, column.cell(&s.Points[i]))
		}
		if err := writer.Write(row); err != nil {
			return err
		}
	}
	writer.Flush()
	return writer.Error()
}

func (s *Summary) paramPaths() []string {
	paths := map[string]bool{}
	for _, point := range s.Points {
		for path := range point.Params {
			paths[path] = true
		}
	}
	return slices.Sorted(maps.Keys(paths))
}

// plainValue writes a string without its quotes, and anything else as JSON.
func plainValue(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}
