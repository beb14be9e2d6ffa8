package calibrate_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/harness"
	"quorumlab/harness/calibrate"
	"quorumlab/harness/engine"
	"quorumlab/harness/engine/netns"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
	"quorumlab/topologies"
)

type parameters = topologies.Parameters

const ms = time.Millisecond

// binaries is a folder for bench-node, which buildNode builds.
var binaries string

func TestMain(m *testing.M) {
	netns.RunIfChild()
	dir, err := os.MkdirTemp("", "quorumlab-calibrate-")
	if err != nil {
		panic(err)
	}
	binaries = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

var buildNode = sync.OnceValues(func() (string, error) {
	build := exec.Command("go", "build", "-o", binaries, "../../cmd/bench-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	return string(output), err
})

// calibrated measures a lab that is built as actual says against what is declared.
func calibrated(t *testing.T, declared, actual *topologies.Topology, options harness.CalibrateOptions) []results.LinkCheck {
	t.Helper()
	if testing.Short() {
		t.Skip("measures links for many seconds")
	}
	e, _ := engine.Lookup("netns")
	if r := e.Check(context.Background())[0]; !r.OK {
		t.Skipf("engine netns: %s", r.Reason)
	}
	if output, err := buildNode(); err != nil {
		t.Fatalf("building bench-node: %v\n%s", err, strings.TrimSpace(output))
	}
	options.Dir = t.TempDir()
	log, err := os.Create(filepath.Join(options.Dir, "lab.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	began := int64(clock.Now())
	lab, err := e.(engine.Builder).Build(t.Context(), engine.Blueprint{
		Topology: actual.WithMonitors(), Links: engine.LinksUserspace, Seed: 5, NodeBinary: filepath.Join(binaries, "bench-node"), Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	checks, err := harness.CalibrateLab(t.Context(), lab, calibrate.Lab{
		Topology: declared.WithMonitors(), Seed: 5, StartedNS: [2]int64{began, int64(clock.Now())},
	}, options)
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// wan is three regions with a host each, other delays each way, losses in bursts and a
// bottleneck.
func wan() *topologies.Topology {
	t := &topologies.Topology{Kind: "custom", Switches: []string{"a", "b", "c"}}
	for i, region := range t.Switches {
		name := fmt.Sprintf("h%d", i+1)
		t.Hosts = append(t.Hosts, topologies.Host{Name: name, Address: topologies.Address(i)})
		t.Links = append(t.Links, topologies.Link{Name: name + "-" + region, A: name, B: region, AToB: parameters{Delay: ms}, BToA: parameters{Delay: ms}})
	}
	losing := parameters{Delay: 15 * ms, GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.02, BadToGood: 0.2, LossBad: 0.7}}
	back := losing
	back.Delay = 18 * ms
	narrow := parameters{Delay: 30 * ms, RateBPS: 10_000_000, QueueFrames: 100}
	narrowBack := narrow
	narrowBack.Delay = 35 * ms
	t.Links = append(t.Links,
		topologies.Link{Name: "a-b", A: "a", B: "b", AToB: losing, BToA: back},
		topologies.Link{Name: "b-c", A: "b", B: "c", AToB: narrow, BToA: narrowBack},
		topologies.Link{Name: "a-c", A: "a", B: "c", AToB: parameters{Delay: 45 * ms}, BToA: parameters{Delay: 40 * ms}})
	return t
}

func TestAWanThatIsAsDeclaredPasses(t *testing.T) {
	seen := map[string]bool{}
	options := harness.CalibrateOptions{Budget: 5 * time.Second}
	checks := calibrated(t, wan(), wan(), options)
	if slices.ContainsFunc(checks, func(c results.LinkCheck) bool { return c.Finding != results.LinkPass }) {
		checks = calibrated(t, wan(), wan(), options) // the machine may have been busy
	}
	for _, c := range checks {
		seen[c.Link+" "+c.From+" "+c.Parameter] = true
		if c.Finding != results.LinkPass {
			t.Errorf("%+v", c)
		}
	}
	for _, want := range []string{
		"a-b a delay", "a-b b delay", "a-c a delay", "h3-c c delay", "a-b a loss", "a-b b burst", "b-c b rate", "b-c c rate", "b-c b queue", "b-c c queue",
	} {
		if !seen[want] {
			t.Errorf("nothing about %s", want)
		}
	}
}

// trace goes up and down by 20 ms, a step each 100 ms.
func trace(align string, steps ...time.Duration) *topologies.Trace {
	tr := &topologies.Trace{Align: align, Gap: topologies.GapHold, GapAfter: time.Second}
	for i, step := range steps {
		tr.Times = append(tr.Times, time.Duration(i)*100*ms)
		tr.Excess = append(tr.Excess, step)
	}
	tr.Period = time.Duration(len(steps)) * 100 * ms
	return tr
}

// misSet has a declaration, what is changed of it underneath, and which rows may tell.
var misSet = []struct {
	name     string
	declared parameters
	change   func(p *parameters)
	want     string
}{
	{"delay", parameters{Delay: 10 * ms}, func(p *parameters) { p.Delay = 13 * ms }, "delay"},
	{"trace", parameters{Delay: ms, Trace: trace(topologies.AlignRandom, 0, 20*ms, 5*ms, 10*ms, 15*ms)},
		func(p *parameters) { p.Trace = trace(topologies.AlignRandom, 0, 15*ms, 5*ms, 20*ms, 10*ms) }, "trace"},
	{"jitter", parameters{Delay: 10 * ms, Jitter: 2 * ms, JitterDistribution: topologies.JitterNormal},
		func(p *parameters) { p.Jitter = 5 * ms }, "jitter"},
	{"jitter_distribution", parameters{Delay: 10 * ms, Jitter: 6 * ms, JitterDistribution: topologies.JitterUniform},
		func(p *parameters) { p.JitterDistribution = topologies.JitterExponential }, "jitter"},
	{"jitter_shape", parameters{Delay: 5 * ms, Jitter: 6 * ms, JitterDistribution: topologies.JitterPareto, JitterShape: 5},
		func(p *parameters) { p.JitterShape = 1.1 }, "jitter"},
	{"table", parameters{Delay: 5 * ms, JitterDistribution: topologies.JitterTable, JitterTable: &topologies.Table{Excess: []time.Duration{0, 5 * ms, 10 * ms}}},
		func(p *parameters) { p.JitterTable = &topologies.Table{Excess: []time.Duration{0, 0, 10 * ms}} }, "jitter"},
	{"jitter_reorders", parameters{Delay: 10 * ms, Jitter: 6 * ms, JitterDistribution: topologies.JitterUniform},
		func(p *parameters) { p.JitterReorders = true }, "reorder"},
	{"loss", parameters{Delay: 5 * ms, Loss: 0.1}, func(p *parameters) { p.Loss = 0.3 }, "loss"},
	{"loss_correlation", parameters{Delay: 5 * ms, Loss: 0.3}, func(p *parameters) { p.LossCorrelation = 0.6 }, "loss burst"},
	{"less loss_correlation", parameters{Delay: 5 * ms, Loss: 0.3, LossCorrelation: 0.6}, func(p *parameters) { p.LossCorrelation = 0 }, "burst"},
	{"good_to_bad", gilbert(), func(p *parameters) { p.GilbertElliott.GoodToBad = 0.4 }, "loss burst"},
	{"bad_to_good", gilbert(), func(p *parameters) { p.GilbertElliott.BadToGood = 0.9 }, "loss burst"},
	{"loss_good", gilbert(), func(p *parameters) { p.GilbertElliott.LossGood = 0.3 }, "loss burst"},
	{"loss_bad", gilbert(), func(p *parameters) { p.GilbertElliott.LossBad = 0.3 }, "loss burst"},
	{"duplicate", parameters{Delay: 5 * ms, Duplicate: 0.2}, func(p *parameters) { p.Duplicate = 0.4 }, "duplicate"},
	{"corrupt", parameters{Delay: 5 * ms, Corrupt: 0.1}, func(p *parameters) { p.Corrupt = 0.3 }, "corrupt"},
	{"reorder", parameters{Delay: 20 * ms, Reorder: 0.2}, func(p *parameters) { p.Reorder = 0.5 }, "reorder"},
	{"reorder_gap", parameters{Delay: 20 * ms, Reorder: 0.9, ReorderGap: 2}, func(p *parameters) { p.ReorderGap = 5 }, "reorder"},
	{"reorder_correlation", parameters{Delay: 20 * ms, Reorder: 0.2, ReorderCorrelation: 0.1}, func(p *parameters) { p.ReorderCorrelation = 0.8 }, "reorder reorder_correlation"},
	{"rate", parameters{Delay: ms, RateBPS: 10_000_000}, func(p *parameters) { p.RateBPS = 8_000_000 }, "rate"},
	{"queue", parameters{Delay: ms, RateBPS: 10_000_000, QueueFrames: 50}, func(p *parameters) { p.QueueFrames = 75 }, "queue"},
	{"queue_bytes", parameters{Delay: ms, RateBPS: 10_000_000, QueueBytes: 50_000}, func(p *parameters) { p.QueueBytes = 100_000 }, "queue"},
	{"undeclared rate", parameters{Delay: ms}, func(p *parameters) { p.RateBPS = 2_000_000 }, "delay"},
	{"down", parameters{Delay: ms}, func(p *parameters) { p.Down = true }, "loss"},
}

func gilbert() parameters {
	return parameters{Delay: 5 * ms, GilbertElliott: &topologies.GilbertElliott{GoodToBad: 0.1, BadToGood: 0.3, LossGood: 0.02, LossBad: 0.8}}
}

// Each link of the star has another parameter of its direction to the switch mis-set;
// the other direction is as declared.
func TestEachParameterThatIsMisSetUnderneathFailsByTheNameOfItsLink(t *testing.T) {
	declared := topologies.Star(len(misSet), parameters{})
	actual := topologies.Star(len(misSet), parameters{})
	plain := parameters{Delay: 3 * ms}
	for i, c := range misSet {
		changed := c.declared
		if changed.GilbertElliott != nil {
			changed = gilbert()
		}
		c.change(&changed)
		declared.Links[i].AToB, declared.Links[i].BToA = c.declared, plain
		actual.Links[i].AToB, actual.Links[i].BToA = changed, plain
	}
	var checks []results.LinkCheck
	for range 3 { // a busy machine can't fill a queue, and says so
		checks = calibrated(t, declared, actual, harness.CalibrateOptions{Budget: 10 * time.Second, Tries: 2})
		untested := func(c results.LinkCheck) bool { return c.Finding == results.LinkNotTested }
		if !slices.ContainsFunc(checks, untested) {
			break
		}
	}
	for i, c := range misSet {
		t.Run(c.name, func(t *testing.T) {
			found := false
			for _, check := range checks {
				if check.Link != declared.Links[i].Name {
					continue
				}
				misSetWay := check.To == "s1"
				failed := check.Finding == results.LinkFail
				found = found || misSetWay && failed && slices.Contains(strings.Fields(c.want), check.Parameter)
				if !misSetWay && check.Finding != results.LinkPass {
					t.Errorf("as declared, and it doesn't pass: %s %s", check.Finding, calibrate.Describe(check))
				}
				t.Logf("%s: %s", check.Finding, calibrate.Describe(check))
			}
			if !found {
				t.Errorf("%s doesn't fail", c.want)
			}
		})
	}
}
