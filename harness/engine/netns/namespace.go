//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// within runs a function in a network namespace, on a thread of its own.
func within(namespace int, f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering a host's network namespace: %w", err)
		}
		return f()
	})
}

// asHost runs a function in a host's network namespace, where the machine is called
// as the host is. Its thread ends with it.
func asHost(namespace int, name string, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Setns(namespace, unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Unshare(unix.CLONE_NEWUTS)
		}
		if err == nil {
			err = unix.Sethostname([]byte(name[:min(len(name), maxHostnameBytes)]))
		}
		if err != nil {
			result <- fmt.Errorf("entering the namespaces of host %s: %w", name, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// maxHostnameBytes is how much the kernel takes.
const maxHostnameBytes = 64

// onOwnThread runs a function that may take its thread to another network
// namespace, and takes the thread back. A thread that can't be taken back ends
// with its goroutine, because that never unlocks it.
func onOwnThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := openNamespace()
		if err != nil {
			runtime.UnlockOSThread()
			result <- err
			return
		}
		err = f()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		unix.Close(home)
		result <- err
	}()
	return <-result
}

// openNamespace opens the calling thread's network namespace.
func openNamespace() (int, error) {
	for {
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("opening a network namespace: %w", err)
		}
		return fd, nil
	}
}

// enterNewNamespace takes the calling thread, which must be locked, to a new
// network namespace and opens that.
func enterNewNamespace() (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("making a network namespace: %w", err)
	}
	return openNamespace()
}

// disableIPv6 keeps the kernel from talking by itself on the interfaces that
// the calling thread's namespace is yet to have.
func disableIPv6() error {
	for _, which := range []string{"all", "default"} {
		err := writeSetting("net/ipv6/conf/"+which+"/disable_ipv6", "1")
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6 has nothing to say
			return err
		}
	}
	return nil
}

// setCongestionControl pins what TCP uses in the calling thread's namespace.
func setCongestionControl(name string) error {
	const setting = "net/ipv4/tcp_congestion_control"
	err := writeSetting(setting, name)
	if err == nil {
		return nil
	}
	available, _ := readSetting("net/ipv4/tcp_available_congestion_control")
	allowed, _ := readSetting("net/ipv4/tcp_allowed_congestion_control")
	for _, has := range strings.Fields(available) {
		if has == name {
			return fmt.Errorf("setting the congestion control %q: %w; the kernel has %s, and lets a lab use %s; to allow more: sudo sysctl -w net.ipv4.tcp_allowed_congestion_control=\"%s %s\"",
				name, err, available, allowed, allowed, name)
		}
	}
	return fmt.Errorf("setting the congestion control %q: %w; the kernel has %s; to load more: sudo modprobe tcp_%s", name, err, available, name)
}

// writeSetting sets a sysctl unless it already has the value, which is all that
// can be done where /proc/sys is read-only, and confirms it.
func writeSetting(path, value string) error {
	current, err := readSetting(path)
	if err != nil || current == value {
		return err
	}
	if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0); err != nil {
		return fmt.Errorf("setting %s to %s: %w", path, value, err)
	}
	if current, err = readSetting(path); err != nil {
		return err
	}
	if current != value {
		return fmt.Errorf("setting %s to %s: the kernel made %q of it", path, value, current)
	}
	return nil
}

func readSetting(path string) (string, error) {
	data, err := os.ReadFile("/proc/sys/" + path)
	if err != nil {
		return "", fmt.Errorf("reading a setting: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
