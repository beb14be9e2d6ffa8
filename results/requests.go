package results

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// requestColumns is the header of a file of requests.
var requestColumns = []string{
	"client", "seq", "op", "key", "value", "intended_ns", "sent_ns", "done_ns", "outcome", "result",
}

// ErrRequests is wrapped by errors about a file of requests that isn't as
// RowWriter writes it.
var ErrRequests = errors.New("malformed requests file")

// RowWriter writes requests as CSV. It buffers: call Flush.
type RowWriter struct {
	out    *bufio.Writer
	line   []byte
	header bool
}

// NewRowWriter writes to w, the header first.
func NewRowWriter(w io.Writer) *RowWriter {
	return &RowWriter{out: bufio.NewWriterSize(w, 64<<10)}
}

// Write adds a row.
func (w *RowWriter) Write(row Row) error {
	if !w.header {
		w.header = true
		if _, err := w.out.WriteString(strings.Join(requestColumns, ",") + "\n"); err != nil {
			return err
		}
	}
	line := appendField(w.line[:0], row.Client)
	line = strconv.AppendUint(append(line, ','), row.Sequence, 10)
	line = appendField(append(line, ','), row.Operation)
	line = strconv.AppendUint(append(line, ','), row.Key, 10)
	line = appendField(append(line, ','), row.Value)
	for _, ns := range [...]int64{row.IntendedNS, row.SentNS, row.DoneNS} {
		line = strconv.AppendInt(append(line, ','), ns, 10)
	}
	line = appendField(append(line, ','), row.Outcome)
	line = appendField(append(line, ','), row.Result)
	w.line = append(line, '\n')
	_, err := w.out.Write(w.line)
	return err
}

// appendField quotes what CSV needs quoted.
func appendField(line []byte, field string) []byte {
	if !strings.ContainsAny(field, ",\"\r\n") && !strings.HasPrefix(field, " ") {
		return append(line, field...)
	}
	line = append(line, '"')
	line = append(line, strings.ReplaceAll(field, `"`, `""`)...)
	return append(line, '"')
}

// Flush hands everything written to the file. A file of no rows still gets its
// header.
func (w *RowWriter) Flush() error {
	if !w.header {
		w.header = true
		if _, err := w.out.WriteString(strings.Join(requestColumns, ",") + "\n"); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

// RowReader reads what RowWriter wrote, compressed with gzip or not.
type RowReader struct {
	csv    *csv.Reader
	close  []io.Closer
	header bool
}

// OpenRows opens a file of requests; a name that ends with .gz is taken as
// compressed.
func OpenRows(path string) (*RowReader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(path, ".gz") {
		r := NewRowReader(file)
		r.close = []io.Closer{file}
		return r, nil
	}
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrRequests, path, err)
	}
	r := NewRowReader(unzipped)
	r.close = []io.Closer{unzipped, file}
	return r, nil
}

// NewRowReader reads uncompressed rows.
func NewRowReader(r io.Reader) *RowReader {
	reader := csv.NewReader(bufio.NewReaderSize(r, 64<<10))
	reader.FieldsPerRecord = len(requestColumns)
	reader.ReuseRecord = true
	return &RowReader{csv: reader}
}

// Read returns the next row, io.EOF after the last, or an error that wraps
// ErrRequests and names the line.
func (r *RowReader) Read() (Row, error) {
	if !r.header {
		if _, err := r.record(); err != nil {
			return Row{}, err
		}
		r.header = true
	}
	record, err := r.record()
	if err != nil {
		return Row{}, err
	}
	row := Row{
		Client: record[0], Operation: record[2], Value: record[4],
		Outcome: record[8], Result: record[9],
	}
	var bad error
	parse := func(field int, into *uint64) {
		n, err := strconv.ParseUint(record[field], 10, 64)
		if err != nil {
			bad = fmt.Errorf("%s is %q", requestColumns[field], record[field])
		}
		*into = n
	}
	parseSigned := func(field int, into *int64) {
		n, err := strconv.ParseInt(record[field], 10, 64)
		if err != nil {
			bad = fmt.Errorf("%s is %q", requestColumns[field], record[field])
		}
		*into = n
	}
	parse(1, &row.Sequence)
	parse(3, &row.Key)
	parseSigned(5, &row.IntendedNS)
	parseSigned(6, &row.SentNS)
	parseSigned(7, &row.DoneNS)
	if bad != nil {
		line, _ := r.csv.FieldPos(0)
		return Row{}, fmt.Errorf("%w: line %d: %w", ErrRequests, line, bad)
	}
	return row, nil
}

// record reads one line; the header's names are checked.
func (r *RowReader) record() ([]string, error) {
	record, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequests, err)
	}
	if !r.header {
		for i, name := range requestColumns {
			if record[i] != name {
				return nil, fmt.Errorf("%w: column %d is %q, want %q", ErrRequests, i+1, record[i], name)
			}
		}
	}
	return record, nil
}

// All goes through the rows; it stops after the first error.
func (r *RowReader) All() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			row, err := r.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// Close closes the file.
func (r *RowReader) Close() error {
	var all error
	for _, c := range r.close {
		all = errors.Join(all, c.Close())
	}
	return all
}
