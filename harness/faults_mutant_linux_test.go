package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/results"
	"quorumlab/topologies"
)

// idler builds labs in which no fault does anything, though all say that they did.
type idler struct{ engine.Builder }

func (i idler) Build(ctx context.Context, b engine.Blueprint) (engine.Lab, error) {
	lab, err := i.Builder.Build(ctx, b)
	return &idleLab{Lab: lab}, err
}

type idleLab struct{ engine.Lab }

func (*idleLab) SetLink(context.Context, string, topologies.Parameters, topologies.Parameters) error {
	return nil
}

func (*idleLab) SetPairs(context.Context, []engine.PairChange) error { return nil }

func (l *idleLab) Start(ctx context.Context, host string, command engine.Command) (engine.Process, error) {
	process, err := l.Lab.Start(ctx, host, command)
	return &idleProcess{process}, err
}

type idleProcess struct{ engine.Process }

func (*idleProcess) Signal(os.Signal) error                  { return nil }
func (*idleProcess) Throttle(context.Context, float64) error { return nil }
func (p *idleProcess) Stdin() io.WriteCloser                 { return idleInput{p.Process.Stdin()} }

// idleInput hands on commands, but for those that break something: these ask for nothing.
type idleInput struct{ io.WriteCloser }

func (i idleInput) Write(line []byte) (int, error) {
	var command control.Command
	if json.Unmarshal(line, &command) == nil && slices.Contains([]string{control.CommandInject, control.CommandReconfigure}, command.Command) {
		data, err := json.Marshal(control.Command{ID: command.ID, Command: control.CommandStanding})
		if err != nil {
			return 0, err
		}
		_, err = i.WriteCloser.Write(append(bytes.TrimSpace(data), '\n'))
		return len(line), err
	}
	return i.WriteCloser.Write(line)
}

func TestAFaultThatDoesNothingVoidsTheTrialByItsName(t *testing.T) {
	needNetns(t)
	const lasts, pause = 250 * time.Millisecond, 100 * time.Millisecond
	var cases []breakCase
	for _, c := range slices.Concat(processCases, networkCases, membershipCases) {
		if c.lasts > 0 {
			c.lasts = lasts
		}
		if slices.ContainsFunc(cases, func(have breakCase) bool { return have.kind == c.kind && !strings.Contains(c.kind, "degrade") }) {
			continue
		}
		cases = append(cases, c)
	}
	entries, over := scheduled(cases, pause)
	source := load(t, "netns", "--set", "repeat=1", "--set", "system.storage=fsync", "--set", "system.spares={acceptors: 1}",
		"--set", "phases.measure="+over.String(), "--set", withFaults(append(entries,
			fmt.Sprintf("{id: fresh, name: reconfigure, at: %v, change: {acceptors: [acceptor2, acceptor3, acceptor4]}}", over))...))
	e, _ := engine.Lookup("netns")
	verdict, folder := trialIn(t, idler{e.(engine.Builder)}, source)
	_, byID := faultsOf(t, folder)
	if len(byID) != len(cases)+1 {
		t.Errorf("%d faults in the record of %d", len(byID), len(cases)+1)
	}
	for id, found := range byID {
		if len(found) != 1 || found[0].Outcome != results.FaultUnproved {
			t.Errorf("%s: %+v", id, found)
		}
		named := func(r results.VoidReason) bool {
			return r.Code == voidFault && strings.Contains(r.Text, "fault "+id+" ")
		}
		if !slices.ContainsFunc(verdict.Reasons, named) {
			t.Errorf("%s isn't among the reasons %+v", id, verdict.Reasons)
		}
	}
}
