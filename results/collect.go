package results

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
)

// RequestCounts says what CollectRequests found.
type RequestCounts struct {
	// Rows were written.
	Rows int
	// Torn counts last lines that a killed client left half-written; they were
	// dropped.
	Torn int
}

// CollectRequests merges the clients' requests.csv files into the trial's
// requests.csv.gz: all rows of the first file, then all of the second and so
// on. It holds one row in memory.
func (f *Folder) CollectRequests(trial int, files []string) (RequestCounts, error) {
	var counts RequestCounts
	err := f.WriteRequests(trial, func(writer *RowWriter) error {
		for _, file := range files {
			if err := counts.copyRows(writer, file); err != nil {
				return fmt.Errorf("collecting requests from %s: %w", file, err)
			}
		}
		return nil
	})
	return counts, err
}

// WriteRequests writes a trial's requests.csv.gz as produce does, row by row.
// The file appears once produce has returned without an error.
func (f *Folder) WriteRequests(trial int, produce func(*RowWriter) error) error {
	path := filepath.Join(f.TrialDir(trial), requestsFile)
	return writeGzip(path, f.trials, func(w io.Writer) error {
		writer := NewRowWriter(w)
		if err := produce(writer); err != nil {
			return err
		}
		return writer.Flush()
	})
}

func (c *RequestCounts) copyRows(writer *RowWriter, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	whole, torn, err := wholeLines(file)
	if err != nil {
		return err
	}
	if torn {
		c.Torn++
	}
	for row, err := range NewRowReader(io.NewSectionReader(file, 0, whole)).All() {
		if err != nil {
			return err
		}
		if err := writer.Write(row); err != nil {
			return err
		}
		c.Rows++
	}
	return nil
}

// wholeLines is the size of a file up to its last line's end, and whether
// something follows.
func wholeLines(file *os.File) (size int64, torn bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, false, err
	}
	chunk := make([]byte, 4096)
	for end := info.Size(); end > 0; {
		start := max(0, end-int64(len(chunk)))
		part := chunk[:end-start]
		if _, err := file.ReadAt(part, start); err != nil {
			return 0, false, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			size = start + int64(i) + 1
			break
		}
		end = start
	}
	return size, size < info.Size(), nil
}

// Requests reads a trial's requests; it stops after the first error, which
// wraps os.ErrNotExist if they haven't been collected.
func (f *Folder) Requests(trial int) iter.Seq2[Row, error] {
	path := filepath.Join(f.TrialDir(trial), requestsFile)
	return func(yield func(Row, error) bool) {
		reader, err := OpenRows(path)
		if err != nil {
			yield(Row{}, fmt.Errorf("reading requests: %w", err))
			return
		}
		defer reader.Close()
		for row, err := range reader.All() {
			if err != nil {
				err = fmt.Errorf("reading %s: %w", path, err)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}
