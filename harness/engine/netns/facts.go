//go:build linux

package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"quorumlab/harness/engine"
)

// refused turns an error of starting an init, or what the init could not do,
// into a NotReadyError if the kernel was the one to refuse.
func refused(greeting hello, err error) error {
	doing := "making the lab's namespaces"
	if err == nil {
		if greeting.Failed == "" {
			return nil
		}
		doing, err = greeting.Failed, greeting.Errno
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno == 0 {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &NotReadyError{Readiness: diagnose(gatherFacts(doing, errno))}
}

// notReady is the row of a check that an error makes.
func notReady(name string, err error) engine.Readiness {
	if denial := (*NotReadyError)(nil); errors.As(err, &denial) {
		return denial.Readiness
	}
	return engine.Readiness{Name: name, Reason: err.Error()}
}

// gatherFacts reads what diagnose needs. What can't be read is left out.
func gatherFacts(doing string, errno syscall.Errno) facts {
	f := facts{
		Doing: doing, Errno: errno, UserNamespace: needsUserNamespace(), Root: os.Geteuid() == 0,
		Settings: map[string]string{}, Container: container(), Chrooted: chrooted(),
	}
	f.Executable, _ = os.Executable()
	_, err := os.Stat("/proc/self/ns/user")
	f.HasUserNamespaces = err == nil
	for _, setting := range append([]string{settingUserNamespaceClone, settingAppArmor}, namespaceLimits...) {
		if value, err := readSetting(strings.ReplaceAll(setting, ".", "/")); err == nil {
			f.Settings[setting] = value
		}
	}
	f.SeccompFilter = seccompMode() == "2"
	if identity, err := os.ReadFile("/proc/self/uid_map"); err == nil {
		f.Nested = strings.Join(strings.Fields(string(identity)), " ") != "0 0 4294967295"
	}
	return f
}

func seccompMode() string {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if mode, found := strings.CutPrefix(line, "Seccomp:"); found {
			return strings.TrimSpace(mode)
		}
	}
	return ""
}

// container names the kind of container that we run in, as far as one can
// tell from inside.
func container() string {
	for file, kind := range map[string]string{"/.dockerenv": "Docker", "/run/.containerenv": "Podman"} {
		if _, err := os.Stat(file); err == nil {
			return kind
		}
	}
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return "Kubernetes"
	}
	if kind, err := os.ReadFile("/run/systemd/container"); err == nil {
		return string(bytes.TrimSpace(kind))
	}
	groups, _ := os.ReadFile("/proc/1/cgroup")
	for mark, kind := range map[string]string{"docker": "Docker", "kubepods": "Kubernetes", "libpod": "Podman", "lxc": "LXC", "containerd": "containerd"} {
		if bytes.Contains(groups, []byte(mark)) {
			return kind
		}
	}
	return ""
}

// chrooted is true if no mount that we see is mounted at our root.
func chrooted() bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" {
			return false
		}
	}
	return true
}
