# Everything is built and tested from here; `make help` lists the targets.
export CGO_ENABLED := 0
GO ?= go

.PHONY: help build run test test-kernel-links race lint bench soak generate clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/bench and bin/bench-node, two static binaries
	$(GO) build -trimpath -o bin/ ./cmd/bench ./cmd/bench-node

run: build ## Build, then run a real experiment in under a minute
	bin/bench run experiments/quickstart.yaml

test: build ## Run the whole gate: lint, tests, race detector, engines
	@CGO_ENABLED=$(CGO_ENABLED) GO="$(GO)" sh scripts/test.sh

test-kernel-links: ## Test links on a kernel with netem: user-mode Linux, no root (about a minute)
	@GO="$(GO)" sh scripts/kernel-links.sh

lint: ## gofmt, go vet, staticcheck
	@sh scripts/lint.sh

bench: build ## Run the benchmarks; best while the machine is idle
	@echo "frames a second and processor time a frame, beside the kernel's bridge"
	$(GO) test -run '^$$' -bench Frames -benchtime 1000000x ./harness/link
	@echo "round trips: the error over 4 emulated hops, beside a plain kernel bridge"
	$(GO) test -run '^$$' -bench 'RoundTrip/.*/rate=100' -benchtime 1000x ./harness/link
	$(GO) test -run '^$$' -bench 'RoundTrip/.*/rate=5000' -benchtime 20000x ./harness/link
	@echo "labs: time until n hosts are up"
	$(GO) test -run '^$$' -bench Build -benchtime 5x ./harness/engine/netns
	@echo "cost of frames, messages, timers, rows"
	$(GO) test -run '^$$' -bench 'Model|Heap' ./harness/link
	$(GO) test -run '^$$' -bench . ./node/... ./results
	@echo "the simulator's speed against real time; what checking a history takes"
	$(GO) test -run '^$$' -bench . -benchtime 1x ./harness/engine/sim/... ./harness/check

soak: build ## Long loads, raging faults: memory must stay flat (half an hour)
	QUORUMLAB_SOAK=1 $(GO) test -v -timeout 60m -run 'MemoryIsFlat|FaultsThatRage' ./harness

generate: ## Generate the wire messages again (needs protoc)
	sh node/wire/wirepb/generate.sh

clean: ## Remove what was built; run folders stay
	rm -rf bin
