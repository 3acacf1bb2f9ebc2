# The initramfs: guests that boot it, and how long that takes.

.PHONY: test-initrd bench-boot fuzz-initrd

test-initrd: ## the initramfs of Debian's kernel, and every way a boot can go, in guests
	go test -tags guest -count=1 -timeout 60m ./initrd/...

bench-boot: ## kernel start to switch_root against Debian's initramfs-tools; stick to seven volumes
	go test -tags guest -count=1 -timeout 40m -run '^$$' -bench '^BenchmarkBoot$$' -benchtime 3x ./initrd/unlock

fuzz-initrd: ## what comes from outside: LUKS headers, uevents, the command line, first sectors, keymaps
	for target in crypt:FuzzJudge crypt:FuzzHeader initrd/boot:FuzzConfig initrd/unlock:FuzzUevent initrd/unlock:FuzzArguments \
			initrd/unlock:FuzzContent initrd/unlock:FuzzSuperblock initrd/unlock:FuzzKeymap; do \
		go test ./$${target%%:*} -run '^$$' -fuzz "^$${target#*:}$$" -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1s || exit; \
	done
