# The OS image, the live stick, and their tests.

OS_IMAGE := build/os-image/hvinstall-debian.squashfs

.PHONY: os-image live
os-image: ## the hypervisor's Debian root as a squashfs (needs root, mmdebstrap)
	osimage/debian/build $(OS_IMAGE)

live: build os-image ## build/live.img, the live stick (written without root)
	bash mk/live.sh $(OS_IMAGE) build/live.img

.PHONY: test-e2e test-osimage-loop
test-osimage-loop: os-image ## the image is unpacked with all it has (root, loop devices)
	go test -tags loop -count=1 ./osimage/...

# Three machines run side by side, of one CPU each: time limits are three times
# those of one alone.
E2E_TIMEOUT ?= 120m
test-e2e: export HVINSTALL_SLOW ?= 3
test-e2e: export HVINSTALL_GUEST_CPUS ?= 1
test-e2e: live ## from blank disks to a running VM and back, and what may go wrong, in UEFI guests
	go test -tags e2e -count=1 -timeout $(E2E_TIMEOUT) -parallel 3 -v ./testvm/e2e

.PHONY: test-power-cuts
test-power-cuts: export HVINSTALL_MORE_CUTS := 1
test-power-cuts: export HVINSTALL_SLOW ?= 3
test-power-cuts: live ## the power cut at ten moments of an installation
	go test -tags e2e -count=1 -timeout $(E2E_TIMEOUT) -run '^TestPowerCuts$$' -v ./testvm/e2e

.PHONY: test-moved-host
test-moved-host: export HVINSTALL_MOVED := 1
test-moved-host: export HVINSTALL_SLOW ?= 3
test-moved-host: live ## a host installed, then renamed, with a disk of each pool elsewhere: two boots, unattended
	go test -tags e2e -count=1 -timeout $(E2E_TIMEOUT) -run '^TestHost$$/^(tour|a_bad_day)$$/^renamed' -v ./testvm/e2e

.PHONY: test-os-image-again
test-os-image-again: os-image ## the OS image built again, in another folder, is the same (root)
	bash mk/os-image-again.sh $(OS_IMAGE)

.PHONY: test-netboot
test-netboot: live ## a machine that starts from the network, by iPXE, and installs unattended
	go test -tags guest -count=1 -timeout 60m -v ./testvm/netboot

.PHONY: bench-unpack test-osimage-guest
bench-unpack: ## unpacking the image, against unsquashfs alone on the same file system (root)
	go test -tags loop -run '^$$' -bench Unpack -benchtime 3x ./osimage

test-osimage-guest: ## boot entries on a real ESP (a small QEMU guest)
	go test -tags guest -count=1 -run TestInGuest ./osimage

