# Everything is built and tested from here; `make help` lists the targets.
export CGO_ENABLED := 0
GO ?= go

.PHONY: help build run test race lint bench soak generate clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/bench and bin/bench-node, two static binaries
	$(GO) build -trimpath -o bin/ ./cmd/bench ./cmd/bench-node

run: build ## Build, then run a real experiment in under a minute
	bin/bench run experiments/quickstart.yaml

test: build ## Run the whole gate: lint, tests, race detector, engines
	@CGO_ENABLED=$(CGO_ENABLED) GO="$(GO)" sh scripts/test.sh

lint: ## gofmt, go vet, staticcheck
	@sh scripts/lint.sh

bench: build ## Run the benchmarks; best while the machine is idle
	@echo "round trips: the error over 4 x 20 ms emulated hops, beside a plain kernel bridge (100 messages a second)"
	$(GO) test -run '^$$' -bench RoundTrip -benchtime 1000x ./harness/link
	@echo "labs: time until n hosts are up"
	$(GO) test -run '^$$' -bench Build -benchtime 5x ./harness/engine/netns
	@echo "cost of frames, messages, timers, rows"
	$(GO) test -run '^$$' -bench 'Model|Heap' ./harness/link
	$(GO) test -run '^$$' -bench . ./node/... ./results
	@echo "the simulator's speed against real time; what checking a history takes"
	$(GO) test -run '^$$' -bench . -benchtime 1x ./harness/engine/sim/... ./harness/check

soak: build ## Long loads: memory must stay flat (several minutes)
	QUORUMLAB_SOAK=1 $(GO) test -v -timeout 60m -run 'MemoryIsFlat' ./harness

generate: ## Generate the wire messages again (needs protoc)
	sh node/wire/wirepb/generate.sh

clean: ## Remove what was built; run folders stay
	rm -rf bin
