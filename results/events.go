package results

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// maxEventBytes bounds a line of events.jsonl, so that a damaged file can't
// exhaust the memory.
const maxEventBytes = 16 << 20

// EventCounts says what CollectEvents found.
type EventCounts struct {
	// Events were written.
	Events int
	// Torn counts last lines that a killed node left half-written; they were
	// dropped.
	Torn int
	// Unordered counts events that were earlier than the line before them in
	// the same file; they were written where they stood.
	Unordered int
}

// CollectEvents merges the nodes' events.jsonl files into the trial's
// events.jsonl.gz, ordered by the field time_ns, events of the same time in the
// order of the files. Each file must be in order itself. It holds one line of
// each file in memory. A line that can't be parsed is an error, except the last
// of a file.
func (f *Folder) CollectEvents(trial int, files []string) (EventCounts, error) {
	var counts EventCounts
	err := f.WriteEvents(trial, func(w io.Writer) error {
		var err error
		counts, err = mergeEvents(w, files)
		return err
	})
	return counts, err
}

// WriteEvents writes a trial's events.jsonl.gz as produce makes it: one JSON
// object a line, in ascending order of time_ns. The file appears once produce
// has returned without an error.
func (f *Folder) WriteEvents(trial int, produce func(io.Writer) error) error {
	return writeGzip(filepath.Join(f.TrialDir(trial), eventsFile), f.trials, produce)
}

// OpenEvents reads a trial's events, one JSON object a line.
func (f *Folder) OpenEvents(trial int) (io.ReadCloser, error) {
	return openGzip(filepath.Join(f.TrialDir(trial), eventsFile))
}

func mergeEvents(w io.Writer, files []string) (EventCounts, error) {
	var counts EventCounts
	var queue eventQueue
	defer func() {
		for _, source := range queue {
			_ = source.file.Close()
		}
	}()
	for i, path := range files {
		file, err := os.Open(path)
		if err != nil {
			return counts, fmt.Errorf("collecting events: %w", err)
		}
		source := &eventSource{order: i, path: path, file: file, reader: bufio.NewReader(file), timeNS: math.MinInt64}
		queue = append(queue, source)
		if err := source.next(&counts); err != nil {
			return counts, err
		}
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		first := queue[0]
		if first.line == nil {
			heap.Pop(&queue)
			_ = first.file.Close()
			continue
		}
		if _, err := w.Write(append(first.line, '\n')); err != nil {
			return counts, err
		}
		counts.Events++
		if err := first.next(&counts); err != nil {
			return counts, err
		}
		heap.Fix(&queue, 0)
	}
	return counts, nil
}

// eventSource is a file with its next line, which is nil at the end.
type eventSource struct {
	order  int
	path   string
	file   *os.File
	reader *bufio.Reader
	number int
	line   []byte
	timeNS int64
}

// next reads the next line that isn't empty.
func (s *eventSource) next(counts *EventCounts) error {
	before := s.timeNS
	for {
		line, readErr := readLine(s.reader)
		if readErr != nil && readErr != io.EOF {
			return fmt.Errorf("collecting events from %s, line %d: %w", s.path, s.number+1, readErr)
		}
		s.number++
		s.line = bytes.TrimSpace(line)
		if len(s.line) == 0 {
			if readErr == io.EOF {
				s.line = nil
				return nil
			}
			continue
		}
		timeNS, err := eventTime(s.line)
		if err != nil {
			return s.bad(err, counts)
		}
		if s.timeNS = timeNS; timeNS < before {
			counts.Unordered++
		}
		return nil
	}
}

// bad ends the file if its last line was the bad one.
func (s *eventSource) bad(problem error, counts *EventCounts) error {
	if _, err := s.reader.Peek(1); err == io.EOF {
		s.line = nil
		counts.Torn++
		return nil
	}
	return fmt.Errorf("collecting events from %s, line %d: %w", s.path, s.number, problem)
}

func eventTime(line []byte) (int64, error) {
	var event struct {
		TimeNS *int64 `json:"time_ns"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return 0, err
	}
	if event.TimeNS == nil {
		return 0, errors.New("no time_ns")
	}
	return *event.TimeNS, nil
}

// readLine returns a line of its own memory without its end.
func readLine(reader *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := reader.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxEventBytes {
			return nil, fmt.Errorf("line longer than %d bytes", maxEventBytes)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// eventQueue orders files by their next events; those that ended come first, so
// that they are taken out.
type eventQueue []*eventSource

func (q eventQueue) Len() int { return len(q) }

func (q eventQueue) Less(i, j int) bool {
	if (q[i].line == nil) != (q[j].line == nil) {
		return q[i].line == nil
	}
	if q[i].timeNS != q[j].timeNS {
		return q[i].timeNS < q[j].timeNS
	}
	return q[i].order < q[j].order
}

func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *eventQueue) Push(x any) { *q = append(*q, x.(*eventSource)) }

func (q *eventQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// compressors are kept for reuse: one takes over a megabyte.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}

// writeGzip is writeFile, compressed.
func writeGzip(path string, durable durability, write func(io.Writer) error) error {
	return writeFile(path, durable, func(w io.Writer) error {
		compressed := compressors.Get().(*gzip.Writer)
		defer compressors.Put(compressed)
		compressed.Reset(w)
		buffered := bufio.NewWriterSize(compressed, 1<<16)
		if err := write(buffered); err != nil {
			return err
		}
		if err := buffered.Flush(); err != nil {
			return err
		}
		return compressed.Close()
	})
}

// gzipFile closes the file under a decompressor.
type gzipFile struct {
	*gzip.Reader
	file *os.File
}

func (g gzipFile) Close() error {
	return errors.Join(g.Reader.Close(), g.file.Close())
}

func openGzip(path string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading run folder: %w", err)
	}
	reader, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<16))
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return gzipFile{reader, file}, nil
}
