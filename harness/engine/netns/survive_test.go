//go:build linux

package netns

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/topologies"
)

// tokenVariable marks every process that comes of a test, by way of its
// environment.
const tokenVariable = "QUORUMLAB_NETNS_TEST_TOKEN"

// marked lists the processes with a token.
func marked(t *testing.T, token string) []string {
	t.Helper()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range environments {
		environment, err := os.ReadFile(path)
		if err == nil && bytes.Contains(environment, []byte(tokenVariable+"="+token)) {
			commandLine, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			found = append(found, filepath.Base(filepath.Dir(path))+": "+strings.ReplaceAll(string(commandLine), "\x00", " "))
		}
	}
	return found
}

// untilUnmarked waits for the last process with a token to go.
func untilUnmarked(t *testing.T, token, when string) {
	t.Helper()
	var found []string
	for range 500 {
		if found = marked(t, token); len(found) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s, these are left:\n%s", when, strings.Join(found, "\n"))
}

func newToken() string { return fmt.Sprintf("%d-%x", os.Getpid(), rand.Uint64()) }

func mounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCloseLeavesNothing(t *testing.T) {
	token := newToken()
	t.Setenv(tokenVariable, token)
	interfacesBefore, mountsBefore := interfaceNames(t), mounts(t)
	// The first lab makes what the runtime keeps, such as its poller.
	warmUp := buildStar(t, 1, topologies.Parameters{})
	warmUp.Close()
	descriptorsBefore, goroutinesBefore := descriptors(t), runtime.NumGoroutine()
	for range 3 {
		l := buildStar(t, 3, topologies.Parameters{Delay: time.Millisecond})
		for _, host := range []string{"h1", "h2", "h3"} {
			p := start(t, l, host, "orphan")
			exit(t, p)
		}
		if len(marked(t, token)) < 5 {
			t.Fatalf("the scan misses processes: it sees %v", marked(t, token))
		}
		for range 2 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		// Close waits for all processes, so there is nothing to wait for here.
		if found := marked(t, token); len(found) != 0 {
			t.Fatalf("left by Close: %v", found)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= goroutinesBefore {
			break
		}
		time.Sleep(10 * time.Millisecond) // those that saw the end have yet to return
	}
	if got := runtime.NumGoroutine(); got > goroutinesBefore {
		t.Errorf("%d goroutines, before %d", got, goroutinesBefore)
	}
	if got := descriptors(t); len(got) > len(descriptorsBefore) {
		t.Errorf("descriptors %v, before %v", got, descriptorsBefore)
	}
	if got := interfaceNames(t); !slices.Equal(got, interfacesBefore) {
		t.Errorf("interfaces %v, before %v", got, interfacesBefore)
	}
	if got := mounts(t); got != mountsBefore {
		t.Errorf("mounts\n%s\nbefore\n%s", got, mountsBefore)
	}
}

// descriptors lists the test's own open files.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil {
			open = append(open, target)
		}
	}
	return open
}

func TestCanceledBuildLeavesNothing(t *testing.T) {
	token := newToken()
	t.Setenv(tokenVariable, token)
	canceled := 0
	for i := range 12 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*3*time.Millisecond)
		l, err := netnsEngine{}.Build(ctx, blueprint(20, topologies.Parameters{Delay: time.Millisecond}))
		cancel()
		switch {
		case err == nil:
			l.Close()
		case errors.Is(err, context.DeadlineExceeded):
			canceled++
		default:
			t.Errorf("building with a deadline: %v", err)
		}
		if found := marked(t, token); len(found) != 0 {
			t.Fatalf("left behind: %v", found)
		}
	}
	if canceled == 0 {
		t.Error("no build was canceled")
	}
}

func TestKilledControllerLeavesNothing(t *testing.T) {
	interfacesBefore, mountsBefore := interfaceNames(t), mounts(t)
	generator := rand.New(rand.NewPCG(1, 2))
	most := 0
	for i := range 30 {
		token := newToken()
		controller := exec.Command(self, "controller")
		controller.Env = append(os.Environ(), tokenVariable+"="+token)
		controller.Stderr = os.Stderr
		stdout, err := controller.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := controller.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(generator.Int64N(int64(150 * time.Millisecond)))
		if i%5 == 4 {
			// With a lab up, for certain.
			if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			after = 0
		}
		time.Sleep(after)
		most = max(most, len(marked(t, token)))
		if err := controller.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// An error is how a killed process ends.
		_ = controller.Wait()
		untilUnmarked(t, token, fmt.Sprintf("5 s after the controller was killed at its age of %v", after))
	}
	if most < 5 {
		t.Errorf("at most %d processes were seen at a time; the scan misses some", most)
	}
	if got := interfaceNames(t); !slices.Equal(got, interfacesBefore) {
		t.Errorf("interfaces %v, before %v", got, interfacesBefore)
	}
	if got := mounts(t); got != mountsBefore {
		t.Errorf("mounts\n%s\nbefore\n%s", got, mountsBefore)
	}
}
