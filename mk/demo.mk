# The whole of hvinstall in one go.

.PHONY: demo demo-shell bench-status
demo: packages ## from blank disks to a running VM, in a QEMU machine (root)
	@$(MAKE) --no-print-directory live
	go run ./testvm/demo

demo-shell: ## boot the demo's host again and look around on its console
	go run ./testvm/demo --shell

bench-status: ## hvinstall status on the demo's host, against the same by other programs
	go run ./testvm/demo --bench-status
