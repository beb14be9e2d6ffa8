package sim

import "quorumlab/node/consensus"

// maxDisorder is how many of a path's messages may be in pieces at a time; the oldest is
// forgotten first. (Linux's ipfrag_max_dist is as many.)
const maxDisorder = 64

// assembly is a message of which some segments have arrived.
type assembly struct {
	number uint32
	// row is how many have arrived in a row from the first on; later has those beyond
	// them, a bit each.
	row   int32
	later []uint64
	// message is there once the last segment is.
	message consensus.Message
}

// assemble notes a segment. Once all of a message's have arrived, in whichever order, it
// returns the message. Segments that come twice count once, unless the message was whole
// before: then it may become so again.
func (p *path) assemble(f *frame) (message consensus.Message, whole bool) {
	i := p.assembly(f.number)
	a := &p.assemblies[i]
	if f.message != nil {
		a.message = f.message
	}
	if f.segment >= a.row {
		a.note(f.segment)
	}
	if a.row < segments(f.size) {
		return nil, false
	}
	message = a.message
	last := len(p.assemblies) - 1
	copy(p.assemblies[i:], p.assemblies[i+1:])
	p.assemblies[last] = assembly{}
	p.assemblies = p.assemblies[:last]
	return message, true
}

// assembly finds the one of a message, or begins it and forgets those that lie too far
// back.
func (p *path) assembly(number uint32) (index int) {
	for i := len(p.assemblies) - 1; i >= 0; i-- {
		if p.assemblies[i].number == number {
			return i
		}
	}
	if len(p.assemblies) == maxDisorder {
		copy(p.assemblies, p.assemblies[1:])
		p.assemblies = p.assemblies[:maxDisorder-1]
	}
	p.assemblies = append(p.assemblies, assembly{number: number})
	return len(p.assemblies) - 1
}

// note notes a segment that isn't in the row yet.
func (a *assembly) note(segment int32) {
	if segment > a.row {
		word, bit := int(segment/64), uint64(1)<<(segment%64)
		for word >= len(a.later) {
			a.later = append(a.later, 0)
		}
		a.later[word] |= bit
		return
	}
	for a.row++; int(a.row/64) < len(a.later) && a.later[a.row/64]>>(a.row%64)&1 == 1; {
		a.row++
	}
}
