# The whole of hvinstall in one go.

.PHONY: demo demo-shell demo-packages
demo-packages:
	@bash mk/demo.sh

demo: demo-packages ## from blank disks to a running VM, in a QEMU machine (root)
	@$(MAKE) --no-print-directory live
	go run ./testvm/demo

demo-shell: ## boot the demo's host again and look around on its console
	go run ./testvm/demo --shell

# The demo asserts what it shows: as a test, in a folder of its own.
CHECK_LONG_SUITES += test-demo
.PHONY: test-demo
test-demo: live ## the demo's whole way as a test
	go run ./testvm/demo --dir build/test-demo
