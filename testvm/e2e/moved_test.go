//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hvinstall/testvm"
	"hvinstall/testvm/spechost"
)

// movedAndRenamed puts one disk of each pool elsewhere: from SATA into a USB
// enclosure, and an NVMe disk with another serial number (all of QEMU's are of
// one model). The host boots unattended, is given another name, and boots
// unattended again; its layout has the disks' old names all the time.
func (m machine) movedAndRenamed(t *testing.T) {
	if os.Getenv("HVINSTALL_MOVED") != "1" {
		t.Skip("two boots more: make test-moved-host, in check-long")
	}
	t.Parallel()
	moved := m.onOverlays(t)
	*moved.Drive("bulk2") = testvm.Drive{ID: "bulk2", Model: testvm.USB, Serial: "ENCLOSURE", Sector: 4096, Path: moved.Drive("bulk2").Path, Format: "qcow2"}
	moved.Drive("vm3").Serial = "VM500X"

	c := moved.boot(t, 25*time.Minute, moved.All()...)
	c.must(c.LogIn(6 * time.Minute))
	c.healthy("vmstore", "bulk")
	c.has("the stick opened it", "cat /run/hvinstall/boot.json", `"unlocked_by": "stick`)

	const run = "hvinstall --plan /etc/hvinstall/layout.yaml"
	c.run("sed -i 's/^hostname: hypervisor$/hostname: hv1/' /etc/hvinstall/layout.yaml")
	preview := c.run(run + " --dry-run")
	for _, want := range []string{
		"was ata-ST2000VN004_BULK2000A, is usb-QEMU_QEMU_HARDDISK_ENCLOSURE-0:0 now",
		"was nvme-QEMU_NVMe_Ctrl_VM500, is nvme-QEMU_NVMe_Ctrl_VM500X now",
		"was hypervisor, is hv1 from the next boot on",
	} {
		if !strings.Contains(strings.Join(strings.Fields(preview), " "), want) {
			t.Errorf("the preview lacks %q", want)
		}
	}
	t.Logf("the preview:\n%s", preview)
	t.Logf("the run:\n%s", c.run(run+" --yes"))
	c.has("nothing to do", run, "nothing to do")
	c.has("the host's name", "cat /etc/hostname", "hv1")
	c.powerOff()

	c = moved.boot(t, 15*time.Minute, moved.All()...)
	c.must(c.LogInTo("hv1", 6*time.Minute))
	c.healthy("vmstore", "bulk")
	c.has("the stick opens it under its new name", "cat /run/hvinstall/boot.json", `"unlocked_by": "stick`)
	c.has("nothing to do after the boot", run, "nothing to do")
	c.powerOff()
}

// onOverlays is the machine with files of its own, which begin as the machine's
// are: it can be changed beside others, and keeps what is written to it.
func (m machine) onOverlays(t *testing.T) machine {
	t.Helper()
	other := &spechost.Machine{Dir: t.TempDir(), Drives: slices.Clone(m.Drives), CPUs: m.CPUs}
	for i := range other.Drives {
		d := &other.Drives[i]
		base, format := d.Path, d.Format
		if format == "" {
			format = "raw"
		}
		d.Path, d.Format = filepath.Join(other.Dir, d.ID+".qcow2"), "qcow2"
		if _, err := testvm.Command(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format, d.Path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := testvm.Command(t.Context(), "cp", filepath.Join(m.Dir, "vars.fd"), other.Dir); err != nil {
		t.Fatal(err)
	}
	return machine{other}
}
