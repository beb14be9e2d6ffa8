package multipaxos

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// namedIn finds, in the package's sources, what the patterns' first groups match.
func namedIn(t *testing.T, patterns ...string) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if matched, _ := filepath.Match("*_test.go", file); matched {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range patterns {
			for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(source, -1) {
				found = append(found, string(match[1]))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestTheProtocolNamesEachOfItsMessagesAndEvents(t *testing.T) {
	messages := slices.Sorted(slices.Values(Protocol.Messages))
	// A label is made where a message's method is: Label, or a ballot's label.
	if found := namedIn(t, `(?s)\) Label\(\) consensus\.Label \{\s*return (?:m\.Ballot\.label\(|consensus\.Label\{Kind: )"(\w+)"`); !slices.Equal(found, messages) {
		t.Errorf("the messages' labels are %q, Protocol.Messages has %q", found, messages)
	}
	var events []string
	for _, event := range Protocol.Events {
		events = append(events, event.Kind)
	}
	slices.Sort(events)
	if found := namedIn(t, `out\.Trace\(l\.event\("(\w+)"`, `out\.Trace\(consensus\.Event\{[^\n]*(?:label\(|Kind: )"(\w+)"`); !slices.Equal(found, events) {
		t.Errorf("the events traced are %q, Protocol.Events has %q", found, events)
	}
}
