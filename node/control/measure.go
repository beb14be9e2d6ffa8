package control

// Measure asks an echo process for round trips, probe by probe, which may take long.
type Measure struct {
	// Protocol is udp, tcp or icmp.
	Protocol string `json:"protocol"`
	Peers    []Peer `json:"peers"`
	// Count is the number of probes a peer, IntervalNS the time that one round (a probe
	// to each peer) takes, TimeoutNS how long to await each answer.
	Count      int   `json:"count"`
	IntervalNS int64 `json:"interval_ns"`
	TimeoutNS  int64 `json:"timeout_ns"`
	// Bytes is the size of a probe without headers.
	Bytes int `json:"bytes"`
	// File is where in the process's folder the rows go: peer, round, sent_ns, rtt_ns.
	// Orders over the network have none: their rows come back over it.
	File string `json:"file,omitempty"`
}

// Measured is the answer to a Measure that was carried out.
type Measured struct {
	Sent     int `json:"sent"`
	Answered int `json:"answered"`
}
