package results

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const inputsFolder = "inputs"

// Input is a file that an experiment names, such as a trace of delays. The run folder
// keeps a copy, so that the experiment can be run again without the original.
type Input struct {
	// Path is as the experiment has it.
	Path string `json:"path"`
	// File is the copy's path in the run folder, with slashes: inputs/NAME.
	File string `json:"file"`
	// SHA256 is that of its bytes, in hexadecimal.
	SHA256 string `json:"sha256"`
}

// AddInput lists a file among the manifest's inputs. Its copy gets a name that no other
// has, even where letters' case doesn't count.
func (m *Manifest) AddInput(name string, data []byte) {
	base := FileName(filepath.Base(name))
	stem, extension := strings.TrimSuffix(base, path.Ext(base)), path.Ext(base)
	taken := func(file string) bool {
		return slices.ContainsFunc(m.Inputs, func(i Input) bool { return strings.EqualFold(i.File, file) })
	}
	file := path.Join(inputsFolder, base)
	for i := 2; taken(file); i++ {
		file = path.Join(inputsFolder, fmt.Sprintf("%s-%d%s", stem, i, extension))
	}
	sum := sha256.Sum256(data)
	m.Inputs = append(m.Inputs, Input{Path: name, File: file, SHA256: hex.EncodeToString(sum[:])})
}

// WriteInput keeps a copy of a file that the manifest lists.
func (f *Folder) WriteInput(name string, data []byte) error {
	sum := sha256.Sum256(data)
	for _, input := range f.manifest.Inputs {
		if input.Path != name || input.SHA256 != hex.EncodeToString(sum[:]) {
			continue
		}
		if err := os.MkdirAll(filepath.Join(f.dir, inputsFolder), 0o755); err != nil {
			return fmt.Errorf("keeping %s: %w", name, err)
		}
		return writeFile(filepath.Join(f.dir, filepath.FromSlash(input.File)), synced, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	}
	return fmt.Errorf("keeping %s: the manifest lists no such input with these bytes", name)
}
