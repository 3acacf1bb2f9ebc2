//go:build guest

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
)

// firstRound is the last commit before disks said whose they are: identities
// came from the hostname, and no header has a token of type hvinstall-host.
const firstRound = "2ecf3de"

// buildFirstRound builds hvinstall as it was then, from the repository's history.
func buildFirstRound(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	archive := exec.Command("sh", "-c", "git archive "+firstRound+" | tar -x -C "+dir)
	archive.Dir = testvm.Root()
	if out, err := archive.CombinedOutput(); err != nil {
		t.Fatalf("the commit %s, which a shallow clone lacks: %v\n%s", firstRound, err, out)
	}
	binary := filepath.Join(dir, "first")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/hvinstall")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the commit %s: %v\n%s", firstRound, err, out)
	}
	return binary
}

// TestFirstRoundHost makes a host's disks by the first round's program, and has
// today's take them over: nothing is refused, nothing but the mark is written,
// and from then on the host's name may change.
func TestFirstRoundHost(t *testing.T) {
	binary, err := testvm.Program(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	vm := testvm.BootGuest(t, testvm.Guest{
		Config: testvm.Config{Memory: 3072, Timeout: 20 * time.Minute, Drives: []testvm.Drive{
			{ID: "os", Model: testvm.NVMe, Serial: "OS", Size: 16 << 30},
			{ID: "a", Model: testvm.NVMe, Serial: "A", Size: 8 << 30},
			{ID: "b", Model: testvm.NVMe, Serial: "B", Size: 8 << 30},
			{ID: "one", Model: testvm.USB, Serial: "ONE", Size: 1 << 30},
		}},
		Files: map[string]string{"/bin/hvinstall": binary, "/bin/first": buildFirstRound(t)},
	})
	r := recovery{t, vm}
	r.types("export NO_COLOR=1; stty cols 80; mkdir -p /etc/hvinstall; umask 077; echo '%s' >/run/passphrase", recoveryPassphrase)
	r.layout("ONE", "B")
	r.types("first%s", strings.TrimPrefix(converge, "hvinstall"))
	r.types("head -c 5000000 /dev/urandom >/mnt/target/mnt/bulk/data; sha256sum /mnt/target/mnt/bulk/data >/run/sum")
	const identities = "for d in OS A B; do for p in %[1]snvme-QEMU_NVMe_Ctrl_$d-part?; do blkid -p -o export $p; sgdisk -i ${p##*part} %[1]snvme-QEMU_NVMe_Ctrl_$d; done; done | grep -v DEVNAME"
	before := r.types(identities, byID)
	const tokens = "for p in %[1]snvme-QEMU_NVMe_Ctrl_OS-part2 %[1]snvme-QEMU_NVMe_Ctrl_A-part1 %[1]snvme-QEMU_NVMe_Ctrl_B-part1; do cryptsetup luksDump $p | grep -c hvinstall-host || true; done"
	if said := r.types(tokens, byID); strings.Contains(said, "1") {
		t.Fatalf("the first round's volumes have today's mark: %s", said)
	}
	const closed = "for m in $(awk '$2 ~ \"^/mnt/target\" {print $2}' /proc/mounts | sort -r); do umount $m; done; for m in /dev/mapper/crypt*; do cryptsetup close $m; done; btrfs device scan --forget"
	r.types(closed)

	r.says(r.types("hvinstall --plan /etc/hvinstall/layout.yaml --only disks --dry-run --all"), "4 disks: 4 kept", "Erases no disk that holds data")
	r.types(converge)
	if said := r.types(tokens, byID); strings.Count(said, "1") != 3 {
		t.Errorf("after the first run of today's program, the volumes with a mark:\n%s\nwant each of 3", said)
	}
	if after := r.types(identities, byID); after != before {
		t.Errorf("what the disks carry has changed:\n%s\nbefore:\n%s", after, before)
	}
	r.says(r.types(converge), "nothing to do")
	r.types("sha256sum -c /run/sum")

	// Its name has no part in what its disks are any more.
	r.types(closed)
	r.types("sed -i 's/^hostname: hypervisor/hostname: hv1/' /etc/hvinstall/layout.yaml")
	r.types(converge)
	r.types("sha256sum -c /run/sum")
	r.says(r.types(converge), "nothing to do")
	if after := r.types(identities, byID); after != before {
		t.Errorf("with another hostname, what the disks carry has changed:\n%s\nbefore:\n%s", after, before)
	}
}
