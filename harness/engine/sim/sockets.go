package sim

import "quorumlab/node/control"

// sockets lists the connections that package tcp models of the processes that live, in
// the order of their nodes and peers.
func (s *trial) sockets() (sockets []control.Socket) {
	for _, p := range s.processes {
		if !p.alive || p.paths == nil {
			continue
		}
		for _, path := range p.paths {
			if path == nil || path.modelled == nil {
				continue
			}
			t := path.modelled.Statistics()
			sockets = append(sockets, control.Socket{
				Node: p.node.Name, Peer: path.to.node.Name, Opened: t.Opened,
				SegmentsSent: t.SegmentsSent, Retransmitted: t.Retransmitted, BytesSent: t.BytesSent,
				SmoothedRTTNS: t.SmoothedRTTNS, CongestionWindow: uint32(t.Window), SlowStartThreshold: uint32(t.Threshold),
			})
		}
	}
	return sockets
}
