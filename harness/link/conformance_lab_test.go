//go:build linux

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// conformanceExecutor carries real frames.
type conformanceExecutor interface {
	SetLink(link string, aToB, bToA topologies.Parameters) error
	counts() (engine.LinkReport, error)
}

type emulatorExecutor struct{ *Remote }

func (e emulatorExecutor) counts() (engine.LinkReport, error) {
	r, err := e.Report()
	return r.LinkReport, err
}

type kernelExecutor struct{ *Kernel }

func (e kernelExecutor) counts() (engine.LinkReport, error) { return e.Report() }

// Environment of slow machines, such as user-mode Linux: the one executor to try, how many
// cases share a lab, and a file that gets the table too.
const (
	onlyVariable     = "QUORUMLAB_CONFORMANCE_ONLY"
	togetherVariable = "QUORUMLAB_CONFORMANCE_TOGETHER"
	tableVariable    = "QUORUMLAB_CONFORMANCE_TABLE"
)

// TestEveryExecutorDoesWhatTheModelSays sends each case's frames through the model, the
// emulator and the kernel, each link as it was built and again as it was changed from
// another case's parameters to these, and compares what arrives.
func TestEveryExecutorDoesWhatTheModelSays(t *testing.T) {
	needNamespaces(t)
	cases := conformanceCases()
	var rows []conformanceRow
	for _, c := range cases {
		rows = append(rows, conformModel(c))
	}
	if only := os.Getenv(onlyVariable); only == "" || only == "emulator" {
		rows = append(rows, conformLabs(t, "emulator", cases, func(l *lab) conformanceExecutor {
			return emulatorExecutor{l.emulate(EmulatorConfig{Seed: uint64(os.Getpid())})}
		})...)
	}
	if only := os.Getenv(onlyVariable); only == "" || only == "kernel" {
		rows = append(rows, conformKernel(t, cases)...)
	}
	order := map[string]int{"all": len(cases)}
	for i, c := range cases {
		order[c.name] = i
	}
	slices.SortStableFunc(rows, func(a, b conformanceRow) int { return order[a.name] - order[b.name] })
	table := conformanceTable(rows)
	t.Logf("\n%s", table)
	if path := os.Getenv(tableVariable); path != "" {
		if err := os.WriteFile(path, []byte(table), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// conformKernel is the kernel's column: cases that it refuses stand there with the
// reason. Where it has no netem the column is one line.
func conformKernel(t *testing.T, cases []conformanceCase) []conformanceRow {
	features := probed(t)
	if !features.Netem || !features.Bridge {
		return []conformanceRow{{name: "all", executor: "kernel", verdict: "absent: this kernel has no netem"}}
	}
	var rows []conformanceRow
	var supported []conformanceCase
	for _, c := range cases {
		if reason := kernelRefuses(c.parameters, features); reason != "" {
			rows = append(rows, conformanceRow{name: c.name, executor: "kernel", verdict: "refused: " + reason})
		} else {
			supported = append(supported, c)
		}
	}
	return append(rows, conformLabs(t, "kernel", supported, func(l *lab) conformanceExecutor {
		return kernelExecutor{l.buildKernelFor(features, true)}
	})...)
}

// conformLabs measures cases in labs of their own, as many together as the machine can
// carry.
func conformLabs(t *testing.T, executor string, cases []conformanceCase, build func(*lab) conformanceExecutor) []conformanceRow {
	together := len(cases)
	if text := os.Getenv(togetherVariable); text != "" {
		var err error
		if together, err = strconv.Atoi(text); err != nil || together < 1 {
			t.Fatalf("%s is %q, want a number of cases", togetherVariable, text)
		}
	}
	var rows []conformanceRow
	controls := cases[:conformanceControls]
	for some := range slices.Chunk(cases[conformanceControls:], together) {
		t.Run(fmt.Sprintf("%s from %s", executor, some[0].name), func(t *testing.T) {
			got := newConformanceLab(t, slices.Concat(controls, some), build).rows(executor)
			if len(rows) > 0 {
				got = slices.DeleteFunc(got, func(r conformanceRow) bool {
					return slices.ContainsFunc(controls, func(c conformanceCase) bool { return c.name == r.name })
				})
			}
			rows = append(rows, got...)
		})
	}
	return rows
}

// conformanceLab is a star whose links are the cases, each at the hosts that send through
// it. Its last host receives everything.
type conformanceLab struct {
	t        *testing.T
	cases    []conformanceCase
	lab      *lab
	executor conformanceExecutor
	// links are the cases' links, senders their flows' sockets, receivers where they
	// arrive.
	links     []string
	senders   [][]*net.UDPConn
	receivers []*net.UDPConn
	// sentBefore and arrivedBefore count the frames of former observations.
	sentBefore, arrivedBefore []uint64
}

func newConformanceLab(t *testing.T, cases []conformanceCase, build func(*lab) conformanceExecutor) *conformanceLab {
	l := &conformanceLab{t: t, cases: cases, sentBefore: make([]uint64, len(cases)), arrivedBefore: make([]uint64, len(cases))}
	topology := &topologies.Topology{Kind: "conformance", Switches: []string{"s1"}}
	host := func(name string) string {
		topology.Hosts = append(topology.Hosts, topologies.Host{Name: name, Address: topologies.Address(len(topology.Hosts))})
		return name
	}
	link := func(a, b string, p topologies.Parameters) string {
		topology.Links = append(topology.Links, topologies.Link{Name: a + "-" + b, A: a, B: b, AToB: p})
		return a + "-" + b
	}
	var flows [][]int
	for i, c := range cases {
		first := len(topology.Hosts)
		if c.flows == 1 {
			l.links = append(l.links, link(host(fmt.Sprintf("h%d", i)), "s1", c.parameters))
			flows = append(flows, []int{first})
			continue
		}
		own := fmt.Sprintf("s%d", i+2)
		topology.Switches = append(topology.Switches, own)
		l.links = append(l.links, link(own, "s1", c.parameters))
		flows = append(flows, nil)
		for flow := range c.flows {
			link(host(fmt.Sprintf("h%d-%d", i, flow)), own, topologies.Parameters{})
			flows[i] = append(flows[i], first+flow)
		}
	}
	link(host("sink"), "s1", topologies.Parameters{})
	l.lab = newLab(t, topology)
	for i, n := range l.lab.hosts {
		// Whatever the links do at first, they may do something else later.
		n.must(t, "limiting segments of "+topology.Hosts[i].Name, func() error { return LimitSegments("eth0") })
	}
	l.executor = build(l.lab)
	sink := len(topology.Hosts) - 1
	for i := range cases {
		port := uint16(testPort + i)
		l.receivers = append(l.receivers, l.receive(sink, port))
		l.senders = append(l.senders, nil)
		for _, host := range flows[i] {
			l.senders[i] = append(l.senders[i], l.send(host, netip.AddrPortFrom(topology.Hosts[sink].Address, port)))
		}
	}
	return l
}

// receive opens a socket whose datagrams come with the kernel's time of arrival.
func (l *conformanceLab) receive(host int, port uint16) *net.UDPConn {
	var c *net.UDPConn
	l.lab.hosts[host].must(l.t, "listening", func() (err error) {
		address := netip.AddrPortFrom(l.lab.topology.Hosts[host].Address, port)
		if c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(address)); err != nil {
			return err
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		controlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
			// Who reads may not get to run for a while. Without root the default must do.
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
		})
		return errors.Join(controlErr, err)
	})
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// send opens a socket to an address.
func (l *conformanceLab) send(host int, to netip.AddrPort) *net.UDPConn {
	var c *net.UDPConn
	l.lab.hosts[host].must(l.t, "connecting", func() (err error) {
		c, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
		return err
	})
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// rows measures every case as its link was built, then as changed from the case before.
func (l *conformanceLab) rows(executor string) []conformanceRow {
	identity := make([]int, len(l.cases))
	for i := range identity {
		identity[i] = i
	}
	rows := l.observe(executor, identity)
	// The controls stay; each other link takes the case of the next one. Flows are a
	// case's own, so only cases of one flow change places.
	changed := slices.Clone(identity)
	var single []int
	for i, c := range l.cases {
		if i >= conformanceControls && c.flows == 1 {
			single = append(single, i)
		}
	}
	for i, place := range single {
		changed[place] = single[(i+1)%len(single)]
	}
	for link, c := range changed {
		if link == c {
			continue
		}
		if err := l.executor.SetLink(l.links[link], l.cases[c].parameters, topologies.Parameters{}); err != nil {
			l.t.Errorf("changing %q to %q: %v", l.cases[link].name, l.cases[c].name, err)
		}
	}
	return append(rows, l.observe(executor+", changed", changed)[conformanceControls:]...)
}

// observe sends the traffic of case played[i] through link i and judges what arrives.
func (l *conformanceLab) observe(executor string, played []int) []conformanceRow {
	sent := make([][]sentFrame, len(played))
	for link, c := range played {
		sent[link] = l.cases[c].traffic(conformanceTicks, uint64(c+1))
	}
	arrived := l.play(sent)
	var controls []figures
	for i := range conformanceControls {
		controls = append(controls, measure(l.cases[i].parameters, sent[i], arrived[i]))
	}
	machine := latenessOf(l.cases, controls)
	l.t.Logf("%s: with nothing to do frames took %.0f us; %.0f%% may be late", executor, controls[0].meanDelayNS/1e3, 100*machine.over)
	rows := make([]conformanceRow, len(played))
	var judges sync.WaitGroup
	for link, c := range played {
		judges.Go(func() {
			judged := l.cases[c]
			want := expect(judged.parameters, sent[link])
			got := measure(judged.parameters, sent[link], arrived[link])
			allowed := machine
			if link < conformanceControls {
				allowed.over = controlLate
			}
			off := want.verdict(judged, got, len(sent[link]), allowed)
			rows[link] = conformanceRow{
				name: judged.name, executor: executor, sent: len(sent[link]), got: got, want: want,
				jitters: judged.parameters.Jitters() && judged.parameters.Trace == nil && judged.parameters.Reorder == 0, saturated: judged.saturated, verdict: verdictText(off),
			}
		})
	}
	judges.Wait()
	l.checkCounters(executor, played, sent, arrived)
	for i, row := range rows {
		if row.verdict != "pass" {
			l.t.Errorf("%s, %s: %s", row.executor, row.name, row.verdict)
		}
		l.sentBefore[i] += uint64(len(sent[i]))
		l.arrivedBefore[i] += uint64(len(arrived[i]))
	}
	return rows
}

// play sends all frames at their times, which it replaces by the true ones, and collects
// what arrives until nothing does any more.
func (l *conformanceLab) play(sent [][]sentFrame) [][]receivedFrame {
	arrived := make([][]receivedFrame, len(sent))
	var receivers sync.WaitGroup
	var done atomic.Bool
	for i, c := range l.receivers {
		receivers.Go(func() { arrived[i] = collect(c, &done) })
	}
	next := make([]int, len(sent))
	message := make([]byte, largeFrame)
	began := time.Now().Add(20 * time.Millisecond)
	for tick := range conformanceTicks {
		due := int64(tick) * int64(conformanceTick)
		time.Sleep(time.Until(began.Add(time.Duration(due))))
		for i, frames := range sent {
			for ; next[i] < len(frames) && frames[next[i]].atNS == due; next[i]++ {
				frame := &frames[next[i]]
				binary.NativeEndian.PutUint32(message, uint32(next[i]))
				frame.atNS = time.Now().UnixNano()
				// 42 bytes of headers: Ethernet, IP, UDP.
				if _, err := l.senders[i][frame.flow].Write(message[:frame.bytes-42]); err != nil {
					l.t.Errorf("sending through %s: %v", l.links[i], err)
				}
			}
		}
	}
	done.Store(true)
	receivers.Wait()
	return arrived
}

// collect reads frames until all are sent and no more come.
func collect(c *net.UDPConn, done *atomic.Bool) []receivedFrame {
	// No link takes longer, but a heavy tail or a machine that stands still.
	const longest = 500 * time.Millisecond
	var arrived []receivedFrame
	message, control := make([]byte, 2048), make([]byte, 128)
	for {
		last := done.Load()
		_ = c.SetReadDeadline(time.Now().Add(longest))
		n, controlBytes, _, _, err := c.ReadMsgUDPAddrPort(message, control)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !last:
			continue
		case err != nil:
			return arrived
		}
		atNS := time.Now().UnixNano()
		if parsed, err := unix.ParseSocketControlMessage(control[:controlBytes]); err == nil {
			for _, one := range parsed {
				if one.Header.Level == unix.SOL_SOCKET && one.Header.Type == unix.SCM_TIMESTAMPNS && len(one.Data) >= 16 {
					atNS = int64(binary.NativeEndian.Uint64(one.Data))*1e9 + int64(binary.NativeEndian.Uint64(one.Data[8:]))
				}
			}
		}
		if n >= 4 {
			arrived = append(arrived, receivedFrame{int(binary.NativeEndian.Uint32(message)), atNS})
		}
	}
}

// checkCounters compares what the executor counted with what was sent and arrived.
func (l *conformanceLab) checkCounters(executor string, played []int, sent [][]sentFrame, arrived [][]receivedFrame) {
	report, err := l.executor.counts()
	if err != nil {
		l.t.Error(err)
		return
	}
	if report.EmulatorDrops != 0 {
		l.t.Errorf("%s: it dropped %d frames that no link was to drop: %v", executor, report.EmulatorDrops, report.EmulatorDropCauses)
	}
	_, kernel := l.executor.(kernelExecutor)
	for i, name := range l.links {
		var d engine.DirectionReport
		for _, one := range report.Directions {
			if one.Link == name && one.To == "s1" {
				d = one
			}
		}
		gone, came := l.sentBefore[i]+uint64(len(sent[i])), l.arrivedBefore[i]+uint64(len(arrived[i]))
		if d.Frames-d.Corrupted != came {
			l.t.Errorf("%s, %s: it counted %d frames delivered, %d of them corrupted; %d arrived", executor, l.cases[played[i]].name, d.Frames, d.Corrupted, came)
		}
		if l.cases[played[i]].parameters.Reorder > 0 && d.Reordered == 0 {
			l.t.Errorf("%s, %s: it counted no frame that it let go at once", executor, l.cases[played[i]].name)
		}
		duplicates := l.cases[i].parameters.Duplicate > 0 || l.cases[played[i]].parameters.Duplicate > 0
		if kernel && duplicates {
			continue // netem doesn't count them
		}
		if d.Frames+d.LossDrops+d.QueueDrops+d.DownDrops-d.Duplicates != gone {
			l.t.Errorf("%s, %s: it counted %+v; %d were sent", executor, l.cases[played[i]].name, d, gone)
		}
	}
}
