package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Where the kernel refuses namespaces, auto simulates and says so; asked for,
// netns fails.
func TestAutoSimulatesWhereNamespacesAreForbidden(t *testing.T) {
	dir := t.TempDir()
	forbidden := func(arguments string) finished {
		t.Helper()
		// Both limits are of the namespace that the command is in.
		command := exec.Command("sh", "-c", "cd /proc/sys/user && echo 0 > max_net_namespaces && echo 0 > max_user_namespaces && cd "+
			dir+" && exec "+filepath.Join(binaries, "bench")+" "+arguments)
		command.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
		var stdout, stderr strings.Builder
		command.Stdout, command.Stderr = &stdout, &stderr
		if err := command.Run(); err != nil && command.ProcessState == nil {
			t.Skipf("namespaces are forbidden here already: %v", err)
		}
		return finished{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
	}
	got := forbidden("run " + shipped(t, "quickstart.yaml") + " --out run")
	if got.status != exitGood {
		t.Fatalf("status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	for _, text := range []string{"SIMULATED: virtual time", "SIMULATED because netns doesn't work here: ", "namespaces is 0"} {
		if !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), text) {
			t.Errorf("the table lacks %q:\n%s", text, got.stdout)
		}
	}
	if !strings.Contains(got.stderr, "engine sim, because netns doesn't work here: ") {
		t.Errorf("the progress doesn't say why:\n%s", got.stderr)
	}
	if refused := forbidden("run " + shipped(t, "quickstart.yaml") + " --engine netns"); refused.status != exitFailed {
		t.Errorf("netns asked for: status %d\n%s%s", refused.status, refused.stdout, refused.stderr)
	}
	doctor := forbidden("doctor")
	if doctor.status != exitGood || !strings.Contains(doctor.stdout, "sim ") {
		t.Errorf("doctor: status %d\n%s", doctor.status, doctor.stdout)
	}
}
