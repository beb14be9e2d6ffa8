// Package access lets other processes of the same user into a running lab: the program
// that holds a lab serves it, another one finds it and runs programs on its hosts or
// captures its links, with its own open files.
//
// A lab is served at an abstract Unix socket, which is a name and no file: it
// vanishes with the process, however that ends. Each side asks the kernel who the other
// is: a lab serves its own user and root, and only a lab of one's own, or one that
// was named, is given one's files.
package access

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Description is what a lab says of itself.
type Description struct {
	// Name tells the labs of a user apart; those of trials may have the same.
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
	// Measured is true for the lab of a trial: whoever uses it voids the trial.
	Measured bool `json:"measured"`
	// Executor is who executes the links.
	Executor string `json:"executor"`
	Hosts    []Host `json:"hosts"`
	Links    []Link `json:"links"`
}

// Host is a host of a lab.
type Host struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	// Processes are those of the experiment that run on it, or would.
	Processes []string `json:"processes,omitempty"`
}

// Link is a link of a lab. AToB and BToA describe its directions for a reader.
type Link struct {
	Name string `json:"name"`
	A    string `json:"a"`
	B    string `json:"b"`
	AToB string `json:"a_to_b"`
	BToA string `json:"b_to_a"`
}

// Command is a program to run in a lab.
type Command struct {
	// Host is a host, or a process of the experiment, which stands for its host.
	Host string
	// Path is the program's file, Arguments begin with its name.
	Path        string
	Arguments   []string
	Environment []string
	// Dir is where it begins.
	Dir string
	// The program gets these very files or, if Stdin is a terminal, a terminal of its own
	// in place of those that are terminals.
	Stdin, Stdout, Stderr *os.File
}

// host finds a host by its name or that of a process.
func (d Description) host(name string) (string, error) {
	for _, host := range d.Hosts {
		if host.Name == name {
			return name, nil
		}
	}
	for _, host := range d.Hosts {
		for _, process := range host.Processes {
			if process == name {
				return host.Name, nil
			}
		}
	}
	return "", fmt.Errorf("%w: lab %s has no host or process %q; it has %s", ErrUnknown, d.Name, name, some(d.Hosts, func(h Host) string { return h.Name }))
}

func (d Description) link(name string) error {
	for _, link := range d.Links {
		if link.Name == name {
			return nil
		}
	}
	return fmt.Errorf("%w: lab %s has no link %q; it has %s", ErrUnknown, d.Name, name, some(d.Links, func(l Link) string { return l.Name }))
}

// some lists the first of many names.
func some[T any](all []T, name func(T) string) string {
	const most = 10
	var names []string
	for _, one := range all[:min(len(all), most)] {
		names = append(names, name(one))
	}
	if len(all) > most {
		names = append(names, fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(names, ", ")
}

var (
	// ErrUnknown is met by who names a host or a link that the lab doesn't have.
	ErrUnknown = errors.New("unknown name")
	// ErrNoLab is met where no lab runs, or none of that name.
	ErrNoLab = errors.New("no such lab runs")
	// ErrSeveral is met by who doesn't say which of several labs.
	ErrSeveral = errors.New("several labs run")
	// ErrNotRunnable is met by who has a program run that the kernel refuses to start.
	ErrNotRunnable = errors.New("the program can't be run")
	// ErrName is met by who gives a lab a name that can't be, or that another has.
	ErrName = errors.New("the lab's name")
	// ErrEnded is met by who is in a lab when it ends.
	ErrEnded = errors.New("the lab has ended")
)
