//go:build linux

package results

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk, in the environment, tells the test that it runs in a mount
// namespace of its own.
const smallDisk = "RESULTS_TEST_SMALL_DISK"

// TestFullDiskIsAnErrorAndLeavesTheOldFile runs itself again where it may mount
// a disk of 64 KiB.
func TestFullDiskIsAnErrorAndLeavesTheOldFile(t *testing.T) {
	if os.Getenv(smallDisk) != "" {
		fillDisk(t)
		return
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	command.Env = append(os.Environ(), smallDisk+"=1")
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Errorf("%v:\n%s", err, output)
	case err != nil:
		t.Skipf("no user namespaces here: %v", err)
	case strings.Contains(string(output), "--- SKIP"):
		t.Skipf("%s", output)
	}
}

func fillDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("can't mount a small disk: %v", err)
	}
	defer func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) }()
	folder, err := Create(filepath.Join(disk, "run"), testManifest())
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteSummary(&Summary{Experiment: "first"}); err != nil {
		t.Fatal(err)
	}
	big := &Summary{Experiment: "second", Mend: strings.Repeat("x", 1<<17)}
	if err := folder.WriteSummary(big); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v, want ENOSPC", err)
	}
	if summary, err := folder.ReadSummary(); err != nil || summary.Experiment != "first" {
		t.Errorf("the earlier summary: %+v, %v", summary, err)
	}
	entries, err := os.ReadDir(folder.Dir())
	if err != nil || len(entries) != 4 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
}
