//go:build guest

package netboot

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
)

// layout is a pool of two disks: what is tested is the way to the plan, and an
// operating system would take ten times as long to unpack.
const layout = `hostname: netboot
pools:
  bulk:
    disks: [/dev/disk/by-id/ata-ST4000VN008_HD001, /dev/disk/by-id/ata-ST4000VN008_HD002]
    storage_media: hdd
encryption:
  usb_keys: [{disk: "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_KEY001-0:0"}]
`

// script is what docs/live.md has, with the passphrase as a file beside the
// image.
const script = `#!ipxe
kernel %[1]s/linux quiet console=ttyS0,115200 hvinstall.live=ram hvinstall.sha256=%[2]s hvinstall.plan=%[1]s/layout.yaml hvinstall.confirm=%[3]s hvinstall.passphrase_file=hvinstall/secret.txt hvinstall.passphrase_clear hvinstall.then=poweroff
initrd %[1]s/initrd
initrd %[1]s/root.squashfs /hvinstall/root.squashfs
initrd %[1]s/secret.txt /hvinstall/secret.txt
boot
`

// pxeROM is iPXE as QEMU puts it onto its card by default.
const pxeROM = "/usr/lib/ipxe/qemu/efi-virtio.rom"

// site is a network that a machine boots from: a folder that is served by HTTP,
// and QEMU's own DHCP and TFTP, which name and give iPXE its script.
type site struct {
	folder, tftp string
	server       *spechost.Server
	sum          string // of the image
	disks        string // folder of the machine's disks
}

func newSite(t *testing.T) *site {
	t.Helper()
	if _, err := os.Stat(pxeROM); err != nil {
		t.Fatalf("%v; apt-get install ipxe-qemu", err)
	}
	s := &site{folder: t.TempDir(), tftp: t.TempDir(), disks: t.TempDir()}
	// Kernel, initramfs and image are the live stick's own.
	for name, partition := range map[string]string{"linux": spechost.ESPAt, "initrd": spechost.ESPAt, "root.squashfs": spechost.DataAt} {
		if _, err := testvm.Command(t.Context(), "mcopy", "-i", spechost.LiveImage()+partition, "::/hvinstall/"+name, filepath.Join(s.folder, name)); err != nil {
			t.Fatalf("%v; run: make live", err)
		}
	}
	s.write(t, s.folder, "layout.yaml", layout)
	s.write(t, s.folder, "secret.txt", spechost.Passphrase)
	s.sum = testvm.Sum(t, filepath.Join(s.folder, "root.squashfs"))
	var err error
	if s.server, err = spechost.Serve(t.Context(), s.folder); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"hd1", "hd2", "key"} {
		if err := testvm.Sparse(s.disk(id), 4e9); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *site) write(t *testing.T, folder, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *site) disk(id string) string { return filepath.Join(s.disks, id+".img") }

// boot starts the machine, whose network card's ROM is iPXE.
func (s *site) boot(t *testing.T, digest string) *testvm.VM {
	t.Helper()
	s.write(t, s.tftp, "boot.ipxe", fmt.Sprintf(script, spechost.ServerURL, s.sum, digest))
	return testvm.Boot(t, testvm.Config{
		Memory: 3072, Timeout: spechost.Slow(15 * time.Minute),
		Drives: []testvm.Drive{
			{ID: "hd1", Model: testvm.SATA, Serial: "HD001", Product: "ST4000VN008", Path: s.disk("hd1")},
			{ID: "hd2", Model: testvm.SATA, Serial: "HD002", Product: "ST4000VN008", Path: s.disk("hd2")},
			{ID: "key", Model: testvm.USB, Serial: "KEY001", Path: s.disk("key")},
		},
		Extra: []string{
			"-netdev", "user,id=pxe,restrict=on,net=192.168.1.0/24,tftp=" + s.tftp + ",bootfile=boot.ipxe," + s.server.Forward(),
			"-device", "virtio-net-pci,netdev=pxe,mac=52:54:00:12:34:56,bootindex=1",
		},
	})
}

// TestUnattended starts the machine with a digest that is not the plan's: it
// is refused, nothing is written, and the reason and a shell are there. With
// the plan's own digest it is carried out and the machine powered off.
func TestUnattended(t *testing.T) {
	s := newSite(t)
	vm := s.boot(t, strings.Repeat("0", 64))
	found, err := vm.Expect(spechost.Slow(8*time.Minute), `(?s)is not this plan's digest,\s+which\s+is\s+([0-9a-f]{32}):`)
	if err != nil {
		t.Fatal(err)
	}
	shell := spechost.Console{VM: vm}
	if err := shell.Dialogue(5*time.Minute, `The unattended installation did not go through`, "", `root@hvinstall:~# `, ""); err != nil {
		t.Fatal(err)
	}
	if err := shell.Settle(); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"stat -c %s /run/hvinstall/live/hvinstall/root.squashfs": fmt.Sprint(size(t, s.folder+"/root.squashfs")), // where a stick has it
		"networkctl status --no-pager | cat":                     "192.168.1.15",
		"hvinstall discover":                                     "ST4000VN008_HD001",
		"journalctl -b -t hvinstall -o cat --no-pager":           "hvinstall live - Linux", // what the init said
		"dmesg --level=err,warn | grep -c regulatory.db; true":   "0",
	} {
		if err := shell.Shows(2*time.Minute, command, want); err != nil {
			t.Error(err)
		}
	}
	if out, _, err := shell.Run(2*time.Minute, "hvinstall discover"); err != nil || strings.Contains(out, "started from") {
		t.Errorf("a machine that runs from memory has no disk to spare: %v\n%s", err, out)
	}
	vm.PowerCut()
	for _, id := range []string{"hd1", "hd2", "key"} {
		if !blank(t, s.disk(id)) {
			t.Errorf("%s was written to by a plan that was refused", id)
		}
	}

	vm = s.boot(t, found[1])
	if err := vm.Wait(spechost.Slow(12 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	text := spechost.Plain(vm.Transcript())
	if strings.Contains(text, "Failed unmounting") {
		t.Errorf("the live system cannot end quietly:\n%s", text[max(0, len(text)-1500):])
	}
	if !strings.Contains(text, "Done: poweroff, as hvinstall.then= asks") {
		t.Errorf("the console does not end well:\n%s", text[max(0, len(text)-3000):])
	}
	s.judge(t)
}

// judge looks at the disks by other programs: the stick's key and the
// passphrase open both volumes.
func (s *site) judge(t *testing.T) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	run(t, "mcopy", "-i", s.disk("key")+"@@1M", "::/netboot", key)
	for _, id := range []string{"hd1", "hd2"} {
		if out := run(t, "sgdisk", "-v", s.disk(id)); !strings.Contains(out, "No problems found") {
			t.Errorf("sgdisk -v %s: %s", id, out)
		}
		start := regexp.MustCompile(`First sector: (\d+)`).FindStringSubmatch(run(t, "sgdisk", "-i", "1", s.disk(id)))
		volume := filepath.Join(t.TempDir(), id)
		run(t, "dd", "if="+s.disk(id), "of="+volume, "bs=512", "skip="+start[1], "count=40960", "status=none")
		run(t, "cryptsetup", "open", "--test-passphrase", "--key-file", key, volume)
		open := exec.Command("cryptsetup", "open", "--test-passphrase", volume)
		open.Stdin = strings.NewReader(spechost.Passphrase)
		if out, err := open.CombinedOutput(); err != nil {
			t.Errorf("%s does not open by the passphrase: %v: %s", id, err, out)
		}
	}
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := testvm.Command(t.Context(), argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// blank says whether a disk's first and last MiB hold nothing.
func blank(t *testing.T, path string) bool {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, at := range []int64{0, 4e9 - 1<<20} {
		block := make([]byte, 1<<20)
		if _, err := file.ReadAt(block, at); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(block, make([]byte, len(block))) {
			return false
		}
	}
	return true
}
