# Evenkeel. `make help` lists the targets.
SHELL      := /bin/bash
GO         ?= go
TOOL       := $(GO) tool -modfile=tools/go.mod
# Runs go test; at the end it lists what failed and what was left out and why.
TESTS      := $(TOOL) gotestsum --format pkgname --
AGENTS     := FileOnOff Process NIC IP DiskGroup Mount NFS Share
DAEMONS    := gab fencing had hashadow hatrigger ha halab hasim
VCS_NAMES  := hastatus hagrp hares hasys hatype haattr haclus hauser haconf hacf hastart hastop haagent hamsg halog halogin hahb lltstat lltconfig gabconfig gabdiskconf gabdiskhb
PACKAGES   := iputils-ping nftables iproute2 e2fsprogs util-linux nfs-ganesha nfs-ganesha-vfs libnfs-utils libnfs-dev dbus gcc libc6-dev
# What the contracts are compared with: what was promised last. After a release:
# make proto-baseline. A change that breaks it needs a new package version.
PROTO_BASE := proto/baseline.binpb
# The race detector needs cgo; the binaries do not.
export CGO_ENABLED ?= 1
# Property tests begin with this seed, so that one run is like the next; 0 draws a
# new one. A failure prints its seed.
export RAPID_SEED ?= 20261122
# Where fuzz-sim keeps the plans of failures.
FAILED     ?= bin/failed

.PHONY: test-vm soak soak-detection bench-peers mutants-engine mutants-sim fuzz-sim help build proto proto-baseline lint test test-unit test-lab deps demo bench clean linearizability

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build all programs into bin/, agents into bin/agents/<Type>, and the VCS names as links
	@mkdir -p bin/agents
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ $(addprefix ./cmd/,$(DAEMONS))
	@for t in $(AGENTS); do d=plugins/$$(echo $$t | tr A-Z a-z)/cmd; \
	  echo "CGO_ENABLED=0 $(GO) build -o bin/agents/$$t ./$$d"; \
	  CGO_ENABLED=0 $(GO) build -trimpath -o bin/agents/$$t ./$$d || exit 1; done
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/lab-witness ./test/lab/witness
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/lab-gabload ./test/lab/gabload
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/lab-service ./test/lab/service
	@for n in $(VCS_NAMES); do ln -sfn ha bin/$$n; done

proto: ## generate the Go code of the contracts
	$(TOOL) buf generate

proto-baseline: ## promise the contracts as they are now
	$(TOOL) buf build --exclude-source-info -o $(PROTO_BASE)

lint: ## gofmt, go vet, staticcheck, buf lint, buf breaking, generated code up to date
	@out=$$(gofmt -l $$(git ls-files '*.go' | grep -v /testdata/)); [ -z "$$out" ] || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) buf lint
	$(TOOL) buf breaking --against $(PROTO_BASE)
	@tmp=$$(mktemp -d) && trap 'rm -rf $$tmp' EXIT && $(TOOL) buf generate -o $$tmp && \
	  for f in $$(git ls-files 'proto/*.pb.go'); do cmp -s $$f $$tmp/$$f || { echo "$$f is not what its .proto generates; run make proto"; exit 1; }; done
	@echo "lint: clean"

deps: ## as root on Debian: install the packages that the lab needs, if missing
	@test/install-packages $(PACKAGES)

test: deps build test-unit test-lab ## everything: unit, datadriven, property, fuzz seeds, race detector, policy, end to end

test-unit: ## all that needs no lab, with the race detector; the long randomised runs without it
	$(TESTS) -race -timeout 20m $$($(GO) list ./... | grep -v /test/lab)
	$(TESTS) -timeout 10m ./services/gab/... ./services/had/engine/... ./internal/simrun/...
	$(TESTS) -timeout 30m ./internal/sim -args -sim.seeds 2000

test-lab: build bin/lab-nfswrite ## real daemons in namespaces (root only; an ordinary user gets the list of what was left out)
	$(TESTS) -count=1 -timeout 20m ./test/lab/...

bin/lab-nfswrite: test/lab/nfswrite/nfswrite.c
	@mkdir -p bin
	cc -O2 -Wall -Wextra -o $@ $< -lnfs

test-vm: build ## what needs a kernel of its own, in an emulated machine (QEMU; a minute): links that are VLAN devices and bonds
	@test/install-packages qemu-system-x86
	@test/vm/get-kernel bin/vm
	$(GO) test -count=1 -timeout 15m -v ./test/vm -args -vm

mutants-engine: ## reverse rules of the engine, one at a time, and see that its goldens break (a few minutes)
	$(GO) test -count=1 -timeout 20m ./test/mutants -run Reversed -all -v

linearizability: deps build ## HISTORIES=100 of operators' commands under faults, recorded and checked (nightly; root; at most 50 minutes)
	$(GO) test -count=1 -timeout 60m -v ./test/lab/linear -args -linear.histories $(or $(HISTORIES),100) -linear.seed $(or $(SEED),1) -linear.time 50m -linear.broken

mutants-sim: ## break cores deliberately, one rule at a time, and see that the simulator catches each (a few minutes)
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 60m ./internal/sim -run 'Mutants|Shrink' -v -args -sim.seeds 2000

fuzz-sim: ## random clusters with random faults until stopped; FOR=1h bounds it, FAILED=DIR takes plans of failures; goes on where fuzz-sim.txt ends
	@mkdir -p bin $(FAILED)
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/hasim ./cmd/hasim
	bin/hasim fuzz --totals fuzz-sim.txt --plans $(FAILED) $(if $(FOR),--for $(FOR))

demo: deps build bin/lab-nfswrite ## the two-system NFS cluster that fails over when a system dies; KEEP=1 leaves it up
	@$(GO) run ./test/demo $(if $(KEEP),-keep)

bench: deps build ## print the figures of failover, restart, broadcast and memory
	@$(GO) run ./test/bench

SOAK_FOR ?= 10m
SOAK_PROFILES ?= default,fast,experimental

soak: soak-detection ## what only time shows (half an hour, root)

soak-detection: deps build ## clusters on a busy machine with a bad link: no false alarm (SOAK_FOR=10m SOAK_PROFILES=default,fast,experimental)
	@$(GO) run ./test/bench -soak $(SOAK_FOR) -profiles $(SOAK_PROFILES)

bench-peers: build bin/bench-cpgload bin/bench-coreload ## broadcast through gab's streams against Corosync's CPG, by turns (root; installs Corosync)
	@$(GO) run ./test/bench/peers $(PEERS)

bin/bench-coreload: build
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./test/bench/peers/coreload

bin/bench-cpgload: test/bench/peers/cpgload/cpgload.c
	@mkdir -p bin
	@test -e /usr/include/corosync/cpg.h -a -x /usr/sbin/corosync || { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends corosync libcpg-dev; }
	cc -O2 -Wall -Wextra -o $@ $< -lcpg

clean: ## remove what was built
	rm -rf bin
