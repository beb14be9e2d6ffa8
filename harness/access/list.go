package access

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"quorumlab/harness/experiment"
)

// Lab is a lab that can be reached.
type Lab struct {
	Name string
	// UID and PID are those of the process that serves it.
	UID int
	PID int
	// address is the socket's name, without the zero byte that it begins with.
	address string
}

const (
	addressPrefix = "quorumlab/"
	// maxName keeps an address within the 107 bytes that the kernel takes.
	maxName = 60
)

// addressOf is where the count-th lab of a process is served.
func addressOf(uid, pid, count int, name string) string {
	return fmt.Sprintf("%s%d/%d.%d/%s", addressPrefix, uid, pid, count, plainName(name))
}

// plainName keeps of a name what can be typed without quotes.
func plainName(name string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_':
			return r
		}
		return '-'
	}, name)
	if plain == "" {
		plain = "lab"
	}
	return plain[:min(len(plain), maxName)]
}

// parseAddress is the inverse of addressOf; false if a socket isn't a lab's.
func parseAddress(address string) (Lab, bool) {
	rest, ours := strings.CutPrefix(address, addressPrefix)
	parts := strings.Split(rest, "/")
	if !ours || len(parts) != 3 || plainName(parts[2]) != parts[2] {
		return Lab{}, false
	}
	process, _, _ := strings.Cut(parts[1], ".")
	uid, err := strconv.ParseUint(parts[0], 10, 31)
	pid, err2 := strconv.ParseUint(process, 10, 31)
	if err != nil || err2 != nil {
		return Lab{}, false
	}
	return Lab{Name: parts[2], UID: int(uid), PID: int(pid), address: address}, true
}

// parseSockets finds the labs in the kernel's table of Unix sockets, /proc/net/unix. Of its
// columns the fourth has the flags, the eighth, if there is one, the address.
func parseSockets(table string) []Lab {
	const listening = 1 << 16 // __SO_ACCEPTCON
	var labs []Lab
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) != 8 {
			continue
		}
		flags, err := strconv.ParseUint(fields[3], 16, 32)
		if err != nil || flags&listening == 0 {
			continue
		}
		address, abstract := strings.CutPrefix(fields[7], "@")
		if lab, ok := parseAddress(address); abstract && ok {
			labs = append(labs, lab)
		}
	}
	return labs
}

// Find chooses a lab by its name or its process's number, one of the calling user's
// before those of others. Without either it is the only one of the calling user; the
// errors are ErrNoLab and ErrSeveral.
func Find(which string) (Lab, error) {
	labs, err := List()
	if err != nil {
		return Lab{}, err
	}
	return choose(labs, which, os.Geteuid())
}

func choose(labs []Lab, which string, uid int) (Lab, error) {
	var own, others []Lab
	for _, lab := range labs {
		named := which == lab.Name || which == strconv.Itoa(lab.PID)
		switch {
		case lab.UID == uid && (named || which == ""):
			own = append(own, lab)
		case named:
			others = append(others, lab)
		}
	}
	fitting := own
	if len(own) == 0 {
		fitting = others
	}
	switch {
	case len(fitting) == 1:
		return fitting[0], nil
	case len(fitting) > 1:
		return Lab{}, fmt.Errorf("%w: %s; say which by --lab NAME or PID", ErrSeveral, names(fitting))
	case which != "" && len(labs) > 0:
		return Lab{}, fmt.Errorf("%w: %q; there are %s", ErrNoLab, which, names(labs))
	case len(labs) > 0:
		return Lab{}, fmt.Errorf("%w of yours; there are %s: say which by --lab NAME or PID", ErrNoLab, names(labs))
	}
	return Lab{}, fmt.Errorf("%w; start one by: bench lab up SPEC", ErrNoLab)
}

// CheckName refuses what can't be a lab's name, or what a running lab of the calling
// user is called already: ErrName.
func CheckName(name string) error {
	if experiment.BadName(name) {
		return fmt.Errorf("%w is %q: want 1 to 100 printable characters without slashes or spaces at the ends, not starting with a dot", ErrName, name)
	}
	labs, err := List()
	if err != nil {
		return err
	}
	return nameIsFree(labs, name, os.Geteuid())
}

func nameIsFree(labs []Lab, name string, uid int) error {
	for _, lab := range labs {
		if lab.UID == uid && lab.Name == plainName(name) {
			return fmt.Errorf("%w: %s is that of a lab of yours that runs already (pid %d); want another by --name", ErrName, lab.Name, lab.PID)
		}
	}
	return nil
}

func names(labs []Lab) string {
	return some(labs, func(l Lab) string { return fmt.Sprintf("%s (pid %d)", l.Name, l.PID) })
}
