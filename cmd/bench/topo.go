package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"quorumlab/harness"
	"quorumlab/harness/experiment"
	"quorumlab/topologies"
	"quorumlab/topologies/draw"
)

// topoFlags are those of bench topo.
type topoFlags struct {
	spec     specFlags
	data     string
	point    int
	dot, svg bool
	asJSON   bool
	paths    string
	out      string
	title    string
}

func newTopo(stdout io.Writer) *cobra.Command {
	var f topoFlags
	cmd := &cobra.Command{
		Use:   "topo SPEC | FILE | --data NAME",
		Short: "Show a topology and the paths it predicts",
		Long: `topo draws the network of an experiment and says what it predicts: for each pair
of hosts the way, the delay, the loss, the bottleneck's rate and what is in flight;
the latency that follows from the protocol's message pattern; and what can't be
emulated well. It builds nothing. A file in GraphML, GML or JSON is shown as it is,
and so is the shipped data of wide-area networks (--data).

Of an experiment that sweeps the topology each point is shown; --point takes one.
docs/topologies.md says how to read it.

Exit status: 0 good; 1 the tool failed; 2 bad usage or spec.`,
		Example: `  bench topo experiments/quickstart.yaml
  bench topo experiments/quickstart.yaml --set topology.kind=tree --svg -o tree.svg
  bench topo experiments/quickstart.yaml --dot | dot -Tpdf -o star.pdf
  bench topo backbone.graphml --paths all
  bench topo --data ` + topologies.WANNames()[0] + ` --json | jq .points[0].paths[0]`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if err := f.check(arguments); err != nil {
				return usageError{err}
			}
			shown, err := f.load(cmd, arguments)
			if err != nil {
				return err
			}
			if f.out == "" {
				return f.show(stdout, shown)
			}
			var b bytes.Buffer
			if err := f.show(&b, shown); err != nil {
				return err
			}
			return os.WriteFile(f.out, b.Bytes(), 0o644)
		},
	}
	f.add(cmd)
	return cmd
}

func (f *topoFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.spec.set, "set", nil, "change a field of the spec, as in --set topology.kind=mesh (repeatable)")
	flags.StringVar(&f.data, "data", "", "show shipped data instead of a file: "+strings.Join(topologies.WANNames(), ", "))
	flags.IntVar(&f.point, "point", 0, "show only this point of a sweep, counted from 1")
	flags.BoolVar(&f.dot, "dot", false, "print the graph for Graphviz")
	flags.BoolVar(&f.svg, "svg", false, "print a drawing as SVG")
	flags.BoolVar(&f.asJSON, "json", false, "print topology, paths and warnings as JSON")
	flags.StringVar(&f.paths, "paths", draw.TableSummary, "which paths: auto (many are summed up by roles), processes (each pair of hosts that run some) or all")
	flags.StringVarP(&f.out, "output", "o", "", "write to this file instead of the terminal")
	flags.StringVar(&f.title, "title", "", "a title for --dot and --svg")
}

// check refuses flags and arguments that make no sense together.
func (f *topoFlags) check(arguments []string) error {
	forms := 0
	for _, form := range []bool{f.dot, f.svg, f.asJSON} {
		if form {
			forms++
		}
	}
	switch {
	case forms > 1:
		return errors.New("--dot, --svg and --json exclude each other")
	case !slices.Contains(draw.Tables, f.paths):
		return fmt.Errorf("--paths is %q: want one of %s", f.paths, strings.Join(draw.Tables, ", "))
	case len(arguments) == 0 && f.data == "":
		return errors.New("nothing to show: want an experiment file, a topology's file, or --data NAME")
	case len(arguments) > 0 && f.data != "":
		return fmt.Errorf("both %s and --data %s are given: want one of them", arguments[0], f.data)
	case f.point < 0:
		return fmt.Errorf("--point is %d: want a number from 1", f.point)
	}
	return nil
}

// shownPoint is a topology to show. Its fields are those of --json.
type shownPoint struct {
	// Number counts the experiment's points from 1; 0 for a bare topology.
	Number   int                       `json:"point,omitempty"`
	Params   experiment.Params         `json:"params,omitempty"`
	About    string                    `json:"about,omitempty"`
	Topology *topologies.Topology      `json:"topology"`
	On       map[string][]draw.Process `json:"processes,omitempty"`
	// Paths are left out if there are too many for one document; see PathsLeftOut.
	Paths        []draw.Route `json:"paths"`
	PathsLeftOut bool         `json:"paths_left_out,omitempty"`
	PredictedNS  *int64       `json:"predicted_latency_ns,omitempty"`
	// PredictionNote says what the prediction leaves out; "" if nothing random is on the way.
	PredictionNote string   `json:"prediction_note,omitempty"`
	Warnings       []string `json:"warnings"`
	// sameAs are the numbers of further points with the same network.
	sameAs []int
	// simulated is true if no machine has to carry the frames.
	simulated bool
}

func (p shownPoint) picture(title string) draw.Picture {
	return draw.Picture{Topology: p.Topology, Processes: p.On, Title: title}
}

// load finds what is to be shown.
func (f *topoFlags) load(cmd *cobra.Command, arguments []string) ([]shownPoint, error) {
	bare, err := f.bare(arguments)
	if err != nil {
		return nil, usageError{err}
	}
	if bare != nil {
		if len(f.spec.set) > 0 || f.point > 0 {
			return nil, usageError{errors.New("--set and --point are for experiments: this is a bare topology")}
		}
		bare.Warnings = bareWarnings(bare.Topology)
		return []shownPoint{*bare}, nil
	}
	source, err := f.spec.load(cmd, arguments[0])
	if err != nil {
		return nil, err
	}
	if f.point > len(source.Points) {
		return nil, usageError{fmt.Errorf("--point is %d: %s has %s", f.point, arguments[0], counted(len(source.Points), "point", "points"))}
	}
	return distinct(source, f.point), nil
}

// bare reads what isn't an experiment; nil if it is one.
func (f *topoFlags) bare(arguments []string) (*shownPoint, error) {
	if f.data != "" {
		return shippedData(f.data)
	}
	path := arguments[0]
	if !isTopologyFile(path) {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := topologies.Parse(path, data, topologies.Parameters{})
	if err != nil {
		return nil, err
	}
	return &shownPoint{Topology: t, About: filepath.Base(path)}, nil
}

// shippedData is a network of the data's regions, with a host in each.
func shippedData(name string) (*shownPoint, error) {
	set, err := topologies.WANData(name)
	if err != nil {
		return nil, err
	}
	spec := set.Spec()
	for i := range spec.Regions {
		spec.At = append(spec.At, i)
	}
	t, err := topologies.WAN(spec)
	if err != nil {
		return nil, fmt.Errorf("the data %s: %w", name, err)
	}
	about := fmt.Sprintf("%s: %s (%s, %s; %s)", set.Name, set.Title, set.Measure, set.When(), set.Source)
	return &shownPoint{Topology: t, About: about}, nil
}

// bareWarnings are a bare topology's. Where it has no hosts, each switch gets one for
// them, since without hosts no link would be on a path.
func bareWarnings(t *topologies.Topology) []string {
	if len(t.Hosts) == 0 && len(t.Switches) > 0 {
		if with, err := topologies.AttachHosts(t, len(t.Switches), topologies.Parameters{}, t.Switches); err == nil {
			t = with
		}
	}
	return topologies.Warnings(t, harness.CarriesBPS)
}

// isTopologyFile tells a topology's file from an experiment's, by its ending; or, if
// it is JSON, by its keys, since Coracle's files are experiments in JSON.
func isTopologyFile(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".graphml", ".gml", ".xml":
		return true
	case ".json":
	default:
		return false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(data, &keys) != nil {
		return false
	}
	has := func(key string) bool { return keys[key] != nil }
	return has("nodes") && !has("version") && !has("consensus") && !has("termination")
}

// distinct are the points of an experiment that differ in what is shown, or the one
// asked for.
func distinct(source *experiment.Source, number int) []shownPoint {
	var points []shownPoint
	seen := map[string]int{}
	for i, point := range source.Points {
		if number > 0 && i+1 != number {
			continue
		}
		shown := showPoint(i+1, point)
		key := shown.identity()
		if at, known := seen[key]; known {
			points[at].sameAs = append(points[at].sameAs, i+1)
			continue
		}
		seen[key] = len(points)
		points = append(points, shown)
	}
	for i := range points {
		p := &points[i]
		carries := int64(harness.CarriesBPS)
		if p.simulated {
			carries = 0
		}
		p.Warnings = topologies.Warnings(p.Topology, carries)
	}
	return points
}

func showPoint(number int, point experiment.Point) shownPoint {
	spec := point.Spec
	shown := shownPoint{
		Number: number, Params: point.Params, About: spec.Name, Topology: spec.Network(),
		On: map[string][]draw.Process{}, simulated: spec.Engine == experiment.EngineSim,
	}
	for _, placed := range spec.Deployment() {
		role := strings.Join(placed.Roles, "+")
		shown.On[placed.Host] = append(shown.On[placed.Host], draw.Process{Name: placed.Name, Role: role})
	}
	if predicted, ok := spec.PredictedLatency(); ok {
		ns := int64(predicted)
		shown.PredictedNS, shown.PredictionNote = &ns, spec.PredictionNote()
	}
	return shown
}

// identity is the same for points that look the same.
func (p shownPoint) identity() string {
	text, err := json.Marshal([]any{p.Topology, p.On, p.PredictedNS, p.simulated})
	if err != nil {
		panic("bench topo: a topology that has no JSON: " + err.Error())
	}
	return string(text)
}
