package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

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
	// Point is which of the experiment's points has the lab, from 0; Links and NodeBinary
	// are as in Options. All are for labs only.
	Point      int
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

// lateProbes is how long a machine may take beyond its last probe's timeout: to connect,
// and to send its rows.
const lateProbes = 20 * time.Second

// pinger has one machine measure: it hands out the rows of one source.
type pinger func(ctx context.Context, source int, order control.Measure, row func(ping.Row) error) error

// MeasureLabRTTs builds the lab of a point of an experiment, without load, and measures
// the round trips between all its hosts. If the context ends early, or a machine fails
// once it has begun, the study has what was measured beside the error.
func MeasureLabRTTs(ctx context.Context, source *experiment.Source, options RTTOptions) (*results.Folder, *roundtrip.Study, error) {
	builder, err := chooseBuilder(ctx, source.Spec.Engine)
	if errors.Is(err, ErrNoHosts) {
		return nil, nil, fmt.Errorf("measuring round trips: %w; want --engine %s", err, defaultEngine)
	}
	if err != nil {
		return nil, nil, err
	}
	node, err := findNode(options.NodeBinary)
	if err != nil {
		return nil, nil, err
	}
	if options.Point < 0 || options.Point >= len(source.Points) {
		return nil, nil, fmt.Errorf("%w: the point is number %d, want 1 to %d", ErrProbes, options.Point+1, len(source.Points))
	}
	point := source.Points[options.Point]
	topology := point.Spec.Network()
	var names, addresses []string
	for _, host := range topology.Hosts {
		names = append(names, host.Name)
		addresses = append(addresses, net.JoinHostPort(host.Address.String(), strconv.Itoa(echoPort)))
	}
	plan := rttPlan(names, options)
	orders, err := rttOrders(plan, addresses, options)
	if err != nil {
		return nil, nil, err
	}
	if plan.DeclaredNS, err = declaredRTTs(topology, options.Order); err != nil {
		return nil, nil, err
	}
	manifest := rttManifest(source.Spec.Name, options, plan, node)
	manifest.SpecFile, manifest.Spec, manifest.Overrides = source.File, string(source.Data), source.Overrides
	manifest.Seed, manifest.Engine = source.Spec.Seed, builder.Name()
	manifest.Plan[0].Point = options.Point
	if manifest.Plan[0].Params, err = json.Marshal(point.Params); err != nil {
		return nil, nil, err
	}
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
	starting, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the echo processes did not start in time"))
	defer cancel()
	echoes, err := startEchoes(starting, topology, work, func(ctx context.Context, host, name string, arguments ...string) (*session, error) {
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
	return study(ctx, manifest, source.Inputs, orders, options, measure)
}

// MeasurePeerRTTs has real machines measure the round trips between them. On each
// runs a bench-node echo, at the address that the others reach it by; a name may stand
// before it, as in "berlin=192.0.2.7:7001".
func MeasurePeerRTTs(ctx context.Context, peers []string, options RTTOptions) (*results.Folder, *roundtrip.Study, error) {
	names, addresses, err := parsePeers(peers)
	if err != nil {
		return nil, nil, err
	}
	if len(peers) < 2 && !options.Self {
		return nil, nil, fmt.Errorf("%w: there is %d, want two or more", ErrPeers, len(peers))
	}
	plan := rttPlan(names, options)
	orders, err := rttOrders(plan, addresses, options)
	if err != nil {
		return nil, nil, err
	}
	manifest := rttManifest("rtt", options, plan, "")
	manifest.Engine, manifest.EngineReason = "machines", "asked for"
	measure := func(ctx context.Context, source int, order control.Measure, row func(ping.Row) error) error {
		return ping.Ask(ctx, addresses[source], order, row)
	}
	return study(ctx, manifest, nil, orders, options, measure)
}

// Errors about what was asked for: ErrPeers about machines, ErrProbes about probes.
var (
	ErrPeers  = errors.New("--peers")
	ErrProbes = errors.New("the probes to send")
)

// parsePeers reads machines as host:port or name=host:port.
func parsePeers(peers []string) (names, addresses []string, err error) {
	var local []string
	for _, peer := range peers {
		name, address, named := strings.Cut(peer, "=")
		if !named {
			name, address = peer, peer
		}
		host, port, err := net.SplitHostPort(address)
		number, badPort := strconv.ParseUint(port, 10, 16)
		switch ip, noIP := netip.ParseAddr(host); {
		case err != nil || name == "" || host == "":
			return nil, nil, fmt.Errorf("%w: %q is no host:port, nor a name=host:port", ErrPeers, peer)
		case badPort != nil || number == 0:
			return nil, nil, fmt.Errorf("%w: %q has the port %q, want 1 to 65535", ErrPeers, peer, port)
		case slices.Contains(names, name):
			return nil, nil, fmt.Errorf("%w: %q stands twice", ErrPeers, name)
		case noIP == nil && !ip.Unmap().Is4():
			return nil, nil, fmt.Errorf("%w: %q is no IPv4 address", ErrPeers, peer)
		case noIP == nil && ip.IsUnspecified():
			return nil, nil, fmt.Errorf("%w: %q is no machine's address", ErrPeers, peer)
		case noIP == nil && ip.Unmap().IsLoopback(), host == "localhost":
			local = append(local, peer)
		}
		names, addresses = append(names, name), append(addresses, address)
	}
	if len(local) > 0 && len(local) < len(peers) {
		return nil, nil, fmt.Errorf("%w: %q is another machine on each: want the address by which the others reach it",
			ErrPeers, local[0])
	}
	return names, addresses, nil
}

// rttOrders are what each machine is to send, checked.
func rttOrders(plan *results.RTTPlan, addresses []string, options RTTOptions) ([]control.Measure, error) {
	orders := make([]control.Measure, len(addresses))
	for i := range addresses {
		orders[i] = options.Order
		for k, address := range addresses {
			if k != i || options.Self {
				orders[i].Peers = append(orders[i].Peers, control.Peer{Name: plan.Machines[k], Address: address})
			}
		}
		if err := ping.Check(orders[i]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProbes, err)
		}
	}
	return orders, nil
}

func rttPlan(names []string, options RTTOptions) *results.RTTPlan {
	o := options.Order
	return &results.RTTPlan{
		Protocol: o.Protocol, Bytes: o.Bytes, Count: o.Count, IntervalNS: o.IntervalNS, TimeoutNS: o.TimeoutNS,
		Machines: names, Self: options.Self,
	}
}

func rttManifest(name string, options RTTOptions, plan *results.RTTPlan, node string) results.Manifest {
	return results.Manifest{
		Kind: results.KindRTT, RTT: plan, Experiment: name, Repeat: 1, StartedAt: time.Now(),
		Plan: []results.PlannedTrial{{Trial: 1, Params: []byte("{}")}},
		Tool: describeTool(node, options.CommandLine), Machine: describeMachine(),
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
func study(ctx context.Context, manifest results.Manifest, inputs []experiment.Input, orders []control.Measure, options RTTOptions, measure pinger) (*results.Folder, *roundtrip.Study, error) {
	dir := options.Dir
	if dir == "" {
		dir = results.DefaultDir(resultsParent, manifest.Experiment+"-rtt", manifest.StartedAt)
	}
	_, missing := os.Lstat(dir)
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
	rows, stopped := collectRTTs(ctx, folder, orders, options, measure)
	if stopped != nil && rows == 0 {
		if errors.Is(missing, os.ErrNotExist) { // the folder is ours, and empty
			stopped = errors.Join(stopped, os.RemoveAll(dir))
			return nil, nil, stopped
		}
		return folder, nil, stopped
	}
	study, err := SummariseRTTs(folder)
	return folder, study, errors.Join(stopped, err)
}

// collectRTTs writes the rows of all machines as they come, and tells how many came.
// Those that came are kept whatever happens then; only an error of the folder loses them.
func collectRTTs(ctx context.Context, folder *results.Folder, orders []control.Measure, options RTTOptions, measure pinger) (rows int, err error) {
	total := time.Duration(options.Order.Count)*time.Duration(options.Order.IntervalNS) + time.Duration(options.Order.TimeoutNS)
	limited, cancel := context.WithTimeoutCause(ctx, total+lateProbes, fmt.Errorf("the probes took %v longer than they should", lateProbes))
	defer cancel()
	if options.Progress != nil {
		defer tellProgress(total, options.Progress)()
	}
	c := collection{machines: folder.Manifest().RTT.Machines, orders: orders, measure: measure}
	err = folder.WriteRTTs(1, func(write func(results.RTTRow) error) error {
		c.write = write
		c.collect(limited)
		return c.unwritten
	})
	switch {
	case err != nil:
		return 0, err
	case ctx.Err() != nil:
		return c.rows, context.Cause(ctx)
	}
	return c.rows, errors.Join(c.failures...)
}

// collection gathers the rows of all machines.
type collection struct {
	machines []string
	orders   []control.Measure
	measure  pinger
	write    func(results.RTTRow) error

	mu        sync.Mutex
	rows      int
	unwritten error
	failures  []error
}

// collect has all machines measure. One that fails before its first row was asked for
// something that can't be, which ends the study at once; if one fails later the others
// carry on.
func (c *collection) collect(ctx context.Context) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var working sync.WaitGroup
	for i, order := range c.orders {
		working.Go(func() {
			begun := false
			err := c.measure(ctx, i, order, func(r ping.Row) error {
				begun = true
				return c.add(results.RTTRow{From: c.machines[i], To: order.Peers[r.Peer].Name, Round: r.Round, SentNS: r.SentNS, RTTNS: r.RTTNS})
			})
			if err == nil {
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if ctx.Err() != nil && len(c.failures) > 0 {
				return // a consequence of another's failure, which is told already
			}
			err = fmt.Errorf("from %s: %w", c.machines[i], err)
			c.failures = append(c.failures, err)
			if !begun || c.unwritten != nil {
				stop(err)
			}
		})
	}
	working.Wait()
}

func (c *collection) add(row results.RTTRow) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unwritten == nil {
		c.rows++
		c.unwritten = c.write(row)
	}
	return c.unwritten
}

// tellProgress tells now and then how far it is, until it is told to stop.
func tellProgress(total time.Duration, tell func(done, total time.Duration)) (stop func()) {
	began := time.Now()
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(250 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				tell(min(time.Since(began), total), total)
			case <-ending:
				return
			}
		}
	}()
	return func() { close(ending); <-ended }
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
		r, ok := parsePing(line)
		if !ok || r.Peer < 0 || r.Peer >= peers {
			return fmt.Errorf("%s:%d: %q, want peer,round,sent_ns,rtt_ns", path, number, strings.TrimSpace(line))
		}
		if err := row(r); err != nil {
			return err
		}
	}
}

func parsePing(line string) (r ping.Row, ok bool) {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), ",")
	if len(fields) != 4 {
		return r, false
	}
	var numbers [4]int64
	for i, field := range fields {
		var err error
		if numbers[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return r, false
		}
	}
	return ping.Row{Peer: int(numbers[0]), Round: int(numbers[1]), SentNS: numbers[2], RTTNS: numbers[3]}, true
}

// SummariseRTTs derives the study of a run folder, and its files, again.
func SummariseRTTs(folder *results.Folder) (*roundtrip.Study, error) {
	plan := folder.Manifest().RTT
	if plan == nil {
		return nil, fmt.Errorf("%s: %w: it has no study of round trips", folder.Dir(), results.ErrManifest)
	}
	study, err := roundtrip.Summarise(folder.RTTs(1), plan)
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
	taken := map[string]bool{}
	for _, figure := range figures {
		err := folder.WriteDerived(filepath.Join("figures", figureFile(figure.Name, taken)), func(w io.Writer) error {
			_, err := w.Write(figure.SVG)
			return err
		})
		if err != nil {
			return study, err
		}
	}
	return study, nil
}

// figureFile makes of a figure's name that of a file that no other figure has: names of
// machines that differ may be alike once they are fit for files.
func figureFile(name string, taken map[string]bool) string {
	base := results.FileName(name)
	file := base
	for i := 2; taken[strings.ToLower(file)]; i++ { // some file systems don't tell A from a
		file = fmt.Sprintf("%s-%d", base, i)
	}
	taken[strings.ToLower(file)] = true
	return file + ".svg"
}
