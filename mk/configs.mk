# layout.yaml: reading it, its schema, its documentation.

.PHONY: fuzz-configs bench-configs docs-configs

fuzz-configs: ## the YAML loader against five minutes of bad input
	go test ./configs -run '^$$' -fuzz=FuzzLoad -fuzztime=5m -fuzzminimizetime=2s -parallel=1

bench-configs: ## reading a layout of 24 disks and 500 VMs
	go test ./configs -run '^$$' -bench . -benchmem

docs-configs: ## write docs/layout.md from the types
	go test ./configs -run Reference -update
