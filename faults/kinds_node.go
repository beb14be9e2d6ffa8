package faults

import (
	"fmt"
	"slices"
	"time"

	"quorumlab/node/control"
)

var (
	durable = []string{control.StorageDisk, control.StorageFsync}
	synced  = []string{control.StorageFsync}
)

func init() {
	for _, kind := range []*Kind{crash(), pause(), slowCPU(), slowSync(), failingWrite(), fullDisk(), clock(), ignore()} {
		Register(kind)
	}
}

// atNodes makes the effect of a kind that does the same to each process.
func atNodes(effect func(scene *Scene, node string) NodeEffect) func(*Scene) Effects {
	return func(scene *Scene) Effects {
		var effects Effects
		for _, node := range scene.Nodes {
			e := effect(scene, node)
			e.Node = node
			for i := range e.Expect {
				e.Expect[i].Node = node
			}
			effects.Nodes = append(effects.Nodes, e)
		}
		return effects
	}
}

func crash() *Kind {
	return &Kind{
		Name: "crash", Hits: HitsNodes,
		Summary:  "ends the process as SIGKILL does; with `for` it is started again after that time",
		Evidence: "the process is gone; after a restart it lives and has its connections; what its disk lost is counted",
		Ways:     [][]Parameter{{ParameterWhom}}, Takes: []Parameter{ParameterDisk},
		Lasts: true, Final: true, Failpoint: control.ActionCrash,
		Check: checkCrash,
		Effects: atNodes(func(scene *Scene, _ string) NodeEffect {
			disk := scene.Fault.Disk
			if disk == "" {
				disk = DiskSame
			}
			expect := []Expectation{{Kind: ExpectDown}}
			if disk != DiskSame {
				expect = append(expect, Expectation{Kind: ExpectDisk, Disk: disk})
			}
			return NodeEffect{Expect: expect, Apply: func(state *NodeState) {
				state.Down = true
				if slices.Index(Disks, disk) >= slices.Index(Disks, state.Disk) {
					state.Disk = disk
				}
			}}
		}),
	}
}

func checkCrash(fault Fault, world World) []Problem {
	storage := storageOf(world)
	if fault.Disk != "" && !slices.Contains(Disks, fault.Disk) {
		return []Problem{{Key: "disk", Value: fault.Disk, Want: "one of " + list(Disks)}}
	}
	if (fault.Disk == DiskLostUnsynced || fault.Disk == DiskTorn) && storage != control.StorageFsync {
		return []Problem{{Key: "disk", Value: fault.Disk, Want: fmt.Sprintf("%s or %s, or system.storage: %s, since %s never syncs",
			DiskSame, DiskEmpty, control.StorageFsync, storage)}}
	}
	if !fault.For.IsZero() && storage == control.StorageMemory && fault.Disk != DiskEmpty {
		return []Problem{{Key: "for", Message: "the process is started again, and with storage memory it would have forgotten what it promised",
			Want: "system.storage: disk or fsync, or disk: empty, which is unsafe"}}
	}
	return nil
}

func pause() *Kind {
	return &Kind{
		Name: "pause", Hits: HitsNodes,
		Summary:  "stops the process as SIGSTOP does, as a long garbage collection would",
		Evidence: "the kernel says that the process is stopped, later that it isn't",
		Ways:     [][]Parameter{{ParameterWhom}}, Lasts: true, Failpoint: control.ActionStall,
		Effects: atNodes(func(*Scene, string) NodeEffect {
			return NodeEffect{
				Expect: []Expectation{{Kind: ExpectPaused}},
				Apply:  func(state *NodeState) { state.Paused = true },
			}
		}),
	}
}

func slowCPU() *Kind {
	return &Kind{
		Name: "slow_cpu", Hits: HitsNodes,
		Summary:  "leaves the process a share of a processor, by stopping it again and again",
		Evidence: "the share of the time for which the process is stopped",
		Ways:     [][]Parameter{{ParameterWhom, ParameterShare}}, Lasts: true,
		Check: func(fault Fault, _ World) []Problem {
			if share := *fault.Share; !(share >= 0.01 && share < 1) {
				return []Problem{{Key: "share", Value: percent(share), Want: "from 1% to below 100%"}}
			}
			return nil
		},
		Effects: atNodes(func(scene *Scene, _ string) NodeEffect {
			share := *scene.Fault.Share
			return NodeEffect{
				Expect: []Expectation{{Kind: ExpectSlow, Share: share}},
				Apply:  func(state *NodeState) { state.CPUShare = min(state.CPUShare, share) },
			}
		}),
	}
}

func slowSync() *Kind {
	return &Kind{
		Name: "slow_sync", Hits: HitsNodes,
		Summary:  "makes each sync of the disk take longer",
		Evidence: "the least time that syncs take",
		Ways:     [][]Parameter{{ParameterWhom, ParameterDelay}}, Lasts: true, Storages: synced,
		Check: func(fault Fault, _ World) []Problem {
			if fault.Delay < 0 || fault.Delay > time.Minute {
				return []Problem{{Key: "delay", Value: seconds(fault.Delay), Want: "a duration above 0, at most 60s"}}
			}
			if fault.For.Most > 0 && fault.For.Most <= fault.Delay { // no sync would be over before it is
				return []Problem{{Key: "delay", Value: seconds(fault.Delay), Want: fmt.Sprintf("less than the fault lasts, which is %s", seconds(fault.For.Most))}}
			}
			return nil
		},
		Effects: atNodes(func(scene *Scene, _ string) NodeEffect {
			delay := scene.Fault.Delay
			return NodeEffect{
				Expect: []Expectation{{Kind: ExpectSlowSync, Delay: delay}},
				Apply: func(state *NodeState) {
					state.Injection.SyncDelayNS = max(state.Injection.SyncDelayNS, int64(delay))
				},
			}
		}),
	}
}

func failingWrite() *Kind {
	return badDisk("failing_write", "makes each write to the disk fail (EIO); the process ends itself, and is started again on healing",
		func(injection *control.Injection) { injection.FailWrites = true })
}

func fullDisk() *Kind {
	return badDisk("full_disk", "leaves no room on the disk (ENOSPC); the process ends itself, and is started again on healing",
		func(injection *control.Injection) { injection.FullDisk = true })
}

func badDisk(name, summary string, inject func(*control.Injection)) *Kind {
	return &Kind{
		Name: name, Hits: HitsNodes, Summary: summary,
		Evidence: "the bytes that the disk refused, and the end of the process; later that it lives",
		Ways:     [][]Parameter{{ParameterWhom}}, Lasts: true, Storages: durable,
		Effects: atNodes(func(*Scene, string) NodeEffect {
			return NodeEffect{
				Expect: []Expectation{{Kind: ExpectRefused}}, Ends: true,
				Apply: func(state *NodeState) { inject(&state.Injection) },
			}
		}),
	}
}

func clock() *Kind {
	return &Kind{
		Name: "clock", Hits: HitsNodes,
		Summary:  "makes the process's timers run fast or slow (`rate`), or jump ahead (`jump`; back if negative)",
		Evidence: "what the process takes the time for, beside the host's clock",
		Ways:     [][]Parameter{{ParameterWhom, ParameterRate}, {ParameterWhom, ParameterJump}}, Lasts: true,
		Check: func(fault Fault, _ World) []Problem {
			const most = 100
			switch rate, jump := fault.Rate, fault.Jump; {
			case rate != 0 && (!(rate >= 1.0/most && rate <= most) || rate == 1):
				return []Problem{{Key: "rate", Value: fmt.Sprint(rate), Want: "from 0.01 to 100, and not 1, which is right"}}
			case jump < -time.Hour || jump > time.Hour:
				return []Problem{{Key: "jump", Value: seconds(jump), Want: "from -1h to 1h"}}
			}
			return nil
		},
		Effects: atNodes(func(scene *Scene, _ string) NodeEffect {
			rate, jump := scene.Fault.Rate, scene.Fault.Jump
			return NodeEffect{
				Expect: []Expectation{{Kind: ExpectClock, Rate: rate, Jump: jump}},
				Apply: func(state *NodeState) {
					if rate != 0 {
						state.Injection.ClockRate = rate
					}
					state.Injection.ClockJumpNS += int64(jump)
				},
			}
		}),
	}
}

func ignore() *Kind {
	return &Kind{
		Name: "ignore", Hits: HitsNodes,
		Summary:  "has the process ignore a share of the messages that it gets: all, or of some kinds or senders",
		Evidence: "the messages that the process has ignored",
		Ways:     [][]Parameter{{ParameterWhom}},
		Takes:    []Parameter{ParameterShare, ParameterMessages, ParameterFrom}, Lasts: true,
		Check: func(fault Fault, _ World) []Problem {
			if fault.Share != nil && !(*fault.Share > 0 && *fault.Share <= 1) {
				return []Problem{{Key: "share", Value: percent(*fault.Share), Want: "above 0%, at most 100%"}}
			}
			return nil
		},
		Effects: ignoring,
	}
}

func ignoring(scene *Scene) Effects {
	if len(scene.Fault.From) > 0 && len(scene.From) == 0 {
		return Effects{} // no such sender just now, which isn't all of them
	}
	share := 1.0
	if scene.Fault.Share != nil {
		share = *scene.Fault.Share
	}
	return atNodes(func(scene *Scene, _ string) NodeEffect {
		rule := control.Ignore{Kinds: scene.Fault.Messages, From: scene.From, Share: share, Seed: scene.Random.Uint64()}
		return NodeEffect{
			Expect: []Expectation{{Kind: ExpectIgnored, Share: share}},
			Apply:  func(state *NodeState) { state.Injection.Ignore = append(state.Injection.Ignore, rule) },
		}
	})(scene)
}

// storageOf is a cluster's storage by its name.
func storageOf(world World) string {
	if world.Cluster.Storage == "" {
		return control.StorageMemory
	}
	return world.Cluster.Storage
}
