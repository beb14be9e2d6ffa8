package results

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// KindRTT is the Manifest.Kind of a study of round trips: its one trial has
// rtts.csv.gz in place of requests.
const KindRTT = "rtt"

const rttsFile = "rtts.csv.gz"

// RTTPlan is what a study of round trips set out to do.
type RTTPlan struct {
	// Protocol is udp, tcp or icmp, Bytes the size of a probe without headers.
	Protocol string `json:"protocol"`
	Bytes    int    `json:"bytes"`
	// Count probes a pair, one each IntervalNS, given up after TimeoutNS.
	Count      int   `json:"count"`
	IntervalNS int64 `json:"interval_ns"`
	TimeoutNS  int64 `json:"timeout_ns"`
	// Machines are the names that rows have, in their order.
	Machines []string `json:"machines"`
	// Self is true if each machine was to probe itself too.
	Self bool `json:"self,omitempty"`
	// DeclaredNS maps two machines to the round trip that the topology predicts; empty
	// between real machines.
	DeclaredNS map[string]map[string]int64 `json:"declared_ns,omitempty"`
}

// RTTRow is one probe: a line of rtts.csv.gz.
type RTTRow struct {
	From, To string
	// Round counts the probes of the pair, from 0.
	Round int
	// SentNS is by the sender's CLOCK_REALTIME; RTTNS is 0 if no answer came in time.
	SentNS, RTTNS int64
}

var rttColumns = []string{"from", "to", "round", "sent_ns", "rtt_ns"}

// ErrRTTs is wrapped by errors about a file of round trips that isn't as WriteRTTs
// writes it.
var ErrRTTs = errors.New("malformed file of round trips")

// WriteRTTs writes a trial's rtts.csv.gz as produce does, row by row. The file appears
// once produce has returned without an error.
func (f *Folder) WriteRTTs(trial int, produce func(write func(RTTRow) error) error) error {
	return writeGzip(filepath.Join(f.TrialDir(trial), rttsFile), f.trials, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 64<<10)
		if _, err := out.WriteString(strings.Join(rttColumns, ",") + "\n"); err != nil {
			return err
		}
		var line []byte
		err := produce(func(row RTTRow) error {
			line = appendField(line[:0], row.From)
			line = appendField(append(line, ','), row.To)
			line = strconv.AppendInt(append(line, ','), int64(row.Round), 10)
			line = strconv.AppendInt(append(line, ','), row.SentNS, 10)
			line = strconv.AppendInt(append(line, ','), row.RTTNS, 10)
			_, err := out.Write(append(line, '\n'))
			return err
		})
		if err != nil {
			return err
		}
		return out.Flush()
	})
}

// RTTs reads a trial's rtts.csv.gz; it stops after the first error, which wraps
// os.ErrNotExist if there is none.
func (f *Folder) RTTs(trial int) iter.Seq2[RTTRow, error] {
	path := filepath.Join(f.TrialDir(trial), rttsFile)
	return func(yield func(RTTRow, error) bool) {
		file, err := os.Open(path)
		if err != nil {
			yield(RTTRow{}, fmt.Errorf("reading round trips: %w", err))
			return
		}
		defer file.Close()
		unzipped, err := gzip.NewReader(bufio.NewReader(file))
		if err != nil {
			yield(RTTRow{}, fmt.Errorf("reading %s: %w: %w", path, ErrRTTs, err))
			return
		}
		for row, err := range ReadRTTs(unzipped) {
			if err != nil {
				err = fmt.Errorf("reading %s: %w", path, err)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// ReadRTTs reads rows as WriteRTTs writes them, but for the compression; it stops after
// the first error, which wraps ErrRTTs.
func ReadRTTs(r io.Reader) iter.Seq2[RTTRow, error] {
	return func(yield func(RTTRow, error) bool) {
		reader := csv.NewReader(r)
		reader.FieldsPerRecord, reader.ReuseRecord = len(rttColumns), true
		header, err := reader.Read()
		if err == nil && strings.Join(header, ",") != strings.Join(rttColumns, ",") {
			err = fmt.Errorf("the header is %q, want %q", strings.Join(header, ","), strings.Join(rttColumns, ","))
		}
		names := map[string]string{} // so that each name is kept once, not once a row
		for err == nil {
			var row RTTRow
			if row, err = readRTT(reader, names); err == nil && !yield(row, nil) {
				return
			}
		}
		if err != io.EOF {
			yield(RTTRow{}, fmt.Errorf("%w: %w", ErrRTTs, err))
		}
	}
}

func readRTT(reader *csv.Reader, names map[string]string) (row RTTRow, err error) {
	record, err := reader.Read()
	if err != nil {
		return row, err
	}
	line, _ := reader.FieldPos(0)
	row.From, row.To = interned(names, record[0]), interned(names, record[1])
	var errRound, errSent, errRTT error
	row.Round, errRound = strconv.Atoi(record[2])
	row.SentNS, errSent = strconv.ParseInt(record[3], 10, 64)
	row.RTTNS, errRTT = strconv.ParseInt(record[4], 10, 64)
	if err := errors.Join(errRound, errSent, errRTT); err != nil || row.RTTNS < 0 || row.Round < 0 {
		return row, fmt.Errorf("line %d: %q, want names, a round and nanoseconds", line, strings.Join(record, ","))
	}
	return row, nil
}

func interned(names map[string]string, name string) string {
	kept, known := names[name]
	if !known {
		kept = strings.Clone(name)
		names[kept] = kept
	}
	return kept
}
