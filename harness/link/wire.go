//go:build linux

package link

import (
	"encoding/json"
	"fmt"
	"slices"

	"quorumlab/topologies"
)

// plainConfig is an EmulatorConfig without its methods.
type plainConfig EmulatorConfig

// wireConfig is an EmulatorConfig on its way to the emulator's process. Measured delays,
// which may have a million rows, stand in it once, however many links have them.
type wireConfig struct {
	plainConfig
	Tables []*topologies.Table `json:"tables,omitempty"`
	Traces []*topologies.Trace `json:"traces,omitempty"`
	// TableOf and TraceOf have, for each direction of a link, A to B first, the number of
	// its table or trace, counted from 1; 0 for none.
	TableOf []int `json:"table_of,omitempty"`
	TraceOf []int `json:"trace_of,omitempty"`
}

// MarshalJSON writes each table and each trace once.
func (c EmulatorConfig) MarshalJSON() ([]byte, error) {
	w := wireConfig{plainConfig: plainConfig(c)}
	if c.Topology == nil {
		return json.Marshal(w)
	}
	tables, traces := map[*topologies.Table]int{}, map[*topologies.Trace]int{}
	bare := *c.Topology
	bare.Links = slices.Clone(bare.Links)
	w.Topology = &bare
	for i := range bare.Links {
		for _, p := range bothWays(&bare.Links[i]) {
			w.TableOf = append(w.TableOf, number(tables, &w.Tables, p.JitterTable))
			w.TraceOf = append(w.TraceOf, number(traces, &w.Traces, p.Trace))
			p.JitterTable, p.Trace = nil, nil
		}
	}
	if w.Tables == nil {
		w.TableOf = nil
	}
	if w.Traces == nil {
		w.TraceOf = nil
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote. Links that shared a table or a trace do so
// again.
func (c *EmulatorConfig) UnmarshalJSON(data []byte) error {
	var w wireConfig
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*c = EmulatorConfig(w.plainConfig)
	if c.Topology == nil {
		return nil
	}
	for i := range c.Topology.Links {
		for k, p := range bothWays(&c.Topology.Links[i]) {
			var err error
			if p.JitterTable, err = numbered(w.Tables, w.TableOf, 2*i+k, p.JitterTable); err != nil {
				return fmt.Errorf("table of link %s: %w", c.Topology.Links[i].Name, err)
			}
			if p.Trace, err = numbered(w.Traces, w.TraceOf, 2*i+k, p.Trace); err != nil {
				return fmt.Errorf("trace of link %s: %w", c.Topology.Links[i].Name, err)
			}
		}
	}
	return nil
}

func bothWays(l *topologies.Link) [2]*topologies.Parameters {
	return [2]*topologies.Parameters{&l.AToB, &l.BToA}
}

// number is that of a value among all, to which it is added if it is new; 0 for nil.
func number[T any](numbers map[*T]int, all *[]*T, value *T) int {
	if value != nil && numbers[value] == 0 {
		*all = append(*all, value)
		numbers[value] = len(*all)
	}
	return numbers[value]
}

// numbered is the value that a direction has, own if it has none of those that are shared.
func numbered[T any](all []*T, of []int, direction int, own *T) (*T, error) {
	if direction >= len(of) || of[direction] == 0 {
		return own, nil
	}
	if n := of[direction]; n < 0 || n > len(all) {
		return nil, fmt.Errorf("it is number %d of %d", n, len(all))
	}
	return all[of[direction]-1], nil
}
