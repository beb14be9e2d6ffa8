package harness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/harness/report"
	"quorumlab/node/driver/clock"
	"quorumlab/results"
)

func init() { inLab, watched = runInLab, watchInLab }

// runInLab runs an experiment in labs, while the machine has time for it.
func runInLab(t *testing.T, source *experiment.Source, changes ...func(*Options)) *results.Folder {
	t.Helper()
	options := Options{Progress: quiet(), NodeBinary: needNetns(t)}
	for tries := 0; ; tries++ {
		options.Dir = filepath.Join(t.TempDir(), "run")
		for _, change := range changes {
			change(&options)
		}
		folder, summary, err := Run(t.Context(), source, options)
		if err != nil {
			t.Fatal(err)
		}
		if summary.Valid || summary.Mend != mendBusy || tries == 2 {
			return folder
		}
	}
}

// trialIn carries out the one trial of an experiment on labs of that builder.
func trialIn(t *testing.T, builder engine.Builder, source *experiment.Source) (results.Verdict, *results.Folder) {
	t.Helper()
	node := needNetns(t)
	manifest, err := manifestOf(source, Options{}, source.Plan(), "")
	if err != nil {
		t.Fatal(err)
	}
	manifest.Engine, manifest.Links = "netns", engine.LinksUserspace
	r := &run{source: source, plan: source.Plan(), progress: quiet()}
	if r.folder, err = createFolder(filepath.Join(t.TempDir(), "run"), manifest); err != nil {
		t.Fatal(err)
	}
	if err := r.runLabs(t.Context(), builder, node); err != nil {
		t.Fatal(err)
	}
	return onlyVerdict(t, r.folder), r.folder
}

// watchInLab watches a lab's processes in /proc, and has its hosts send pings to each
// other, while the machine has time for it.
func watchInLab(t *testing.T, source *experiment.Source, pings bool) (*results.Folder, *sightings) {
	t.Helper()
	needNetns(t)
	e, _ := engine.Lookup("netns")
	for tries := 0; ; tries++ {
		w := &watcher{Builder: e.(engine.Builder), t: t, pings: pings, over: make(chan struct{})}
		verdict, folder := trialIn(t, w, source)
		busy := slices.ContainsFunc(verdict.Reasons, func(r results.VoidReason) bool { return r.Mend == mendBusy })
		if !busy || tries == 2 {
			return folder, &w.seen
		}
	}
}

// watcher builds labs that are watched.
type watcher struct {
	engine.Builder
	t     *testing.T
	pings bool

	over    chan struct{}
	working sync.WaitGroup
	mu      sync.Mutex
	seen    sightings
}

// watchedLab tells its watcher when nodes start.
type watchedLab struct {
	engine.Lab
	w     *watcher
	once  sync.Once
	hosts map[string]string
}

func (w *watcher) Build(ctx context.Context, b engine.Blueprint) (engine.Lab, error) {
	lab, err := w.Builder.Build(ctx, b)
	if err != nil {
		return nil, err
	}
	hosts := map[string]string{}
	for _, host := range b.Topology.Hosts {
		if slices.Contains([]string{"h3", "h4", "h5", "h6", "h7"}, host.Name) {
			hosts[host.Name] = net.JoinHostPort(host.Address.String(), strconv.Itoa(echoPort))
		}
	}
	return &watchedLab{Lab: lab, w: w, hosts: hosts}, nil
}

func (l *watchedLab) Start(ctx context.Context, host string, command engine.Command) (engine.Process, error) {
	if i := slices.Index(command.Arguments, "--cluster"); i >= 0 {
		l.once.Do(func() {
			l.w.working.Go(func() { l.w.watchProcesses(filepath.Dir(command.Arguments[i+1])) })
			if l.w.pings {
				for name := range l.hosts {
					l.ping(ctx, name)
				}
			}
		})
	}
	return l.Lab.Start(ctx, host, command)
}

func (l *watchedLab) Close() error {
	err := l.Lab.Close()
	select {
	case <-l.w.over:
	default:
		close(l.w.over)
	}
	l.w.working.Wait()
	return err
}

// watchProcesses notes the state of each node of a trial again and again.
func (w *watcher) watchProcesses(nodesDir string) {
	pids := map[string]string{}
	var looked time.Time
	for {
		select {
		case <-w.over:
			return
		case <-time.After(10 * time.Millisecond):
		}
		for name, pid := range pids {
			at, letter := int64(clock.Now()), procState(pid)
			if letter == "Z" {
				letter = ""
			}
			w.mu.Lock()
			w.seen.states = append(w.seen.states, stateSeen{at, name, letter})
			w.mu.Unlock()
		}
		if time.Since(looked) > 100*time.Millisecond {
			looked = time.Now()
			for name, pid := range nodePIDs(nodesDir) {
				pids[name] = pid
			}
		}
	}
}

// nodePIDs finds the nodes of a trial by their command lines.
func nodePIDs(nodesDir string) map[string]string {
	pids := map[string]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, _ := os.ReadFile(file)
		arguments := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		for i, argument := range arguments {
			if argument == "--dir" && i+1 < len(arguments) && filepath.Dir(arguments[i+1]) == nodesDir {
				pids[filepath.Base(arguments[i+1])] = filepath.Base(filepath.Dir(file))
			}
		}
	}
	return pids
}

// procState is a process's letter; empty if it is gone.
func procState(pid string) string {
	data, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// pingerMode has the test's binary be a pinger: its value names whom to ping, "NAME=ADDRESS"
// with spaces between.
const pingerMode = "QUORUMLAB_TEST_PINGER"

const pingInterval = 40 * time.Millisecond

// pingOthers sends a datagram to each of the others again and again, and prints "sent NUMBER
// NAME TIME" for each, "answered NUMBER" for what comes back.
func pingOthers(others string) error {
	socket, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 100)
		for {
			n, _, err := socket.ReadFrom(buffer)
			if err == nil {
				fmt.Printf("answered %s\n", buffer[:n])
			}
		}
	}()
	for number := 0; ; {
		for _, other := range strings.Fields(others) {
			name, address, _ := strings.Cut(other, "=")
			to, err := net.ResolveUDPAddr("udp4", address)
			if err != nil {
				return err
			}
			number++
			fmt.Printf("sent %d %s %d\n", number, name, int64(clock.Now()))
			_, _ = socket.WriteTo([]byte(strconv.Itoa(number)), to)
		}
		time.Sleep(pingInterval)
	}
}

// ping has a host ping the others until the lab is closed.
func (l *watchedLab) ping(ctx context.Context, host string) {
	var others []string
	for name, address := range l.hosts {
		if name != host {
			others = append(others, name+"="+address)
		}
	}
	self, err := os.Executable()
	if err != nil {
		l.w.t.Error(err)
		return
	}
	read, write, err := os.Pipe()
	if err != nil {
		l.w.t.Error(err)
		return
	}
	_, err = l.Lab.Run(ctx, host, engine.Program{
		Path: self, Arguments: []string{self}, Environment: []string{pingerMode + "=" + strings.Join(others, " ")}, Dir: "/", Stdout: write,
	})
	write.Close()
	if err != nil {
		l.w.t.Error(err)
		read.Close()
		return
	}
	l.w.working.Go(func() {
		defer read.Close()
		l.w.take(host, read)
	})
}

// take reads what a pinger prints.
func (w *watcher) take(host string, read *os.File) {
	sent := map[string]int{}
	var pings []pingSeen
	for lines := bufio.NewScanner(read); lines.Scan(); {
		line := lines.Text()
		switch fields := strings.Fields(line); {
		case len(fields) == 4 && fields[0] == "sent":
			at, _ := strconv.ParseInt(fields[3], 10, 64)
			sent[fields[1]] = len(pings)
			pings = append(pings, pingSeen{atNS: at, from: host, to: fields[2]})
		case len(fields) == 2 && fields[0] == "answered":
			if i, ok := sent[fields[1]]; ok {
				pings[i].answered = true
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.pings = append(w.seen.pings, pings...)
}

// stopAtFault ends a context a moment after a fault has hit in a trial.
type stopAtFault struct {
	report.Progress
	trial int
	stop  func()
}

func (s *stopAtFault) TrialStart(trial, total int, description string) { s.trial = trial }

func (s *stopAtFault) Fault(text string) {
	if s.trial == 2 && strings.Contains(text, "p hit") {
		time.AfterFunc(50*time.Millisecond, s.stop)
	}
}

func TestARunThatIsInterruptedAmidFaultsLeavesNothingAndKeepsWhatWasMeasured(t *testing.T) {
	node := needNetns(t)
	source := load(t, "netns", "--set", "repeat=2", "--set", "system.storage=disk", "--set", withFaults(
		"{id: k, name: crash, whom: acceptor1, at: 200ms, for: 400ms}", "{id: s, name: slow_cpu, whom: leader1, share: 50%, at: 200ms, for: 700ms}",
		"{id: p, name: pause, whom: acceptor2, at: 400ms, for: 300ms}", "{id: c, name: partition, whom: replica1, at: 400ms, for: 300ms}"))
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	folder, summary, err := Run(ctx, source, Options{
		Dir: filepath.Join(t.TempDir(), "run"), NodeBinary: node,
		Progress: &stopAtFault{Progress: quiet(), stop: func() { cancel(interrupted) }},
	})
	if !errors.Is(err, interrupted) {
		t.Fatal(err)
	}
	if verdicts, err := folder.Trials(); err != nil || len(verdicts) != 1 || summary.Points[0].Attempted != 1 {
		t.Errorf("%d trials have a verdict, %v; %+v", len(verdicts), err, summary.Points[0])
	}
	if broke, err := folder.ReadFaults(1); err != nil || len(broke.Faults) != 4 {
		t.Errorf("%+v, %v", broke, err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > goroutines || openFiles(t) > files || len(nodePIDs(folder.NodesDir(2))) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before; %d open files, %d before; processes %v",
				runtime.NumGoroutine(), goroutines, openFiles(t), files, nodePIDs(folder.NodesDir(2)))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
