# hvinstall's targets. `make help` lists them.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

export CGO_ENABLED := 0
# The same everywhere, so that packages are compiled once.
export GOFLAGS     := -trimpath

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := go build -buildvcs=false -ldflags '$(LDFLAGS)'

TOOLS         := $(CURDIR)/.tools/bin
GOLANGCI_LINT := $(TOOLS)/golangci-lint
GOLANGCI_VERSION := v2.15.0

# The suites are in mk/<area>.mk; those joined by + run side by side, see
# mk/stages.sh. Loop devices are busy for as long as a network namespace made
# meanwhile holds a copy of their mounts: test-net keeps away from their tests.
CHECK := lint,build,test,reproducible,test-nix+os-image+test-net \
	test-guest-safety,test-osimage-guest,test-nfs-guest+test-guest-interrupted,test-guest-host+test-osimage-loop,test-loop,test-disk-loop,test-harness,test-initrd,test-vms \
	test-e2e
CHECK_LONG := test-discover-guest test-console-guest test-recovery-guest test-first-round test-moved-guest test-guest-long test-power-cuts test-moved-host \
	test-netboot test-os-image-again test-vms-trixie fuzz-hostile

.PHONY: help packages linter build test lint check check-long reproducible clean

help: ## list the targets
	@grep -hE '^[a-z][a-zA-Z0-9_-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

packages: ## the Debian packages that the demo and the tests need (root)
	@bash mk/packages.sh

build: ## bin/hvinstall, one static binary
	$(GOBUILD) -o bin/hvinstall ./cmd/hvinstall

test: ## everything that needs neither root nor a guest
	go test ./...

$(GOLANGCI_LINT):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

linter: $(GOLANGCI_LINT) ## golangci-lint itself, compiled

lint: $(GOLANGCI_LINT) ## formatting, vet, linters, the walls between the rooms
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt these:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GOLANGCI_LINT) run ./...

reproducible: ## the binary built twice, from two folders, is the same
	@d=$$(mktemp -d); trap 'rm -rf "$$d"' EXIT; \
	mkdir $$d/elsewhere; git ls-files -z | xargs -0 cp --parents -t $$d/elsewhere; \
	$(GOBUILD) -o $$d/one ./cmd/hvinstall; \
	(cd $$d/elsewhere && $(GOBUILD) -o $$d/two ./cmd/hvinstall); \
	cmp $$d/one $$d/two; \
	size=$$(stat -c %s $$d/one); echo "reproducible: two builds are the same, $$size bytes"; \
	test $$size -lt 20000000 || { echo "the binary is over 20 MB"; exit 1; }

include $(wildcard mk/*.mk)

check: packages ## every suite there is, stages timed (the README's test command)
	@bash mk/stages.sh $(CHECK)

check-long: ## what takes longer: the whole matrices
	@bash mk/stages.sh $(CHECK_LONG)

clean: ## remove what was built
	rm -rf bin build
