//go:build linux

package netns

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"quorumlab/topologies"
)

const (
	namesFile = "/etc/hosts"
	// anyFolder is hidden for a moment while the lab's file of names is made.
	anyFolder = "/tmp"
)

// nameHosts lets the programs of a lab find its hosts by name: in the init's own mounts a
// file that exists nowhere else lies over /etc/hosts. Without it all works but names.
func nameHosts(t *topologies.Topology) error {
	before, err := os.ReadFile(namesFile)
	if err != nil {
		return fmt.Errorf("naming the hosts: %w", err)
	}
	if err := coverFile(namesFile, append(hostNames(t), before...)); err != nil {
		return fmt.Errorf("naming the hosts in %s: %w", namesFile, err)
	}
	return nil
}

// hostNames has a line for each host whose name such a file can hold.
func hostNames(t *topologies.Topology) []byte {
	var lines bytes.Buffer
	lines.WriteString("127.0.0.1 localhost\n")
	for _, host := range t.Hosts {
		if !strings.ContainsAny(host.Name, " \t\r\n#") {
			fmt.Fprintf(&lines, "%s %s\n", host.Address, host.Name)
		}
	}
	return lines.Bytes()
}

// coverFile lays a file in memory over an existing one, for the calling process's mount
// namespace only. It goes with the namespace.
func coverFile(path string, content []byte) error {
	if err := unix.Mount("tmpfs", anyFolder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return fmt.Errorf("mounting a file system in memory: %w", err)
	}
	// What is mounted over path keeps the file system alive.
	defer unix.Unmount(anyFolder, unix.MNT_DETACH)
	file := filepath.Join(anyFolder, "cover")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting over it: %w", err)
	}
	return nil
}
