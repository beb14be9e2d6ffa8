package harness

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"quorumlab/harness/engine"
	"quorumlab/node/control"
	"quorumlab/results"
)

// socketsFile has a row for each connection between nodes, in a trial's folder.
const socketsFile = "sockets.json"

// askSockets gathers what the live nodes' TCP did. A node that doesn't know the
// command, as others' may not, has nothing to tell.
func (t *labTrial) askSockets(ctx context.Context) (settings control.Sockets, connections []control.Socket, err error) {
	for _, node := range t.cluster.Nodes {
		s := t.members.live(node.Name)
		if s == nil {
			continue
		}
		asking, cancel := answering(ctx)
		line, err := s.call(asking, control.Command{Command: control.CommandSockets})
		cancel()
		if ctx.Err() != nil {
			return settings, nil, context.Cause(ctx)
		}
		if err != nil || line.Sockets == nil {
			continue
		}
		settings = *line.Sockets
		for _, connection := range line.Sockets.Connections {
			connection.Node = node.Name
			connections = append(connections, connection)
		}
	}
	return settings, connections, nil
}

// noteTransport writes the connections to the trial's folder and sums them up
// beside what the links lost: so that a frame lost on a link, which TCP sends again,
// isn't taken for a message lost.
func (t *trial) noteTransport(settings control.Sockets, connections []control.Socket, links engine.LinkReport, statuses map[string]control.Status) error {
	sum := results.Transport{CongestionControl: settings.CongestionControl, SlowStartAfterIdle: settings.SlowStartAfterIdle}
	for _, connection := range connections {
		sum.SegmentsSent += connection.SegmentsSent
		sum.Retransmitted += connection.Retransmitted
	}
	for _, direction := range slices.Concat(links.Directions, links.Pairs) {
		// The receiver's checksum refuses a corrupted frame, so that to TCP it is lost too.
		sum.FramesLost += direction.LossDrops + direction.QueueDrops + direction.DownDrops + direction.Corrupted
	}
	for _, status := range statuses {
		sum.MessagesLost += status.DroppedMessages
	}
	t.verdict.Transport = &sum
	if len(connections) == 0 {
		return nil
	}
	data, err := json.MarshalIndent(connections, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.folder.TrialDir(t.planned.Trial), socketsFile), append(data, '\n'), 0o644)
}

// errNoLoad is met where the machine doesn't tell how busy it is.
var errNoLoad = errors.New("this system doesn't tell how busy it is")

// processorTime is what all processors have done since the machine started, in the
// kernel's ticks.
type processorTime struct{ total, idle, stolen uint64 }

// loadSince tells how busy the machine was since then; nil if it isn't known.
func loadSince(before processorTime) *results.Load {
	now, err := readProcessorTime()
	if err != nil || before.total == 0 || now.total <= before.total {
		return nil
	}
	total := float64(now.total - before.total)
	load := &results.Load{
		BusyShare:  1 - float64(now.idle-min(before.idle, now.idle))/total,
		StealShare: float64(now.stolen-min(before.stolen, now.stolen)) / total,
	}
	load.LoadAverage, load.CPUs = loadAverage()
	return load
}
