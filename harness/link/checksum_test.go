//go:build linux

package link

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// udpPacket is an Ethernet frame with an IPv4 packet of so many bytes, of UDP, with
// right checksums and random data.
func udpPacket(length int, seed uint64) []byte { return packet(protocolUDP, length, seed) }

func packet(protocol byte, length int, seed uint64) []byte {
	ethernet := make([]byte, ethernetBytes+length)
	generator := rand.New(rand.NewPCG(seed, 9))
	binary.BigEndian.PutUint16(ethernet[ethernetType:], ipv4Type)
	ip := ethernet[ethernetBytes:]
	for i := range ip {
		ip[i] = byte(generator.Uint32())
	}
	ip[0], ip[ipv4Protocol] = 0x45, protocol
	binary.BigEndian.PutUint16(ip[ipv4Length:], uint16(length))
	binary.BigEndian.PutUint16(ip[ipv4Fragment:], 0)
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], ^slowSum(ip[:ipv4Bytes]))
	payload := ip[ipv4Bytes:]
	at := map[byte]int{protocolUDP: udpChecksum, protocolTCP: 16, protocolICMP: 2}[protocol]
	if protocol == protocolUDP {
		binary.BigEndian.PutUint16(payload[udpLength:], uint16(len(payload)))
	}
	if at > 0 {
		binary.BigEndian.PutUint16(payload[at:], 0)
		sum := ^slowSum(append(pseudoHeader(ip, protocol, len(payload)), payload...))
		if sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(payload[at:], sum)
	}
	return ethernet
}

// pseudoHeader is empty for ICMP, which has none.
func pseudoHeader(ip []byte, protocol byte, length int) []byte {
	if protocol == protocolICMP {
		return nil
	}
	return append(slices.Clone(ip[12:20]), 0, protocol, byte(length>>8), byte(length))
}

// slowSum is RFC 1071's sum, word by word.
func slowSum(data []byte) uint16 {
	sum := uint32(0)
	for i, b := range data {
		if i%2 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// accepted tells whether a receiving kernel hands the packet on.
func accepted(ethernet []byte) bool {
	ip := ethernet[ethernetBytes:]
	header, length := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[ipv4Length:]))
	if ip[0]>>4 != 4 || header < ipv4Bytes || length < header || length > len(ip) || slowSum(ip[:header]) != 0xffff {
		return false
	}
	payload := ip[header:length]
	protocol := ip[ipv4Protocol]
	switch protocol {
	case protocolUDP:
		n := int(binary.BigEndian.Uint16(payload[udpLength:]))
		if n > len(payload) || n < udpBytes {
			return false
		}
		if binary.BigEndian.Uint16(payload[udpChecksum:]) == 0 {
			return true
		}
		payload = payload[:n]
	case protocolTCP, protocolICMP:
	default:
		return true
	}
	return slowSum(append(pseudoHeader(ip, protocol, len(payload)), payload...)) == 0xffff
}

// frameOf puts an Ethernet frame into a frame's buffers.
func frameOf(ethernet []byte) *frame {
	f := &frame{small: make([]byte, smallBytes), bytes: len(ethernet)}
	if n := copy(f.small[virtioBytes:], ethernet); n < len(ethernet) {
		f.large = make([]byte, largeBytes)
		copy(f.large, ethernet[n:])
	}
	return f
}

// ethernet is the frame in one piece.
func (f *frame) ethernet() []byte {
	joined := slices.Clone(f.small[virtioBytes:min(virtioBytes+f.bytes, smallBytes)])
	if f.large != nil {
		joined = append(joined, f.large[:f.bytes-len(joined)]...)
	}
	return joined
}

// partial makes a frame's checksum what a kernel leaves to the network card: the pseudo
// header's alone.
func (f *frame) partial(protocol byte) {
	at := map[byte]int{protocolUDP: udpChecksum, protocolTCP: 16}[protocol]
	ip := f.small[virtioBytes+ethernetBytes:]
	length := f.bytes - ethernetBytes - ipv4Bytes
	binary.BigEndian.PutUint16(ip[ipv4Bytes+at:], slowSum(pseudoHeader(ip, protocol, length)))
	f.small[virtioFlags] = virtioNeedsChecksum
	binary.NativeEndian.PutUint16(f.small[virtioChecksumStart:], ethernetBytes+ipv4Bytes)
	binary.NativeEndian.PutUint16(f.small[virtioChecksumOffset:], uint16(at))
}

func TestPartialChecksumsAreCompleted(t *testing.T) {
	for _, protocol := range []byte{protocolTCP, protocolUDP} {
		for _, length := range []int{48, 49, 1500, 2023, 2024, 2025, 9001, 65535} {
			want := packet(protocol, length, uint64(length))
			f := frameOf(want)
			f.partial(protocol)
			if slices.Equal(f.ethernet(), want) {
				t.Fatal("the test's frame has its checksum already")
			}
			f.completeChecksum()
			if !slices.Equal(f.ethernet(), want) || !accepted(f.ethernet()) {
				t.Errorf("protocol %d, %d bytes: the checksum is wrong", protocol, length)
			}
			if slices.ContainsFunc(f.small[:virtioBytes], func(b byte) bool { return b != 0 }) {
				t.Errorf("the virtio header still says %v", f.small[:virtioBytes])
			}
		}
	}
}

func TestAChecksumMayStartAnywhere(t *testing.T) {
	for _, start := range []int{14, 15, 2036, 2037, 2038, 2039} {
		f := frameOf(udpPacket(4000, 1))
		f.small[virtioFlags] = virtioNeedsChecksum
		binary.NativeEndian.PutUint16(f.small[virtioChecksumStart:], uint16(start))
		binary.NativeEndian.PutUint16(f.small[virtioChecksumOffset:], 100)
		if at, value, missing := f.checksum(); !missing || at != start+100 || value != ^slowSum(f.ethernet()[start:]) {
			t.Errorf("from %d: %x at %d", start, value, at)
		}
	}
}

func TestACompleteChecksumOfZeroIsWrittenAsItsOther(t *testing.T) {
	for seed := range uint64(200_000) {
		want := udpPacket(30, seed)
		if binary.BigEndian.Uint16(want[ethernetBytes+ipv4Bytes+udpChecksum:]) != 0xffff {
			continue
		}
		f := frameOf(want)
		f.partial(protocolUDP)
		f.completeChecksum()
		if !slices.Equal(f.ethernet(), want) {
			t.Error("a UDP checksum of 0 says that there is none")
		}
		return
	}
	t.Fatal("no packet has such a checksum")
}

func TestBrokenVirtioHeadersHarmNothing(t *testing.T) {
	for _, offsets := range [][2]uint16{{65535, 65535}, {34, 200}, {100, 0}, {99, 0}, {0, 99}} {
		f := frameOf(udpPacket(86, 1))
		f.small[virtioFlags] = virtioNeedsChecksum
		binary.NativeEndian.PutUint16(f.small[virtioChecksumStart:], offsets[0])
		binary.NativeEndian.PutUint16(f.small[virtioChecksumOffset:], offsets[1])
		before := f.ethernet()
		f.completeChecksum()
		if !slices.Equal(f.ethernet(), before) {
			t.Errorf("offsets %v changed the frame", offsets)
		}
	}
}

// FuzzCorruption: every frame that the kernel would accept it refuses once corrupted; one
// bit differs, beyond the Ethernet header.
func FuzzCorruption(f *testing.F) {
	for seed := range uint64(3000) {
		f.Add(seed, byte(seed%4), uint16(seed%1480), seed%3 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, kind byte, more uint16, left bool) {
		protocol := []byte{protocolTCP, protocolUDP, protocolICMP, 132}[kind%4]
		good := packet(protocol, 44+int(more)%9000, seed)
		if protocol == protocolUDP && seed%5 == 0 { // sent without a checksum
			binary.BigEndian.PutUint16(good[ethernetBytes+ipv4Bytes+udpChecksum:], 0)
			left = false
		}
		if !accepted(good) {
			t.Fatal("the test's packet isn't accepted")
		}
		frame := frameOf(good)
		if left && protocol != protocolICMP && protocol != 132 {
			frame.partial(protocol)
		}
		generator := rand.New(rand.NewPCG(seed, 1))
		frame.corrupt(generator)
		bad := frame.ethernet()
		if accepted(bad) {
			t.Fatalf("protocol %d: accepted though corrupted", protocol)
		}
		if flipped := flippedBits(good, bad); flipped != 1 || !slices.Equal(good[:ethernetBytes], bad[:ethernetBytes]) {
			t.Fatalf("protocol %d: %d bits flipped", protocol, flipped)
		}
		frame.corrupt(generator)
		if !slices.Equal(frame.ethernet(), bad) {
			t.Fatal("corrupted a second time, which may make the checksum right")
		}
	})
}

func flippedBits(a, b []byte) (flipped int) {
	for i := range a {
		for different := a[i] ^ b[i]; different != 0; different &= different - 1 {
			flipped++
		}
	}
	return flipped
}

// FuzzStrangeCorruption: whatever the bytes say, nothing outside the packet changes.
func FuzzStrangeCorruption(f *testing.F) {
	f.Add([]byte{0x4f, 0, 0xff, 0xff}, uint64(1))
	f.Add([]byte{0x40}, uint64(2))
	f.Fuzz(func(t *testing.T, bytes []byte, seed uint64) {
		ethernet := make([]byte, ethernetBytes+max(ipv4Bytes, len(bytes)))
		copy(ethernet[ethernetBytes:], bytes)
		if len(ethernet) > smallBytes+largeBytes-virtioBytes {
			t.Skip()
		}
		frame := frameOf(ethernet)
		frame.corrupt(rand.New(rand.NewPCG(seed, 1)))
		if bad := frame.ethernet(); flippedBits(ethernet, bad) != 1 || !slices.Equal(ethernet[:ethernetBytes], bad[:ethernetBytes]) {
			t.Fatalf("%x became %x", ethernet, bad)
		}
	})
}
