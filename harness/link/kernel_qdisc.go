//go:build linux

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of netem that package netlink lacks (linux/pkt_sched.h).
const (
	netemLatency64 = 10
	netemJitter64  = 11
	netemLossGE    = 2
	// Sizes of tc_netem_qopt and of the members that are read.
	qoptBytes   = 24
	statesBytes = 16
)

// rootHandle is the handle of every qdisc that we add.
var rootHandle = netlink.MakeHandle(1, 0)

// qdiscSocket sets and reads the qdiscs of the network namespace that it was opened
// in, from any thread, one at a time.
type qdiscSocket struct{ sockets map[int]*nl.SocketHandle }

func openQdiscSocket() (*qdiscSocket, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	return &qdiscSocket{map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}, nil
}

func (q *qdiscSocket) close() {
	for _, socket := range q.sockets {
		socket.Close()
	}
}

func (q *qdiscSocket) request(kind, flags int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(kind, flags)
	request.Sockets = q.sockets
	return request
}

// setNetem adds a root netem to a device, or changes it in place. Every attribute
// is sent, the zeros too: those that are left out would keep their values.
func (q *qdiscSocket) setNetem(device int, options netemOptions, exists bool) error {
	flags := unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL
	if exists {
		// The same handle means: change what is there.
		flags = unix.NLM_F_ACK | unix.NLM_F_REPLACE
	}
	request := q.request(unix.RTM_NEWQDISC, flags)
	request.AddData(&nl.TcMsg{
		Family: nl.FAMILY_ALL, Ifindex: int32(device), Handle: rootHandle, Parent: netlink.HANDLE_ROOT,
	})
	request.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("netem")))
	request.AddData(options.encode())
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("setting netem at device %d: %w", device, err)
	}
	return nil
}

// rootNetem is a root netem as the kernel tells of it.
type rootNetem struct {
	options netemOptions
	// sent are the frames that left it; the counter wraps around.
	sent uint32
	// waiting are the frames inside, of so many bytes.
	waiting, waitingBytes uint32
	// dropped are frames lost, by whatever cause; letGo those that skipped the delay.
	dropped, letGo uint32
}

// netems reads the root netems by device.
func (q *qdiscSocket) netems() (map[int]rootNetem, error) {
	request := q.request(unix.RTM_GETQDISC, unix.NLM_F_DUMP)
	request.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL})
	messages, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWQDISC)
	if err != nil {
		return nil, fmt.Errorf("reading the qdiscs: %w", err)
	}
	found := map[int]rootNetem{}
	for _, message := range messages {
		device, netem, err := parseQdisc(message)
		if err != nil {
			return nil, fmt.Errorf("reading the qdiscs: %w", err)
		}
		if netem != nil {
			found[device] = *netem
		}
	}
	return found, nil
}

// errQdisc is met where the kernel's answer doesn't look as it should.
var errQdisc = errors.New("a qdisc that isn't understood")

// parseQdisc reads one qdisc; nil unless it is a root netem.
func parseQdisc(message []byte) (device int, netem *rootNetem, err error) {
	if len(message) < nl.SizeofTcMsg {
		return 0, nil, fmt.Errorf("%w: %d bytes", errQdisc, len(message))
	}
	device = int(int32(binary.NativeEndian.Uint32(message[4:])))
	parent := binary.NativeEndian.Uint32(message[12:])
	attributes, err := parseAttributes(message[nl.SizeofTcMsg:])
	if err != nil {
		return device, nil, err
	}
	kind := strings.TrimRight(string(attributes[nl.TCA_KIND]), "\x00")
	if kind != "netem" || parent != netlink.HANDLE_ROOT {
		return device, nil, nil
	}
	netem = &rootNetem{}
	if netem.options, err = decodeNetem(attributes[nl.TCA_OPTIONS]); err != nil {
		return device, nil, err
	}
	// Package netlink takes the older statistics, which lack the frames let go.
	statistics, err := parseAttributes(attributes[nl.TCA_STATS2])
	if err != nil {
		return device, nil, err
	}
	basic, queue := statistics[nl.TCA_STATS_BASIC], statistics[nl.TCA_STATS_QUEUE]
	if len(basic) < 12 || len(queue) < 16 {
		return device, nil, fmt.Errorf("%w: it has no counters", errQdisc)
	}
	netem.sent = binary.NativeEndian.Uint32(basic[8:])
	netem.waiting, netem.waitingBytes = binary.NativeEndian.Uint32(queue), binary.NativeEndian.Uint32(queue[4:])
	netem.dropped, netem.letGo = binary.NativeEndian.Uint32(queue[8:]), binary.NativeEndian.Uint32(queue[12:])
	return device, netem, nil
}

// parseAttributes finds the values of attributes by their types.
func parseAttributes(b []byte) (map[uint16][]byte, error) {
	values := map[uint16][]byte{}
	for len(b) > 0 {
		if len(b) < unix.SizeofRtAttr {
			return nil, fmt.Errorf("%w: %d bytes after its attributes", errQdisc, len(b))
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return nil, fmt.Errorf("%w: an attribute of %d bytes where there are %d", errQdisc, length, len(b))
		}
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		values[kind] = b[unix.SizeofRtAttr:length]
		aligned := (length + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1)
		b = b[min(aligned, len(b)):]
	}
	return values, nil
}

// encode makes the qdisc's options: tc_netem_qopt, then attributes.
func (o netemOptions) encode() *nl.RtAttr {
	// latency and jitter are in the attributes of 64 bits below.
	qopt := words(0, o.limit, o.loss, o.gap, o.duplicate, 0)
	options := nl.NewRtAttr(nl.TCA_OPTIONS, qopt)
	options.AddRtAttr(nl.TCA_NETEM_CORR, words(0, 0, 0))
	if len(o.table) > 0 {
		table := make([]byte, 0, 2*len(o.table))
		for _, entry := range o.table {
			table = binary.NativeEndian.AppendUint16(table, uint16(entry))
		}
		options.AddRtAttr(nl.TCA_NETEM_DELAY_DIST, table)
	}
	options.AddRtAttr(nl.TCA_NETEM_REORDER, words(o.reorder, 0))
	options.AddRtAttr(nl.TCA_NETEM_CORRUPT, words(0, 0))
	if s := o.states; s != nil {
		// Without this attribute the loss is independent again.
		options.AddRtAttr(nl.TCA_NETEM_LOSS|unix.NLA_F_NESTED, nil).
			AddRtAttr(netemLossGE, words(s.goodToBad, s.badToGood, s.keptBad, s.lossGood))
	}
	// The kernel takes the greater of both rates.
	options.AddRtAttr(nl.TCA_NETEM_RATE, words(uint32(min(o.bytesPerSecond, 1<<32-1)), 0, 0, 0))
	options.AddRtAttr(nl.TCA_NETEM_RATE64, nl.Uint64Attr(o.bytesPerSecond))
	options.AddRtAttr(netemLatency64, nl.Uint64Attr(uint64(o.delayNS)))
	options.AddRtAttr(netemJitter64, nl.Uint64Attr(uint64(o.spreadNS)))
	return options
}

func words(values ...uint32) []byte {
	encoded := make([]byte, 0, 4*len(values))
	for _, value := range values {
		encoded = binary.NativeEndian.AppendUint32(encoded, value)
	}
	return encoded
}

// decodeNetem reads the options that the kernel tells, all but the table. What is set
// though encode never sets it is an error.
func decodeNetem(value []byte) (o netemOptions, err error) {
	if len(value) < qoptBytes {
		return o, fmt.Errorf("%w: netem with %d bytes of options", errQdisc, len(value))
	}
	word := func(b []byte, i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }
	o.limit, o.loss, o.gap, o.duplicate = word(value, 1), word(value, 2), word(value, 3), word(value, 4)
	attributes, err := parseAttributes(value[qoptBytes:])
	if err != nil {
		return o, err
	}
	for kind, least := range netemAttributeBytes {
		b, ok := attributes[kind]
		if !ok {
			// Zeros, as the kernel leaves out what is off.
			attributes[kind] = make([]byte, least)
		} else if len(b) < least {
			return o, fmt.Errorf("%w: netem's attribute %d with %d bytes", errQdisc, kind, len(b))
		}
	}
	long := func(kind uint16) uint64 { return binary.NativeEndian.Uint64(attributes[kind]) }
	o.delayNS, o.spreadNS = int64(long(netemLatency64)), int64(long(netemJitter64))
	o.reorder = word(attributes[nl.TCA_NETEM_REORDER], 0)
	o.bytesPerSecond = max(long(nl.TCA_NETEM_RATE64), uint64(word(attributes[nl.TCA_NETEM_RATE], 0)))
	if states, ok := attributes[nl.TCA_NETEM_LOSS]; ok {
		if o.states, err = decodeStates(states); err != nil {
			return o, err
		}
	}
	for kind, from := range netemForeignWords {
		for i := from; i < netemAttributeBytes[kind]/4; i++ {
			if foreign := word(attributes[kind], i); foreign != 0 {
				return o, fmt.Errorf("%w: word %d of netem's attribute %d is %d, and nobody set it", errQdisc, i, kind, foreign)
			}
		}
	}
	return o, nil
}

// netemAttributeBytes are the least sizes of the attributes that are read.
var netemAttributeBytes = map[uint16]int{
	nl.TCA_NETEM_CORR: 12, nl.TCA_NETEM_REORDER: 8, nl.TCA_NETEM_CORRUPT: 8, nl.TCA_NETEM_RATE: 16,
	nl.TCA_NETEM_RATE64: 8, netemLatency64: 8, netemJitter64: 8, nl.TCA_NETEM_ECN: 4,
}

// netemForeignWords are the attributes with words that we leave 0, and the first such
// word: correlations, corruption, overheads, marks.
var netemForeignWords = map[uint16]int{
	nl.TCA_NETEM_CORR: 0, nl.TCA_NETEM_REORDER: 1, nl.TCA_NETEM_CORRUPT: 0, nl.TCA_NETEM_RATE: 1, nl.TCA_NETEM_ECN: 0,
}

// decodeStates reads the loss model.
func decodeStates(value []byte) (*netemStates, error) {
	models, err := parseAttributes(value)
	if err != nil {
		return nil, err
	}
	b := models[netemLossGE]
	if len(models) != 1 || len(b) < statesBytes {
		return nil, fmt.Errorf("%w: netem's loss model isn't one Gilbert-Elliott model", errQdisc)
	}
	return &netemStates{
		goodToBad: binary.NativeEndian.Uint32(b), badToGood: binary.NativeEndian.Uint32(b[4:]),
		keptBad: binary.NativeEndian.Uint32(b[8:]), lossGood: binary.NativeEndian.Uint32(b[12:]),
	}, nil
}
