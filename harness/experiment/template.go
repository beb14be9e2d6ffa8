package experiment

import (
	"bytes"
	_ "embed"
)

//go:embed template.yaml
var template []byte

// Template is the experiment that bench init writes: it runs as it is, and its
// comments explain every field.
func Template() []byte { return bytes.Clone(template) }
