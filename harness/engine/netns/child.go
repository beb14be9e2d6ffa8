//go:build linux

package netns

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorumlab/harness/link"
)

// childVariable says in the environment that a process is a child of this
// package, and which.
const childVariable = "QUORUMLAB_NETNS_CHILD"

// Modes of RunIfChild.
const (
	childInit     = "init"
	childEmulator = "emulator"
)

// controlDescriptor is where an init finds its connection to the controller.
const controlDescriptor = 3

// self is the running program, even if its file has been replaced.
const self = "/proc/self/exe"

// errNotRunIfChild tells the programmer of a new controller what is missing.
var errNotRunIfChild = errors.New("this process is a child of the netns engine; its main must call netns.RunIfChild before all else")

func runIfChild() {
	mode, isChild := os.LookupEnv(childVariable)
	if !isChild {
		return
	}
	switch mode {
	case childInit:
		runInit()
	case childEmulator:
		if err := runEmulator(); err != nil {
			fmt.Fprintln(os.Stderr, "link emulator:", err)
			os.Exit(1)
		}
		os.Exit(0)
	default:
		fmt.Fprintf(os.Stderr, "%s=%q: want %q or %q\n", childVariable, mode, childInit, childEmulator)
		os.Exit(2)
	}
}

// runEmulator takes its configuration from the first line of standard input.
func runEmulator() error {
	if err := takeFiles(); err != nil {
		return err
	}
	stdin := bufio.NewReader(os.Stdin)
	line, err := stdin.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	var config link.EmulatorConfig
	if err := json.Unmarshal(line, &config); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	return link.RunEmulator(config, stdin, os.Stdout)
}

// environment is the one given, with the given child mode or none.
func environment(of []string, mode string) []string {
	env := slices.DeleteFunc(slices.Clone(of), func(entry string) bool {
		return strings.HasPrefix(entry, childVariable+"=")
	})
	if mode != "" {
		env = append(env, childVariable+"="+mode)
	}
	return env
}

// needsUserNamespace is true if the process may not make the other namespaces
// by itself. Being root is not enough: in a container, root often lacks the
// capabilities.
func needsUserNamespace() bool {
	if os.Geteuid() != 0 {
		return true
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return true
	}
	const needed = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
	return data[0].Effective&needed != needed
}

// initCommand is the program started as an init in namespaces of its own.
func initCommand(control *os.File, stderr io.Writer) *exec.Cmd {
	command := exec.Command(self)
	command.Args[0] = "quorumlab-netns-init"
	command.Env = environment(os.Environ(), childInit)
	command.ExtraFiles = []*os.File{control}
	command.Stderr = stderr
	// Should a process that left the lab's session hold standard error open,
	// don't wait for it.
	command.WaitDelay = time.Second
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		// A session of its own, so that Ctrl-C reaches the controller alone.
		Setsid: true,
	}
	if needsUserNamespace() {
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return command
}

// spawn starts an init and returns once it runs. The channel is closed when it
// and everything in its PID namespace are gone. The parent-death signal
// is sent when the thread that started the child ends, so one thread is kept for
// as long as the child lives.
func spawn(control *os.File, stderr io.Writer) (*os.Process, <-chan struct{}, error) {
	command := initCommand(control, stderr)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			// How it ended says nothing that its standard error doesn't.
			_ = command.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return nil, nil, err
	}
	return command.Process, ended, nil
}

// tail passes on what is written to it and remembers the end.
type tail struct {
	mutex sync.Mutex
	onto  *os.File
	last  []byte
}

// tailBytes is enough for an error message or the head of a crash.
const tailBytes = 4096

func (t *tail) Write(data []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.last = append(t.last, data...)
	if excess := len(t.last) - tailBytes; excess > 0 {
		t.last = append(t.last[:0], t.last[excess:]...)
	}
	if t.onto != nil {
		// A full disk must not break the lab; the tail is still there.
		_, _ = t.onto.Write(data)
	}
	return len(data), nil
}

func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return strings.TrimSpace(string(t.last))
}
