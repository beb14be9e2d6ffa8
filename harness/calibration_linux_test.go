package harness

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/results"
	"quorumlab/topologies"
)

// wrongBuilder builds labs with a link other than declared.
type wrongBuilder struct {
	engine.Builder
	link   string
	change func(*topologies.Parameters)
}

func (w wrongBuilder) Build(ctx context.Context, b engine.Blueprint) (engine.Lab, error) {
	wrong := *b.Topology
	wrong.Links = slices.Clone(wrong.Links)
	for i := range wrong.Links {
		if wrong.Links[i].Name == w.link {
			w.change(&wrong.Links[i].AToB)
		}
	}
	b.Topology = &wrong
	return w.Builder.Build(ctx, b)
}

// trialOn carries out the one trial of an experiment on labs of that builder.
func trialOn(t *testing.T, builder engine.Builder, flags ...string) (results.Verdict, *results.Folder) {
	t.Helper()
	source := load(t, "netns", append([]string{"--set", "repeat=1", "--set", "phases.measure=300ms"}, flags...)...)
	return trialIn(t, builder, source)
}

func TestATrialIsVoidByTheNameOfTheLinkThatDoublesMoreFramesThanDeclared(t *testing.T) {
	needNetns(t)
	e, _ := engine.Lookup("netns")
	wrong := wrongBuilder{e.(engine.Builder), "h2-s1", func(p *topologies.Parameters) { p.Duplicate = 0.5 }}
	verdict, folder := trialOn(t, wrong, "--set", "topology.link.duplicate=5%")
	if !slices.ContainsFunc(verdict.Reasons, func(r results.VoidReason) bool {
		return r.Code == voidLink && strings.HasPrefix(r.Text, "link h2-s1 from h2 to s1: the duplication is ")
	}) {
		t.Errorf("reasons %+v", verdict.Reasons)
	}
	links, err := folder.ReadLinks(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range links.Calibration {
		if wrongWay := c.Link == "h2-s1" && c.From == "h2"; !wrongWay && c.Parameter == "duplicate" && c.Finding != results.LinkPass {
			t.Errorf("a link as declared: %+v", c)
		}
	}
	if report := string(links.Report); strings.Contains(report, topologies.MonitorPrefix) || !strings.Contains(report, `"h2-s1"`) {
		t.Errorf("the report of the links is %s", report)
	}
	for _, rtt := range links.RTTs {
		if strings.HasPrefix(rtt.From+rtt.To, topologies.MonitorPrefix) {
			t.Errorf("a monitor among the round trips: %+v", rtt)
		}
	}
}

// noting notes what the last lab was built for.
type noting struct {
	engine.Builder
	changing bool
}

func (n *noting) Build(ctx context.Context, b engine.Blueprint) (engine.Lab, error) {
	n.changing = b.Changing
	return n.Builder.Build(ctx, b)
}

func TestCapturesAreInTheTrialsFolderAndLabelled(t *testing.T) {
	needNetns(t)
	e, _ := engine.Lookup("netns")
	builder := &noting{Builder: e.(engine.Builder)}
	verdict, folder := trialOn(t, builder, "--set", "capture=[h1-s1]")
	if !builder.changing {
		t.Error("hosts of a captured lab may send several segments a frame")
	}
	if !verdict.Captured {
		t.Error("a captured trial isn't labelled")
	}
	info, err := os.Stat(filepath.Join(folder.TrialDir(1), capturesDir, "h1-s1.pcapng"))
	if err != nil || info.Size() < 1000 {
		t.Errorf("the capture: %v, %v", info, err)
	}
	links, err := folder.ReadLinks(1)
	if err != nil || !slices.Equal(links.Captured, []string{"h1-s1"}) {
		t.Errorf("captured %v, %v", links.Captured, err)
	}
}

func TestCalibrationOfAnExperimentFindsItsLinksAsDeclared(t *testing.T) {
	node := needNetns(t)
	source := load(t, "netns")
	result, err := Calibrate(t.Context(), source, CalibrateOptions{Links: engine.LinksUserspace, NodeBinary: node, Budget: time.Second, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if result.Links != engine.LinksUserspace || result.Count(results.LinkFail) > 0 || result.Count(results.LinkPass) < 2*len(source.Spec.Network().Links) {
		t.Errorf("%+v", result)
	}
	if _, err := Calibrate(t.Context(), source, CalibrateOptions{Point: 1}); err == nil {
		t.Error("a point that isn't there was measured")
	}
	if _, err := Calibrate(t.Context(), load(t, "sim"), CalibrateOptions{}); err == nil || !strings.Contains(err.Error(), "nothing to measure") {
		t.Errorf("the simulator's links: %v", err)
	}
}
