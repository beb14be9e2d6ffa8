package faults_test

import (
	"os"
	"regexp"
	"testing"

	"quorumlab/harness/experiment"
	_ "quorumlab/node/counter"
	_ "quorumlab/node/kv"
	_ "quorumlab/node/multipaxos/wire"
)

func TestTheDocumentedSchedulesAreGood(t *testing.T) {
	text, err := os.ReadFile("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) < 2 {
		t.Fatalf("only %d examples", len(blocks))
	}
	for _, block := range blocks {
		if _, err := experiment.Parse("example.yaml", block[1], experiment.Overrides{}); err != nil {
			t.Errorf("%v, in\n%s", err, block[1])
		}
	}
}
