# The machine's facts: captures in guests, fuzzing, and how long discover takes.

FUZZTIME ?= 5m

.PHONY: test-discover-guest test-disk-loop fuzz-discover machines bench-discover

test-discover-guest: ## boot guests with every kind of content, and hold discover against it
	go test -tags guest -count=1 -timeout 20m -run 'TestZoo|TestSpecMachine' ./install

test-disk-loop: ## probe real loop devices, and hash them before and after (root)
	go test -tags loop -count=1 -run ProbeLoop ./disk

fuzz-discover: ## fuzz the facts loader, by-id names and what disks may hold, $(FUZZTIME) each
	go test ./install -run '^$$' -fuzz '^FuzzFacts$$' -fuzztime $(FUZZTIME)
	go test ./disk -run '^$$' -fuzz '^FuzzByID$$' -fuzztime $(FUZZTIME)
	go test ./disk -run '^$$' -fuzz '^FuzzSignatures$$' -fuzztime $(FUZZTIME)

machines: ## write testdata/machines anew from testdata/captures
	go test ./install -run '^TestMachines$$' -update-machines

bench-discover: ## time discover on a tree of 12 disks with content
	go test ./disk -run '^$$' -bench '^BenchmarkProbe$$'
