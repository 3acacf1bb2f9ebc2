# Disks, LUKS volumes and sticks: in QEMU guests with Debian's kernel, and on
# loop devices of this machine's.

.PHONY: test-loop test-harness test-guest test-guest-host test-guest-safety test-guest-interrupted test-guest-long test-recovery-guest test-moved-guest test-first-round bench-disks

test-loop: ## mounts, btrfs, tables and sticks on loop devices (root)
	go test -count=1 -tags loop ./host ./disk ./crypt

test-harness: ## the harness itself: guests that end, are cut off, and report
	go test -count=1 -timeout 40m -tags guest -run '^Test(Guest|PowerCut|TimeLimit|Inner)$$' ./testvm

test-guest: test-guest-host test-guest-safety ## disks, LUKS, pools and sticks in QEMU guests

test-guest-host: ## the seven-disk host, made and looked at by other programs
	go test -count=1 -timeout 60m -tags guest -run '^TestDisksExampleHost$$' ./install

test-guest-safety: ## what can go wrong with disks, volumes and sticks
	go test -count=1 -timeout 90m -tags guest -run '^TestDisksSafety$$' ./install

test-console-guest: ## a person at a console: preview, yes, passphrase, progress, and again
	go test -count=1 -timeout 20m -tags guest -run '^TestDisksAtTheConsole$$' ./cmd/hvinstall

test-recovery-guest: ## docs/recovery.md, carried out: a lost stick, a failed disk, a lost header
	go test -count=1 -timeout 30m -tags guest -run '^TestRecovery$$' ./cmd/hvinstall

test-moved-guest: ## a host renamed whose disks have other names: made in one guest, run in another
	go test -count=1 -timeout 40m -tags guest -run '^TestDisksMoved$$' -v ./install

test-first-round: ## a host that the first round's program made (built from its commit), taken over by today's
	go test -count=1 -timeout 40m -tags guest -run '^TestFirstRoundHost$$' -v ./cmd/hvinstall

test-guest-interrupted: ## a host of four disks killed in the middle of every step and after it
	go test -count=1 -timeout 90m -tags guest -run '^TestDisksKilled$$' ./install

test-guest-long: ## the same at many more moments of each step
	go test -count=1 -timeout 180m -tags guest -run '^TestLongDisks' ./install

bench-disks: ## the seven-disk host against a plain script, in one guest
	go test -count=1 -timeout 60m -tags guest -run '^TestBenchDisks$$' -v ./install | grep -v '^=== '
