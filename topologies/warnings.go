package topologies

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// fullFrameBytes is an Ethernet frame of 1,500 bytes and its header.
const fullFrameBytes = 1514

// maxWarnedHosts bounds the topologies whose paths are looked at for warnings, which
// takes about a second at this size.
const maxWarnedHosts = 1000

// Warnings says in one sentence each what of a topology can't be emulated well, seldom
// is what one wants, or is an assumption; its Notes too. Links that are alike in this
// share a sentence. CarriesBPS is what the machine carries, in bits a second; 0 if that
// isn't known. The topology must have passed its Check.
func Warnings(t *Topology, carriesBPS int64) []string {
	said := slices.Clone(t.Notes)
	for _, rule := range directionRules(carriesBPS) {
		if where := t.where(rule.holds); where != "" {
			said = append(said, strings.ReplaceAll(rule.sentence, "LINKS", where))
		}
	}
	if len(t.Hosts) <= maxWarnedHosts {
		said = append(said, pathWarnings(t)...)
	}
	return said
}

// rule is a warning about each direction on its own.
type rule struct {
	holds func(p *Parameters) bool
	// sentence has LINKS where the links' names go.
	sentence string
}

func directionRules(carriesBPS int64) []rule {
	bounded := func(p *Parameters) bool { return p.QueueFrames > 0 || p.QueueBytes > 0 }
	truncates := func(p *Parameters) bool {
		return p.Jitter > p.Delay && (p.JitterDistribution == JitterUniform || p.JitterDistribution == JitterNormal)
	}
	return []rule{
		{func(p *Parameters) bool { return p.Trace != nil || p.JitterTable != nil },
			"Measured round-trip times give the delays of LINKS: that half of each is the delay one way is an assumption."},
		{func(p *Parameters) bool { return p.Trace != nil && mostlyGaps(p.Trace) },
			"Most of the trace of LINKS is a gap: its rows are farther apart than gap_after."},
		{func(p *Parameters) bool { return p.RateBPS > 0 && p.QueueBytes > 0 && p.QueueBytes < fullFrameBytes },
			fmt.Sprintf("The queue of LINKS is smaller than one full frame of %d bytes.", fullFrameBytes)},
		{func(p *Parameters) bool { return p.RateBPS == 0 && bounded(p) },
			"The queue of LINKS never fills, since there is no rate."},
		{func(p *Parameters) bool { return p.RateBPS > 0 && !bounded(p) },
			"The queue at the rate of LINKS has no bound: what is sent too fast waits, for seconds if need be, and nothing is dropped (bufferbloat)."},
		{func(p *Parameters) bool { return carriesBPS > 0 && p.RateBPS > carriesBPS },
			fmt.Sprintf("The rate of LINKS is above the about %s that this machine carries: the machine will be the bottleneck.", FormatRate(carriesBPS))},
		{truncates,
			"The jitter of LINKS is larger than the delay: what would be below 0 is 0, and the mean delay is larger than the declared one."},
		{func(p *Parameters) bool {
			return p.Jitter > 0 && p.JitterDistribution == JitterPareto && p.JitterShape != 0 && p.JitterShape <= 2
		},
			"The Pareto jitter of LINKS has a shape of at most 2, so that its variance is infinite: means of latencies won't settle."},
		{letsNothingThrough, "No frame gets through LINKS: each is lost or corrupted."},
		{func(p *Parameters) bool {
			return p.GilbertElliott != nil && p.GilbertElliott.GoodToBad > 0 && p.GilbertElliott.BadToGood == 0
		},
			"The Gilbert-Elliott loss of LINKS never leaves its bad state, since bad_to_good is 0."},
		{func(p *Parameters) bool { return p.RateBPS > 0 && p.RateBPS < fullFrameBytes*8 },
			fmt.Sprintf("One full frame of %d bytes takes longer than a second at the rate of LINKS.", fullFrameBytes)},
		{func(p *Parameters) bool {
			return p.Jitter == 0 && p.JitterTable == nil && (p.JitterDistribution != "" || p.JitterShape != 0)
		},
			"The jitter_distribution or jitter_shape of LINKS does nothing, since there is no jitter."},
		{func(p *Parameters) bool { return p.Reorder > 0 && p.Delay == 0 && !p.Jitters() },
			"No frame of LINKS can be reordered, since there is no delay that it could skip."},
	}
}

// letsNothingThrough tells whether no frame arrives as it was sent. A frame that is lost
// and duplicated at once leaves one copy, but not in a gap of a trace.
func letsNothingThrough(p *Parameters) bool {
	trace := Parameters{Trace: p.Trace}
	return !p.Down && (p.Corrupt == 1 || p.MeanLoss() == 1 && p.Duplicate == 0 || p.Trace != nil && trace.LossShare() == 1)
}

// mostlyGaps tells whether more than half of a trace is between rows that are farther
// apart than they should be.
func mostlyGaps(t *Trace) bool {
	var gaps time.Duration
	for row, at := range t.Times {
		if lasts := t.until(row) - at; lasts > t.GapAfter {
			gaps += lasts
		}
	}
	return gaps > t.Period/2
}

// where names the links for which something holds; "" if there are none.
func (t *Topology) where(holds func(p *Parameters) bool) string {
	var found []found
	links := 0
	for i := range t.Links {
		link := &t.Links[i]
		if strings.HasPrefix(link.Name, MonitorPrefix) {
			continue
		}
		links++
		found = appendFound(found, link, holds(&link.AToB), holds(&link.BToA))
	}
	return nameLinks(found, links)
}

// found is a link for which something holds, in both directions or from one node.
type found struct{ link, from string }

func appendFound(all []found, link *Link, aToB, bToA bool) []found {
	switch {
	case aToB && bToA:
		return append(all, found{link: link.Name})
	case aToB:
		return append(all, found{link.Name, link.A})
	case bToA:
		return append(all, found{link.Name, link.B})
	}
	return all
}

// nameLinks makes the middle of a sentence of links, of which there are so many in all.
func nameLinks(all []found, links int) string {
	const shown = 4
	if len(all) == 0 {
		return ""
	}
	whole := len(all) == links && len(all) > 2
	var names []string
	for _, f := range all {
		name := f.link
		if f.from != "" {
			name += " from " + f.from
			whole = false
		}
		names = append(names, name)
	}
	switch {
	case whole:
		return fmt.Sprintf("all %d links", links)
	case len(names) == 1:
		return names[0]
	case len(names) > shown:
		return fmt.Sprintf("%s and %d more links", strings.Join(names[:shown-1], ", "), len(names)-shown+1)
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// pathWarnings are those that depend on which paths frames take.
func pathWarnings(t *Topology) []string {
	g, err := t.Graph()
	if err != nil {
		return nil
	}
	p := predictor{g, t.means()}
	s := survey{t: t, used: make([]bool, len(t.Links)), short: map[Hop]int64{}}
	for i, host := range t.Hosts {
		if !host.Monitor {
			s.add(p.appendPaths(s.paths[:0], i))
		}
	}
	return s.warnings()
}

// survey gathers what paths do to links.
type survey struct {
	t     *Topology
	paths []Path
	used  []bool
	// short has the bottlenecks whose queue is smaller than the bandwidth-delay product
	// of a path without loss, and the largest such product.
	short map[Hop]int64
	// cut counts the pairs of hosts without a path; cutFrom and cutTo are the first.
	cut            int
	cutFrom, cutTo string
}

func (s *survey) add(paths []Path) {
	s.paths = paths // used again
	for i := range paths {
		path := &paths[i]
		if path.Hops == nil {
			if s.cut++; s.cut == 1 {
				s.cutFrom, s.cutTo = path.From, path.To
			}
			continue
		}
		for _, hop := range path.Hops {
			s.used[hop.Link] = true
		}
		if queue := queueBytes(path); queue > 0 && path.Loss == 0 && path.BandwidthDelayBytes > queue {
			s.short[path.Bottleneck] = max(s.short[path.Bottleneck], path.BandwidthDelayBytes)
		}
	}
}

// queueBytes is how much the queue of a path's bottleneck holds; 0 if it is unbounded.
func queueBytes(path *Path) int64 {
	frames := int64(path.QueueFrames) * fullFrameBytes
	if frames == 0 || path.QueueBytes > 0 && path.QueueBytes < frames {
		return path.QueueBytes
	}
	return frames
}

func (s *survey) warnings() []string {
	var said []string
	if s.cut > 0 {
		said = append(said, fmt.Sprintf("There is no path from %s to %s while links are down, nor between %d ordered pairs of hosts in all.", s.cutFrom, s.cutTo, s.cut))
	}
	var short, unused []found
	var largest int64
	links := 0
	for i := range s.t.Links {
		link := &s.t.Links[i]
		if strings.HasPrefix(link.Name, MonitorPrefix) {
			continue
		}
		links++
		there, back := s.short[Hop{Link: i}], s.short[Hop{Link: i, Reverse: true}]
		short = appendFound(short, link, there > 0, back > 0)
		largest = max(largest, there, back)
		unused = appendFound(unused, link, !s.used[i], !s.used[i])
	}
	if where := nameLinks(short, links); where != "" {
		said = append(said, fmt.Sprintf("The queue of %s holds less than the bandwidth-delay product of paths through it (up to %s): one TCP flow may not fill the link.",
			where, formatBytes(largest)))
	}
	if where := nameLinks(unused, links); where != "" {
		said = append(said, fmt.Sprintf("No path between hosts uses %s.", where))
	}
	return said
}

// FormatRate writes a rate in bits a second as people do: 10 Mbit/s.
func FormatRate(bps int64) string { return scaled(bps, "bit/s") }

func formatBytes(n int64) string { return scaled(n, "B") }

func scaled(n int64, unit string) string {
	value := float64(n)
	for _, prefix := range []string{"", "k", "M", "G"} {
		if value < 999.5 {
			return fmt.Sprintf("%.3g %s%s", value, prefix, unit)
		}
		value /= 1000
	}
	return fmt.Sprintf("%.4g T%s", value, unit)
}
