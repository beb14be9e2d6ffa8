package experiment

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// page is docs/experiment.md.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/experiment.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheDocumentedExperimentsAreGood(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page(t), -1)
	if len(blocks) < 8 {
		t.Fatalf("only %d examples", len(blocks))
	}
	for _, block := range blocks {
		text := strings.ReplaceAll(block[1], "raft", "dummy") // which these tests don't have
		source, err := Parse("testdata/inputs/example.yaml", []byte(text), testOverrides())
		if err != nil {
			t.Errorf("%v, in\n%s", err, text)
			continue
		}
		for _, point := range source.Points {
			checkDeployment(t, point.Spec)
		}
	}
}

func TestTheDocumentedTraceIsRead(t *testing.T) {
	_, after, _ := strings.Cut(page(t), "```csv\n")
	text, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("no example of a trace")
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/trace.csv", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	source, err := Parse(dir+"/x.yaml", []byte("version: 1\ntopology: {link: {delay: {trace: trace.csv, gap: hold}}}\n"), testOverrides())
	if err != nil {
		t.Fatal(err)
	}
	if trace := source.Points[0].Spec.Network().Links[0].AToB.Trace; len(trace.Times) != 4 || trace.Excess[2] >= 0 {
		t.Errorf("the trace is %+v", trace)
	}
}

func TestEveryKeyOfALinkIsDocumented(t *testing.T) {
	text := page(t)
	for _, f := range fieldsOf(reflect.TypeFor[Link]()) {
		if !strings.Contains(text, "`"+f.key+"`") {
			t.Errorf("docs/experiment.md doesn't explain %s", f.key)
		}
	}
	for _, kind := range Kinds {
		if !strings.Contains(text, "| `"+kind+"` |") {
			t.Errorf("docs/experiment.md doesn't explain the kind %s", kind)
		}
	}
}

// What kinds take besides, docs/faults.md says.
func TestEveryKeyThatAllFaultsShareIsDocumented(t *testing.T) {
	_, after, _ := strings.Cut(page(t), "\n## Faults\n")
	text, _, _ := strings.Cut(after, "\n## ")
	for _, key := range []string{"name", "id", "whom", "at", "every", "times", "until", "after", "on", "failpoint", "random", "for", "optional"} {
		if _, known := fieldType(reflect.TypeFor[Fault](), key); !known || !strings.Contains(text, "`"+key+"`") {
			t.Errorf("docs/experiment.md doesn't explain %s of faults", key)
		}
	}
	for _, inner := range []reflect.Type{reflect.TypeFor[After](), reflect.TypeFor[On](), reflect.TypeFor[Failpoint](), reflect.TypeFor[Random](), reflect.TypeFor[Span]()} {
		for _, f := range fieldsOf(inner) {
			if !strings.Contains(text, "`"+f.key+"`") && !strings.Contains(text, f.key+":") {
				t.Errorf("docs/experiment.md doesn't explain %s of %s", f.key, inner.Name())
			}
		}
	}
}
