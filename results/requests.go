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

// requestColumns is the header of a file of requests. Columns are only ever
// added, at the end: firstColumns is how many every file has.
var requestColumns = []string{
	"client", "seq", "op", "key", "value", "intended_ns", "sent_ns", "done_ns", "outcome", "result",
	"slot", "index",
}

const firstColumns = 10

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
	line = strconv.AppendUint(append(line, ','), row.Slot, 10)
	line = strconv.AppendUint(append(line, ','), uint64(row.Index), 10)
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

// RowReader reads what RowWriter wrote, compressed with gzip or not, in this
// version or in another: columns that a file lacks are zero, columns that it has
// beyond ours are skipped.
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
	row, err := parseRow(record)
	if err != nil {
		line, _ := r.csv.FieldPos(0)
		return Row{}, fmt.Errorf("%w: line %d: %w", ErrRequests, line, err)
	}
	return row, nil
}

// parseRow reads the columns that the record has.
func parseRow(record []string) (Row, error) {
	row := Row{
		Client: record[0], Operation: record[2], Value: record[4],
		Outcome: record[8], Result: record[9],
	}
	var bad error
	number := func(field int, bits int) uint64 {
		n, err := strconv.ParseUint(record[field], 10, bits)
		if err != nil {
			bad = fmt.Errorf("%s is %q", requestColumns[field], record[field])
		}
		return n
	}
	signed := func(field int) int64 {
		n, err := strconv.ParseInt(record[field], 10, 64)
		if err != nil {
			bad = fmt.Errorf("%s is %q", requestColumns[field], record[field])
		}
		return n
	}
	row.Sequence, row.Key = number(1, 64), number(3, 64)
	row.IntendedNS, row.SentNS, row.DoneNS = signed(5), signed(6), signed(7)
	if len(record) > 10 {
		row.Slot = number(10, 64)
	}
	if len(record) > 11 {
		row.Index = uint32(number(11, 32))
	}
	return row, bad
}

// record reads one line, which must have as many columns as the header.
func (r *RowReader) record() ([]string, error) {
	record, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequests, err)
	}
	if !r.header {
		return record, checkHeader(record)
	}
	return record, nil
}

// checkHeader refuses names that aren't those of the columns.
func checkHeader(names []string) error {
	if len(names) < firstColumns {
		return fmt.Errorf("%w: %d columns, want at least %d", ErrRequests, len(names), firstColumns)
	}
	for i, name := range names[:min(len(names), len(requestColumns))] {
		if name != requestColumns[i] {
			return fmt.Errorf("%w: column %d is %q, want %q", ErrRequests, i+1, name, requestColumns[i])
		}
	}
	return nil
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
