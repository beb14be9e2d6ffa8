package topologies

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// gapIntervals is how many typical intervals a trace's rows may be apart before there
// is a gap, where that isn't said.
const gapIntervals = 5

// ParseTrace reads measured delays from rows of a time and a round-trip time, and takes
// half of each as the delay one way. Least is the smallest, for Parameters.Delay; the
// trace has what is above it. Align and gap are as in Trace; a gapAfter of 0 means five
// times the median interval of the rows.
//
// Rows are separated by commas, tabs, semicolons or spaces; lines that begin with "#"
// are comments. A first row of names says which columns count: a time (time, timestamp
// or t) and a round-trip time (rtt, latency or ping), or one_way for delays that aren't
// halved, each with _s, _ms, _us or _ns for the unit. Without units times are in
// seconds, delays in milliseconds; without names the columns are time and RTT. Where
// the RTT is empty, "-", "*", "timeout", "lost" or "nan" there was no answer. The
// output of "ping -D" is read too. Times must ascend. Errors say file and line.
func ParseTrace(name string, data []byte, align, gap string, gapAfter time.Duration) (least time.Duration, trace *Trace, err error) {
	r := &sampleReader{name: name, timed: true}
	if err := r.read(data); err != nil {
		return 0, nil, err
	}
	least, err = r.least()
	if err != nil {
		return 0, nil, err
	}
	trace = &Trace{Name: name, Align: align, Gap: gap, GapAfter: gapAfter}
	var intervals []time.Duration
	for i, s := range r.samples {
		at := time.Duration(s.atNS - r.samples[0].atNS)
		if i > 0 {
			if s.atNS <= r.samples[i-1].atNS || at < 0 {
				return 0, nil, r.errorAt(s.line, "the time isn't after that of the row before")
			}
			intervals = append(intervals, time.Duration(s.atNS-r.samples[i-1].atNS))
		}
		excess := s.delay - least
		if !s.answered {
			excess = -1
		}
		if excess < 0 && i > 0 && trace.Excess[len(trace.Excess)-1] < 0 {
			continue // the row before says so already
		}
		trace.Times, trace.Excess = append(trace.Times, at), append(trace.Excess, excess)
	}
	typical := time.Second // of a single row
	if len(intervals) > 0 {
		slices.Sort(intervals)
		typical = intervals[len(intervals)/2]
	}
	trace.Period = time.Duration(r.samples[len(r.samples)-1].atNS-r.samples[0].atNS) + typical
	if trace.GapAfter == 0 {
		trace.GapAfter = gapIntervals * min(typical, math.MaxInt64/gapIntervals)
	}
	if err := (Parameters{Delay: least, Trace: trace}).Check(); err != nil {
		return 0, nil, fmt.Errorf("%s: %w", name, err)
	}
	return least, trace, nil
}

// ParseTable reads a distribution of delays from round-trip times: one a row, or as in
// the files of ParseTrace, or the output of ping. Half of each is the delay one way.
// Rows without an answer don't count. Least is the smallest, for Parameters.Delay; the
// table has what is above it.
func ParseTable(name string, data []byte) (least time.Duration, table *Table, err error) {
	r := &sampleReader{name: name}
	if err := r.read(data); err != nil {
		return 0, nil, err
	}
	least, err = r.least()
	if err != nil {
		return 0, nil, err
	}
	table = &Table{Name: name}
	for _, s := range r.samples {
		if s.answered {
			table.Excess = append(table.Excess, s.delay-least)
		}
	}
	sort.Slice(table.Excess, func(i, j int) bool { return table.Excess[i] < table.Excess[j] })
	return least, table, nil
}

// sample is a row: a delay one way, at a time.
type sample struct {
	line     int
	atNS     int64
	delay    time.Duration
	answered bool
}

// sampleReader reads rows of measurements.
type sampleReader struct {
	name string
	// timed is true if rows must have a time.
	timed   bool
	samples []sample
	// columns says where what is; nil before the first row.
	columns *columns
	// ping is true if the file is the output of ping.
	ping bool
}

// columns has the indexes of those that count, -1 for none, and their units.
type columns struct {
	separator   string
	count       int
	time, delay int
	timeUnit    time.Duration
	delayUnit   time.Duration
	// share of the value that is the delay one way.
	oneWay float64
}

func (r *sampleReader) errorAt(line int, format string, values ...any) error {
	return fmt.Errorf("%s:%d: %s", r.name, line, fmt.Sprintf(format, values...))
}

func (r *sampleReader) read(data []byte) error {
	if len(data) > 4*MaxFileBytes {
		return fmt.Errorf("%s: %d bytes: want at most %d", r.name, len(data), 4*MaxFileBytes)
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	line := 0
	for row := range strings.SplitSeq(text, "\n") {
		line++
		row = strings.TrimRight(row, "\r")
		if trimmed := strings.TrimSpace(row); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if r.columns == nil && !r.ping {
			r.ping = isPing(row)
		}
		read := r.row
		if r.ping {
			read = r.pingLine
		}
		if err := read(line, row); err != nil {
			return err
		}
		if len(r.samples) > MaxRows {
			return r.errorAt(line, "more than %d rows", MaxRows)
		}
	}
	return nil
}

// least is the smallest delay.
func (r *sampleReader) least() (time.Duration, error) {
	least, answers := MaxDelay, 0
	for _, s := range r.samples {
		if s.answered {
			least = min(least, s.delay)
			answers++
		}
	}
	if answers == 0 {
		return 0, fmt.Errorf("%s: no row has a round-trip time", r.name)
	}
	return least, nil
}

func (r *sampleReader) row(line int, row string) error {
	if r.columns == nil {
		separator := separatorOf(row)
		fields := split(row, separator)
		named, err := r.header(line, fields)
		if err != nil {
			return err
		}
		r.columns.separator = separator
		if named {
			return nil
		}
	}
	c := r.columns
	fields := split(row, c.separator)
	s := sample{line: line}
	// Where spaces separate, a missing last value leaves no empty field.
	if missing := c.separator == "" && len(fields) == c.count-1 && c.delay == c.count-1; missing {
		fields = append(fields, "")
	}
	if len(fields) != c.count {
		return r.errorAt(line, "%d columns: want %d as in the first row", len(fields), c.count)
	}
	if c.time >= 0 {
		at, err := parseDecimal(fields[c.time], c.timeUnit)
		if err != nil {
			return r.errorAt(line, "the time is %.40q: want a number, within 146 years of 0", fields[c.time])
		}
		s.atNS = at
	}
	if text := fields[c.delay]; !isNoAnswer(text) {
		delay, err := parseDecimal(text, c.delayUnit)
		if err != nil || delay < 0 || delay > 2*int64(MaxDelay) {
			return r.errorAt(line, "the round-trip time is %.40q: want a number of at least 0, or - for no answer", text)
		}
		s.delay, s.answered = time.Duration(math.Round(float64(delay)*c.oneWay)), true
		if s.delay > MaxDelay {
			return r.errorAt(line, "the delay is %v: want at most %v", s.delay, MaxDelay)
		}
	}
	r.samples = append(r.samples, s)
	return nil
}

func separatorOf(row string) string {
	for _, separator := range []string{"\t", ",", ";"} {
		if strings.Contains(row, separator) {
			return separator
		}
	}
	return ""
}

// split separates the fields of a row; "" stands for any number of spaces.
func split(row, separator string) []string {
	if separator == "" {
		return strings.Fields(row)
	}
	fields := strings.Split(row, separator)
	for i, field := range fields {
		fields[i] = strings.Trim(strings.TrimSpace(field), `"`)
	}
	return fields
}

func isNoAnswer(text string) bool {
	switch strings.ToLower(text) {
	case "", "-", "*", "timeout", "lost", "nan", "na", "none":
		return true
	}
	return false
}

// header finds out what the columns are. It is false if the row is one of values.
func (r *sampleReader) header(line int, fields []string) (named bool, err error) {
	c := &columns{count: len(fields), time: -1, delay: -1, timeUnit: time.Second, delayUnit: time.Millisecond, oneWay: 0.5}
	r.columns = c
	values := true
	for _, field := range fields {
		_, err := strconv.ParseFloat(field, 64)
		values = values && (err == nil || isNoAnswer(field))
	}
	switch {
	case !values:
		return true, r.names(line, fields)
	case len(fields) == 2:
		c.time, c.delay = 0, 1
	case len(fields) == 1 && !r.timed:
		c.delay = 0
	case len(fields) == 1:
		return false, r.errorAt(line, "one column: want a time and a round-trip time")
	default:
		return false, r.errorAt(line, "%d columns: want a first row that names them, such as time_s,rtt_ms", len(fields))
	}
	return false, nil
}

// names reads the row of names.
func (r *sampleReader) names(line int, fields []string) error {
	c := r.columns
	for i, field := range fields {
		name, unit := cutUnit(strings.ToLower(field))
		switch name {
		case "time", "timestamp", "t":
			if c.time < 0 {
				c.time = i
				c.timeUnit = max(unit, 0)
				if unit == 0 {
					c.timeUnit = time.Second
				}
			}
		case "rtt", "latency", "ping", "one_way":
			if c.delay < 0 {
				c.delay = i
				if unit != 0 {
					c.delayUnit = unit
				}
				if name == "one_way" {
					c.oneWay = 1
				}
			}
		}
	}
	switch {
	case c.delay < 0:
		return r.errorAt(line, "no column of round-trip times in %.80q: want a number, or a column named rtt, rtt_ms, ...", strings.Join(fields, ","))
	case c.time < 0 && r.timed:
		return r.errorAt(line, "no column of times in %.80q: want one named time, time_s, ...", strings.Join(fields, ","))
	}
	return nil
}

// cutUnit takes the unit off a column's name; 0 if there is none.
func cutUnit(field string) (name string, unit time.Duration) {
	for suffix, unit := range map[string]time.Duration{"_s": time.Second, "_ms": time.Millisecond, "_us": time.Microsecond, "_ns": time.Nanosecond} {
		if name, ok := strings.CutSuffix(field, suffix); ok {
			return name, unit
		}
	}
	return field, 0
}

// parseDecimal reads a number of a unit in nanoseconds. The whole part is exact, so that
// times since 1970 keep their nanoseconds.
func parseDecimal(text string, unit time.Duration) (int64, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.ContainsAny(fraction, "eE+-_") || fraction == "" && strings.Contains(text, ".") {
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || !(math.Abs(value)*float64(unit) < math.MaxInt64/2) {
			return 0, fmt.Errorf("not a number")
		}
		return int64(math.Round(value * float64(unit))), nil
	}
	if n > math.MaxInt64/2/int64(unit) || n < -math.MaxInt64/2/int64(unit) {
		return 0, fmt.Errorf("too large")
	}
	part := 0.0
	if fraction != "" {
		if part, err = strconv.ParseFloat("0."+fraction, 64); err != nil {
			return 0, err
		}
	}
	if strings.HasPrefix(whole, "-") {
		part = -part
	}
	return n*int64(unit) + int64(math.Round(part*float64(unit))), nil
}
