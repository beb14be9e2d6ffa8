//go:build linux

package link

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// Offsets in the virtio header, whose numbers are in the machine's byte order.
const (
	virtioFlags          = 0
	virtioChecksumStart  = 6
	virtioChecksumOffset = 8
	// virtioNeedsChecksum says that the checksum, over all from the start to the end,
	// is yet to be put at the offset from the start, where so far the pseudo header's is.
	virtioNeedsChecksum = 1
)

// Offsets in an IPv4 header, and in the header of UDP.
const (
	ipv4Length    = 2
	ipv4Fragment  = 6
	ipv4Protocol  = 9
	udpLength     = 4
	udpChecksum   = 6
	udpBytes      = 8
	protocolICMP  = 1
	protocolTCP   = 6
	protocolUDP   = 17
	fragmentsMask = 0x3fff // more fragments, and the offset
)

// checksum is the frame's complete checksum and where in the Ethernet frame it
// belongs. It is false if the frame has it already.
func (f *frame) checksum() (at int, value uint16, missing bool) {
	if f.small[virtioFlags]&virtioNeedsChecksum == 0 {
		return 0, 0, false
	}
	start := int(binary.NativeEndian.Uint16(f.small[virtioChecksumStart:]))
	at = start + int(binary.NativeEndian.Uint16(f.small[virtioChecksumOffset:]))
	if at+2 > f.bytes {
		return 0, 0, false // no kernel hands out such a frame
	}
	var sum uint64
	for from := start; from < f.bytes; {
		part := f.part(from, f.bytes)
		partial := onesComplementSum(part)
		if (from-start)%2 == 1 {
			partial = bits.ReverseBytes16(partial)
		}
		sum += uint64(partial)
		from += len(part)
	}
	value = ^fold(sum)
	if value == 0 {
		value = 0xffff // 0 means that there is none
	}
	return at, value, true
}

// completeChecksum writes the checksum that a frame of one segment still lacks.
func (f *frame) completeChecksum() {
	at, value, missing := f.checksum()
	if missing {
		f.set(at, byte(value>>8))
		f.set(at+1, byte(value))
	}
	clear(f.small[:virtioBytes])
}

// set writes a byte of the Ethernet frame.
func (f *frame) set(at int, value byte) { f.part(at, at+1)[0] = value }

// corrupt flips a random bit beyond the Ethernet header such that the receiving kernel's
// checksums tell. Of a frame that is corrupted already it leaves it at that: a second
// bit might make the checksum right.
func (f *frame) corrupt(random *rand.Rand) {
	if f.corrupted {
		return
	}
	f.corrupted = true
	f.completeChecksum()
	ranges := f.covered()
	total := 0
	for _, r := range ranges {
		total += r[1] - r[0]
	}
	chosen := random.IntN(total)
	bit := byte(1) << random.IntN(8)
	for _, r := range ranges {
		if length := r[1] - r[0]; chosen >= length {
			chosen -= length
			continue
		}
		f.part(r[0]+chosen, r[0]+chosen+1)[0] ^= bit
		return
	}
}

// covered lists the bytes of the IPv4 packet of which a single flipped bit is sure to
// make a checksum wrong. Those of which it might hide what else the checksum covers
// are not among them: the header's length, and UDP's length and checksum.
func (f *frame) covered() [3][2]int {
	const ip = ethernetBytes
	header := int(f.small[virtioBytes+ip]&0xf) * 4
	end := min(f.bytes, ip+int(f.number(ip+ipv4Length)))
	payload := ip + header
	if header < ipv4Bytes || payload > end {
		return [3][2]int{{ip + 1, ip + ipv4Bytes}} // the kernel won't look further
	}
	ranges := [3][2]int{{ip + 1, payload}}
	if f.number(ip+ipv4Fragment)&fragmentsMask != 0 {
		return ranges // whether there is another checksum is in another fragment
	}
	switch f.small[virtioBytes+ip+ipv4Protocol] {
	case protocolTCP, protocolICMP:
		ranges[1] = [2]int{payload, end}
	case protocolUDP:
		if end >= payload+udpBytes && f.number(payload+udpChecksum) != 0 {
			end = min(end, payload+int(f.number(payload+udpLength)))
			ranges[1] = [2]int{payload, payload + udpLength}
			ranges[2] = [2]int{payload + udpBytes, max(end, payload+udpBytes)}
		}
	}
	return ranges
}

// number reads two bytes of the frame's headers, in network order.
func (f *frame) number(at int) uint16 { return binary.BigEndian.Uint16(f.small[virtioBytes+at:]) }

// onesComplementSum adds 16-bit numbers in network order as the Internet's checksums
// do (RFC 1071).
func onesComplementSum(data []byte) uint16 {
	var sum, carry uint64
	for ; len(data) >= 8; data = data[8:] {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(data), carry)
	}
	var rest [8]byte
	copy(rest[:], data)
	sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(rest[:]), carry)
	return fold(sum>>32 + sum&0xffffffff + carry)
}

// fold adds the carries to the low 16 bits.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
