package faults

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"quorumlab/node/consensus"
	"quorumlab/node/control"
	"quorumlab/results"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// row is what docs/faults.md says of a kind.
func row(kind *Kind) string {
	key := func(p Parameter) string {
		if p == ParameterLink {
			return "keys of a link"
		}
		return "`" + p.Key() + "`"
	}
	var ways []string
	for _, way := range kind.Ways {
		var keys []string
		for _, p := range way {
			keys = append(keys, key(p))
		}
		ways = append(ways, strings.Join(keys, ", "))
	}
	takes := strings.Join(ways, "; or ")
	for _, p := range kind.Takes {
		takes += fmt.Sprintf(" [%s]", key(p))
	}
	engines := "all"
	if len(kind.Engines) > 0 {
		engines = strings.Join(kind.Engines, ", ")
	}
	if len(kind.Storages) > 0 {
		engines += "; storage " + strings.Join(kind.Storages, " or ")
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |", kind.Name, strings.TrimSpace(takes), kind.Summary, kind.Evidence, engines)
}

func TestTheCatalogueIsDocumentedAsItIs(t *testing.T) {
	_, rest, _ := strings.Cut(page(t), "## The catalogue")
	section, _, _ := strings.Cut(rest, "\n## ")
	var documented []string
	for _, line := range strings.Split(section, "\n") {
		if strings.HasPrefix(line, "| `") {
			documented = append(documented, line)
		}
	}
	var want []string
	for _, name := range Names() {
		kind, _ := Lookup(name)
		want = append(want, row(kind))
	}
	for _, line := range want {
		if !slices.Contains(documented, line) {
			t.Errorf("docs/faults.md lacks the row\n%s", line)
		}
	}
	if len(documented) != len(want) {
		t.Errorf("docs/faults.md has %d rows, the catalogue %d kinds", len(documented), len(want))
	}
}

func TestAllThatTriggersAndOutcomesKnowIsDocumented(t *testing.T) {
	text := page(t)
	words := slices.Concat(control.Places, consensus.Meanings, Disks,
		[]string{results.FaultProved, results.FaultUnproved, results.FaultNeverFired, results.FaultNobody, results.FaultFailed},
		[]string{SetLeader, SetFollowers, SetVoters, SetAll})
	for _, word := range words {
		if !strings.Contains(text, "`"+word+"`") {
			t.Errorf("docs/faults.md doesn't explain %s", word)
		}
	}
	for _, number := range []string{fmt.Sprintf("%d faults fired within a second", maxBurst), fmt.Sprintf("more than %d links", maxExpectations),
		fmt.Sprintf("at least %d ms", minEvery.Milliseconds()), fmt.Sprintf("at most %d faults a second", maxRate), "at least 1 ms"} {
		if !strings.Contains(text, number) {
			t.Errorf("docs/faults.md doesn't say %q", number)
		}
	}
}

func TestTheDocumentedSelectorsAreOnes(t *testing.T) {
	_, rest, _ := strings.Cut(page(t), "| selector | means |")
	table, _, _ := strings.Cut(rest, "\n\n")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(table, -1)
	if len(rows) < 10 {
		t.Errorf("only %d", len(rows))
	}
	for _, row := range rows {
		if _, err := ParseSelector(row[1]); err != nil {
			t.Error(err)
		}
	}
}
