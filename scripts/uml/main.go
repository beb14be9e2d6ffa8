//go:build linux

// Command uml is the first process of a user-mode Linux that runs tests on a kernel
// with netem. It mounts what tests need over the host's file system, which is there
// read-only, loads kernel modules, runs the commands, and turns the machine off.
// scripts/kernel-links.sh starts it. It gets its instructions from its environment, which
// is the kernel's command line:
//
//	work=DIR     a folder of the host that may be written. DIR/commands has a command in
//	             each line; DIR/output1 and so on get what they print, DIR/status the
//	             exit status of the first that failed, or 0.
//	modules=DIR  where the kernel's modules and their modules.dep are.
//	ci=true      is passed on to the commands as CI=true.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the modules that labs use.
var needed = []string{"bridge", "veth", "sch_netem", "af_packet"}

// work is where the host's folder is mounted.
const work = "/run/work"

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "uml: this is the first process of a user-mode Linux; run scripts/kernel-links.sh")
		os.Exit(2)
	}
	err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "uml:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	if err := mountAll(os.Getenv("work")); err != nil {
		return err
	}
	if err := load(os.Getenv("modules"), needed); err != nil {
		return err
	}
	commands, err := os.ReadFile(filepath.Join(work, "commands"))
	if err != nil {
		return fmt.Errorf("reading the commands: %w", err)
	}
	status := 0
	for i, line := range strings.Split(strings.TrimSpace(string(commands)), "\n") {
		code, err := execute(strings.Fields(line), filepath.Join(work, fmt.Sprintf("output%d", i+1)))
		if err != nil {
			return err
		}
		if status == 0 {
			status = code
		}
	}
	if err := os.WriteFile(filepath.Join(work, "status"), fmt.Appendln(nil, status), 0o644); err != nil {
		return fmt.Errorf("writing the exit status: %w", err)
	}
	return nil
}

// mountAll hides what programs write to behind memory, but the folder of the host.
func mountAll(hostFolder string) error {
	for _, m := range []struct{ source, target, kind, data string }{
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"tmpfs", "/run", "tmpfs", ""},
		{"none", work, "hostfs", hostFolder},
	} {
		if m.target == work {
			if err := os.Mkdir(work, 0o755); err != nil {
				return fmt.Errorf("making the place of the host's folder: %w", err)
			}
		}
		if err := unix.Mount(m.source, m.target, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	return nil
}

// execute runs a command to its end and tells its exit status.
func execute(arguments []string, outputPath string) (status int, err error) {
	if len(arguments) == 0 {
		return 0, errors.New("there is no command in a line")
	}
	output, err := os.Create(outputPath)
	if err != nil {
		return 0, fmt.Errorf("making the file for the output: %w", err)
	}
	defer output.Close()
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Dir, command.Stdout, command.Stderr = "/run", output, output
	command.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/run", "TMPDIR=/run", "CI=" + os.Getenv("ci"),
		// One slow processor: the conformance suite in parts, of the kernel only.
		"QUORUMLAB_NETEM_NEEDED=1", "QUORUMLAB_CONFORMANCE_ONLY=kernel", "QUORUMLAB_CONFORMANCE_TOGETHER=5",
		"QUORUMLAB_CONFORMANCE_TABLE=" + work + "/table",
	}
	err = command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	if err != nil {
		return 0, fmt.Errorf("running %s: %w", arguments[0], err)
	}
	return 0, nil
}

// load loads modules, those that they need first. A module that isn't there may be
// part of the kernel; if it isn't, the tests tell.
func load(folder string, names []string) error {
	list, err := os.Open(filepath.Join(folder, "modules.dep"))
	if err != nil {
		return fmt.Errorf("finding the kernel's modules: %w", err)
	}
	defer list.Close()
	// A line is "net/x.ko: net/y.ko net/z.ko", all that x needs.
	files, needs := map[string]string{}, map[string][]string{}
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ":")
		if ok {
			files[moduleName(file)], needs[file] = file, strings.Fields(rest)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the list of the kernel's modules: %w", err)
	}
	for _, name := range names {
		file, ok := files[name]
		if !ok {
			continue
		}
		// The last one needs none of those before it.
		all := append([]string{file}, needs[file]...)
		for i := len(all) - 1; i >= 0; i-- {
			if err := loadFile(filepath.Join(folder, all[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}

func loadFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("loading a kernel module: %w", err)
	}
	defer file.Close()
	if err := unix.FinitModule(int(file.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("loading the kernel module %s: %w", path, err)
	}
	return nil
}
