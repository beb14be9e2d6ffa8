//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"quorumlab/harness/engine"
	"quorumlab/harness/link"
	"quorumlab/topologies"
)

const (
	engineName    = "netns"
	userspaceName = "netns links: " + engine.LinksUserspace
	kernelName    = "netns links: " + engine.LinksKernel

	maxHosts = 1000
	// maxKernelHosts bounds what every host must know of every other on the
	// kernel's links, which takes the kernel 1 kB for each pair: 250 MB.
	maxKernelHosts = 500

	// defaultCongestionControl is in every kernel, and open to every user.
	defaultCongestionControl = "reno"
)

func init() { engine.Register(netnsEngine{}) }

// netnsEngine implements engine.Engine.
type netnsEngine struct{}

func (netnsEngine) Name() string  { return engineName }
func (netnsEngine) MaxHosts() int { return maxHosts }

// Check starts a lab without hosts and tries in it what labs need.
func (netnsEngine) Check(ctx context.Context) []engine.Readiness {
	fail := func(err error) []engine.Readiness {
		rows := []engine.Readiness{notReady(engineName, err), {Name: userspaceName}, {Name: kernelName}}
		rows[1].Reason, rows[2].Reason = "needs namespaces", "needs namespaces"
		return rows
	}
	l, greeting, err := newLab(ctx, engine.Blueprint{Topology: &topologies.Topology{}})
	if err := refused(greeting, err); err != nil {
		if l != nil {
			l.Close()
		}
		return fail(err)
	}
	defer l.Close()
	answer, err := l.init.call(ctx, request{Probe: &probeRequest{}})
	if err != nil {
		return fail(err)
	}
	return readiness(*answer.Probed, needsUserNamespace())
}

// readiness turns what was probed into the rows of a check.
func readiness(p probed, rootless bool) []engine.Readiness {
	rows := []engine.Readiness{
		{Name: engineName, OK: true, Reason: "network namespaces can be made, as root"},
		{Name: userspaceName, OK: true, Reason: "packet sockets work"},
		{Name: kernelName, OK: true, Reason: "the kernel has bridge and netem"},
	}
	if rootless {
		rows[0].Reason = "network namespaces can be made, without root"
	}
	if p.KernelError != "" {
		rows[0] = engine.Readiness{Name: engineName, Reason: "the parts of hosts can't be made: " + p.KernelError,
			Mend: []string{"# load the kernel's virtual Ethernet devices, if they are a module", "sudo modprobe veth"}}
		rows[2] = engine.Readiness{Name: kernelName, Reason: p.KernelError}
	}
	if p.UserspaceError != "" {
		rows[1] = engine.Readiness{Name: userspaceName, Reason: p.UserspaceError,
			Mend: []string{"# load the kernel's packet sockets, if they are a module", "sudo modprobe af_packet"}}
	}
	if missing := missingFeatures(p.Kernel); p.KernelError == "" && len(missing) > 0 {
		rows[2] = engine.Readiness{Name: kernelName, Reason: "this kernel lacks " + names(missing) + "; labs use --links userspace instead",
			Mend: []string{"# load what is missing, if it is a module of this kernel", "sudo modprobe -a " + strings.Join(missing, " ")}}
	}
	return rows
}

// missingFeatures names the modules of what the kernel lacks.
func missingFeatures(f link.KernelFeatures) []string {
	var missing []string
	for _, part := range []struct {
		has    bool
		module string
	}{{f.Bridge, "bridge"}, {f.Netem, "sch_netem"}} {
		if !part.has {
			missing = append(missing, part.module)
		}
	}
	return missing
}

func names(modules []string) string {
	return strings.ReplaceAll(strings.Join(modules, ", "), "sch_", "")
}

// Build starts an init, has it make the network, then starts the emulator if
// there is to be one. Whatever fails, ending the init undoes it all.
func (netnsEngine) Build(ctx context.Context, blueprint engine.Blueprint) (engine.Lab, error) {
	blueprint, err := checkBlueprint(blueprint)
	if err != nil {
		return nil, fmt.Errorf("building a lab: %w", err)
	}
	l, greeting, err := newLab(ctx, blueprint)
	if err := refused(greeting, err); err != nil {
		if l != nil {
			l.Close()
		}
		return nil, fmt.Errorf("building a lab: %w", err)
	}
	if err := l.build(ctx, blueprint); err != nil {
		l.Close()
		return nil, fmt.Errorf("building a lab: %w", err)
	}
	return l, nil
}

func (l *lab) build(ctx context.Context, blueprint engine.Blueprint) error {
	var features link.KernelFeatures
	if blueprint.Links != engine.LinksUserspace {
		answer, err := l.init.call(ctx, request{Probe: &probeRequest{}})
		if err != nil {
			return fmt.Errorf("probing the kernel: %w", err)
		}
		features = answer.Probed.Kernel
	}
	var err error
	if l.executor, l.reason, err = chooseLinks(blueprint, features); err != nil {
		return err
	}
	l.segments = blueprint.Changing || link.NeedsSegments(blueprint.Topology)
	build := buildRequest{
		Topology: blueprint.Topology, CongestionControl: blueprint.CongestionControl,
		Segments: l.segments, Changing: blueprint.Changing,
	}
	if l.executor == engine.LinksKernel {
		build.Kernel = &features
	} else {
		// The links, which may have long traces, are the emulator's business alone.
		build.Topology = &topologies.Topology{Hosts: blueprint.Topology.Hosts}
	}
	if _, err := l.init.call(ctx, request{Build: &build}); err != nil || build.Kernel != nil {
		return err
	}
	l.emulator, err = startEmulator(ctx, l, link.EmulatorConfig{
		Topology: blueprint.Topology, Ports: ports(blueprint.Topology), Seed: blueprint.Seed,
	}, blueprint.Log)
	return err
}

// chooseLinks says who executes the links, and why.
func chooseLinks(blueprint engine.Blueprint, features link.KernelFeatures) (executor, reason string, err error) {
	switch {
	case blueprint.Links == engine.LinksUserspace:
		return engine.LinksUserspace, "asked for", nil
	case blueprint.Links == engine.LinksAuto && blueprint.Changing:
		return engine.LinksUserspace, "what links will be changed to, the kernel may not be able to do", nil
	}
	err = link.KernelSupports(blueprint.Topology, features)
	if hosts := len(blueprint.Topology.Hosts); err == nil && hosts > maxKernelHosts {
		err = fmt.Errorf("%w: %d hosts, at most %d", link.ErrKernelCannot, hosts, maxKernelHosts)
	}
	switch {
	case blueprint.Links == engine.LinksKernel && err != nil:
		return "", "", fmt.Errorf("%w; use --links userspace", err)
	case blueprint.Links == engine.LinksKernel:
		return engine.LinksKernel, "asked for", nil
	case errors.Is(err, link.ErrKernelCannot):
		return engine.LinksUserspace, err.Error(), nil
	case err != nil:
		return "", "", err
	}
	return engine.LinksKernel, "the kernel can do all that the topology declares", nil
}

// checkBlueprint fills in what was left out and refuses what can't be built.
func checkBlueprint(b engine.Blueprint) (engine.Blueprint, error) {
	switch b.Links {
	case "":
		b.Links = engine.LinksAuto
	case engine.LinksAuto, engine.LinksKernel, engine.LinksUserspace:
	default:
		return b, fmt.Errorf("unknown links %q, want %s, %s or %s", b.Links, engine.LinksAuto, engine.LinksKernel, engine.LinksUserspace)
	}
	if b.CongestionControl == "" {
		b.CongestionControl = defaultCongestionControl
	}
	if err := checkTopology(b.Topology); err != nil {
		return b, err
	}
	path, err := filepath.Abs(b.NodeBinary)
	if err != nil {
		return b, fmt.Errorf("finding the node binary: %w", err)
	}
	b.NodeBinary = path
	return b, checkExecutable(path)
}

func checkTopology(t *topologies.Topology) error {
	if t == nil || len(t.Hosts) == 0 {
		return errors.New("the topology has no hosts")
	}
	if len(t.Hosts) > maxHosts {
		return fmt.Errorf("the topology has %d hosts, this engine takes at most %d", len(t.Hosts), maxHosts)
	}
	if _, err := t.Graph(); err != nil {
		return err
	}
	taken := map[netip.Addr]string{}
	for _, host := range t.Hosts {
		if !topologies.Prefix.Contains(host.Address) {
			return fmt.Errorf("host %s: the address %s is not in %s", host.Name, host.Address, topologies.Prefix)
		}
		if other, twice := taken[host.Address]; twice {
			return fmt.Errorf("hosts %s and %s both have the address %s", other, host.Name, host.Address)
		}
		taken[host.Address] = host.Name
	}
	return nil
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("the node binary can't be used: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("the node binary %s is not a file", path)
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fmt.Errorf("the node binary %s can't be executed: %w", path, err)
	}
	return nil
}
