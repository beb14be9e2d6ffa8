package topologies

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWarningsNameTheLinksAndTheReason(t *testing.T) {
	trace := &Trace{Times: times(0, 10_000), Excess: times(0, 1), Align: AlignStart, Gap: GapHold, GapAfter: time.Second, Period: 20 * time.Second}
	bounded := Parameters{Delay: ms, RateBPS: 10_000_000, QueueBytes: 1_000_000}
	for name, test := range map[string]struct {
		topology *Topology
		carries  int64
		want     []string
	}{
		"nothing":                             {Star(3, delayed(20*ms)), 0, nil},
		"good queue":                          {Star(3, bounded), 10_000_000, nil},
		"small queue":                         {Star(3, Parameters{RateBPS: 1_000_000, QueueBytes: 1513}), 0, []string{"The queue of all 3 links is smaller than one full frame of 1514 bytes."}},
		"idle queue":                          {Star(2, Parameters{QueueFrames: 10}), 0, []string{"The queue of h1-s1 and h2-s1 never fills, since there is no rate."}},
		"no bound":                            {Star(5, Parameters{RateBPS: 1_000_000}), 0, []string{"The queue at the rate of all 5 links has no bound: what is sent too fast waits, for seconds if need be, and nothing is dropped (bufferbloat)."}},
		"fast":                                {Star(2, bounded), 9_999_999, []string{"The rate of h1-s1 and h2-s1 is above the about 10 Mbit/s that this machine carries: the machine will be the bottleneck."}},
		"jitter":                              {Star(2, Parameters{Delay: ms, Jitter: 2 * ms, JitterDistribution: JitterNormal}), 0, []string{"The jitter of h1-s1 and h2-s1 is larger than the delay: what would be below 0 is 0, and the mean delay is larger than the declared one."}},
		"added jitter":                        {Star(2, Parameters{Delay: ms, Jitter: 2 * ms, JitterDistribution: JitterPareto}), 0, nil},
		"heavy tail":                          {Star(2, Parameters{Jitter: 2 * ms, JitterDistribution: JitterPareto, JitterShape: 1.5}), 0, []string{"The Pareto jitter of h1-s1 and h2-s1 has a shape of at most 2, so that its variance is infinite: means of latencies won't settle."}},
		"reorder":                             {Star(2, Parameters{Reorder: 0.1}), 0, []string{"No frame of h1-s1 and h2-s1 can be reordered, since there is no delay that it could skip."}},
		"loses all":                           {Star(2, Parameters{Loss: 1}), 0, []string{"No frame gets through h1-s1 and h2-s1: each is lost or corrupted."}},
		"corrupts all":                        {Star(2, Parameters{Corrupt: 1}), 0, []string{"No frame gets through h1-s1 and h2-s1: each is lost or corrupted."}},
		"loses most":                          {Star(2, Parameters{Loss: 0.999, Corrupt: 0.999}), 0, nil},
		"what is doubled and lost leaves one": {Star(2, Parameters{Loss: 1, Duplicate: 0.5}), 0, nil},
		"stuck in bad": {Star(2, Parameters{GilbertElliott: &GilbertElliott{GoodToBad: 0.1, LossBad: 1}}), 0, []string{
			"No frame gets through h1-s1 and h2-s1: each is lost or corrupted.",
			"The Gilbert-Elliott loss of h1-s1 and h2-s1 never leaves its bad state, since bad_to_good is 0."}},
		"never bad": {Star(2, Parameters{GilbertElliott: &GilbertElliott{LossBad: 1}}), 0, nil},
		"a frame a second": {Star(2, Parameters{RateBPS: 12_111, QueueBytes: 1_000_000}), 0, []string{
			"One full frame of 1514 bytes takes longer than a second at the rate of h1-s1 and h2-s1."}},
		"a little faster": {Star(2, Parameters{RateBPS: 12_112, QueueBytes: 1_000_000}), 0, nil},
		"idle shape": {Star(2, Parameters{Delay: ms, JitterShape: 2.5}), 0, []string{
			"The jitter_distribution or jitter_shape of h1-s1 and h2-s1 does nothing, since there is no jitter."}},
		"idle distribution": {Star(2, Parameters{Delay: ms, JitterDistribution: JitterPareto}), 0, []string{
			"The jitter_distribution or jitter_shape of h1-s1 and h2-s1 does nothing, since there is no jitter."}},
		"trace": {Star(2, Parameters{Delay: ms, Trace: trace}), 0, []string{
			"Measured round-trip times give the delays of h1-s1 and h2-s1: that half of each is the delay one way is an assumption.",
			"Most of the trace of h1-s1 and h2-s1 is a gap: its rows are farther apart than gap_after."}},
		"short queue": {Star(2, Parameters{Delay: 20 * ms, RateBPS: 10_000_000, QueueFrames: 66}), 0, []string{
			"The queue of h1-s1 from h1 and h2-s1 from h2 holds less than the bandwidth-delay product of paths through it (up to 100 kB): one TCP flow may not fill the link."}},
		"short queue of a lossy link": {Star(2, Parameters{Delay: 20 * ms, Loss: 0.01, RateBPS: 10_000_000, QueueFrames: 66}), 0, nil},
		"queue as large as that":      {Star(2, Parameters{Delay: 20 * ms, RateBPS: 10_000_000, QueueFrames: 67}), 0, nil},
		"unused": {func() *Topology {
			r := ring(t, ms)
			r.Notes = []string{"A note."}
			return r
		}(), 0, []string{"A note.", "No path between hosts uses s1-s2 and s2-s3."}},
		"cut": {func() *Topology {
			star := Star(3, Parameters{})
			star.Links[1].BToA.Down = true
			return star
		}(), 0, []string{"There is no path from h1 to h2 while links are down, nor between 2 ordered pairs of hosts in all."}},
	} {
		if err := test.topology.Check(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, topology := range []*Topology{test.topology, test.topology.WithMonitors()} {
			if got := Warnings(topology, test.carries); !slices.Equal(got, test.want) {
				t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		}
	}
}

func TestManyLinksShareASentence(t *testing.T) {
	star := Star(10, Parameters{})
	for i := range 7 {
		star.Links[i].AToB.QueueFrames = 5
		if i > 0 {
			star.Links[i].BToA.QueueFrames = 5
		}
	}
	want := []string{"The queue of h1-s1 from h1, h2-s1, h3-s1 and 4 more links never fills, since there is no rate."}
	if got := Warnings(star, 0); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestRatesAreWrittenAsPeopleDo(t *testing.T) {
	for bps, want := range map[int64]string{0: "0 bit/s", 999: "999 bit/s", 1000: "1 kbit/s", 1500: "1.5 kbit/s", 999_999: "1 Mbit/s",
		10_000_000: "10 Mbit/s", 2_345_000_000: "2.35 Gbit/s", 1_000_000_000_000: "1 Tbit/s"} {
		if got := FormatRate(bps); got != want {
			t.Errorf("%d: %s, want %s", bps, got, want)
		}
	}
}
