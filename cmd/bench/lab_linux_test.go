package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorumlab/results"
)

// The test binary plays programs that are run in labs, by its first argument.
var programs = map[string]func(arguments []string) error{
	// answer echoes datagrams on a port until the end of standard input.
	"answer": func(arguments []string) error {
		connection, err := net.ListenPacket("udp", ":"+arguments[0])
		if err != nil {
			return err
		}
		go func() {
			buffer := make([]byte, 2048)
			for {
				if n, from, err := connection.ReadFrom(buffer); err == nil {
					connection.WriteTo(buffer[:n], from)
				}
			}
		}()
		fmt.Println("answering")
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	},
	// ask sends so many numbered datagrams, 10 ms apart, and says what is answered.
	"ask": func(arguments []string) error {
		connection, err := net.Dial("udp", arguments[0])
		if err != nil {
			return err
		}
		most, err := strconv.Atoi(arguments[1])
		if err != nil {
			return err
		}
		for i := range most {
			if _, err := fmt.Fprintf(connection, "question %3d", i); err != nil {
				continue // nobody listens, says the host
			}
			connection.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if n, err := connection.Read(make([]byte, 100)); err == nil {
				fmt.Println("answered", n)
			}
		}
		return nil
	},
}

func init() {
	playProgram = func() {
		if len(os.Args) < 2 || programs[os.Args[1]] == nil {
			return
		}
		if err := programs[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// testBinary is the path of this program.
func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// started is a command that runs beside the test.
type started struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stdin  io.WriteCloser
	stderr bytes.Buffer
}

func startBench(t *testing.T, environment []string, arguments ...string) *started {
	t.Helper()
	s := &started{t: t, cmd: exec.Command(filepath.Join(binaries, "bench"), arguments...)}
	s.cmd.Env = append(os.Environ(), environment...)
	s.cmd.Dir = t.TempDir()
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.cmd.Process.Kill()
			s.cmd.Wait()
		}
	})
	s.lines = bufio.NewScanner(stdout)
	return s
}

// until reads lines up to one that contains a text, and returns them.
func (s *started) until(text string) string {
	s.t.Helper()
	var read strings.Builder
	for s.lines.Scan() {
		fmt.Fprintln(&read, s.lines.Text())
		if strings.Contains(s.lines.Text(), text) {
			return read.String()
		}
	}
	err := s.cmd.Wait()
	s.t.Fatalf("it ended before %q (%v):\n%s%s", text, err, &read, &s.stderr)
	return ""
}

// end waits for the end and returns the exit status.
func (s *started) end() int {
	s.t.Helper()
	for s.lines.Scan() { // to the end of its output
	}
	if err := s.cmd.Wait(); err != nil && s.cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

// labUp starts a lab whose name no other has.
func labUp(t *testing.T, arguments ...string) (lab *started, name, shown string) {
	t.Helper()
	needNetns(t)
	name = fmt.Sprintf("t%d-%d", os.Getpid(), time.Now().UnixNano())
	lab = startBench(t, nil, append([]string{"lab", "up", shipped(t, "quickstart.yaml"), "--name", name}, arguments...)...)
	return lab, name, lab.until("Ctrl-C removes")
}

func TestALabIsWalkedIntoAndEndsWithItsCommand(t *testing.T) {
	lab, name, shown := labUp(t)
	for _, text := range []string{"h1    198.18.0.1  replica1", "h1-s1", "20 ms", "bench exec h1 -- ping", "8 hosts, 8 links"} {
		if !strings.Contains(shown, text) {
			t.Errorf("it doesn't show %q:\n%s", text, shown)
		}
	}
	if got := bench(t, "/", "lab", "list"); !strings.Contains(got.stdout, name) || got.status != exitGood {
		t.Errorf("the list, status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
	answer := startBench(t, nil, "exec", "h2", "--lab", name, "--", testBinary(t), "answer", "7777")
	answer.until("answering")
	// By the name of a process, to a host by its name.
	got := bench(t, "/", "exec", "replica1", "--lab", name, "--", testBinary(t), "ask", "h2:7777", "100")
	if got.status != exitGood || !strings.Contains(got.stdout, "answered 12") {
		// A round trip takes 80 ms; the answers to the first questions come to the later ones.
		t.Errorf("asking h2: status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	answer.stdin.Close()
	if status := answer.end(); status != exitGood {
		t.Errorf("at the end of its input, status %d", status)
	}
	for script, want := range map[string]int{"exit 7": 7, "kill -KILL $$": 128 + 9} {
		if got := bench(t, "/", "exec", "--lab", name, "h1", "--", "sh", "-c", script); got.status != want {
			t.Errorf("%s: status %d, %s", script, got.status, got.stderr)
		}
	}
	noProgram := filepath.Join(t.TempDir(), "no-program")
	if err := os.WriteFile(noProgram, []byte("echo no interpreter"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, refused := range []struct {
		arguments []string
		status    int
		says      string
	}{
		{[]string{"exec", "h99", "--lab", name, "--", "true"}, exitUsage, `no host or process "h99"`},
		{[]string{"exec", "h1", "--lab", name, "--", "no-such-command"}, exitNotFound, "no-such-command"},
		{[]string{"exec", "h1", "--lab", name, "--", "/etc/passwd"}, exitNotExecutable, "permission denied"},
		{[]string{"exec", "h1", "--lab", name, "--", "/etc"}, exitNotExecutable, "is a directory"},
		{[]string{"exec", "h1", "--lab", name, "--", noProgram}, exitNotExecutable, "exec format error"},
		{[]string{"exec", "h1", "--lab", "no-such-lab", "--", "true"}, exitUsage, "no such lab"},
		{[]string{"exec", "h1", "true", "--", "true"}, exitUsage, "after --"},
		{[]string{"exec", "h1"}, exitUsage, "requires at least 2 arg"},
		{[]string{"capture", "h99-s1", "--lab", name}, exitUsage, `no link "h99-s1"`},
		{[]string{"lab", "up", shipped(t, "quickstart.yaml"), "--engine", "sim"}, exitUsage, "no hosts to walk into"},
	} {
		got := bench(t, t.TempDir(), refused.arguments...)
		if got.status != refused.status || !strings.Contains(got.stderr, refused.says) {
			t.Errorf("%v: status %d, %s", refused.arguments, got.status, got.stderr)
		}
	}
	if err := lab.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	lab.until("lab " + name + " is gone")
	if status := lab.end(); status != exitGood {
		t.Errorf("after Ctrl-C, status %d, %s", status, &lab.stderr)
	}
	if got := bench(t, "/", "exec", "h1", "--lab", name, "--", "true"); got.status != exitUsage {
		t.Errorf("in a lab that is gone: status %d, %s", got.status, got.stderr)
	}
}

func TestCtrlCIsTheCommandsInALab(t *testing.T) {
	_, name, _ := labUp(t)
	inside := startBench(t, nil, "exec", "h1", "--lab", name, "--", "sh", "-c",
		"trap 'n=1$n; echo got $n; [ $n = 11 ] && exit 9' INT; echo ready; while :; do sleep 0.01; done")
	inside.until("ready")
	// The second one ends no other command of bench's either.
	for _, want := range []string{"got 1", "got 11"} {
		if err := inside.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		inside.until(want)
	}
	if status := inside.end(); status != 9 {
		t.Errorf("status %d, want the command's own\n%s", status, &inside.stderr)
	}
}

func TestALabWhoseCommandIsKilledLeavesNothing(t *testing.T) {
	needNetns(t)
	name := fmt.Sprintf("k%d", time.Now().UnixNano())
	token := "BENCH_LAB_TEST=" + name
	mounts := func() string {
		data, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := mounts()
	lab := startBench(t, []string{token}, "lab", "up", shipped(t, "quickstart.yaml"), "--name", name)
	lab.until("Ctrl-C removes")
	inside := startBench(t, []string{token}, "exec", "h1", "--lab", name, "--", "sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000")
	inside.until("ready")
	capturing := startBench(t, []string{token}, "capture", "h1-s1", "--lab", name, "-o", "capture.pcapng")
	file := filepath.Join(capturing.cmd.Dir, "capture.pcapng")
	waitFor(t, "the capture's beginning", func() bool { info, err := os.Stat(file); return err == nil && info.Size() > 0 })
	if err := lab.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]*started{"a command": inside, "a capture": capturing} {
		if status := s.end(); status != exitFailed || !strings.Contains(s.stderr.String(), "the lab has ended") {
			t.Errorf("%s in a lab that was killed: status %d, %s", what, status, &s.stderr)
		}
	}
	lab.end()
	waitFor(t, "the lab's processes to end", func() bool {
		environments, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range environments {
			if environment, _ := os.ReadFile(path); bytes.Contains(environment, []byte(token)) {
				return false
			}
		}
		return true
	})
	if sockets, err := os.ReadFile("/proc/net/unix"); err != nil || strings.Contains(string(sockets), name) {
		t.Errorf("its socket is left, %v", err)
	}
	if after := mounts(); after != before {
		t.Errorf("mounts\n%s\nbefore\n%s", after, before)
	}
}

func TestALabThatFailsEndsItsCommand(t *testing.T) {
	lab, _, _ := labUp(t)
	parent := fmt.Sprintf("\nPPid:\t%d\n", lab.cmd.Process.Pid)
	killed := 0
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, path := range statuses {
		if status, _ := os.ReadFile(path); strings.Contains(string(status), parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			killed++
		}
	}
	if status := lab.end(); status != exitFailed || killed != 1 || !strings.Contains(lab.stderr.String(), "the lab has failed") {
		t.Errorf("with %d children killed, status %d, %s", killed, status, &lab.stderr)
	}
}

func TestTwoLabsDoNotSeeEachOther(t *testing.T) {
	_, first, _ := labUp(t)
	_, second, _ := labUp(t)
	answer := startBench(t, nil, "exec", "h2", "--lab", first, "--", testBinary(t), "answer", "7777")
	answer.until("answering")
	for name, want := range map[string]bool{first: true, second: false} {
		got := bench(t, "/", "exec", "h1", "--lab", name, "--", testBinary(t), "ask", "h2:7777", "100")
		if answered := strings.Contains(got.stdout, "answered"); answered != want || got.status != exitGood {
			t.Errorf("asked in lab %s: answered %v, status %d, %s", name, answered, got.status, got.stderr)
		}
	}
	got := bench(t, "/", "exec", "h1", "--", "true")
	if got.status != exitUsage || !strings.Contains(got.stderr, "several labs run") || !strings.Contains(got.stderr, "--lab") {
		t.Errorf("which lab? status %d, %s", got.status, got.stderr)
	}
	for _, name := range []string{first, second} {
		// Both have hosts of the same names and addresses.
		if got := bench(t, "/", "exec", "h1", "--lab", name, "--", "hostname"); got.stdout != "h1\n" {
			t.Errorf("in lab %s: %q, %s", name, got.stdout, got.stderr)
		}
	}
}

func TestAnExecInAMeasuredTrialVoidsIt(t *testing.T) {
	needNetns(t)
	name := fmt.Sprintf("v%d", time.Now().UnixNano())
	dir := t.TempDir()
	trial := startBench(t, nil, append([]string{"run", shipped(t, "quickstart.yaml"), "--out", filepath.Join(dir, "run"),
		"--engine", "netns", "--repeat", "1", "--set", "name=" + name}, short...)...)
	var got finished
	waitFor(t, "the trial's lab", func() bool {
		got = bench(t, "/", "exec", "client1", "--lab", name+".trial1", "--", "sh", "-c", "exit 5")
		return got.status == 5
	})
	list := bench(t, "/", "lab", "list")
	if !strings.Contains(list.stdout, "measured") {
		t.Errorf("the list doesn't say that it is measured:\n%s", list.stdout)
	}
	if status := trial.end(); status != exitVoid {
		t.Fatalf("the run's status is %d\n%s", status, &trial.stderr)
	}
	data, err := os.ReadFile(filepath.Join(dir, "run", "trials", "0001", "verdict.json"))
	if err != nil {
		t.Fatal(err)
	}
	var verdict results.Verdict
	if err := json.Unmarshal(data, &verdict); err != nil {
		t.Fatal(err)
	}
	for _, reason := range verdict.Reasons {
		if reason.Code == "exec" {
			if !strings.HasSuffix(reason.Text, ` ran "sh -c exit 5" on host h8 while the trial was measured`) {
				t.Errorf("the reason is %q", reason.Text)
			}
			return
		}
	}
	t.Errorf("the reasons are %+v", verdict.Reasons)
}

func TestAnOrdinaryUserWalksIntoALab(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests are an ordinary user's already")
	}
	user := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321, Groups: []uint32{}}}
	name := fmt.Sprintf("u%d", time.Now().UnixNano())
	dir, err := os.MkdirTemp("/tmp", "quorumlab-user-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	spec, err := os.ReadFile(shipped(t, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), spec, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	command := func(arguments ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(binaries, "bench"), arguments...)
		c.Dir, c.SysProcAttr = dir, user
		return c
	}
	lab := command("lab", "up", "spec.yaml", "--name", name)
	stdout, err := lab.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	lab.Stderr = &said
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	defer lab.Wait()
	defer lab.Process.Kill()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C removes") {
	}
	if strings.Contains(said.String(), "doesn't work here") {
		t.Skipf("an ordinary user has no labs here: %s", &said)
	}
	if output, err := command("exec", "h1", "--", "sh", "-c", "hostname; cat /proc/net/dev").CombinedOutput(); err != nil || !strings.HasPrefix(string(output), "h1\n") || !strings.Contains(string(output), "eth0") {
		t.Errorf("exec: %v\n%s", err, output)
	}
	if output, err := command("capture", "h1-s1", "--for", "50ms", "-o", "own.pcapng").CombinedOutput(); err != nil {
		t.Errorf("capture: %v\n%s", err, output)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "own.pcapng")); err != nil || !bytes.HasPrefix(data, []byte("\n\r\r\n")) {
		t.Errorf("the capture begins with %.20q, %v", data, err)
	}
}
