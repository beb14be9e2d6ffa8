//go:build linux

package netns

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// The test binary plays all parts: it is the lab's init and emulator, and with
// one of these as its first argument a node or a controller.
var parts = map[string]func(arguments []string) error{
	"echo":       nodeEcho,
	"ask":        nodeAsk,
	"exit":       nodeExit,
	"tell":       nodeTell,
	"orphan":     nodeOrphan,
	"stay":       nodeStay,
	"controller": controllerForever,
	"check":      printCheck,
	"deny":       denyThenCheck,
	"look":       programLook,
	"wait":       programWait,
	"neighbours": programNeighbours,
}

func TestMain(m *testing.M) {
	RunIfChild()
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			if err := part(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	// Under the race detector every part would take a second to leave.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(m.Run())
}

// nodeEcho answers TCP and UDP on an address until standard input ends.
func nodeEcho(arguments []string) error {
	listener, err := net.Listen("tcp", arguments[0])
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", arguments[0])
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go io.Copy(connection, connection)
		}
	}()
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			packets.WriteTo(buffer[:n], from)
		}
	}()
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// nodeAsk sends a text to an echo and prints the answer. It asks again until
// there is one, because a UDP datagram may be lost.
func nodeAsk(arguments []string) error {
	for {
		connection, err := net.DialTimeout(arguments[0], arguments[1], 5*time.Second)
		if err != nil {
			return err
		}
		connection.SetDeadline(time.Now().Add(time.Second))
		fmt.Fprint(connection, arguments[2])
		answer := make([]byte, len(arguments[2]))
		_, err = io.ReadFull(connection, answer)
		connection.Close()
		if err == nil {
			fmt.Println(string(answer))
			return nil
		}
	}
}

func nodeExit(arguments []string) error {
	code, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "leaving")
	os.Exit(code)
	return nil
}

// surroundings are what a process sees of its host.
type surroundings struct {
	PID               int
	Interfaces        []string
	MACs              []string
	SegmentsPerFrame  uint32
	CongestionControl string
	Child             string
	OpenFiles         uint64
	Descriptors       []string
}

func nodeTell([]string) error {
	told := surroundings{PID: os.Getpid(), Child: os.Getenv(childVariable)}
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		told.Interfaces = append(told.Interfaces, i.Name)
		told.MACs = append(told.MACs, i.HardwareAddr.String())
	}
	eth, err := netlink.LinkByName(hostInterface)
	if err != nil {
		return err
	}
	told.SegmentsPerFrame = eth.Attrs().GSOMaxSegs
	if told.CongestionControl, err = readSetting("net/ipv4/tcp_congestion_control"); err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	told.OpenFiles = limit.Cur
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		if strings.HasPrefix(target, "net:") || strings.HasPrefix(target, "socket:") {
			told.Descriptors = append(told.Descriptors, target)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// nodeOrphan leaves a process behind that has left its session.
func nodeOrphan([]string) error {
	orphan := exec.Command(self, "stay")
	orphan.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return orphan.Start()
}

// nodeStay ends only if it is killed.
func nodeStay([]string) error {
	time.Sleep(time.Hour)
	return errors.New("nobody killed me")
}

// buildStar makes a star for a test.
func buildStar(t testing.TB, hosts int, link topologies.Parameters) *lab {
	t.Helper()
	l, err := netnsEngine{}.Build(t.Context(), blueprint(hosts, link))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*lab)
}

func blueprint(hosts int, link topologies.Parameters) engine.Blueprint {
	path, err := os.Executable()
	if err != nil {
		panic("the test binary has no path: " + err.Error())
	}
	return engine.Blueprint{
		Topology: topologies.Star(hosts, link), Links: engine.LinksAuto, Seed: 1, NodeBinary: path, Log: os.Stderr,
	}
}

// start runs a part on a host.
func start(t testing.TB, l engine.Lab, host string, arguments ...string) engine.Process {
	t.Helper()
	p, err := l.Start(t.Context(), host, engine.Command{Name: arguments[0] + " on " + host, Arguments: arguments, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// line reads the next line that a process prints.
func line(t testing.TB, p engine.Process) string {
	t.Helper()
	text, err := bufio.NewReader(p.Stdout()).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: reading a line: %v", p.Name(), err)
	}
	return strings.TrimSpace(text)
}

// exit waits for a process's end.
func exit(t testing.TB, p engine.Process) engine.Exit {
	t.Helper()
	select {
	case <-p.Done():
		return p.Exit()
	case <-time.After(20 * time.Second):
		t.Fatalf("%s has not ended", p.Name())
		return engine.Exit{}
	}
}

// controllerForever builds labs and closes them again until it is killed.
func controllerForever([]string) error {
	for {
		l, err := netnsEngine{}.Build(context.Background(), blueprint(3, topologies.Parameters{Delay: time.Millisecond}))
		if err != nil {
			return err
		}
		for _, host := range []string{"h1", "h2", "h3"} {
			if _, err := l.Start(context.Background(), host, engine.Command{Name: host, Arguments: []string{"orphan"}}); err != nil {
				return err
			}
		}
		fmt.Println("built")
		time.Sleep(20 * time.Millisecond)
		if err := l.Close(); err != nil {
			return err
		}
	}
}
