package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"quorumlab/harness/engine"
	"quorumlab/harness/experiment"
	"quorumlab/harness/roundtrip"
	"quorumlab/node/control"
	"quorumlab/node/ping"
	"quorumlab/results"
	"quorumlab/topologies"
)

// RTTOptions say how to study round trips.
type RTTOptions struct {
	// Order has the protocol, the count, the interval, the timeout and the size; its
	// peers are filled in.
	Order control.Measure
	// Self has each machine probe itself too.
	Self bool
	// Links and NodeBinary are as in Options; for labs only.
	Links      string
	NodeBinary string
	// Dir is the run folder to make; empty means one below results/runs.
	Dir         string
	CommandLine []string
	// Progress is told how far it is, now and then; nil tells nobody.
	Progress func(done, total time.Duration)
}

// The files that are derived from a study of round trips.
const (
	rttJSON = "rtt.json"
	rttCSV  = "rtt.csv"
	rttPage = "rtt.html"
)

// lateProbes is how long a machine may take over its last probes' timeout.
const lateProbes = 10 * time.Second

// pinger has one machine measure: it hands out the rows of one source.
type pinger func(ctx context.Context, source int, order control.Measure, row func(ping.Row) error) error

// MeasureLabRTTs builds the lab of an experiment's first point, without load, and
// measures the round trips between all its hosts. If the context ends early the study
// has what was measured, and the error is the context's cause.
func MeasureLabRTTs(ctx context.Context, source *experiment.Source, options RTTOptions) (*results.Folder, *roundtrip.Study, error) {
	builder, err := chooseBuilder(ctx, source.Spec.Engine)
	if err != nil {
		return nil, nil, err
	}
	node, err := findNode(options.NodeBinary)
	if err != nil {
		return nil, nil, err
	}
	topology := source.Points[0].Spec.Network()
	var names, addresses []string
	for _, host := range topology.Hosts {
		names = append(names, host.Name)
		addresses = append(addresses, net.JoinHostPort(host.Address.String(), strconv.Itoa(echoPort)))
	}
	plan := rttPlan(names, options)
	if plan.DeclaredNS, err = declaredRTTs(topology, options.Order); err != nil {
		return nil, nil, err
	}
	manifest := rttManifest(source.Spec.Name, options, plan, node)
	manifest.SpecFile, manifest.Spec, manifest.Overrides = source.File, string(source.Data), source.Overrides
	manifest.Seed, manifest.Engine = source.Spec.Seed, builder.Name()
	for _, input := range source.Inputs {
		manifest.AddInput(input.Path, input.Data)
	}

	work, err := os.MkdirTemp("", "quorumlab-rtt-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(work)
	log, err := os.Create(filepath.Join(work, "lab.log"))
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	building, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("building the lab took too long"))
	defer cancel()
	lab, err := builder.Build(building, engine.Blueprint{
		Topology: topology, Links: options.Links, Seed: source.Spec.Seed,
		CongestionControl: congestionControl, NodeBinary: node, Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	defer lab.Close()
	manifest.Links, manifest.LinksReason = lab.Links()
	echoes, err := startEchoes(building, topology, work, func(ctx context.Context, host, name string, arguments ...string) (*session, error) {
		process, err := lab.Start(ctx, host, engine.Command{Name: name, Arguments: arguments, Log: log})
		if err != nil {
			return nil, err
		}
		return newSession(process), nil
	})
	if err != nil {
		return nil, nil, err
	}
	measure := func(ctx context.Context, source int, order control.Measure, row func(ping.Row) error) error {
		order.File = fmt.Sprintf("rtt-%d.csv", source)
		_, err := echoes[names[source]].call(ctx, control.Command{Command: control.CommandMeasure, Measure: &order})
		return errors.Join(err, readPings(filepath.Join(work, order.File), len(order.Peers), row))
	}
	return study(ctx, manifest, source.Inputs, addresses, options, measure)
}

// MeasurePeerRTTs has real machines measure the round trips between them. On each
// runs a bench-node echo, at the address that the others reach it by; a name may stand
// before it, as in "berlin=192.0.2.7:7001".
func MeasurePeerRTTs(ctx context.Context, peers []string, options RTTOptions) (*results.Folder, *roundtrip.Study, error) {
	var names, addresses []string
	for _, peer := range peers {
		name, address, named := strings.Cut(peer, "=")
		if !named {
			name, address = peer, peer
		}
		if _, _, err := net.SplitHostPort(address); err != nil || name == "" {
			return nil, nil, fmt.Errorf("%w: %q is no host:port, nor a name=host:port", ErrPeers, peer)
		}
		for _, other := range names {
			if other == name {
				return nil, nil, fmt.Errorf("%w: %q stands twice", ErrPeers, name)
			}
		}
		names, addresses = append(names, name), append(addresses, address)
	}
	if len(peers) < 2 && !options.Self {
		return nil, nil, fmt.Errorf("%w: there is %d, want two or more", ErrPeers, len(peers))
	}
	manifest := rttManifest("rtt", options, rttPlan(names, options), "")
	manifest.Engine, manifest.EngineReason = "machines", "asked for"
	measure := func(ctx context.Context, source int, order control.Measure, row func(ping.Row) error) error {
		return ping.Ask(ctx, addresses[source], order, row)
	}
	return study(ctx, manifest, nil, addresses, options, measure)
}

// ErrPeers is wrapped by errors about peers that make no sense.
var ErrPeers = errors.New("the machines to measure between")

func rttPlan(names []string, options RTTOptions) *results.RTTPlan {
	o := options.Order
	return &results.RTTPlan{
		Protocol: o.Protocol, Bytes: o.Bytes, Count: o.Count, IntervalNS: o.IntervalNS, TimeoutNS: o.TimeoutNS, Machines: names,
	}
}

func rttManifest(name string, options RTTOptions, plan *results.RTTPlan, node string) results.Manifest {
	return results.Manifest{
		Kind: results.KindRTT, RTT: plan, Experiment: name, Repeat: 1, StartedAt: time.Now(),
		Plan: []results.PlannedTrial{{Trial: 1, Params: []byte("{}")}},
		Tool: results.Tool{Version: Version, Go: runtime.Version(), BenchSHA256: hashFile(ownBinary()),
			NodeSHA256: hashFile(node), CommandLine: options.CommandLine},
		Machine: describeMachine(),
	}
}

// declaredRTTs predicts the round trips of probes.
func declaredRTTs(topology *topologies.Topology, order control.Measure) (map[string]map[string]int64, error) {
	graph, err := topology.Graph()
	if err != nil {
		return nil, err
	}
	paths := make([][][]topologies.Hop, len(topology.Hosts))
	for i := range topology.Hosts {
		paths[i] = graph.From(i)
	}
	frameBytes := int64(order.Bytes + 8 + 20 + 14) // headers of UDP or ICMP, IP, Ethernet
	if order.Protocol == ping.TCP {
		frameBytes += 24 // a longer header, with timestamps
	}
	time := func(path []topologies.Hop) (ns int64) {
		for _, hop := range path {
			p := topology.Parameters(hop)
			ns += int64(p.MeanDelay())
			if p.RateBPS > 0 {
				ns += frameBytes * 8 * 1e9 / p.RateBPS
			}
		}
		return ns
	}
	declared := map[string]map[string]int64{}
	for i, from := range topology.Hosts {
		declared[from.Name] = map[string]int64{}
		for k, to := range topology.Hosts {
			if i == k || paths[i][k] != nil && paths[k][i] != nil {
				declared[from.Name][to.Name] = time(paths[i][k]) + time(paths[k][i])
			}
		}
	}
	return declared, nil
}

// study has all machines measure at once, keeps the rows and derives what follows.
func study(ctx context.Context, manifest results.Manifest, inputs []experiment.Input, addresses []string, options RTTOptions, measure pinger) (*results.Folder, *roundtrip.Study, error) {
	orders := make([]control.Measure, len(addresses))
	for i := range addresses {
		orders[i] = options.Order
		for k, address := range addresses {
			if k != i || options.Self {
				orders[i].Peers = append(orders[i].Peers, control.Peer{Name: manifest.RTT.Machines[k], Address: address})
			}
		}
		if err := ping.Check(orders[i]); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrPeers, err)
		}
	}
	dir := options.Dir
	if dir == "" {
		dir = results.DefaultDir(resultsParent, manifest.Experiment+"-rtt", manifest.StartedAt)
	}
	folder, err := results.Create(dir, manifest)
	if err != nil {
		return nil, nil, err
	}
	for _, input := range inputs {
		if err := folder.WriteInput(input.Path, input.Data); err != nil {
			return folder, nil, err
		}
	}
	if _, err := folder.CreateTrial(1); err != nil {
		return folder, nil, err
	}
	stopped := collectRTTs(ctx, folder, orders, options, measure)
	if stopped != nil && ctx.Err() == nil {
		return folder, nil, stopped
	}
	study, err := SummariseRTTs(folder)
	return folder, study, errors.Join(err, stopped)
}

// collectRTTs writes the rows of all machines as they come. The context's end keeps
// those that have come.
func collectRTTs(ctx context.Context, folder *results.Folder, orders []control.Measure, options RTTOptions, measure pinger) error {
	total := time.Duration(options.Order.Count)*time.Duration(options.Order.IntervalNS) + time.Duration(options.Order.TimeoutNS)
	limited, cancel := context.WithTimeoutCause(ctx, total+lateProbes, fmt.Errorf("the probes took %v longer than they should", lateProbes))
	defer cancel()
	if options.Progress != nil {
		done := make(chan struct{})
		defer close(done)
		go tellProgress(total, options.Progress, done)
	}
	machines := folder.Manifest().RTT.Machines
	var measured error
	err := folder.WriteRTTs(1, func(write func(results.RTTRow) error) error {
		var writing sync.Mutex
		var working errgroup.Group
		for i, order := range orders {
			working.Go(func() error {
				err := measure(limited, i, order, func(r ping.Row) error {
					writing.Lock()
					defer writing.Unlock()
					return write(results.RTTRow{From: machines[i], To: order.Peers[r.Peer].Name, Round: r.Round, SentNS: r.SentNS, RTTNS: r.RTTNS})
				})
				if err != nil {
					return fmt.Errorf("from %s: %w", machines[i], err)
				}
				return nil
			})
		}
		if measured = working.Wait(); ctx.Err() != nil {
			measured = context.Cause(ctx)
			return nil
		}
		return measured
	})
	return errors.Join(err, ifOther(measured, err))
}

// ifOther is err unless it is known already.
func ifOther(err, known error) error {
	if known != nil && errors.Is(known, err) {
		return nil
	}
	return err
}

func tellProgress(total time.Duration, tell func(done, total time.Duration), stop <-chan struct{}) {
	began := time.Now()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			tell(min(time.Since(began), total), total)
		case <-stop:
			return
		}
	}
}

// readPings reads the rows of an echo process. A last line that is torn is left out.
func readPings(path string, peers int, row func(ping.Row) error) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it ended before it began
	}
	if err != nil {
		return err
	}
	defer file.Close()
	reader := bufio.NewReader(file)
	for number := 1; ; number++ {
		line, err := reader.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if number == 1 {
			continue
		}
		var r ping.Row
		if _, err := fmt.Sscanf(line, "%d,%d,%d,%d\n", &r.Peer, &r.Round, &r.SentNS, &r.RTTNS); err != nil || r.Peer < 0 || r.Peer >= peers {
			return fmt.Errorf("%s:%d: %q, want peer,round,sent_ns,rtt_ns", path, number, strings.TrimSpace(line))
		}
		if err := row(r); err != nil {
			return err
		}
	}
}

// SummariseRTTs derives the study of a run folder, and its files, again.
func SummariseRTTs(folder *results.Folder) (*roundtrip.Study, error) {
	plan := folder.Manifest().RTT
	if plan == nil {
		return nil, fmt.Errorf("%s: %w: it has no study of round trips", folder.Dir(), results.ErrManifest)
	}
	study, err := roundtrip.Summarise(folder.RTTs(1), plan.Machines, plan.Protocol, func(from, to string) (float64, bool) {
		ns, known := plan.DeclaredNS[from][to]
		return float64(ns) / 1e6, known
	})
	if err != nil {
		return nil, err
	}
	figures, err := study.Figures()
	if err != nil {
		return study, err
	}
	for name, write := range map[string]func(io.Writer) error{
		rttJSON: study.JSON, rttCSV: study.CSV,
		rttPage: func(w io.Writer) error {
			return study.HTML(w, "Round trips: "+folder.Manifest().Experiment, figures)
		},
	} {
		if err := folder.WriteDerived(name, write); err != nil {
			return study, err
		}
	}
	for _, figure := range figures {
		err := folder.WriteDerived(filepath.Join("figures", results.FileName(figure.Name)+".svg"), func(w io.Writer) error {
			_, err := w.Write(figure.SVG)
			return err
		})
		if err != nil {
			return study, err
		}
	}
	return study, nil
}
