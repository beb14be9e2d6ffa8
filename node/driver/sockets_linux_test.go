package driver

import (
	"testing"

	"quorumlab/node/consensus"
)

// The numbers of a connection that ended stay counted beside those of the next.
func TestSocketsSumTheConnectionsToAPeer(t *testing.T) {
	receiver := start(t, 2, listen(t, "127.0.0.1:0"), nil, &scripted{})
	sender := start(t, 1, listen(t, "127.0.0.1:0"), map[consensus.NodeID]string{2: receiver.address}, &scripted{})
	out := sender.NewSender()
	out.Send(2, number(large))
	out.Flush()
	eventually(t, "the first message arrives", func() bool { return receiver.machine.count(consensus.InputMessage) == 1 })
	before := sender.Sockets()
	if len(before) != 1 || before[0].Peer != 2 || before[0].Opened != 1 ||
		before[0].BytesSent < paddingBytes || before[0].SegmentsSent < 2 || before[0].CongestionWindow == 0 || before[0].SmoothedRTTNS <= 0 {
		t.Fatalf("after one message: %+v", before)
	}
	receiver.close()
	eventually(t, "the loss is noticed", func() bool { return sender.Counts().Connected == 0 })
	if ended := sender.Sockets()[0]; ended.Opened != 1 || ended.BytesSent < before[0].BytesSent || ended.SegmentsSent < before[0].SegmentsSent {
		t.Fatalf("once the connection has ended: %+v, before %+v", ended, before[0])
	}
	again := start(t, 2, listen(t, receiver.address), nil, &scripted{})
	eventually(t, "the connection is back", func() bool { return sender.Counts().Connected == 1 })
	out.Send(2, number(large))
	out.Flush()
	eventually(t, "the second message arrives", func() bool { return again.machine.count(consensus.InputMessage) == 1 })
	if after := sender.Sockets()[0]; after.Opened != 2 || after.BytesSent < 2*paddingBytes {
		t.Errorf("after the second connection: %+v", after)
	}
}

func TestTheKernelTellsItsTCPSettings(t *testing.T) {
	if control, _ := TCPSettings(); control == "" {
		t.Error("no congestion control")
	}
}
