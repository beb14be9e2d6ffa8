package experiment

import (
	"encoding/json"
	"reflect"
	"time"

	"quorumlab/topologies"
)

// Kinds of topologies.
const (
	KindStar   = "star"
	KindLinear = "linear"
	KindTree   = "tree"
	KindMesh   = "mesh"
	KindWAN    = "wan"
	KindCustom = "custom"
	KindFile   = "file"
)

// Kinds lists them all.
var Kinds = []string{KindStar, KindLinear, KindTree, KindMesh, KindWAN, KindCustom, KindFile}

// Rules of placement.
const (
	// PlaceEach gives every process a host of its own.
	PlaceEach = "each"
	// PlaceTogether has the i-th processes of all roles but the clients' share a host.
	PlaceTogether = "together"
	// PlaceRegion deals the processes of each role, which have hosts of their own, to
	// the regions in turn.
	PlaceRegion = "region"
)

// Topology is the network to emulate, and where in it processes run. Sections of other
// kinds than Kind are ignored, so that the kind can be swept.
type Topology struct {
	// Kind is one of Kinds.
	Kind string `yaml:"kind" json:"kind"`
	// Link is what every link is like, in each direction.
	Link Link `yaml:"link" json:"link"`
	// Links change some of the links; later ones win.
	Links  []LinkRule `yaml:"links" json:"links,omitempty"`
	Linear Linear     `yaml:"linear" json:"linear"`
	Tree   Tree       `yaml:"tree" json:"tree"`
	WAN    WAN        `yaml:"wan" json:"wan"`
	Custom Custom     `yaml:"custom" json:"custom"`
	// File is the path of a topology's file, seen from the experiment's.
	File      string        `yaml:"file" json:"file,omitempty"`
	Placement PlacementRule `yaml:"placement" json:"placement"`
}

// Link says how a direction of a link treats frames; topologies.Parameters says what
// each means. What is nil stays what it was: another part of the file, or the defaults,
// say it.
type Link struct {
	Delay              *Delay       `yaml:"delay" json:"delay,omitempty"`
	Jitter             *Duration    `yaml:"jitter" json:"jitter,omitempty"`
	JitterDistribution *string      `yaml:"jitter_distribution" json:"jitter_distribution,omitempty"`
	JitterShape        *float64     `yaml:"jitter_shape" json:"jitter_shape,omitempty"`
	JitterReorders     *bool        `yaml:"jitter_reorders" json:"jitter_reorders,omitempty"`
	Loss               *Probability `yaml:"loss" json:"loss,omitempty"`
	LossCorrelation    *Probability `yaml:"loss_correlation" json:"loss_correlation,omitempty"`
	// GilbertElliott takes the place of Loss, and Loss that of GilbertElliott: the
	// later of the two holds.
	GilbertElliott     *GilbertElliott `yaml:"gilbert_elliott" json:"gilbert_elliott,omitempty"`
	Duplicate          *Probability    `yaml:"duplicate" json:"duplicate,omitempty"`
	Corrupt            *Probability    `yaml:"corrupt" json:"corrupt,omitempty"`
	Reorder            *Probability    `yaml:"reorder" json:"reorder,omitempty"`
	ReorderGap         *int            `yaml:"reorder_gap" json:"reorder_gap,omitempty"`
	ReorderCorrelation *Probability    `yaml:"reorder_correlation" json:"reorder_correlation,omitempty"`
	Rate               *BitRate        `yaml:"rate" json:"rate,omitempty"`
	// Queue is in frames, QueueBytes in bytes; 0 means unbounded.
	Queue      *int   `yaml:"queue" json:"queue,omitempty"`
	QueueBytes *Bytes `yaml:"queue_bytes" json:"queue_bytes,omitempty"`
}

// Delay is a propagation delay: a constant, or that of a file of measurements.
type Delay struct {
	// Constant holds where neither Trace nor Table is given.
	Constant Duration `yaml:"-" json:"-"`
	// Trace and Table are paths of files of measurements, seen from the experiment's
	// file: one replayed in time, the other drawn from.
	Trace string `yaml:"trace" json:"trace,omitempty"`
	Table string `yaml:"table" json:"table,omitempty"`
	// Align, Gap and GapAfter belong to a trace; see topologies.Trace. An empty Align is
	// start, a GapAfter of 0 five times the median interval between rows. Gap may be
	// empty if the trace has no gap.
	Align    string   `yaml:"align" json:"align,omitempty"`
	Gap      string   `yaml:"gap" json:"gap,omitempty"`
	GapAfter Duration `yaml:"gap_after" json:"gap_after,omitempty"`
}

func (d *Delay) short(text string) (err error) {
	d.Constant, err = ParseDuration(text)
	return err
}

func (*Delay) want() string { return wantDuration }

func (d *Delay) incomplete() string {
	switch {
	case d.Trace == "" && d.Table == "":
		return "has neither a trace nor a table: want one of them, the path of a file, or a duration such as 20ms"
	case d.Trace != "" && d.Table != "":
		return "has both a trace and a table: want one of them"
	case d.Table != "" && (d.Align != "" || d.Gap != "" || d.GapAfter != 0):
		return "has a table beside align, gap or gap_after: want these with a trace only"
	}
	return ""
}

// MarshalJSON writes the constant as the scalar that it is.
func (d Delay) MarshalJSON() ([]byte, error) {
	if d.Trace == "" && d.Table == "" {
		return json.Marshal(d.Constant)
	}
	type mapping Delay
	return json.Marshal(mapping(d))
}

// GilbertElliott is the loss model of two states; see topologies.GilbertElliott.
type GilbertElliott struct {
	GoodToBad Probability `yaml:"good_to_bad" json:"good_to_bad"`
	BadToGood Probability `yaml:"bad_to_good" json:"bad_to_good"`
	LossGood  Probability `yaml:"loss_good" json:"loss_good"`
	LossBad   Probability `yaml:"loss_bad" json:"loss_bad"`
}

func (g *GilbertElliott) prepare() { g.LossBad = 1 }

// LinkRule changes the links of some names.
type LinkRule struct {
	// Match are the links' names, or patterns of them as of path.Match.
	Match []string `yaml:"match" json:"match"`
	// From restricts the change to the directions that leave nodes of these names or
	// patterns; empty means both directions.
	From []string `yaml:"from" json:"from,omitempty"`
	Link `yaml:",inline"`
}

// Linear is for the kind linear.
type Linear struct {
	// Switches is "role", a switch for each role, or "host", one for each host.
	Switches string `yaml:"switches" json:"switches"`
}

// Tree is for the kind tree.
type Tree struct {
	// FanOut is how many branches each switch has, Depth how many levels of switches
	// there are; 0 is the least that suffices.
	FanOut int `yaml:"fan_out" json:"fan_out"`
	Depth  int `yaml:"depth" json:"depth"`
}

// WAN is for the kind wan: either Data or Regions with one of RTT and OneWay.
type WAN struct {
	// Data is the name of data that topologies has.
	Data    string   `yaml:"data" json:"data,omitempty"`
	Regions []string `yaml:"regions" json:"regions,omitempty"`
	// RTT are round trips between regions, OneWay the delays from the row's region to
	// the column's.
	RTT    [][]Duration `yaml:"rtt" json:"rtt,omitempty"`
	OneWay [][]Duration `yaml:"one_way" json:"one_way,omitempty"`
	// Link is what the links between regions are like, apart from their delay.
	Link Link `yaml:"link" json:"link"`
}

// Custom is for the kind custom.
type Custom struct {
	Hosts    []string     `yaml:"hosts" json:"hosts,omitempty"`
	Switches []string     `yaml:"switches" json:"switches,omitempty"`
	Links    []CustomLink `yaml:"links" json:"links,omitempty"`
}

// CustomLink is a link of a custom topology.
type CustomLink struct {
	// Name is, if empty, made of the two nodes': a-b.
	Name string `yaml:"name" json:"name,omitempty"`
	// Between are the two hosts or switches that it joins.
	Between []string `yaml:"between" json:"between"`
	Link    `yaml:",inline"`
}

// PlacementRule says on which hosts processes run.
type PlacementRule struct {
	// By is one of the rules of placement.
	By string `yaml:"by" json:"by"`
	// At maps roles, in the plural, or names of processes to the hosts, regions or
	// switches that these are dealt to in turn. A process's name outranks its role.
	At map[string][]string `yaml:"at" json:"at,omitempty"`
}

func (p *PlacementRule) short(text string) error {
	p.By = text
	return nil
}

func (*PlacementRule) incomplete() string { return "" }

func (*PlacementRule) want() string {
	return "each, together or region, or a mapping with the keys by and at"
}

// defaultTopology is a star of 20 ms links. What the delay is if nothing says it
// depends on the kind.
func defaultTopology() Topology {
	distribution, rate, queue := topologies.JitterNormal, BitRate(1e9), 10_000_000
	return Topology{
		Kind:      KindStar,
		Link:      Link{JitterDistribution: &distribution, Rate: &rate, Queue: &queue},
		Linear:    Linear{Switches: linearByRole},
		Tree:      Tree{FanOut: 2},
		Placement: PlacementRule{By: PlaceEach},
	}
}

// defaultDelay is the delay of a link that nothing in the file gives one; in a wan
// it is the regions that are far apart.
func defaultDelay(kind string) time.Duration {
	if kind == KindWAN {
		return 0
	}
	return 20 * time.Millisecond
}

// given tells whether the link says anything.
func (l Link) given() bool { return !reflect.ValueOf(l).IsZero() }
