package topologies

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q lacks %q", err, word)
		}
	}
}

func TestNonsenseTopologiesAreRefusedWithTheReason(t *testing.T) {
	good := func() *Topology { return Star(3, delayed(20*ms)) }
	for name, test := range map[string]struct {
		spoil func(t *Topology)
		want  []string
	}{
		"host twice":         {func(t *Topology) { t.Hosts[1].Name = "h1" }, []string{`"h1"`, "twice"}},
		"host and switch":    {func(t *Topology) { t.Switches = append(t.Switches, "h2") }, []string{`"h2"`, "twice"}},
		"empty host":         {func(t *Topology) { t.Hosts[0].Name = "" }, []string{"host", "empty name"}},
		"empty switch":       {func(t *Topology) { t.Switches = append(t.Switches, "") }, []string{"switch", "empty name"}},
		"empty link":         {func(t *Topology) { t.Links[0].Name = "" }, []string{"link", "empty name"}},
		"reserved host":      {func(t *Topology) { t.Hosts[0].Name = "@h1" }, []string{`"@h1"`, "reserved"}},
		"reserved switch":    {func(t *Topology) { t.Switches = append(t.Switches, "@s1") }, []string{`"@s1"`, "reserved"}},
		"reserved link":      {func(t *Topology) { t.Links[0].Name = "@x" }, []string{`"@x"`, "reserved"}},
		"space":              {func(t *Topology) { t.Switches = append(t.Switches, "New York") }, []string{`"New York"`, "' '"}},
		"slash":              {func(t *Topology) { t.Links[0].Name = "../etc" }, []string{`"../etc"`}},
		"star":               {func(t *Topology) { t.Links[0].Name = "h*" }, []string{`'*'`}},
		"hyphen first":       {func(t *Topology) { t.Links[0].Name = "-rf" }, []string{`'-'`}},
		"not UTF-8":          {func(t *Topology) { t.Hosts[0].Name = "h\xff" }, []string{"letters"}},
		"long host":          {func(t *Topology) { t.Hosts[0].Name = strings.Repeat("h", 65) }, []string{"65 bytes", "at most 64"}},
		"long link":          {func(t *Topology) { t.Links[0].Name = strings.Repeat("h", 130) }, []string{"130 bytes", "at most 129"}},
		"self-link":          {func(t *Topology) { t.Links[0].B = "h1" }, []string{`"h1-s1"`, `"h1" and "h1"`}},
		"unknown end":        {func(t *Topology) { t.Links[0].B = "s9" }, []string{`"h1-s1"`, `"s9"`}},
		"two links one name": {func(t *Topology) { t.Links[1].Name = "h1-s1" }, []string{"two links", `"h1-s1"`}},
		"two links one pair": {func(t *Topology) {
			t.Links = append(t.Links, Link{Name: "again", A: "s1", B: "h1"})
		}, []string{`"h1-s1"`, `"again"`, "s1 and h1"}},
		"unreachable":   {func(t *Topology) { t.Links = t.Links[:2] }, []string{`"h1" can't reach host "h3"`, "don't forward"}},
		"address":       {func(t *Topology) { t.Hosts[0].Address = netip.Addr{} }, []string{`"h1"`, "198.18.0.0/15"}},
		"address twice": {func(t *Topology) { t.Hosts[0].Address = t.Hosts[1].Address }, []string{`"h1" and "h2"`, "same address"}},
		"routing":       {func(t *Topology) { t.Routing = "best" }, []string{`"best"`, "delay or hops"}},
		"too large":     {func(t *Topology) { t.Switches = make([]string, MaxNodes) }, []string{"at most 20000"}},
		"parameters":    {func(t *Topology) { t.Links[1].BToA.Loss = 2 }, []string{`"h2-s1", from s1 to h2`, "loss is 2", "0.1%"}},
		"fake monitor":  {func(t *Topology) { t.Hosts[0].Name = "@h1 x"; t.Hosts[0].Monitor = true }, []string{"' '"}},
	} {
		t.Run(name, func(t *testing.T) {
			topology := good()
			if err := topology.Check(); err != nil {
				t.Fatal(err)
			}
			test.spoil(topology)
			wantError(t, topology.Check(), test.want...)
		})
	}
}

func TestATopologyWithMonitorsPassesItsCheck(t *testing.T) {
	if err := ring(t, 0).WithMonitors().Check(); err != nil {
		t.Error(err)
	}
}

func TestALinkErrorLeadsToTheParameter(t *testing.T) {
	topology := Star(2, Parameters{RateBPS: 1})
	err := topology.Check()
	var link *LinkError
	var parameter *ParameterError
	if !errors.As(err, &link) || link.Link != "h1-s1" || link.From != "h1" || !errors.As(err, &parameter) || parameter.Field != "rate" {
		t.Errorf("error %#v", err)
	}
}

func TestHostsReachEachOtherOverSeveralNetworksOrDirectly(t *testing.T) {
	// h1 is on a, h2 on a and b, h3 on b; h1 and h3 have a link of their own.
	links := []Link{joined("h1", "a", Parameters{}), joined("h2", "a", Parameters{}), joined("h2", "b", Parameters{}), joined("h3", "b", Parameters{})}
	_, err := Custom([]string{"h1", "h2", "h3"}, []string{"a", "b"}, links)
	wantError(t, err, `"h1" can't reach host "h3"`)
	custom(t, []string{"h1", "h2", "h3"}, []string{"a", "b"}, append(links, joined("h1", "h3", Parameters{}))...)
	custom(t, []string{"h1"}, nil)
}

func TestALinkThatIsDownStillJoins(t *testing.T) {
	topology := Star(2, Parameters{})
	topology.Links[0].AToB.Down = true
	if err := topology.Check(); err != nil {
		t.Error(err)
	}
}

func TestLargeTopologiesAreCheckedQuickly(t *testing.T) {
	// As bad as it gets: every host is on all networks but one, so that no network has
	// all of them.
	topology := &Topology{}
	const hosts, networks = 2000, 50
	for i := range networks {
		topology.Switches = append(topology.Switches, "s"+string(rune('A'+i%26))+string(rune('a'+i/26)))
	}
	for i := range hosts {
		name := "h" + strings.Repeat("x", i%7) + time.Duration(i).String()
		topology.Hosts = append(topology.Hosts, Host{Name: name, Address: Address(i)})
		for j, network := range topology.Switches {
			if j != i%networks {
				topology.Links = append(topology.Links, Link{Name: name + network, A: name, B: network})
			}
		}
	}
	begun := time.Now()
	if err := topology.Check(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > time.Minute { // it takes a fraction of a second
		t.Errorf("took %v", took)
	}
}

func TestBadParametersAreRefusedByTheirField(t *testing.T) {
	table := func(excess ...time.Duration) *Table { return &Table{Excess: excess} }
	trace := func(spoil func(t *Trace)) *Trace {
		t := &Trace{Times: []time.Duration{0, time.Second}, Excess: []time.Duration{0, ms}, Align: AlignStart, Gap: GapHold,
			GapAfter: 5 * time.Second, Period: 2 * time.Second}
		spoil(t)
		return t
	}
	for field, all := range map[string][]Parameters{
		"delay":                       {{Delay: -1}, {Delay: 2 * time.Hour}},
		"jitter":                      {{Jitter: -1}, {Jitter: 2 * time.Hour}, {Jitter: ms, Trace: trace(func(*Trace) {})}, {Jitter: ms, JitterTable: table(0), JitterDistribution: JitterTable}},
		"jitter_distribution":         {{Jitter: ms}, {Jitter: ms, JitterDistribution: "gauss"}, {JitterDistribution: "gauss"}, {JitterDistribution: JitterTable}},
		"jitter_shape":                {{JitterShape: 1}, {JitterShape: math.NaN()}, {JitterShape: 2000}},
		"table":                       {{JitterTable: table(), JitterDistribution: JitterTable}, {JitterTable: table(2, 1), JitterDistribution: JitterTable}, {JitterTable: table(-1), JitterDistribution: JitterTable}},
		"loss":                        {{Loss: -0.1}, {Loss: 1.1}, {Loss: math.NaN()}, {Loss: 0.1, GilbertElliott: &GilbertElliott{}}},
		"duplicate":                   {{Duplicate: 2}},
		"corrupt":                     {{Corrupt: math.Inf(1)}},
		"reorder":                     {{Reorder: -1}},
		"loss_correlation":            {{LossCorrelation: 0.5}, {Loss: 0.1, LossCorrelation: 1}},
		"reorder_correlation":         {{ReorderCorrelation: 0.5}},
		"reorder_gap":                 {{ReorderGap: 5}, {Reorder: 0.1, ReorderGap: -1}},
		"gilbert_elliott.good_to_bad": {{GilbertElliott: &GilbertElliott{GoodToBad: 2}}},
		"gilbert_elliott.loss_bad":    {{GilbertElliott: &GilbertElliott{LossBad: math.NaN()}}},
		"rate":                        {{RateBPS: -1}, {RateBPS: 999}, {RateBPS: MaxRateBPS + 1}},
		"queue":                       {{QueueFrames: -1}},
		"queue_bytes":                 {{QueueBytes: -1}},
		"align":                       {{Trace: trace(func(t *Trace) { t.Align = "" })}},
		"gap":                         {{Trace: trace(func(t *Trace) { t.Gap = "" })}},
		"gap_after":                   {{Trace: trace(func(t *Trace) { t.GapAfter = 0 })}},
		"trace": {
			{Trace: &Trace{}}, {Trace: trace(func(t *Trace) { t.Times[0] = 1 })}, {Trace: trace(func(t *Trace) { t.Times[1] = 0 })},
			{Trace: trace(func(t *Trace) { t.Period = time.Second })}, {Trace: trace(func(t *Trace) { t.Excess = []time.Duration{-1, -1} })},
			{Trace: trace(func(t *Trace) { t.Excess = t.Excess[:1] })}, {Trace: trace(func(t *Trace) { t.Excess[0] = 2 * time.Hour })},
		},
	} {
		for i, p := range all {
			var parameter *ParameterError
			if err := p.Check(); !errors.As(err, &parameter) || parameter.Field != field {
				t.Errorf("%s, case %d: error %v", field, i, err)
			}
		}
	}
	for i, p := range []Parameters{
		{}, {Delay: MaxDelay, Jitter: ms, JitterDistribution: JitterPareto, JitterShape: 1.5}, {Loss: 1}, {Down: true},
		{Trace: trace(func(*Trace) {})}, {JitterTable: table(0, 1, 1), JitterDistribution: JitterTable},
		{Loss: 0.1, LossCorrelation: 0.9, Reorder: 0.5, ReorderGap: 3, ReorderCorrelation: 0.1, RateBPS: 1000, QueueFrames: 1, QueueBytes: 1},
	} {
		if err := p.Check(); err != nil {
			t.Errorf("good parameters %d: %v", i, err)
		}
	}
}
