# VMs: tests against a real libvirtd, and the speed of the image pipeline.

.PHONY: test-vms bench-vms

test-vms: ## VMs against a real libvirtd with QEMU under TCG, in name spaces of its own (root)
	go test -tags libvirt -count=1 -timeout 40m ./vmstore/...

bench-vms: ## 50 VMs, and the image pipeline against curl, xz, gunzip and zstd in the same run (root)
	go test -tags 'libvirt bench' -count=1 -timeout 20m -run '^TestBench' -v ./vmstore

.PHONY: test-vms-trixie

test-vms-trixie: ## the same against libvirt 11 and QEMU 10 of Debian 13, in a tree below build/ (root)
	bash mk/vms-trixie.sh
