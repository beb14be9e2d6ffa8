package harness

import (
	"context"
	"errors"
	"strings"
	"testing"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/sim"
	"quorumlab/results"
)

// checkedEngine is an engine of which nothing matters but its check.
type checkedEngine struct {
	name string
	rows []engine.Readiness
}

func (e checkedEngine) Name() string                             { return e.name }
func (e checkedEngine) MaxHosts() int                            { return 1 }
func (e checkedEngine) Check(context.Context) []engine.Readiness { return e.rows }

// finder looks among these engines and the simulator.
func finder(engines ...engine.Engine) lookup {
	return func(name string) (engine.Engine, bool) {
		for _, e := range append(engines, sim.Engine{}) {
			if e.Name() == name {
				return e, true
			}
		}
		return nil, false
	}
}

func TestAutoIsNetnsWhereItWorksElseTheSimulatorAndSaysWhy(t *testing.T) {
	works := checkedEngine{"netns", []engine.Readiness{{Name: "netns", OK: true}, {Name: "kernel links"}}}
	forbidden := checkedEngine{"netns", []engine.Readiness{{Name: "netns", Reason: "user namespaces are forbidden", Mend: []string{"sudo sysctl"}}}}
	for _, c := range []struct {
		name, asked string
		find        lookup
		want, why   string
	}{
		{"netns works", "auto", finder(works), "netns", "the default engine"},
		{"netns is forbidden", "auto", finder(forbidden), "sim", "netns doesn't work here: user namespaces are forbidden"},
		{"netns isn't there", "auto", finder(), "sim", "netns doesn't work here: it isn't built into this program"},
		{"sim is asked for", "sim", finder(works), "sim", "asked for"},
		{"netns is asked for", "netns", finder(works), "netns", "asked for"},
	} {
		chosen, reason, err := chooseEngine(t.Context(), c.find, c.asked)
		if err != nil || chosen.Name() != c.want || !strings.Contains(reason, c.why) {
			t.Errorf("%s: %v because %q, %v; want %s because %s", c.name, chosen, reason, err, c.want, c.why)
		}
	}
	_, _, err := chooseEngine(t.Context(), finder(forbidden), "netns")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "sudo sysctl") {
		t.Errorf("netns asked for and forbidden: %v", err)
	}
	interrupted, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	cancel(stop)
	if _, _, err := chooseEngine(interrupted, finder(forbidden), "auto"); !errors.Is(err, stop) {
		t.Errorf("interrupted: %v, want no engine rather than another one", err)
	}
}

// kernelBuilder builds labs of nothing, whose links the kernel executes unless the
// emulator is asked for.
type kernelBuilder struct{ checkedEngine }

func (kernelBuilder) Build(_ context.Context, b engine.Blueprint) (engine.Lab, error) {
	if b.Links == engine.LinksAuto {
		b.Links = engine.LinksKernel
	}
	return nothingLab{executor: b.Links}, nil
}

type nothingLab struct {
	engine.Lab
	executor string
}

func (l nothingLab) Links() (executor, reason string) { return l.executor, "" }
func (l nothingLab) Close() error                     { return nil }

func TestCapturesTakeTheEmulatorWhereTheKernelCouldExecuteTheLinks(t *testing.T) {
	for capture, want := range map[string]string{"[]": engine.LinksKernel, "[h1-s1]": engine.LinksUserspace} {
		var manifest results.Manifest
		source := load(t, "netns", "--set", "capture="+capture)
		if err := settleLinks(t.Context(), &manifest, kernelBuilder{}, source, "", ""); err != nil {
			t.Fatal(err)
		}
		if explained := strings.Contains(manifest.LinksReason, "write down frames"); manifest.Links != want || explained != (want == engine.LinksUserspace) {
			t.Errorf("capture: %s: links %s because %q, want %s", capture, manifest.Links, manifest.LinksReason, want)
		}
	}
}

func TestFaultsTakeTheEmulatorWhereTheKernelCannotCarryThemOut(t *testing.T) {
	for _, c := range []struct {
		fault string
		// why is said of the emulator; empty where the kernel will do.
		why string
		// changing is true if frames are to be treated one by one.
		changing bool
	}{
		{"name: pause, whom: leader1", "", false},
		{"name: degrade, links: [h1-s1], delay: 20ms", "", false},
		{"name: degrade, links: [h1-s1], loss: 10%", "", true},
		{"name: degrade, links: [h1-s1], corrupt: 10%", "corrupt", true},
		{"name: degrade, from: leader1, to: leader2, delay: 20ms", "pairs of hosts", false},
		{"name: link_down, links: [h1-s1]", "takes links down", false},
		{"name: isolate, whom: leader1", "takes links down", false},
		{"name: partition, whom: leader1", "pairs of hosts", false},
	} {
		source := load(t, "netns", "--set", withFaults("{id: x, "+c.fault+", at: 100ms, for: 100ms}"))
		point := source.Points[0].Spec
		if changing := framesBreak(point.Schedule(), point.Network()); changing != c.changing {
			t.Errorf("%s: treats frames one by one: %v, want %v", c.fault, changing, c.changing)
		}
		var manifest results.Manifest
		if err := settleLinks(t.Context(), &manifest, kernelBuilder{}, source, engine.LinksAuto, ""); err != nil {
			t.Fatal(err)
		}
		want := engine.LinksKernel
		if c.why != "" {
			want = engine.LinksUserspace
		}
		if manifest.Links != want || !strings.Contains(manifest.LinksReason, c.why) {
			t.Errorf("%s: links %s because %q, want %s", c.fault, manifest.Links, manifest.LinksReason, want)
		}
		err := settleLinks(t.Context(), &manifest, kernelBuilder{}, source, engine.LinksKernel, "")
		if refused := errors.Is(err, ErrLinks); refused != (c.why != "") {
			t.Errorf("%s: with the kernel's links: %v", c.fault, err)
		}
		if c.why != "" && (!strings.Contains(err.Error(), "fault x") || !strings.Contains(err.Error(), "--links userspace")) {
			t.Errorf("%s: %v names neither the fault nor what would do", c.fault, err)
		}
	}
}
