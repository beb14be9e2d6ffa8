//go:build linux

package netns

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
)

// NotReadyError is why no lab can be built here, and what to do about it.
type NotReadyError struct {
	Readiness engine.Readiness
}

// Error gives the reason, then the remedies a line each.
func (e *NotReadyError) Error() string {
	lines := append([]string{e.Readiness.Name + ": " + e.Readiness.Reason}, e.Readiness.Mend...)
	return strings.Join(lines, "\n")
}

// The settings of the kernel that can forbid namespaces.
const (
	settingUserNamespaceClone = "kernel.unprivileged_userns_clone"
	settingAppArmor           = "kernel.apparmor_restrict_unprivileged_userns"
)

// namespaceLimits are the settings that limit how many namespaces a user may
// have.
var namespaceLimits = []string{
	"user.max_user_namespaces", "user.max_pid_namespaces", "user.max_mnt_namespaces", "user.max_net_namespaces",
}

// facts are all that the diagnosis of a refused lab rests on.
type facts struct {
	// Doing says what was refused, Errno how.
	Doing string
	Errno syscall.Errno
	// Executable is the path of the running program.
	Executable string
	// UserNamespace is true if the lab needs one, for lack of capabilities.
	UserNamespace bool
	// Root is true if the user is called root all the same.
	Root bool
	// HasUserNamespaces is false if the kernel was built without them.
	HasUserNamespaces bool
	// Settings are the kernel's, by sysctl name; absent if it has no such.
	Settings map[string]string
	// SeccompFilter is true if system calls of this process are filtered.
	SeccompFilter bool
	// Container names what the process runs in, empty if nothing is known.
	Container string
	// Chrooted is true if the root folder is not that of a mount.
	Chrooted bool
	// Nested is true inside a user namespace that isn't the first.
	Nested bool
}

// diagnose finds the cause of a refusal and what would mend it, the narrowest
// remedy first. The causes are tried from the most to the least certain.
func diagnose(f facts) engine.Readiness {
	denied := f.Errno == unix.EPERM || f.Errno == unix.EACCES
	outOfSpace := f.Errno == unix.ENOSPC || f.Errno == unix.EUSERS
	r := engine.Readiness{Name: engineName}
	switch {
	case f.UserNamespace && !f.HasUserNamespaces:
		r.Reason = "this kernel was built without user namespaces, and an ordinary user can't make a lab without one"
		r.Mend = runAsRoot(f)
	case f.Errno == unix.EROFS:
		r.Reason = "the settings under /proc/sys are read-only here, as in containers"
		r.Mend = openContainer()
	case outOfSpace:
		r.Reason, r.Mend = diagnoseLimit(f)
	case f.UserNamespace && denied && f.Settings[settingUserNamespaceClone] == "0":
		r.Reason = "the kernel lets only root make user namespaces: " + settingUserNamespaceClone + " is 0"
		r.Mend = append(setSetting(settingUserNamespaceClone, "1"), runAsRoot(f)...)
	case denied && f.SeccompFilter && f.Container != "":
		r.Reason = fmt.Sprintf("the container (%s) forbids labs: its seccomp filter, or AppArmor profile, refused %s", f.Container, f.Doing)
		r.Mend = openContainer()
	case f.UserNamespace && denied && f.Settings[settingAppArmor] == "1":
		r.Reason = "AppArmor keeps programs without a profile from using user namespaces: " + settingAppArmor + " is 1"
		r.Mend = allowInAppArmor(f)
	case denied && f.SeccompFilter:
		r.Reason = fmt.Sprintf("a seccomp filter on this process refused %s; sandboxes, and systemd services with RestrictNamespaces=, set one", f.Doing)
		r.Mend = []string{
			"# run it outside of the sandbox; or, in a systemd service, allow namespaces to it alone",
			"sudo systemctl edit SERVICE    # and add: [Service] RestrictNamespaces=no",
		}
	case f.UserNamespace && denied && f.Chrooted:
		r.Reason = "the kernel refuses user namespaces to a process whose root folder was changed by chroot"
		r.Mend = append([]string{
			"# enter the folder so that it is the root of a mount namespace instead",
			"sudo systemd-nspawn --directory=FOLDER",
		}, runAsRoot(f)...)
	default:
		r.Reason = fmt.Sprintf("the kernel refused %s: %v; nothing that we know of forbids it", f.Doing, f.Errno)
		r.Mend = unknownCause(f)
	}
	return r
}

// diagnoseLimit explains ENOSPC, by which the kernel means that a user has too
// many namespaces, and EUSERS, its former name.
func diagnoseLimit(f facts) (reason string, mend []string) {
	for _, setting := range namespaceLimits {
		if f.Settings[setting] == "0" {
			return "namespaces are turned off: " + setting + " is 0",
				append(setSetting(setting, "15000"), runAsRootUnless(setting != "user.max_user_namespaces", f)...)
		}
	}
	reason = fmt.Sprintf("there are too many namespaces: the kernel refused %s because one of user.max_*_namespaces is reached", f.Doing)
	if f.Nested {
		reason += ", perhaps that of an outer user namespace, or user namespaces are nested more than 32 deep"
	}
	return reason, []string{
		"# see what holds namespaces; end labs that nobody needs any more",
		"lsns",
		"# or raise the limits until the next boot",
		"sudo sysctl -w user.max_user_namespaces=15000 user.max_pid_namespaces=15000 user.max_mnt_namespaces=15000 user.max_net_namespaces=15000",
	}
}

func unknownCause(f facts) []string {
	mend := []string{"# see whether a security module says more", "sudo dmesg | tail"}
	if f.Container != "" {
		mend = append(mend, openContainer()...)
	}
	return append(mend, runAsRoot(f)...)
}

func setSetting(setting, value string) []string {
	return []string{
		"# allow it until the next boot",
		fmt.Sprintf("sudo sysctl -w %s=%s", setting, value),
		"# and from the next boot on",
		fmt.Sprintf("echo %s=%s | sudo tee /etc/sysctl.d/90-quorumlab.conf", setting, value),
	}
}

// runAsRoot is a remedy only where root isn't what was tried.
func runAsRoot(f facts) []string { return runAsRootUnless(f.Root, f) }

func runAsRootUnless(useless bool, f facts) []string {
	if useless || f.Root {
		return nil
	}
	return []string{"# or run it as root, who needs no user namespace", "sudo " + shellQuote(f.Executable) + " ..."}
}

func openContainer() []string {
	return []string{
		"# start the container without the filter, and with a /proc whose settings it may change; no capability is added",
		"docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...",
		"# in Kubernetes, the same for a pod: securityContext: {seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}, procMount: Unmasked}",
		"kubectl edit pod POD",
		"# or give the container all rights",
		"docker run --privileged ...",
	}
}

// allowInAppArmor permits one program to make user namespaces, or all.
func allowInAppArmor(f facts) []string {
	const file = "/etc/apparmor.d/quorumlab-bench"
	profile := fmt.Sprintf(`sudo tee %s <<'EOF'
abi <abi/4.0>,
include <tunables/global>

profile quorumlab-bench %s flags=(unconfined) {
  userns,

  include if exists <local/quorumlab-bench>
}
EOF`, file, appArmorQuote(f.Executable))
	mend := []string{
		"# allow it to this program alone: write a profile for it",
		profile,
		"# and load that",
		"sudo apparmor_parser -r " + file,
		"# or allow it to all programs, until the next boot",
		"sudo sysctl -w " + settingAppArmor + "=0",
	}
	return append(mend, runAsRoot(f)...)
}

// appArmorQuote writes a path so that AppArmor takes it literally.
func appArmorQuote(path string) string {
	quoted := strings.Builder{}
	for _, c := range path {
		if strings.ContainsRune(`\"*?[]{}^@`, c) {
			quoted.WriteByte('\\')
		}
		quoted.WriteRune(c)
	}
	return `"` + quoted.String() + `"`
}

func shellQuote(path string) string {
	if !strings.ContainsAny(path, " \t\n'\"\\$&;|<>()*?[]`!#~") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
