//go:build guest

package initrd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hvinstall/testvm"
)

// TestRealKernel builds from this machine's Debian kernel, and has cpio and
// lsinitramfs read the result.
func TestRealKernel(t *testing.T) {
	kernel, err := testvm.DebianKernel()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := testvm.Program(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	modaliases, err := Modaliases()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"unlock": {Root: "/", Kernel: kernel.Release, Binary: binary, Config: testConfig(), Modaliases: modaliases},
		"live":   {Root: "/", Kernel: kernel.Release, Binary: binary},
	} {
		t.Run(name, func(t *testing.T) {
			image, err := Build(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.2f MB, %d modules", float64(len(image.Data))/1e6, len(image.Modules))
			if len(image.Data) >= 16_000_000 {
				t.Errorf("%d bytes, want under 16 MB", len(image.Data))
			}
			again, err := Build(o)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(image.Data, again.Data) {
				t.Error("built twice, it differs")
			}
			file := filepath.Join(t.TempDir(), "initramfs")
			if err := os.WriteFile(file, image.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			listed := output(t, "lsinitramfs", file)
			for _, want := range []string{"init", "dev/console", "etc/hvinstall", "lib/modules/hvinstall.list"} {
				if !slices.Contains(listed, want) {
					t.Errorf("lsinitramfs does not list %s", want)
				}
			}
			for _, m := range []string{"floppy", "lpfc", "drbd", "bnx2i"} {
				if slices.Contains(image.Modules, m) {
					t.Errorf("module %s is there", m)
				}
			}
			listed = output(t, "sh", "-c", `zstd -dcq "$1" | cpio -t --quiet`, "sh", file)
			for _, m := range []string{"nvme", "ahci", "sd_mod", "virtio_blk", "virtio_scsi", "virtio_pci", "usb_storage", "uas", "xhci_pci", "ehci_pci", "usbhid", "hid_generic", "vfat",
				// controllers of servers, old boards and other hypervisors
				"mpt3sas", "mpi3mr", "megaraid_sas", "aacraid", "smartpqi", "hpsa", "isci", "mptsas", "mptspi", "arcmsr", "3w_sas",
				"sata_sil24", "sata_nv", "sata_mv", "pata_amd", "ata_piix", "vmd", "sdhci_pci", "mmc_block",
				"hv_storvsc", "hyperv_keyboard", "vmw_pvscsi", "xen_blkfront",
				// keyboards that hid_generic refuses
				"hid_holtek_kbd", "hid_roccat_ryos", "hid_chicony", "hid_primax", "hid_corsair", "hid_logitech_dj", "hid_apple",
				"nls_cp437", "nls_ascii"} {
				if !slices.Contains(image.Modules, m) {
					t.Errorf("no module %s", m)
				}
			}
			if o.Config != nil {
				for _, m := range []string{"dm_crypt", "btrfs", "xts", "aesni_intel", "raid6_pq", "crc32c_generic"} {
					if !slices.Contains(image.Modules, m) {
						t.Errorf("no module %s", m)
					}
				}
			}
			modules := 0
			for _, f := range listed {
				if strings.HasSuffix(f, ".ko") {
					modules++
				}
			}
			if modules != len(image.Modules) {
				t.Errorf("cpio lists %d modules, want %d", modules, len(image.Modules))
			}
		})
	}
}

func output(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		t.Fatalf("%s: %v: apt-get install initramfs-tools-core cpio zstd", strings.Join(args, " "), err)
	}
	return strings.Fields(string(out))
}
