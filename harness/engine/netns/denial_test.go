//go:build linux

package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/topologies"
)

func TestDiagnosisNamesCauseAndRemedy(t *testing.T) {
	ordinary := facts{
		Doing: "making the lab's namespaces", Errno: unix.EPERM, Executable: "/opt/my tools/bench",
		UserNamespace: true, HasUserNamespaces: true, Settings: map[string]string{"user.max_user_namespaces": "96365"},
	}
	for name, test := range map[string]struct {
		change func(*facts)
		reason string
		// mend are parts of the remedies, in their order.
		mend []string
		not  string
	}{
		"Debian's setting": {
			func(f *facts) { f.Settings[settingUserNamespaceClone] = "0" },
			"kernel.unprivileged_userns_clone is 0",
			[]string{"sysctl -w kernel.unprivileged_userns_clone=1", "/etc/sysctl.d", "sudo '/opt/my tools/bench'"}, "",
		},
		"Debian's setting, permissive": {
			func(f *facts) { f.Settings[settingUserNamespaceClone] = "1" },
			"nothing that we know of", []string{"dmesg"}, "unprivileged_userns_clone",
		},
		"AppArmor": {
			func(f *facts) { f.Settings[settingAppArmor] = "1" },
			"AppArmor",
			[]string{"abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile quorumlab-bench \"/opt/my tools/bench\" flags=(unconfined) {\n  userns,",
				"apparmor_parser -r /etc/apparmor.d/quorumlab-bench", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0", "sudo "}, "",
		},
		"AppArmor, refusing capabilities": {
			func(f *facts) {
				f.Settings[settingAppArmor], f.Errno, f.Doing = "1", unix.EACCES, "making the mounts private"
			},
			"AppArmor", []string{"userns,"}, "",
		},
		"AppArmor can't be why root is refused": {
			func(f *facts) { f.Settings[settingAppArmor], f.UserNamespace, f.Root = "1", false, true },
			"nothing that we know of", []string{"dmesg"}, "sudo '",
		},
		"no user namespaces allowed": {
			func(f *facts) { f.Settings["user.max_user_namespaces"], f.Errno = "0", unix.ENOSPC },
			"user.max_user_namespaces is 0", []string{"sysctl -w user.max_user_namespaces=", "sudo '"}, "",
		},
		"no network namespaces allowed": {
			func(f *facts) { f.Settings["user.max_net_namespaces"], f.Errno = "0", unix.ENOSPC },
			"user.max_net_namespaces is 0", []string{"sysctl -w user.max_net_namespaces="}, "sudo '",
		},
		"nested too deep": {
			func(f *facts) { f.Errno, f.Nested = unix.ENOSPC, true }, "nested more than 32 deep", []string{"lsns"}, "",
		},
		"too many": {
			func(f *facts) { f.Errno = unix.EUSERS }, "too many namespaces", []string{"lsns", "sysctl"}, "",
		},
		"container": {
			func(f *facts) { f.SeccompFilter, f.Container = true, "Docker" },
			"the container (Docker)", []string{"--security-opt seccomp=unconfined", "--privileged"}, "sudo",
		},
		"container on a host with AppArmor": {
			func(f *facts) { f.SeccompFilter, f.Container, f.Settings[settingAppArmor] = true, "Podman", "1" },
			"the container (Podman)", []string{"--security-opt"}, "apparmor_parser",
		},
		"container with read-only settings": {
			func(f *facts) { f.Errno, f.Container = unix.EROFS, "Docker" },
			"/proc/sys are read-only", []string{"systempaths=unconfined"}, "",
		},
		"sandbox": {
			func(f *facts) { f.SeccompFilter = true }, "a seccomp filter", []string{"RestrictNamespaces=no"}, "",
		},
		"changed root folder": {
			func(f *facts) { f.Chrooted = true }, "chroot", []string{"nspawn", "sudo '"}, "",
		},
		"kernel without": {
			func(f *facts) { f.HasUserNamespaces, f.Errno = false, unix.EINVAL }, "built without user namespaces", []string{"sudo '"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := ordinary
			f.Settings = map[string]string{"user.max_user_namespaces": "96365"}
			test.change(&f)
			r := diagnose(f)
			if r.OK || r.Name != engineName || !strings.Contains(r.Reason, test.reason) {
				t.Errorf("diagnosis %+v, want a reason with %q", r, test.reason)
			}
			rest := strings.Join(r.Mend, "\n")
			if test.not != "" && strings.Contains(rest, test.not) {
				t.Errorf("remedies have %q:\n%s", test.not, rest)
			}
			for _, part := range test.mend {
				_, after, found := strings.Cut(rest, part)
				if !found {
					t.Fatalf("remedies lack %q or have it too early:\n%s", part, strings.Join(r.Mend, "\n"))
				}
				rest = after
			}
			checkMend(t, r.Mend)
		})
	}
}

// checkMend demands commands with a comment before each.
func checkMend(t *testing.T, mend []string) {
	t.Helper()
	if len(mend) == 0 || len(mend)%2 != 0 {
		t.Fatalf("remedies %q: want pairs of a comment and a command", mend)
	}
	for i, text := range mend {
		if strings.HasPrefix(text, "#") != (i%2 == 0) {
			t.Errorf("remedies %q: want pairs of a comment and a command", mend)
		}
	}
}

func TestAppArmorTakesPathsLiterally(t *testing.T) {
	if got, want := appArmorQuote(`/a b/{x}*"`), `"/a b/\{x\}\*\""`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestReadinessOfAKernelWithoutParts(t *testing.T) {
	rows := readiness(probed{UserspaceError: "no packets"}, true)
	if !rows[0].OK || rows[1].OK || rows[2].OK || !strings.Contains(rows[2].Reason, "bridge, netem") {
		t.Errorf("rows %+v", rows)
	}
	checkMend(t, rows[1].Mend)
	checkMend(t, rows[2].Mend)
	rows = readiness(probed{KernelError: "no veth"}, true)
	if rows[0].OK || !strings.Contains(rows[0].Reason, "no veth") {
		t.Errorf("rows %+v", rows)
	}
	checkMend(t, rows[0].Mend)
}

// TestRealDenials has the kernel refuse labs in earnest.
func TestRealDenials(t *testing.T) {
	inUserNamespace := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	for how, test := range map[string]struct {
		attributes *syscall.SysProcAttr
		reason     string
		mend       string
		root       bool
	}{
		"limit":    {inUserNamespace, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces", false},
		"seccomp":  {nil, "seccomp filter", "seccomp", false},
		"readonly": {&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}, "/proc/sys are read-only", "systempaths=unconfined", true},
	} {
		t.Run(how, func(t *testing.T) {
			if test.root && os.Geteuid() != 0 {
				t.Skip("only root can prepare it")
			}
			command := exec.Command(publicCopy(t), "deny", how)
			command.SysProcAttr = test.attributes
			command.Dir = "/"
			command.Stderr = os.Stderr
			output, err := command.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			var got checkOutput
			if err := json.Unmarshal(output, &got); err != nil {
				t.Fatal(err)
			}
			row := got.Rows[0]
			if row.OK || !strings.Contains(row.Reason, test.reason) || !strings.Contains(strings.Join(row.Mend, "\n"), test.mend) {
				t.Errorf("row %+v, want the reason %q and the remedy %q", row, test.reason, test.mend)
			}
			if len(got.Rows) != 3 || got.Rows[1].OK || got.Rows[2].OK {
				t.Errorf("rows %+v, want three that fail", got.Rows)
			}
			if got.BuildReason != row.Reason || !strings.Contains(got.BuildError, row.Reason) || !strings.Contains(got.BuildError, test.mend) {
				t.Errorf("building says %q, checking %q", got.BuildError, row.Reason)
			}
		})
	}
}

// checkOutput is what a user would see where labs are refused.
type checkOutput struct {
	Rows        []engine.Readiness
	BuildError  string
	BuildReason string
}

func printCheck([]string) error {
	output := checkOutput{Rows: netnsEngine{}.Check(context.Background())}
	l, err := netnsEngine{}.Build(context.Background(), blueprint(1, topologies.Parameters{}))
	if err == nil {
		return errors.Join(errors.New("a lab was built"), l.Close())
	}
	output.BuildError = err.Error()
	if denial := (*NotReadyError)(nil); errors.As(err, &denial) {
		output.BuildReason = denial.Readiness.Reason
	}
	return json.NewEncoder(os.Stdout).Encode(output)
}

// denyThenCheck makes this thread's world one where labs are refused, and
// becomes a controller in it.
func denyThenCheck(arguments []string) error {
	runtime.LockOSThread()
	deny := map[string]func() error{"limit": denyByLimit, "seccomp": denyBySeccomp, "readonly": denyByReadOnlySettings}
	if err := deny[arguments[0]](); err != nil {
		return err
	}
	path, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(path, []string{path, "check"}, os.Environ())
}

// denyByLimit is for a user namespace of its own: the setting is each
// namespace's. Root must not regain its capabilities by the exec to come.
func denyByLimit() error {
	if err := writeSetting("user/max_user_namespaces", "0"); err != nil {
		return err
	}
	const noRoot = 1 << 0 // SECBIT_NOROOT
	return unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0)
}

// denyBySeccomp installs a filter as containers do: new user and network
// namespaces give EPERM.
func denyBySeccomp() error {
	const flags = unix.CLONE_NEWUSER | unix.CLONE_NEWNET
	argument := uint32(16) // of the first argument's low half in seccomp_data, on little-endian machines
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE, Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_UNSHARE, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: argument},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: flags, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("installing a seccomp filter: %w", err)
	}
	return nil
}

// denyByReadOnlySettings hides /proc/sys behind a read-only mount, as
// containers do, and becomes an ordinary user.
func denyByReadOnlySettings() error {
	for _, mount := range []struct {
		source, target string
		flags          uintptr
	}{
		{"", "/", unix.MS_REC | unix.MS_PRIVATE},
		{"/proc/sys", "/proc/sys", unix.MS_BIND},
		{"", "/proc/sys", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY},
	} {
		if err := unix.Mount(mount.source, mount.target, "", mount.flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", mount.target, err)
		}
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, uintptr(ordinaryUser.Gid), uintptr(ordinaryUser.Gid), uintptr(ordinaryUser.Gid)); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(ordinaryUser.Uid), uintptr(ordinaryUser.Uid), uintptr(ordinaryUser.Uid)); errno != 0 {
		return errno
	}
	return nil
}
