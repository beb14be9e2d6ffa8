package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestLinesOfManyGoroutinesAreWholeAndReadableWhileTheFileGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	file, err := Create(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	const writers, lines = 4, 1000
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range lines {
				file.Append(func(dst []byte) []byte { return fmt.Appendf(dst, "writer %d line %d\n", w, i) })
			}
		})
	}
	group.Wait()
	// The file's own goroutine writes them without being asked.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(content, []byte("\n")) == writers*lines {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes after 10 s", len(content))
		}
	}
	file.Append(func(dst []byte) []byte { return append(dst, "last\n"...) })
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile(path)
	next := make([]int, writers)
	for _, line := range bytes.Split(bytes.TrimSuffix(content, []byte("last\n")), []byte("\n")) {
		var w, i int
		if n, _ := fmt.Sscanf(string(line), "writer %d line %d", &w, &i); n == 2 {
			if i != next[w] {
				t.Fatalf("writer %d: line %d comes where %d was due", w, i, next[w])
			}
			next[w]++
		} else if len(line) > 0 {
			t.Fatalf("torn line %q", line)
		}
	}
}

func TestAFullDiskIsReportedOnce(t *testing.T) {
	reported := make(chan error, 10)
	file, err := Create("/dev/full", func(err error) { reported <- err })
	if err != nil {
		t.Skip("no /dev/full here:", err)
	}
	line := func(dst []byte) []byte { return append(dst, "line\n"...) }
	file.Append(line)
	if err := file.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Flush: %v, want no space", err)
	}
	file.Append(line)
	if err := file.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close: %v, want the first error again", err)
	}
	if err := <-reported; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("reported %v", err)
	}
	if len(reported) > 0 {
		t.Errorf("reported again: %v", <-reported)
	}
}

func TestAFileThatCannotBeMadeIsAnError(t *testing.T) {
	_, err := Create(filepath.Join(t.TempDir(), "absent", "log"), nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
