package calibrate

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"quorumlab/topologies"
)

func TestWhatARecordShows(t *testing.T) {
	sent := []int64{0, 100, 200, 300, 400, 500, 600, 700}
	// 1 and 2 are missing, as is 7; 4 came before 3, then twice more; 6 before 5.
	r := &record{sentNS: sent, arrivals: []arrival{{0, 50}, {4, 450}, {3, 460}, {4, 470}, {4, 475}, {6, 650}, {5, 660}}}
	got := observe(r, 2)
	want := observation{frames: 8, delaysNS: []float64{50, 50, 50, 160, 160}, missing: 3, runs: 2, doubled: 1, overtaking: 2, followed: 1}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := observe(&record{sentNS: sent}, 1); got.missing != 8 || got.runs != 1 || len(got.delaysNS) > 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestRowsAreReadOrRefused(t *testing.T) {
	rows, err := parseRows("0,5,9\n2,7,11\n", 3)
	if err != nil || len(rows) != 2 || rows[1] != [3]int64{2, 7, 11} {
		t.Errorf("%v, %v", rows, err)
	}
	for _, bad := range []string{"0,5\n", "0,5,9", "0,5,9\n\n", "0,x,9\n", "-1,5,9\n", "0,5,9,1\n", "0, 5,9\n"} {
		if rows, err := parseRows(bad, 3); err == nil {
			t.Errorf("%q gives %v", bad, rows)
		}
	}
}

func FuzzRowsNeverPanic(f *testing.F) {
	f.Add("0,5,9\n2,7,11\n")
	f.Add("0,5")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := parseRows(text, 3)
		if err == nil && len(rows) != strings.Count(text, "\n") {
			t.Errorf("%d rows of %q", len(rows), text)
		}
	})
}

func TestEachDirectionIsMeasuredBetweenTheStationsAtItsEnds(t *testing.T) {
	topology := topologies.Star(2, topologies.Parameters{Delay: time.Millisecond})
	topology.Switches = append(topology.Switches, "s2")
	topology.Hosts = append(topology.Hosts, topologies.Host{Name: "h3", Address: topologies.Address(2)})
	topology.Links = append(topology.Links,
		topologies.Link{Name: "s1-s2", A: "s1", B: "s2", BToA: topologies.Parameters{Down: true}},
		topologies.Link{Name: "h3-s2", A: "h3", B: "s2", AToB: topologies.Parameters{Loss: 0.1}})
	all, err := directions(topology.WithMonitors())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range all {
		got = append(got, d.String()+" "+d.sender+" "+d.receiver+d.untestable)
	}
	want := []string{
		"h1-s1 (h1 to s1) h1 @s1", "h1-s1 (s1 to h1) @s1 h1", "h2-s1 (h2 to s1) h2 @s1", "h2-s1 (s1 to h2) @s1 h2",
		"s1-s2 (s1 to s2) @s1 @s2", "s1-s2 (s2 to s1) @s2 @s1", "h3-s2 (h3 to s2) h3 @s2", "h3-s2 (s2 to h3) @s2 h3",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if p := all[6].declared; p.Loss != 0.1 || all[6].reverse || !all[7].reverse {
		t.Errorf("%+v", all[6])
	}
	without, err := directions(topology)
	if err != nil || without[0].untestable == "" {
		t.Errorf("without monitors: %+v, %v", without[0], err)
	}
}

// A way round a direction that is down would be measured in its place.
func TestADirectionThatFramesGoRoundIsNotTested(t *testing.T) {
	topology := &topologies.Topology{Switches: []string{"a", "b", "c"}, Links: []topologies.Link{
		{Name: "a-b", A: "a", B: "b", AToB: topologies.Parameters{Down: true}}, {Name: "b-c", A: "b", B: "c"}, {Name: "c-a", A: "c", B: "a"},
	}}
	all, err := directions(topology.WithMonitors())
	if err != nil || all[0].untestable == "" || all[1].untestable != "" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestStreamsStayWithinTheirTimeAndRate(t *testing.T) {
	declared := []topologies.Parameters{plain, normal, lossy, gilbert, skipping, all, down, {RateBPS: 64_000, Delay: ms}}
	for _, window := range []time.Duration{500 * ms, 5 * time.Second, 50 * time.Second} {
		total := 0
		for i, o := range planStreams(declared, window) {
			p := declared[i]
			if lasts := time.Duration(o.frames) * o.interval; lasts > window+5*o.interval {
				t.Errorf("%v: direction %d takes %v", window, i, lasts)
			}
			if o.frames < 5 || o.interval < leastInterval || o.interval < 2*serialisation(o.bytes, p.RateBPS) || o.bytes < 64 {
				t.Errorf("%v: direction %d: %+v", window, i, o)
			}
			total += o.frames
		}
		if most := int(window.Seconds()*streamRate) + 20*len(declared); total > most {
			t.Errorf("%v: %d frames, at most %d", window, total, most)
		}
	}
}

func TestBurstsFillTheQueueOrSayWhyNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      topologies.Parameters
		kind   string
		reason string
	}{
		{"frames", slow, kindBurst, ""},
		{"bytes", slowByte, kindBurstBytes, ""},
		{"one frame", topologies.Parameters{RateBPS: 1_000_000, QueueFrames: 1}, kindBurst, ""},
		{"no rate", topologies.Parameters{QueueFrames: 10}, kindBurst, "without a rate nothing waits"},
		{"too many", topologies.Parameters{RateBPS: 1_000_000_000, QueueFrames: 1_000_000}, kindBurst, "it is too large to be filled"},
		{"too much", topologies.Parameters{RateBPS: 1_000_000_000, QueueBytes: 1 << 30}, kindBurstBytes, "it is too large to be filled"},
		{"bytes bind", topologies.Parameters{RateBPS: 10_000_000, QueueFrames: 100, QueueBytes: 2000}, kindBurst, "the queue is full by bytes first"},
		{"frames bind", topologies.Parameters{RateBPS: 10_000_000, QueueFrames: 1, QueueBytes: 20_000}, kindBurstBytes, "the queue is full by frames first"},
	} {
		o, reason := planBurst(c.p, c.kind)
		if reason != c.reason {
			t.Errorf("%s: %q, want %q", c.name, reason, c.reason)
		}
		if reason == "" && droppedOf(departures(c.p, nominal(o))) < 3 {
			t.Errorf("%s: %+v doesn't fill it", c.name, o)
		}
	}
}
