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
	// path holds the directions still to be traversed.
	path []uint32
	// to is the port that the frame leaves by.
	to       int32
	segments bool
	next     *frame // in the pool
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

// put takes a frame and its buffers back.
func (p *framePool) put(f *frame) {
	if f.large != nil {
		p.freeLarge = append(p.freeLarge, f.large)
		f.large = nil
	}
	f.path, f.segments = nil, false
	f.next, p.free = p.free, f
}
