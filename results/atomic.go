package results

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// durability says whether what is written survives a power cut. Waiting for the
// disk takes milliseconds a file, more than many a simulated trial.
type durability bool

const (
	synced   durability = true
	unsynced durability = false
)

// writeFile gives path the content that write produces, all of it or none:
// after a crash or an error, such as a full disk, the old file or nothing is
// there.
func writeFile(path string, durable durability, write func(io.Writer) error) error {
	if err := replaceFile(path, durable, write); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return durable.syncDir(filepath.Dir(path))
}

func replaceFile(path string, durable durability, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// A second close returns an error that says nothing new.
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	// CreateTemp makes files that only the owner can read.
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(file, 1<<16)
	if err := write(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if durable {
		if err := file.Sync(); err != nil {
			return err
		}
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// syncDir makes the names in a directory survive a power cut, if that is asked
// for.
func (d durability) syncDir(dir string) error {
	if !d {
		return nil
	}
	handle, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	defer handle.Close()
	if err := handle.Sync(); err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	return nil
}

func writeJSON(path string, durable durability, value any) error {
	return writeFile(path, durable, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	})
}

func readJSON(path string, value any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading run folder: %w", err)
	}
	if err := json.Unmarshal(data, value); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}
