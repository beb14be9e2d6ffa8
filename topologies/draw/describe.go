package draw

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"quorumlab/topologies"
)

// endlessFrames is a queue that nothing fills; it isn't worth a word.
const endlessFrames = 1_000_000

// Describe says in a few words what a direction of a link does, such as
// "20 ms, 1 Gbit/s, 0.1% loss".
func Describe(p topologies.Parameters) string {
	if p.Down {
		return "down"
	}
	words := []string{delay(p)}
	if p.RateBPS > 0 {
		words = append(words, Rate(float64(p.RateBPS)))
	}
	switch g := p.GilbertElliott; {
	case g != nil && g.GoodToBad > 0 && g.LossGood != g.LossBad:
		words = append(words, Share(p.MeanLoss())+" loss in bursts")
	case p.LossCorrelation > 0:
		words = append(words, Share(p.Loss)+" correlated loss")
	case p.MeanLoss() > 0:
		words = append(words, Share(p.MeanLoss())+" loss")
	}
	if p.Trace != nil {
		if gaps := (topologies.Parameters{Trace: p.Trace}).LossShare(); gaps > 0 {
			words = append(words, Share(gaps)+" lost in gaps")
		}
	}
	for _, impairment := range []struct {
		share float64
		name  string
	}{{p.Duplicate, "doubled"}, {p.Corrupt, "corrupted"}, {p.Reorder, "reordered"}} {
		if impairment.share > 0 {
			words = append(words, Share(impairment.share)+" "+impairment.name)
		}
	}
	if p.QueueFrames > 0 && p.QueueFrames < endlessFrames {
		words = append(words, fmt.Sprintf("queue %d", p.QueueFrames))
	}
	if p.QueueBytes > 0 {
		words = append(words, "queue "+Bytes(float64(p.QueueBytes)))
	}
	return strings.Join(words, ", ")
}

// delay describes the propagation delay.
func delay(p topologies.Parameters) string {
	base := Time(p.Delay)
	switch {
	case p.Trace != nil:
		return fmt.Sprintf("trace %sfrom %s", named(p.Trace.Name), base)
	case p.JitterTable != nil:
		return fmt.Sprintf("%s + table %s", base, strings.TrimSpace(named(p.JitterTable.Name)))
	case p.Jitter == 0:
		if p.Delay == 0 {
			return "no delay"
		}
		return base
	}
	switch p.JitterDistribution {
	case topologies.JitterExponential:
		return base + " + exp. " + Time(p.Jitter)
	case topologies.JitterPareto:
		return base + " + Pareto " + Time(p.Jitter)
	case topologies.JitterNormal:
		return base + " ± " + Time(p.Jitter) + " (s.d.)"
	}
	return base + " ± " + Time(p.Jitter)
}

// named is a file's name without its folders, and a blank.
func named(name string) string {
	if name == "" {
		return ""
	}
	return name[strings.LastIndexByte(name, '/')+1:] + " "
}

// Time writes a duration with its unit and at most four significant digits.
func Time(d time.Duration) string {
	switch {
	case d == 0:
		return "0 ms"
	case d < 0:
		return "-" + Time(-d)
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < 100*time.Microsecond:
		return number(float64(d)/1e3) + " µs"
	case d < 10*time.Second:
		return number(float64(d)/1e6) + " ms"
	}
	return number(d.Seconds()) + " s"
}

// Rate writes bits a second, such as "1.5 Gbit/s".
func Rate(bps float64) string { return scaled(bps, "bit/s") }

// Bytes writes a number of bytes, such as "12.5 kB".
func Bytes(bytes float64) string { return scaled(rounded(bytes, 3), "B") }

func scaled(value float64, unit string) string {
	prefix := ""
	for _, next := range []string{"k", "M", "G", "T"} {
		if value < 1000 {
			break
		}
		value, prefix = value/1000, next
	}
	return number(value) + " " + prefix + unit
}

// Share writes a probability in percent, such as "0.1%".
func Share(p float64) string { return number(rounded(100*p, 3)) + "%" }

// number has at most four significant digits and no exponent.
func number(x float64) string {
	return strconv.FormatFloat(rounded(x, 4), 'f', -1, 64)
}

// rounded keeps so many significant digits.
func rounded(x float64, digits int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', digits, 64), 64)
	if err != nil {
		panic("draw: a number that strconv wrote and can't read: " + err.Error())
	}
	return r
}

// common is the description that needn't stand at each link, because most links
// have it; or all that end in a host, while there are others. It is empty if there
// is none.
func (n *network) common() string {
	counts, access := map[string]int{}, map[string]int{}
	best := ""
	for _, l := range n.links {
		if !l.alike() {
			continue
		}
		counts[l.there]++
		if c := counts[l.there]; c > counts[best] || c == counts[best] && l.there < best {
			best = l.there
		}
	}
	accesses := 0
	for _, l := range n.links {
		if n.nodes[l.from].isSwitch != n.nodes[l.to].isSwitch {
			accesses++
			if l.alike() {
				access[l.there]++
			}
		}
	}
	for description, count := range access {
		if count == accesses && count > 1 {
			return description // no other can have as many
		}
	}
	if 2*counts[best] >= len(n.links) && counts[best] > 1 || counts[best] == len(n.links) {
		return best
	}
	return ""
}

// legend says what links without a label are like; empty if there are none.
func (n *network) legend(common string) string {
	labelled := 0
	for _, l := range n.links {
		if !l.alike() || l.there != common {
			labelled++
		}
	}
	switch {
	case len(n.links) == 0 || labelled == len(n.links):
		return ""
	case len(n.links) == 1:
		return "the link: " + common
	case labelled == 0:
		return "every link: " + common
	}
	return "links without a label: " + common
}
