# The OS image, the live stick, and their tests.

OS_IMAGE := build/os-image/hvinstall-debian.squashfs

.PHONY: os-image live
os-image: ## the hypervisor's Debian root as a squashfs (needs root, mmdebstrap)
	osimage/debian/build $(OS_IMAGE)
