//go:build linux

package netns

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

// view is what a program sees.
type view struct {
	Arguments   []string
	Environment []string
	Dir         string
	Hostname    string
	// Addresses are those that the name h2 has.
	Addresses []string
	// Leads is true if it leads a process group, Session if a session.
	Leads, Session bool
	Terminal       bool
	Input          string
}

// programLook prints its view on standard output and "seen" on standard error.
func programLook([]string) error {
	v := view{Arguments: os.Args, Environment: os.Environ(), Leads: syscall.Getpgrp() == os.Getpid()}
	v.Dir, _ = os.Getwd()
	v.Hostname, _ = os.Hostname()
	v.Addresses, _ = net.LookupHost("h2")
	session, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	v.Session = int(session) == os.Getpid()
	terminal, err := os.Open("/dev/tty") // opens if there is a controlling terminal
	v.Terminal = err == nil
	terminal.Close()
	if !v.Terminal {
		input, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		v.Input = string(input)
	}
	fmt.Fprintln(os.Stderr, "seen")
	return json.NewEncoder(os.Stdout).Encode(v)
}

// programWait waits, with a child in its group, for SIGINT, and then for its child's
// end by the same signal.
func programWait([]string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	child := exec.Command("sleep", "5")
	if err := child.Start(); err != nil {
		return err
	}
	fmt.Println("waiting")
	<-signals
	fmt.Println("child:", child.Wait())
	os.Exit(3)
	return nil
}

// run runs a part of the test binary as a program.
func run(t *testing.T, l engine.Lab, program engine.Program) engine.Running {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program.Path = path
	running, err := l.Run(t.Context(), "h1", program)
	if err != nil {
		t.Fatal(err)
	}
	return running
}

func pipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	return read, write
}

func ended(t *testing.T, r engine.Running) engine.Exit {
	t.Helper()
	select {
	case <-r.Done():
		return r.Exit()
	case <-time.After(20 * time.Second):
		t.Fatal("the program has not ended")
		return engine.Exit{}
	}
}

func TestAProgramOnAHostHasItsFilesEnvironmentAndNames(t *testing.T) {
	l := buildStar(t, 2, topologies.Parameters{})
	stdin, input := pipe(t)
	output, stdout := pipe(t)
	problems, stderr := pipe(t)
	dir := t.TempDir()
	running := run(t, l, engine.Program{
		Arguments: []string{"called so", "look", "at this"}, Environment: []string{"A=b", childVariable + "=init"}, Dir: dir,
		Stdin: stdin, Stdout: stdout, Stderr: stderr,
	})
	for _, file := range []*os.File{stdin, stdout, stderr} {
		file.Close()
	}
	fmt.Fprint(input, "typed")
	input.Close()
	var v view
	if err := json.NewDecoder(output).Decode(&v); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(problems); string(said) != "seen\n" || err != nil {
		t.Errorf("on standard error: %q, %v", said, err)
	}
	if got := ended(t, running); got.Code != 0 {
		t.Errorf("exit %+v", got)
	}
	if want := []string{"called so", "look", "at this"}; !slices.Equal(v.Arguments, want) {
		t.Errorf("arguments %q", v.Arguments)
	}
	if !slices.Equal(v.Environment, []string{"A=b"}) || v.Dir != dir || v.Input != "typed" {
		t.Errorf("environment %q, folder %s, input %q", v.Environment, v.Dir, v.Input)
	}
	if v.Hostname != "h1" || !slices.Equal(v.Addresses, []string{"198.18.0.2"}) {
		t.Errorf("it is on %q, and h2 is %v", v.Hostname, v.Addresses)
	}
	if !v.Leads || v.Session || v.Terminal {
		t.Errorf("leads its group %v, its session %v, has a terminal %v", v.Leads, v.Session, v.Terminal)
	}
	if err := running.Signal(os.Interrupt); err == nil {
		t.Error("what has ended took a signal")
	}
}

func TestNamesAreKnownInsideTheLabOnly(t *testing.T) {
	before, err := os.ReadFile(namesFile)
	if err != nil {
		t.Skip("this machine has no names: ", err)
	}
	l := buildStar(t, 2, topologies.Parameters{})
	output, stdout := pipe(t)
	running, err := l.Run(t.Context(), "h2", engine.Program{Path: "/bin/cat", Arguments: []string{"cat", namesFile}, Stdout: stdout})
	if err != nil {
		t.Fatal(err)
	}
	stdout.Close()
	inside, err := io.ReadAll(output)
	if err != nil || ended(t, running).Code != 0 {
		t.Fatalf("reading %s inside: %v, exit %+v", namesFile, err, running.Exit())
	}
	if !strings.Contains(string(inside), "198.18.0.1 h1\n198.18.0.2 h2\n") || !strings.HasSuffix(string(inside), string(before)) {
		t.Errorf("inside, %s is\n%s", namesFile, inside)
	}
	if after, err := os.ReadFile(namesFile); err != nil || string(after) != string(before) {
		t.Errorf("outside, %s is now\n%s", namesFile, after)
	}
}

func TestASignalReachesTheWholeProcessGroup(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	output, stdout := pipe(t)
	running := run(t, l, engine.Program{Arguments: []string{"wait", "wait"}, Environment: os.Environ(), Stdout: stdout, Stderr: os.Stderr})
	stdout.Close()
	lines := bufio.NewScanner(output)
	if !lines.Scan() || lines.Text() != "waiting" {
		t.Fatalf("it said %q", lines.Text())
	}
	if err := running.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "child: signal: interrupt" {
		t.Errorf("it said %q", lines.Text())
	}
	if got := ended(t, running); got.Code != 3 {
		t.Errorf("exit %+v", got)
	}
}

func TestAProgramIsEndedWithItsLab(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	running := run(t, l, engine.Program{Arguments: []string{"stay", "stay"}})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, running); got.Signal != "SIGKILL" {
		t.Errorf("exit %+v", got)
	}
}

func TestAProgramThatCannotRunIsNamed(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	if _, err := l.Run(t.Context(), "h9", engine.Program{Path: "/bin/true"}); !errors.Is(err, ErrNoHost) {
		t.Errorf("on a host that isn't there: %v", err)
	}
	_, err := l.Run(t.Context(), "h1", engine.Program{Path: "/no/such", Arguments: []string{"such"}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/no/such on h1") {
		t.Errorf("a program that isn't there: %v", err)
	}
}

// programNeighbours makes many neighbours permanent and counts them.
func programNeighbours([]string) error {
	device, err := netlink.LinkByName(hostInterface)
	if err != nil {
		return err
	}
	index := device.Attrs().Index
	var wanted []neighbour
	for i := 1; i < 2*maxBatch+10; i++ {
		wanted = append(wanted, neighbour{topologies.Address(i), hostMAC(i)})
	}
	if err := addNeighbours(index, wanted); err != nil {
		return err
	}
	known, err := netlink.NeighList(index, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	macs := map[string]string{}
	for _, n := range known {
		if n.State == netlink.NUD_PERMANENT {
			macs[n.IP.String()] = n.HardwareAddr.String()
		}
	}
	for _, n := range wanted {
		if macs[n.address.String()] != n.mac.String() {
			return fmt.Errorf("%s is %q, want %s", n.address, macs[n.address.String()], n.mac)
		}
	}
	wanted[5].mac = nil // which the kernel refuses, and the others not
	fmt.Println(addNeighbours(index, wanted[:10]))
	return nil
}

func TestNeighboursAreMadeInBatchesAndRefusalsNamed(t *testing.T) {
	l := buildStar(t, 1, topologies.Parameters{})
	output, stdout := pipe(t)
	running := run(t, l, engine.Program{Arguments: []string{"n", "neighbours"}, Stdout: stdout, Stderr: os.Stderr})
	stdout.Close()
	said, _ := io.ReadAll(output)
	if got := ended(t, running); got.Code != 0 || !strings.Contains(string(said), "adding the neighbour "+topologies.Address(6).String()) {
		t.Errorf("exit %+v, it said %q", got, said)
	}
}
