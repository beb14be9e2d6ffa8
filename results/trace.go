package results

import (
	"encoding/csv"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Trace is a trial's requests against time, with what was broken meanwhile.
type Trace struct {
	Trial     int
	Valid     bool
	Simulated bool
	// LengthS is the load's length, in seconds; MeasureS is when the measured phase
	// began. Times count from the load's beginning.
	LengthS  float64
	MeasureS float64
	// Requests are in the order in which they were due.
	Requests []TraceRequest
	// Faults are those that were applied, in that order.
	Faults []TraceFault
}

// TraceRequest is one request.
type TraceRequest struct {
	DueS float64
	// LatencyMS means nothing if the outcome is OutcomeTimeout.
	LatencyMS float64
	Outcome   string
}

// TraceFault is when one occurrence was in force.
type TraceFault struct {
	ID         string
	FromS, ToS float64
	// Healed is false if it lasted to the end.
	Healed bool
}

// traceFile is derived of trials with faults.
const traceFile = "trace.csv"

// WriteTrace writes a trial's trace.csv, replacing an earlier one: one row a request, with
// the IDs of the faults that were in force when it was due.
func (f *Folder) WriteTrace(trace *Trace) error {
	path := filepath.Join(f.TrialDir(trace.Trial), traceFile)
	return writeFile(path, f.trials, trace.writeCSV)
}

func (t *Trace) writeCSV(w io.Writer) error {
	writer := csv.NewWriter(w)
	if err := writer.Write([]string{"due_s", "latency_ms", "outcome", "faults", "label"}); err != nil {
		return err
	}
	label := ""
	if t.Simulated {
		label = LabelSimulated
	}
	for _, request := range t.Requests {
		latency := ""
		if request.Outcome != OutcomeTimeout {
			latency = strconv.FormatFloat(request.LatencyMS, 'f', 6, 64)
		}
		due := strconv.FormatFloat(request.DueS, 'f', 9, 64)
		row := []string{due, latency, request.Outcome, strings.Join(t.active(request.DueS), " "), label}
		if err := writer.Write(row); err != nil {
			return err
		}
	}
	writer.Flush()
	return writer.Error()
}

// active names the faults in force, each once.
func (t *Trace) active(atS float64) []string {
	var ids []string
	for _, fault := range t.Faults {
		if fault.FromS > atS {
			break
		}
		if atS < fault.ToS || !fault.Healed {
			if !slices.Contains(ids, fault.ID) {
				ids = append(ids, fault.ID)
			}
		}
	}
	return ids
}
