//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
)

// machine is the spec's hypervisor as files: its disks, its key stick, its
// firmware's variables and the live stick.
type machine struct {
	dir    string
	drives []testvm.Drive
	live   testvm.Drive
	vars   string
}

// The spec's disks, by what they are for. 500 GB, 1 TB and so on are decimal,
// as the makers print them.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{dir: t.TempDir()}
	m.vars = filepath.Join(m.dir, "vars.fd")
	m.drives = []testvm.Drive{
		{ID: "os", Model: testvm.NVMe, Serial: "OS500", Size: 500e9},
		{ID: "vm1", Model: testvm.NVMe, Serial: "VM1000A", Size: 1e12},
		{ID: "vm2", Model: testvm.NVMe, Serial: "VM1000B", Size: 1e12},
		{ID: "vm3", Model: testvm.NVMe, Serial: "VM500", Size: 500e9},
		{ID: "bulk1", Model: testvm.SATA, Serial: "BULK4000", Product: "ST4000VN008", Size: 4e12},
		{ID: "bulk2", Model: testvm.SATA, Serial: "BULK2000A", Product: "ST2000VN004", Size: 2e12},
		{ID: "bulk3", Model: testvm.SATA, Serial: "BULK2000B", Product: "ST2000VN004", Size: 2e12},
		{ID: "key", Model: testvm.USB, Serial: "KEY001", Size: 4e9},
	}
	for i := range m.drives {
		d := &m.drives[i]
		d.Path = filepath.Join(m.dir, d.ID+".img")
		if err := testvm.Sparse(d.Path, d.Size); err != nil {
			t.Fatal(err)
		}
	}
	m.live = testvm.Drive{ID: "live", Model: testvm.USB, Serial: "LIVE001", Path: filepath.Join(m.dir, "live.img"), Boot: 1}
	return m
}

// layout is the spec's layout for this machine.
const layout = `hostname: hypervisor
os:
  disk: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_OS500
  subvolumes: {root: /, home: /home}
  swap_size: 1GiB
  kernel_args: [console=tty0, "console=ttyS0,115200"]
  image: {url: "file:///run/hvinstall/live/hvinstall/root.squashfs"}
pools:
  vmstore:
    disks:
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM1000A, size: 1TB}
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM1000B, size: 1TB}
      - {id: /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_VM500, size: 500GB}
    storage_media: ssd
  bulk:
    disks:
      - {id: /dev/disk/by-id/ata-ST4000VN008_BULK4000, size: 4TB}
      - {id: /dev/disk/by-id/ata-ST2000VN004_BULK2000A, size: 2TB}
      - {id: /dev/disk/by-id/ata-ST2000VN004_BULK2000B, size: 2TB}
    storage_media: hdd
encryption:
  usb_keys:
    - {disk: "/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_KEY001-0:0"}
network: {bridge: br0, nic: enp5s0}
nfs_exports:
  exports:
    - {path: /mnt/bulk/apps-vm}
    - {path: /mnt/bulk/homeassistant-vm, clients: [192.168.1.0/24, 100.64.0.0/10]}
    - {path: /mnt/bulk/scrypted}
locale: {lang: en_GB.UTF-8, timezone: Europe/Brussels, keymap: be}
users:
  # The password is "letmein".
  - {name: snyssen, groups: [wheel], password_hash: "$6$e2e$JIQj2kbSUlw9a/XJbatEWNFljF0rAkrel8.CwqwpUBcV6MY7mWSiBb/tmUg27BwbdPQM6JFGbo/vAXA/oYN9N/"}
libvirtd: {users: [snyssen]}
libvirt_domain_type: qemu
`

const passphrase = "correct horse battery staple"

// partitionAt is where mtools finds a partition of the live image: the ESP
// begins at 1 MiB, the data partition behind it.
const espAt, dataAt = "@@1M", "@@129M"

// writeLive makes the live stick of build/live.img, with the files and the
// kernel arguments that a person would put on it.
func (m *machine) writeLive(t *testing.T, arguments string, files map[string]string) {
	t.Helper()
	source := filepath.Join(testvm.Root(), "build/live.img")
	if _, err := os.Stat(source); err != nil {
		t.Fatalf("%v; run: make live", err)
	}
	command(t, "cp", "--sparse=always", "--reflink=auto", source, m.live.Path)
	for name, text := range files {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		command(t, "mcopy", "-o", "-i", m.live.Path+dataAt, file, "::/"+name)
	}
	entry := command(t, "mtype", "-i", m.live.Path+espAt, "::/loader/entries/live.conf")
	entry = regexp.MustCompile(`(?m)^options .*$`).ReplaceAllString(entry, "${0} "+arguments)
	file := filepath.Join(t.TempDir(), "entry")
	if err := os.WriteFile(file, []byte(entry), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "mcopy", "-o", "-i", m.live.Path+espAt, file, "::/loader/entries/live.conf")
}

func command(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// boot starts the machine with those of its drives that are named; "live" is
// the live stick.
func (m *machine) boot(t *testing.T, timeout time.Duration, drives ...string) *testvm.VM {
	t.Helper()
	return testvm.Boot(t, m.config(timeout, drives...))
}

// try is boot with drives that forget what is written to them.
func (m *machine) try(t *testing.T, timeout time.Duration, drives ...string) *testvm.VM {
	t.Helper()
	c := m.config(timeout, drives...)
	for i := range c.Drives {
		c.Drives[i].Snapshot = true
	}
	return testvm.Boot(t, c)
}

func (m *machine) config(timeout time.Duration, drives ...string) testvm.Config {
	c := testvm.Config{
		Memory: 4096, OVMF: true, Vars: m.vars, Timeout: slow(timeout), Screen: true,
		NICs: []testvm.NIC{{PCIBus: 5, MAC: "52:54:00:12:34:56", Net: "192.168.1.0/24"}},
	}
	for _, d := range append(slices.Clone(m.drives), m.live) {
		if slices.Contains(drives, d.ID) {
			c.Drives = append(c.Drives, d)
		}
	}
	return c
}

// slow stretches a time limit on a machine that others share:
// HVINSTALL_SLOW=3 makes it three times as long.
func slow(d time.Duration) time.Duration {
	factor, err := strconv.Atoi(os.Getenv("HVINSTALL_SLOW"))
	if err != nil || factor < 1 {
		factor = 1
	}
	return d * time.Duration(factor)
}

// everything lists the machine's own drives, without those that are named.
func (m *machine) everything(without ...string) []string {
	var ids []string
	for _, d := range m.drives {
		if !slices.Contains(without, d.ID) {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// expect fails the test when the console does not say it in time.
func expect(t *testing.T, vm *testvm.VM, timeout time.Duration, expression string) []string {
	t.Helper()
	match, err := vm.Expect(slow(timeout), expression)
	if err != nil {
		t.Fatalf("%v; the console's end:\n%s", err, vm.Tail(30))
	}
	return match
}

// shell runs a command in the shell on the console. The marks cannot be found
// in the echo of what is typed.
func shell(t *testing.T, vm *testvm.VM, timeout time.Duration, script string) (string, int) {
	t.Helper()
	marks++
	begin, end := fmt.Sprintf("<<%d", marks), fmt.Sprintf("%d>>", marks)
	if err := vm.Send(fmt.Sprintf("echo; echo '<''<%d'; (%s); echo \"%d>\"\"> $?\"\n", marks, script, marks)); err != nil {
		t.Fatal(err)
	}
	match := expect(t, vm, timeout, `(?s)`+begin+`\r?\n(.*?)`+end+` (\d+)`)
	code := 0
	fmt.Sscan(match[2], &code)
	return strings.ReplaceAll(match[1], "\r", ""), code
}

var marks int
