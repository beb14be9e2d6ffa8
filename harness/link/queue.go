package link

// serialise tells when a frame that comes at m.nowNS has left the sender. A frame that
// comes after the rate was lifted waits for those that still wait, no longer.
func (m *Model) serialise(bytes int) (sentNS int64, accepted bool) {
	startNS := m.busyUntilNS
	if startNS < m.nowNS {
		startNS, m.remainder = m.nowNS, 0
	}
	m.waiting.dropUntil(m.nowNS)
	if startNS > m.nowNS {
		if startNS-m.nowNS > maxBacklogNS || m.overflows(bytes) {
			return 0, false
		}
		m.waiting.push(startNS, bytes)
	}
	m.busyUntilNS = startNS
	if rate := m.parameters.RateBPS; rate > 0 {
		// A frame of 64 KiB makes 5.2e14 here, far from overflow.
		work := int64(bytes)*8_000_000_000 + m.remainder
		m.busyUntilNS += work / rate
		m.remainder = work % rate
	}
	return m.busyUntilNS, true
}

// overflows tells whether a frame that would have to wait finds the queue full.
func (m *Model) overflows(bytes int) bool {
	frames, limitBytes := m.parameters.QueueFrames, m.parameters.QueueBytes
	return frames > 0 && m.waiting.count >= frames ||
		limitBytes > 0 && m.waiting.bytes+int64(bytes) > limitBytes
}

// waitingFrame is a frame whose serialisation starts at startNS.
type waitingFrame struct {
	startNS int64
	bytes   int64
}

// waitingQueue is a first-in first-out queue of frames. It grows by doubling, and only
// while more wait than ever before.
type waitingQueue struct {
	frames []waitingFrame // its length is 0 or a power of two
	head   int
	count  int
	// bytes sums those of the frames.
	bytes int64
}

func (q *waitingQueue) push(startNS int64, bytes int) {
	if q.count == len(q.frames) {
		grown := make([]waitingFrame, max(16, 2*len(q.frames)))
		for i := range q.count {
			grown[i] = q.frames[(q.head+i)&(len(q.frames)-1)]
		}
		q.frames, q.head = grown, 0
	}
	q.frames[(q.head+q.count)&(len(q.frames)-1)] = waitingFrame{startNS: startNS, bytes: int64(bytes)}
	q.count++
	q.bytes += int64(bytes)
}

// dropUntil removes the frames whose serialisation has started by nowNS.
func (q *waitingQueue) dropUntil(nowNS int64) {
	for q.count > 0 && q.frames[q.head].startNS <= nowNS {
		q.bytes -= q.frames[q.head].bytes
		q.head = (q.head + 1) & (len(q.frames) - 1)
		q.count--
	}
}
