//go:build linux

package netns

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

func TestHostsReachEachOther(t *testing.T) {
	for name, parameters := range map[string]topologies.Parameters{
		"delay": {Delay: 2 * time.Millisecond},
		"rate":  {Delay: time.Millisecond, RateBPS: 100e6, QueueFrames: 100},
		"wire":  {},
	} {
		t.Run(name, func(t *testing.T) {
			l := buildStar(t, 3, parameters)
			executor, reason := l.Links()
			t.Logf("links: %s, because %s", executor, reason)
			if line(t, start(t, l, "h2", "echo", "198.18.0.2:7000")) != "ready" {
				t.Fatal("the echo isn't ready")
			}
			text := strings.Repeat("x", 1000)
			for _, host := range []string{"h1", "h3", "h2"} {
				for _, network := range []string{"tcp", "udp"} {
					began := time.Now()
					if got := line(t, start(t, l, host, "ask", network, "198.18.0.2:7000", text)); got != text {
						t.Errorf("%s over %s: answer %q", host, network, got)
					}
					if took := time.Since(began); host != "h2" && took < 4*parameters.Delay {
						t.Errorf("%s over %s: answered after %v, before twice two links' delay", host, network, took)
					}
				}
			}
			report, err := l.Report(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Directions) != 6 || report.EmulatorDrops != 0 {
				t.Fatalf("report: %+v", report)
			}
			for _, d := range report.Directions {
				if d.Frames == 0 || d.LossDrops+d.QueueDrops != 0 {
					t.Errorf("direction %+v", d)
				}
			}
		})
	}
}

func TestHostIsPreparedAsDeclared(t *testing.T) {
	l := buildStar(t, 2, topologies.Parameters{Loss: 0.1})
	var told surroundings
	if err := json.Unmarshal([]byte(line(t, start(t, l, "h2", "tell"))), &told); err != nil {
		t.Fatal(err)
	}
	if want := []string{"lo", "eth0"}; !slices.Equal(told.Interfaces, want) {
		t.Errorf("interfaces %v, want %v", told.Interfaces, want)
	}
	if told.MACs[1] != "02:71:6c:01:00:01" {
		t.Errorf("Ethernet addresses %v", told.MACs)
	}
	if told.SegmentsPerFrame != 1 {
		t.Errorf("%d segments a frame, want 1 on links that lose frames", told.SegmentsPerFrame)
	}
	if told.CongestionControl != "reno" {
		t.Errorf("congestion control %q, want reno", told.CongestionControl)
	}
	if told.Child != "" || told.PID < 2 {
		t.Errorf("the node has pid %d and is a %q child", told.PID, told.Child)
	}
	if len(told.Descriptors) != 0 {
		t.Errorf("the node inherited %v", told.Descriptors)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || told.OpenFiles != limit.Max {
		t.Errorf("limit of open files %d, want %d (%v)", told.OpenFiles, limit.Max, err)
	}
	offset, uncertainty, err := l.ClockOffset(t.Context(), "h1")
	if offset != 0 || uncertainty != 0 || err != nil {
		t.Errorf("clock offset %v +- %v, %v", offset, uncertainty, err)
	}
}

func TestLabsDontDisturbEachOther(t *testing.T) {
	first, second := buildStar(t, 2, topologies.Parameters{Delay: time.Millisecond}), buildStar(t, 2, topologies.Parameters{Delay: time.Millisecond})
	for _, l := range []*lab{first, second} {
		// The same address, in both.
		if line(t, start(t, l, "h1", "echo", "198.18.0.1:7000")) != "ready" {
			t.Fatal("the echo isn't ready")
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := line(t, start(t, second, "h2", "ask", "tcp", "198.18.0.1:7000", "still there")); got != "still there" {
		t.Errorf("answer %q", got)
	}
	if _, err := first.Start(t.Context(), "h1", engine.Command{Name: "late"}); !errors.Is(err, ErrLabEnded) {
		t.Errorf("starting in a closed lab: %v", err)
	}
}

func TestExitsAreReported(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Start(t.Context(), "h1", engine.Command{Name: "leaver", Arguments: []string{"exit", "7"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	log.Close()
	if got := exit(t, p); got.Code != 7 || got.Signal != "" || got.UserNS+got.SystemNS == 0 || got.MaxRSSBytes < 1<<20 {
		t.Errorf("exit %+v", got)
	}
	if said, _ := os.ReadFile(log.Name()); string(said) != "leaving\n" {
		t.Errorf("the log has %q", said)
	}
	if err := p.Signal(os.Kill); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signalling what has ended: %v", err)
	}
	for signal, name := range map[syscall.Signal]string{syscall.SIGKILL: "SIGKILL", syscall.SIGTERM: "SIGTERM"} {
		p := start(t, l, "h1", "echo", ":7000")
		line(t, p)
		if err := p.Signal(signal); err != nil {
			t.Error(err)
		}
		if got := exit(t, p); got.Signal != name || got.Code != -1 {
			t.Errorf("exit %+v, want by %s", got, name)
		}
	}
	p = start(t, l, "h1", "echo", ":7000")
	line(t, p)
	p.Stdin().Close()
	if got := exit(t, p); got.Code != 0 || got.Signal != "" {
		t.Errorf("exit %+v, want 0 at the end of standard input", got)
	}
}

func TestCallsNameWhatIsWrong(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	if _, err := l.Start(t.Context(), "h9", engine.Command{Name: "lost"}); !errors.Is(err, ErrNoHost) || !strings.Contains(err.Error(), `"h9"`) {
		t.Errorf("starting on a host that isn't there: %v", err)
	}
	if _, _, err := l.ClockOffset(t.Context(), "h9"); !errors.Is(err, ErrNoHost) {
		t.Errorf("the clock of a host that isn't there: %v", err)
	}
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := l.Start(t.Context(), "h1", engine.Command{Name: "x", Arguments: []string{"exit", "0"}, Log: closed}); err == nil {
		t.Error("a log that is closed was taken")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Start(canceled, "h1", engine.Command{Name: "x", Arguments: []string{"exit", "0"}}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("starting with a context that is over: %v", err)
	}
	if got := exit(t, start(t, l, "h1", "exit", "3")); got.Code != 3 {
		t.Errorf("after all that, exit %+v", got)
	}
}

func TestBuildNamesWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*engine.Blueprint)
		want   []string
	}{
		"congestion control": {func(b *engine.Blueprint) { b.CongestionControl = "nosuch" }, []string{`"nosuch"`, "building host", "the kernel has", "reno"}},
		"links":              {func(b *engine.Blueprint) { b.Links = "string" }, []string{`"string"`, "userspace"}},
		"kernel links":       {func(b *engine.Blueprint) { b.Links = engine.LinksKernel; b.Topology.Links[0].AToB.Jitter = 1e6 }, []string{"--links userspace", "h1-s1"}},
		"no node binary":     {func(b *engine.Blueprint) { b.NodeBinary = "/nonexistent" }, []string{"/nonexistent"}},
		"not executable":     {func(b *engine.Blueprint) { b.NodeBinary = "/etc/passwd" }, []string{"/etc/passwd", "executed"}},
		"address":            {func(b *engine.Blueprint) { b.Topology.Hosts[1].Address = b.Topology.Hosts[0].Address }, []string{"h1", "h2", "198.18.0.1"}},
		"too many hosts":     {func(b *engine.Blueprint) { b.Topology = topologies.Star(1001, topologies.Parameters{}) }, []string{"1001", "1000"}},
		"no hosts":           {func(b *engine.Blueprint) { b.Topology = &topologies.Topology{} }, []string{"no hosts"}},
		"the emulator": {func(b *engine.Blueprint) { b.Links = engine.LinksUserspace; b.Topology.Links[0].AToB.Loss = 2 },
			[]string{"link emulator", "h1-s1"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := blueprint(2, topologies.Parameters{Delay: time.Millisecond})
			b.Log = nil
			test.change(&b)
			l, err := netnsEngine{}.Build(t.Context(), b)
			if err == nil {
				l.Close()
				t.Fatal("it was built")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestLinksAreChosenByWhatTheKernelCan(t *testing.T) {
	all := link.KernelFeatures{Bridge: true, Netem: true}
	none := link.KernelFeatures{Bridge: true}
	delay := topologies.Parameters{Delay: time.Millisecond}
	for name, test := range map[string]struct {
		links    string
		hosts    int
		features link.KernelFeatures
		want     string
		reason   string
	}{
		"auto with netem":       {engine.LinksAuto, 3, all, engine.LinksKernel, "the kernel can"},
		"auto without netem":    {engine.LinksAuto, 3, none, engine.LinksUserspace, "netem"},
		"auto with many hosts":  {engine.LinksAuto, 501, all, engine.LinksUserspace, "501 hosts"},
		"kernel with netem":     {engine.LinksKernel, 3, all, engine.LinksKernel, "asked for"},
		"kernel without netem":  {engine.LinksKernel, 3, none, "", "netem"},
		"kernel, many hosts":    {engine.LinksKernel, 501, all, "", "501 hosts"},
		"userspace, with netem": {engine.LinksUserspace, 3, all, engine.LinksUserspace, "asked for"},
		"auto, will change":     {engine.LinksAuto, 3, all, engine.LinksUserspace, "changed"},
		"kernel, will change":   {engine.LinksKernel, 3, all, engine.LinksKernel, "asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			b := engine.Blueprint{Topology: topologies.Star(test.hosts, delay), Links: test.links}
			b.Changing = strings.Contains(name, "will change")
			executor, reason, err := chooseLinks(b, test.features)
			if err != nil {
				if !strings.Contains(err.Error(), "--links userspace") {
					t.Errorf("error %q doesn't say what to do", err)
				}
				reason = err.Error()
			}
			if executor != test.want || !strings.Contains(reason, test.reason) {
				t.Errorf("%q because %q, want %q because of %q", executor, reason, test.want, test.reason)
			}
		})
	}
}

func TestDeadEmulatorAndInitAreNamed(t *testing.T) {
	b := blueprint(2, topologies.Parameters{Delay: time.Millisecond})
	b.Log = nil
	built, err := netnsEngine{}.Build(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	defer built.Close()
	l := built.(*lab)
	node := start(t, l, "h1", "echo", ":7000")
	if l.emulator != nil {
		if err := l.emulator.process.Signal(os.Kill); err != nil {
			t.Fatal(err)
		}
		exit(t, l.emulator.process)
		if _, err := l.Report(t.Context()); err == nil || !strings.Contains(err.Error(), "SIGKILL") {
			t.Errorf("a report without the emulator: %v", err)
		}
		if _, err := l.Start(t.Context(), "h1", engine.Command{Name: "late"}); err == nil || !strings.Contains(err.Error(), "emulator") {
			t.Errorf("starting without the emulator: %v", err)
		}
	}
	if err := l.init.process.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := exit(t, node); got.Signal != "SIGKILL" {
		t.Errorf("exit %+v", got)
	}
	<-l.init.gone
	if _, err := l.Start(t.Context(), "h1", engine.Command{Name: "late"}); !errors.Is(err, ErrLabEnded) || !strings.Contains(err.Error(), "init died") {
		t.Errorf("starting without the init: %v", err)
	}
	if err := node.Signal(os.Kill); !errors.Is(err, ErrLabEnded) {
		t.Errorf("signalling without the init: %v", err)
	}
}

func TestCheckFindsTheEngineReady(t *testing.T) {
	rows := netnsEngine{}.Check(t.Context())
	if len(rows) != 3 || !rows[0].OK || !rows[1].OK || rows[0].Name != engineName {
		t.Fatalf("rows %+v", rows)
	}
	if !rows[2].OK && (rows[2].Reason == "" || len(rows[2].Mend) == 0) {
		t.Errorf("row %+v doesn't say what to do", rows[2])
	}
	for _, row := range rows {
		t.Logf("%+v", row)
	}
}

// TestAsOrdinaryUser runs the other tests again, without root.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("they run without root already")
	}
	command := exec.Command(publicCopy(t), "-test.v", "-test.timeout=100s")
	command.Env = append(os.Environ(), "TMPDIR="+publicFolder(t))
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: ordinaryUser}
	output, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	if !strings.Contains(string(output), "--- PASS: TestHostsReachEachOther") {
		t.Errorf("the tests didn't run:\n%s", output)
	}
}

// ordinaryUser is nobody in particular.
var ordinaryUser = &syscall.Credential{Uid: 54321, Gid: 54321, Groups: []uint32{}}

// publicFolder is one that everybody may write to.
func publicFolder(t *testing.T) string {
	folder, err := os.MkdirTemp("/tmp", "netns-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	return folder
}

// publicCopy is a copy of the test binary that everybody may execute.
func publicCopy(t *testing.T) string {
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(publicFolder(t), "netns.test")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func interfaceNames(t *testing.T) []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range interfaces {
		names = append(names, i.Name)
	}
	return names
}
