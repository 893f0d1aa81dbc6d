# evenkeel. Go and make are needed; the rest is seen to by the targets that need it.

GO         ?= go
BIN        := bin
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS    := -s -w -X main.version=$(VERSION)
PREFLIGHT  := $(GO) run tools/preflight/main.go
LINT       := $(GO) tool -modfile=tools/go.mod golangci-lint
# What isn't an integration test, and what is: the simulated fleet needs no root, and both run a share of it.
UNITS       = $(shell $(GO) list ./... | grep -v /evenkeel/integration) ./integration/sim
# The long tests but for the simulated fleet's, which takes all of the machine for itself.
SOAKS       = $(shell $(GO) list ./integration/... | grep -v /integration/sim)
# Which long tests run, and how many runs of the simulated fleet they make.
SOAK       ?= Soak
SEEDS      ?= 10000
# More for go test, for example V=-v.
V          ?=

.DEFAULT_GOAL := help
.PHONY: help build demo test unit integration soak bench lint docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/evenkeel, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/evenkeel ./cmd/evenkeel

demo: ## Show a rollout under load on the local Docker Engine (about a minute)
	@$(PREFLIGHT) demo
	@$(MAKE) --no-print-directory build
	@$(BIN)/evenkeel demo

test: ## Run all tests: unit tests with the race detector, then three real Docker hosts
	@$(PREFLIGHT) test
	$(GO) vet ./...
	@$(MAKE) --no-print-directory unit integration

unit: ## Run the unit tests
	$(GO) test -race $(V) $(UNITS)
	cd tools && $(GO) test $(V) ./...

integration: ## Run the tests against real Docker hosts (as root)
	$(GO) test -count=1 -parallel 3 -timeout 35m $(V) ./integration/...

soak: ## Run the long tests (tag soak)
	@$(PREFLIGHT) test
	$(GO) test -count=1 -timeout 60m -tags soak -run '$(SOAK)' $(V) ./integration/sim -seeds $(SEEDS)
	$(GO) test -count=1 -parallel 3 -timeout 40m -tags soak -run '$(SOAK)' $(V) $(SOAKS)

bench: ## Measure against bare engine calls, as ratios in one run
	@$(PREFLIGHT) test
	$(GO) test -count=1 -timeout 30m -run '^$$' -bench . -benchtime 1x $(V) ./integration/bench

lint: ## Check style and who imports whom
	$(LINT) run --allow-parallel-runners ./...
	@unformatted=$$(gofmt -l tools) && test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }

docs: ## Write docs/cli.md, docs/metrics.md and docs/spec.md anew
	$(GO) test ./cmd/evenkeel ./server/metrics ./schema -run TestReferenceIsFresh -update

clean: ## Remove what was built
	rm -rf $(BIN)
