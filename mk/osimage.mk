# The OS image, the live stick, and their tests.

OS_IMAGE := build/os-image/hvinstall-debian.squashfs

.PHONY: os-image live
os-image: ## the hypervisor's Debian root as a squashfs (needs root, mmdebstrap)
	osimage/debian/build $(OS_IMAGE)

live: build os-image ## build/live.img, the live stick (written without root)
	bash mk/live.sh $(OS_IMAGE) build/live.img
