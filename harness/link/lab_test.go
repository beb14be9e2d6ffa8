//go:build linux

package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// The tests' process starts itself again: inside a user and a network namespace of
// its own, so that real frames need no root, and as the emulator.
const (
	roleVariable   = "QUORUMLAB_LINK_TEST_ROLE"
	reasonVariable = "QUORUMLAB_LINK_TEST_REASON"
	roleInside     = "inside"
	roleEmulator   = "emulator"
	roleOutside    = "outside" // no namespaces to be had; see reasonVariable
	configVariable = "QUORUMLAB_LINK_TEST_CONFIG"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleInside, roleOutside:
		os.Exit(m.Run())
	case roleEmulator:
		os.Exit(emulatorMain())
	}
	for _, argument := range os.Args[1:] {
		if strings.HasPrefix(argument, "-test.fuzz") && !strings.HasPrefix(argument, "-test.fuzztime") {
			os.Exit(m.Run()) // the fuzzing engine's pipes don't survive a new start
		}
	}
	code, err := runInside()
	if err != nil {
		_ = os.Setenv(roleVariable, roleOutside)
		_ = os.Setenv(reasonVariable, err.Error())
		code = m.Run()
	}
	os.Exit(code)
}

// runInside runs the whole test binary in new namespaces.
func runInside() (code int, err error) {
	command := exec.Command("/proc/self/exe", os.Args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = append(os.Environ(), roleVariable+"="+roleInside)
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// The thread that starts the child must live as long as it.
	runtime.LockOSThread()
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	signal.Ignore(syscall.SIGINT) // the child gets it too, and reports
	if err := command.Start(); err != nil {
		return 0, err
	}
	err = command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

func emulatorMain() int {
	var config EmulatorConfig
	err := json.Unmarshal([]byte(os.Getenv(configVariable)), &config)
	if err == nil {
		err = RunEmulator(config, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// namespace is a network namespace with a thread inside.
type namespace struct {
	calls chan func()
	file  *os.File
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	n := &namespace{calls: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.file, err = os.Open("/proc/thread-self/ns/net")
		}
		ready <- err
		for call := range n.calls {
			call()
		}
	}()
	if err := <-ready; err != nil {
		close(n.calls)
		t.Fatalf("making a network namespace: %v", err)
	}
	t.Cleanup(func() { close(n.calls); _ = n.file.Close() })
	// No router chatter; a kernel without IPv6 has none anyway.
	n.do(func() { _ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0) })
	return n
}

// do runs a function inside.
func (n *namespace) do(call func()) {
	done := make(chan struct{})
	n.calls <- func() { defer close(done); call() }
	<-done
}

// must runs a function inside and fails the test if it fails.
func (n *namespace) must(t testing.TB, what string, call func() error) {
	t.Helper()
	var err error
	n.do(func() { err = call() })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// lab is a fabric and hosts, joined by veth pairs.
type lab struct {
	t        testing.TB
	topology *topologies.Topology
	fabric   *namespace
	hosts    []*namespace
	ports    []Port
	// emulatorPID is the process that emulate has started.
	emulatorPID int
}

// needNamespaces skips a test where namespaces can't be had, except in continuous
// integration, where they must.
func needNamespaces(t testing.TB) {
	t.Helper()
	if os.Getenv(roleVariable) == roleInside {
		return
	}
	reason := os.Getenv(reasonVariable)
	if reason == "" {
		reason = "fuzzing runs outside of namespaces"
	} else if os.Getenv("CI") == "true" {
		t.Fatalf("no user and network namespace: %s", reason)
	}
	t.Skipf("no user and network namespace: %s", reason)
}

func newLab(t testing.TB, topology *topologies.Topology) *lab {
	t.Helper()
	needNamespaces(t)
	l := &lab{t: t, topology: topology, fabric: newNamespace(t)}
	for i, host := range topology.Hosts {
		n := newNamespace(t)
		l.hosts = append(l.hosts, n)
		mac := net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i + 1)}
		port := Port{Host: host.Name, Interface: fmt.Sprintf("p%d", i), MAC: mac.String()}
		l.ports = append(l.ports, port)
		l.fabric.must(t, "plugging "+host.Name, func() error {
			veth := &netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: port.Interface}, PeerName: "eth0",
				PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(n.file.Fd()),
			}
			return errors.Join(netlink.LinkAdd(veth), netlink.LinkSetUp(veth))
		})
		n.must(t, "bringing eth0 up", func() error {
			device, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return errors.Join(
				netlink.AddrAdd(device, &netlink.Addr{IPNet: &net.IPNet{IP: host.Address.AsSlice(), Mask: net.CIDRMask(15, 32)}}),
				netlink.LinkSetUp(device))
		})
		if NeedsSegments(topology) {
			n.must(t, "limiting segments", func() error { return LimitSegments("eth0") })
		}
	}
	l.fabric.must(t, "waiting for ports", func() error {
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer handle.Close()
		return AwaitUp(handle)
	})
	return l
}

// setNeighbours tells every host the others' Ethernet addresses.
func (l *lab) setNeighbours(address func(host int) string) {
	l.t.Helper()
	for i, n := range l.hosts {
		n.must(l.t, "setting neighbours", func() error {
			device, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			for j, other := range l.topology.Hosts {
				if j == i {
					continue
				}
				mac, err := net.ParseMAC(address(j))
				if err != nil {
					return err
				}
				if err := netlink.NeighSet(&netlink.Neigh{
					LinkIndex: device.Attrs().Index, State: netlink.NUD_PERMANENT,
					IP: other.Address.AsSlice(), HardwareAddr: mac,
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// emulate runs the emulator in the fabric until the test ends.
func (l *lab) emulate(config EmulatorConfig) *Remote {
	l.t.Helper()
	l.setNeighbours(func(int) string { return GatewayMAC.String() })
	config.Topology, config.Ports = l.topology, l.ports
	encoded, err := json.Marshal(config)
	if err != nil {
		l.t.Fatal(err)
	}
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), roleVariable+"="+roleEmulator, configVariable+"="+string(encoded))
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	l.fabric.must(l.t, "starting the emulator", command.Start)
	l.emulatorPID = command.Process.Pid
	l.t.Cleanup(func() {
		_ = stdin.Close()
		if rest, _ := io.ReadAll(stdout); len(rest) > 0 {
			l.t.Errorf("the emulator said at its end: %s", rest)
		}
		if err := command.Wait(); err != nil {
			l.t.Errorf("the emulator ended with %v", err)
		}
	})
	remote := NewRemote(stdin, stdout)
	ready, err := remote.WaitReady()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Logf("emulator: scheduling %s, receive buffer %d bytes", ready.Scheduling, ready.ReceiveBufferBytes)
	return remote
}

// report asks the emulator.
func report(t testing.TB, remote *Remote) EmulatorReport {
	t.Helper()
	r, err := remote.Report()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// direction finds one direction of a report.
func direction(t testing.TB, r engine.LinkReport, from, to string) engine.DirectionReport {
	t.Helper()
	for _, d := range r.Directions {
		if d.From == from && d.To == to {
			return d
		}
	}
	t.Fatalf("no direction from %s to %s", from, to)
	return engine.DirectionReport{}
}

const testPort = 7000

func (l *lab) address(host int) netip.AddrPort {
	return netip.AddrPortFrom(l.topology.Hosts[host].Address, testPort)
}

// listenUDP opens a datagram socket on a host.
func (l *lab) listenUDP(host int) *net.UDPConn {
	l.t.Helper()
	var c *net.UDPConn
	l.hosts[host].must(l.t, "listening", func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(l.address(host)))
		return err
	})
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// listenTCP opens a listener on a host.
func (l *lab) listenTCP(host int) *net.TCPListener {
	l.t.Helper()
	var c *net.TCPListener
	l.hosts[host].must(l.t, "listening", func() (err error) {
		c, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(l.address(host)))
		return err
	})
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialTCP connects a host to another one.
func (l *lab) dialTCP(from, to int) *net.TCPConn {
	l.t.Helper()
	var c *net.TCPConn
	l.hosts[from].must(l.t, "connecting", func() (err error) {
		c, err = net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(l.address(to)))
		return err
	})
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// echo answers every datagram until the socket is closed.
func echo(c *net.UDPConn) {
	buffer := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		_, _ = c.WriteToUDPAddrPort(buffer[:n], from)
	}
}

// roundTrip sends one datagram and waits for its echo.
func roundTrip(t testing.TB, c *net.UDPConn, to netip.AddrPort) time.Duration {
	t.Helper()
	buffer := make([]byte, 64)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	began := time.Now()
	if _, err := c.WriteToUDPAddrPort(buffer, to); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(buffer); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// eventually waits until something is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// setDown takes an interface of the calling thread's namespace down.
func setDown(name string) error {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetDown(device)
}
