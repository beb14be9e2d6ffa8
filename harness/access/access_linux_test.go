package access

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/harness/engine/netns"
	"quorumlab/topologies"
)

// The test binary plays programs too, by its first argument.
var parts = map[string]func() error{
	"stubborn": stubborn,
	"client":   otherClient,
	"rude":     rudeClient,
	"host":     host,
}

func TestMain(m *testing.M) {
	netns.RunIfChild()
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			if err := part(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// stubborn ignores that its user hangs up.
func stubborn() error {
	signal.Ignore(syscall.SIGHUP)
	fmt.Println("staying")
	time.Sleep(time.Hour)
	return nil
}

// otherClient runs the command of its arguments in the lab of another process.
func otherClient() error {
	lab, err := Find(os.Args[2])
	if err != nil {
		return err
	}
	status, err := lab.Run(Command{
		Host: os.Args[3], Path: os.Args[4], Arguments: os.Args[4:], Environment: os.Environ(), Dir: "/",
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}, nil)
	if err != nil {
		return err
	}
	os.Exit(status)
	return nil
}

// rudeClient reads what a lab says to who doesn't look whose it is.
func rudeClient() error {
	socket, err := net.Dial("unix", "@"+os.Args[2])
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, socket)
	return err
}

// visits are what a lab was told of its use.
type visits struct {
	mutex sync.Mutex
	all   []string
}

func (v *visits) used(what string) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	v.all = append(v.all, what)
}

func (v *visits) String() string {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	return strings.Join(v.all, "\n")
}

// serve builds a star and lets others in.
func serve(t *testing.T, name string) (lab Lab, uses *visits, stop func()) {
	t.Helper()
	e, _ := engine.Lookup("netns")
	if r := e.Check(t.Context())[0]; !r.OK {
		t.Skipf("engine netns: %s", r.Reason)
	}
	uses = &visits{}
	built, stop, err := open(name, uses.used)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); built.Close() })
	if lab, err = Find(name); err != nil {
		t.Fatal(err)
	}
	return lab, uses, stop
}

func open(name string, onUse func(string)) (lab engine.Lab, stop func(), err error) {
	path, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	e, _ := engine.Lookup("netns")
	star := topologies.Star(2, topologies.Parameters{Delay: time.Millisecond})
	lab, err = e.(engine.Builder).Build(context.Background(), engine.Blueprint{
		Topology: star, Links: engine.LinksUserspace, NodeBinary: path, Log: os.Stderr,
	})
	if err != nil {
		return nil, nil, err
	}
	description := Description{Name: name, Executor: engine.LinksUserspace}
	for i, host := range star.Hosts {
		description.Hosts = append(description.Hosts, Host{Name: host.Name, Processes: []string{fmt.Sprintf("replica%d", i+1)}})
	}
	for _, link := range star.Links {
		description.Links = append(description.Links, Link{Name: link.Name, A: link.A, B: link.B})
	}
	stop, err = Serve(lab, description, onUse)
	return lab, stop, err
}

// host holds a lab until the end of standard input.
func host() error {
	lab, stop, err := open(os.Args[2], func(string) {})
	if err != nil {
		return err
	}
	defer lab.Close()
	defer stop()
	fmt.Println("up")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// unique is a lab's name that no other test has.
func unique(t *testing.T) string { return fmt.Sprintf("%.30s.%d", t.Name(), os.Getpid()) }

func pipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	return read, write
}

// shell runs a script on a host and returns what it printed.
func shell(t *testing.T, lab Lab, host, script, input string) (output string, status int, err error) {
	t.Helper()
	stdin, typed := pipe(t)
	read, stdout := pipe(t)
	fmt.Fprint(typed, input)
	typed.Close()
	status, err = lab.Run(Command{
		Host: host, Path: "/bin/sh", Arguments: []string{"sh", "-c", script}, Environment: os.Environ(), Dir: "/",
		Stdin: stdin, Stdout: stdout, Stderr: os.Stderr,
	}, nil)
	stdout.Close()
	data, _ := io.ReadAll(read)
	return string(data), status, err
}

func TestAProgramHasItsUsersFilesAndItsStatusComesBack(t *testing.T) {
	lab, uses, _ := serve(t, unique(t))
	output, status, err := shell(t, lab, "replica2", "cat; hostname; exit 7", "typed\n")
	if output != "typed\nh2\n" || status != 7 || err != nil {
		t.Errorf("it printed %q, status %d, %v", output, status, err)
	}
	if _, status, err := shell(t, lab, "h1", "kill -TERM $$", ""); status != 128+15 || err != nil {
		t.Errorf("ended by SIGTERM: status %d, %v", status, err)
	}
	if got := uses.String(); !strings.Contains(got, `ran "sh -c cat; hostname; exit 7" on host h2`) || strings.Count(got, "\n") != 1 {
		t.Errorf("the lab heard %q", got)
	}
	if _, _, err := shell(t, lab, "h9", "true", ""); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "h1, h2") {
		t.Errorf("on a host that isn't there: %v", err)
	}
	if got := uses.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("of what was refused the lab heard %q", got)
	}
	d, err := lab.Describe()
	if err != nil || d.Name != lab.Name || len(d.Hosts) != 2 || len(d.Links) != 2 {
		t.Errorf("it describes itself as %+v, %v", d, err)
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	lab, _, _ := serve(t, unique(t))
	read, stdout := pipe(t)
	signals := make(chan os.Signal, 1)
	go func() {
		bufio.NewReader(read).ReadString('\n')
		signals <- os.Interrupt
	}()
	status, err := lab.Run(Command{
		Host: "h1", Path: "/bin/sh", Arguments: []string{"sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.01; done"},
		Environment: os.Environ(), Dir: "/", Stdin: read, Stdout: stdout, Stderr: os.Stderr,
	}, signals)
	if status != 9 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
}

// away waits until no process has the token in its environment.
func away(t *testing.T, token string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		found := false
		environments, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range environments {
			environment, _ := os.ReadFile(path)
			found = found || strings.Contains(string(environment), token)
		}
		if !found {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the program is still there")
		}
	}
}

func TestAProgramEndsOnceItsUserIsGone(t *testing.T) {
	lab, _, _ := serve(t, unique(t))
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	client := exec.Command(path, "client", lab.Name, "h1", path, "stubborn")
	token := "ACCESS_TEST_TOKEN=" + unique(t)
	client.Env = append(os.Environ(), token)
	stdout, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "staying\n" || err != nil {
		t.Fatalf("it said %q, %v", line, err)
	}
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // killed
	away(t, token)
}

func TestStopShowsEverybodyOutAndTheLabIsGone(t *testing.T) {
	lab, _, stop := serve(t, unique(t))
	begun := make(chan struct{})
	out := make(chan error, 2)
	file, err := os.Create(filepath.Join(t.TempDir(), "capture"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	go func() { out <- lab.Capture("h1-s1", file, func() { begun <- struct{}{} }, nil) }()
	select {
	case <-begun:
	case err := <-out:
		t.Fatalf("the capture didn't begin: %v", err)
	}
	read, stdout := pipe(t)
	go func() {
		_, err := lab.Run(Command{Host: "h1", Path: "/bin/sh", Arguments: []string{"sh", "-c", "echo; sleep 1000"},
			Dir: "/", Environment: os.Environ(), Stdin: read, Stdout: stdout, Stderr: os.Stderr}, nil)
		out <- err
	}()
	if _, err := read.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
	stop()
	for range 2 {
		if err := <-out; !errors.Is(err, ErrEnded) {
			t.Errorf("a client that was shown out: %v", err)
		}
	}
	if _, err := Find(lab.Name); !errors.Is(err, ErrNoLab) {
		t.Errorf("the lab is still found: %v", err)
	}
	if _, err := lab.Describe(); !errors.Is(err, ErrEnded) {
		t.Errorf("a lab that is gone: %v", err)
	}
}

func TestLabsOfOtherUsersAreRefusedButNotToRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be two users")
	}
	lab, uses, _ := serve(t, unique(t))
	binary := publicCopy(t)
	stranger := exec.Command(binary, "client", lab.Name, "h1", "/bin/true")
	stranger.Dir = "/"
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: ordinaryUser}
	output, err := stranger.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "it is served by user 0") {
		t.Errorf("a stranger: %v, %s", err, output)
	}
	// One who asks all the same is refused by the lab.
	rude := exec.Command(binary, "rude", lab.address)
	rude.Dir, rude.SysProcAttr = "/", stranger.SysProcAttr
	if output, err := rude.CombinedOutput(); err != nil || !strings.Contains(string(output), "belongs to another user") {
		t.Errorf("a rude stranger: %v, %s", err, output)
	}
	if got := uses.String(); got != "" {
		t.Errorf("the lab heard %q", got)
	}
}

func TestACaptureEndsWhenItsReaderHasSeenEnough(t *testing.T) {
	lab, uses, _ := serve(t, unique(t))
	for range 2 { // and the link can be captured again
		read, write := pipe(t)
		begun := make(chan struct{})
		ended := make(chan error, 1)
		go func() { ended <- lab.Capture("h1-s1", write, func() { close(begun) }, nil) }()
		select {
		case <-begun:
		case err := <-ended:
			t.Fatalf("it didn't begin: %v", err)
		}
		head := make([]byte, 4)
		if _, err := io.ReadFull(read, head); err != nil || string(head) != "\n\r\r\n" {
			t.Errorf("it begins with %q, %v", head, err)
		}
		read.Close()
		if err := <-ended; err != nil {
			t.Errorf("its end: %v", err)
		}
	}
	if got := uses.String(); strings.Count(got, "captured link h1-s1") != 2 {
		t.Errorf("the lab heard %q", got)
	}
	if err := lab.Capture("h9", os.Stdout, func() {}, nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("a link that isn't there: %v", err)
	}
	if err := lab.CheckLink("h9"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a link that isn't there: %v", err)
	}
}

func TestWhatALabCannotOpenAgainIsCapturedThroughAPipe(t *testing.T) {
	lab, _, _ := serve(t, unique(t))
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "ours"), os.NewFile(uintptr(ends[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	stop := make(chan struct{})
	close(stop)
	if err := lab.Capture("h1-s1", theirs, func() {}, stop); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	data, err := io.ReadAll(ours)
	if err != nil || !strings.HasPrefix(string(data), "\n\r\r\n") || !strings.Contains(string(data), "h1-s1 at s1") {
		t.Errorf("through the socket came %q, %v", data, err)
	}
}

func TestAnInteractiveProgramHasATerminalOfItsOwn(t *testing.T) {
	lab, _, _ := serve(t, unique(t))
	user, theirs, err := openTerminal() // the user sits at the one end, we are the other
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer user.Close()
	defer theirs.Close()
	resize := func(rows uint16) error {
		return control(user, func(fd int) error {
			return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: 99})
		})
	}
	if err := resize(33); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	status := 0
	go func() {
		var err error
		status, err = lab.Run(Command{
			Host: "h1", Path: "/bin/sh", Environment: []string{"PS1=", "PATH=" + os.Getenv("PATH")}, Dir: "/",
			Arguments: []string{"sh", "-c", "trap 'echo interrupted; exit 6' INT; stty size; read line; echo got $line; while :; do sleep 0.01; done"},
			Stdin:     theirs, Stdout: theirs, Stderr: theirs,
		}, nil)
		ended <- err
	}()
	reader := bufio.NewReader(user)
	expect := func(want string) {
		t.Helper()
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				t.Fatalf("awaiting %q: %v", want, err)
			}
			if strings.Contains(line, want) {
				return
			}
		}
	}
	expect("33 99")
	fmt.Fprint(user, "typed\r")
	expect("got typed")
	fmt.Fprint(user, "\x03") // Ctrl-C
	expect("interrupted")
	if err := <-ended; err != nil || status != 6 {
		t.Errorf("status %d, %v", status, err)
	}
	after, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the user's terminal is left as %+v, was %+v, %v", after, before, err)
	}
}

// ordinaryUser is nobody in particular.
var ordinaryUser = &syscall.Credential{Uid: 54321, Gid: 54321, Groups: []uint32{}}

// publicCopy is a copy of the test binary, in a folder that everybody may write to.
func publicCopy(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/tmp", "access-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(folder, "access.test")
	if err := errors.Join(os.Chmod(folder, 0o777), os.WriteFile(binary, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	return binary
}

// TestAsOrdinaryUser runs the other tests again, without root.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("they run without root already")
	}
	binary := publicCopy(t)
	command := exec.Command(binary, "-test.v", "-test.timeout=60s")
	command.Env = append(os.Environ(), "TMPDIR="+filepath.Dir(binary))
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: ordinaryUser}
	output, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	for _, test := range []string{"TestAProgramHasItsUsersFiles", "TestAnInteractiveProgram", "TestACaptureEnds"} {
		if !strings.Contains(string(output), "--- PASS: "+test) {
			t.Errorf("%s didn't pass:\n%s", test, output)
		}
	}
}

// Root may walk into anybody's lab, with its own files.
func TestRootWalksIntoTheLabOfAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	host := exec.Command(publicCopy(t), "host", unique(t))
	host.Dir, host.Stderr = "/", os.Stderr
	host.SysProcAttr = &syscall.SysProcAttr{Credential: ordinaryUser}
	stdin, err := host.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	defer host.Wait()
	defer stdin.Close() // which ends it
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Skipf("an ordinary user has no lab here: %q, %v", line, err)
	}
	if unasked, err := Find(""); err == nil && unasked.UID != 0 { // others of root may run
		t.Error("root was led into the lab of another user unasked")
	}
	lab, err := Find(unique(t))
	if err != nil {
		t.Fatal(err)
	}
	if output, status, err := shell(t, lab, "h1", "hostname", ""); output != "h1\n" || status != 0 || err != nil {
		t.Errorf("it printed %q, status %d, %v", output, status, err)
	}
	// A file that only root may open.
	file, err := os.OpenFile(filepath.Join(t.TempDir(), "capture"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stop := make(chan struct{})
	close(stop)
	if err := lab.Capture("h1-s1", file, func() {}, stop); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file.Name()); err != nil || !strings.Contains(string(data), "h1-s1 at s1") {
		t.Errorf("the capture is %q, %v", data, err)
	}
}
