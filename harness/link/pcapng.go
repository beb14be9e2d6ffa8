//go:build linux

package link

import "encoding/binary"

// The blocks of a pcapng file (draft-ietf-opsawg-pcapng), in the machine's byte order.
// The library that could write them, gopacket's pcapgo, brings the decoders of a
// hundred protocols along.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	sectionMagic = 0x1a2b3c4d
	linkEthernet = 1

	optionEnd                = 0
	optionComment            = 1
	optionSectionProgram     = 4
	optionInterfaceName      = 2
	optionInterfaceUnit      = 9
	optionPacketFlags        = 2
	nanoseconds              = 9 // as a power of ten
	flagInbound              = 1
	flagOutbound             = 2
	packetHeadBytes          = 28
	blockTrailBytes          = 4
	optionHeadBytes          = 4
	blockLengthAt            = 4
	packetInterfaceAt        = 8
	packetLengthAt           = 20
	sectionUnknownLength     = ^uint64(0)
	interfaceNoSnapshot      = 0
	pcapngMajor, pcapngMinor = 1, 0
)

// appendOption adds an option, padded to whole words.
func appendOption(block []byte, code int, value []byte) []byte {
	block = binary.NativeEndian.AppendUint16(block, uint16(code))
	block = binary.NativeEndian.AppendUint16(block, uint16(len(value)))
	block = append(block, value...)
	return append(block, make([]byte, padding(len(value)))...)
}

// padding is what a length lacks to whole words.
func padding(length int) int { return -length & 3 }

// appendBlock adds a block of a kind.
func appendBlock(file []byte, kind uint32, body []byte) []byte {
	total := uint32(len(body) + 12)
	file = binary.NativeEndian.AppendUint32(file, kind)
	file = binary.NativeEndian.AppendUint32(file, total)
	file = append(file, body...)
	return binary.NativeEndian.AppendUint32(file, total)
}

// captureHeader begins a section of a file: who wrote it, what to know about it, and its
// interfaces.
func captureHeader(comment string, interfaces []string) []byte {
	section := binary.NativeEndian.AppendUint32(nil, sectionMagic)
	section = binary.NativeEndian.AppendUint16(section, pcapngMajor)
	section = binary.NativeEndian.AppendUint16(section, pcapngMinor)
	section = binary.NativeEndian.AppendUint64(section, sectionUnknownLength)
	section = appendOption(section, optionSectionProgram, []byte("quorumlab"))
	section = appendOption(section, optionComment, []byte(comment))
	section = appendOption(section, optionEnd, nil)
	file := appendBlock(nil, blockSection, section)
	for _, name := range interfaces {
		description := binary.NativeEndian.AppendUint16(nil, linkEthernet)
		description = binary.NativeEndian.AppendUint16(description, 0)
		description = binary.NativeEndian.AppendUint32(description, interfaceNoSnapshot)
		description = appendOption(description, optionInterfaceName, []byte(name))
		description = appendOption(description, optionInterfaceUnit, []byte{nanoseconds})
		description = appendOption(description, optionEnd, nil)
		file = appendBlock(file, blockInterface, description)
	}
	return file
}

// packetHead is the beginning of a packet's block of so many bytes in all, up to the
// data.
func packetHead(total, interfaceNumber int, timeNS int64, bytes int) (head [packetHeadBytes]byte) {
	for i, number := range [...]uint32{
		blockPacket, uint32(total), uint32(interfaceNumber),
		uint32(uint64(timeNS) >> 32), uint32(timeNS), uint32(bytes), uint32(bytes),
	} {
		binary.NativeEndian.PutUint32(head[4*i:], number)
	}
	return head
}

// packetOptions are the options of a packet, with which its data end.
func packetOptions(flags byte, comment string) []byte {
	options := appendOption(nil, optionPacketFlags, binary.NativeEndian.AppendUint32(nil, uint32(flags)))
	if comment != "" {
		options = appendOption(options, optionComment, []byte(comment))
	}
	return appendOption(options, optionEnd, nil)
}
