//go:build linux

package link

import "encoding/binary"

// Layout of a received frame: the kernel's virtio header, then Ethernet.
const (
	// virtioBytes is the length of struct virtio_net_hdr, which tells of a
	// partial checksum and of segments yet to be cut. It travels with the frame,
	// so that the receiving host's kernel treats it as the sender's meant.
	virtioBytes    = 10
	virtioGSOType  = 1 // offset of gso_type; 0 is a frame of one segment
	ethernetBytes  = 14
	ethernetType   = 12 // offset in the Ethernet header
	ipv4Type       = 0x0800
	ipv4Bytes      = 20
	ipv4Target     = ethernetBytes + 16 // offset of the destination address
	smallBytes     = 2048
	largeBytes     = 1 << 16
	frameOverheads = 128 // what a frame costs beside its buffers
)

// frame is a frame on its way. Its bytes start in small; what doesn't fit, which is
// the case only for frames of several segments, goes on in large.
type frame struct {
	small []byte
	large []byte // nil unless needed
	// bytes counts the Ethernet frame, without virtio header.
	bytes int
	// way holds the directions of the whole path, hop the next one to be traversed.
	way []uint32
	hop int32
	// folded counts the directions before hop that were passed ahead of their times,
	// since all they do is delay. The frame is at the first one's near end at nodeNS.
	folded int32
	nodeNS int64
	// to is the port that the frame leaves by.
	to       int32
	segments bool
	// corrupted is true once a bit was flipped.
	corrupted bool
	// capture, if there is one, is told when the frame arrives at the next node,
	// coming from the near end that is B if reverse is true, and of what kind it is.
	capture *capture
	reverse bool
	remark  remark
	next    *frame // in the pool
}

// frameTarget reads where an Ethernet frame wants to go: the IPv4 destination
// address. ok is false if it isn't IPv4.
func frameTarget(ethernet []byte) (address uint32, ok bool) {
	if len(ethernet) < ethernetBytes+ipv4Bytes ||
		binary.BigEndian.Uint16(ethernet[ethernetType:]) != ipv4Type ||
		ethernet[ethernetBytes]>>4 != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(ethernet[ipv4Target:]), true
}

// framePool recycles frames and buffers, within a bound, so that forwarding
// makes no garbage.
type framePool struct {
	free      *frame
	freeLarge [][]byte
	// budgetBytes is what may still be allocated.
	budgetBytes int64
}

// smallFrames is how many frames are allocated at a time.
const smallFrames = 64

// get returns a frame without a large buffer, or nil if the budget is used up.
func (p *framePool) get() *frame {
	if p.free == nil {
		const cost = smallFrames * (smallBytes + frameOverheads)
		if p.budgetBytes < cost {
			return nil
		}
		p.budgetBytes -= cost
		frames := make([]frame, smallFrames)
		buffers := make([]byte, smallFrames*smallBytes)
		for i := range frames {
			frames[i].small = buffers[i*smallBytes : (i+1)*smallBytes : (i+1)*smallBytes]
			frames[i].next = p.free
			p.free = &frames[i]
		}
	}
	f := p.free
	p.free, f.next = f.next, nil
	return f
}

// getLarge returns a large buffer, or nil if the budget is used up.
func (p *framePool) getLarge() []byte {
	if last := len(p.freeLarge) - 1; last >= 0 {
		buffer := p.freeLarge[last]
		p.freeLarge = p.freeLarge[:last]
		return buffer
	}
	if p.budgetBytes < largeBytes {
		return nil
	}
	p.budgetBytes -= largeBytes
	return make([]byte, largeBytes)
}

// clone returns a copy of a frame with buffers of its own, or nil if the budget is used
// up.
func (p *framePool) clone(f *frame) *frame {
	copied := p.get()
	if copied == nil {
		return nil
	}
	small, next := copied.small, copied.next
	if f.large != nil {
		if copied.large = p.getLarge(); copied.large == nil {
			p.put(copied)
			return nil
		}
		copy(copied.large, f.large[:f.bytes+virtioBytes-smallBytes])
	}
	large := copied.large
	*copied = *f
	copied.small, copied.large, copied.next = small, large, next
	copy(small, f.small[:min(virtioBytes+f.bytes, smallBytes)])
	return copied
}

// part is a piece of the Ethernet frame, which ends early where small does.
func (f *frame) part(from, until int) []byte {
	from, until = from+virtioBytes, until+virtioBytes
	if from < smallBytes {
		return f.small[from:min(until, smallBytes)]
	}
	return f.large[from-smallBytes : until-smallBytes]
}

// put takes a frame and its buffers back.
func (p *framePool) put(f *frame) {
	if f.large != nil {
		p.freeLarge = append(p.freeLarge, f.large)
		f.large = nil
	}
	f.way, f.hop, f.folded, f.segments, f.corrupted, f.capture = nil, 0, 0, false, false, nil
	f.next, p.free = p.free, f
}
