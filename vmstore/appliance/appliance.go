// Package appliance makes small UEFI appliances for tests and the demo: a
// disk image and an ISO that boot Debian's kernel to a line on the serial
// console, take a DHCP lease on their virtio NIC and power off when asked.
//
// It is imported by tests and the demo only, and writes below the directory
// that it is given.
package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/host"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/diskfs/go-diskfs/partition/gpt"
)

// Appliance is what is made.
type Appliance struct {
	// Name is in the lines on the console: "appliance: NAME is up".
	Name string
	// Disk and ISO are the paths of the results.
	Disk, ISO string
}

// Packages are what the build takes from Debian.
var packages = map[string]string{
	"/usr/lib/systemd/boot/efi/linuxx64.efi.stub": "systemd-boot-efi",
	"/bin/busybox": "busybox-static",
}

// Build makes the disk image (raw, GPT with an ESP) and the ISO (El Torito,
// UEFI) in dir.
func Build(ctx context.Context, dir, name string) (Appliance, error) {
	a := Appliance{Name: name, Disk: filepath.Join(dir, name+".img"), ISO: filepath.Join(dir, name+".iso")}
	for path, pack := range packages {
		if _, err := os.Stat(path); err != nil {
			return a, fmt.Errorf("%s is missing: apt-get install %s", path, pack)
		}
	}
	if missing := host.Missing("objcopy", "mkfs.vfat", "mcopy", "mmd"); len(missing) > 0 {
		return a, fmt.Errorf("missing %s: apt-get install binutils dosfstools mtools", strings.Join(missing, ", "))
	}
	kernel, modules, err := debianKernel()
	if err != nil {
		return a, err
	}
	archive, err := initramfs(name, modules)
	if err != nil {
		return a, err
	}
	uki := filepath.Join(dir, name+".efi")
	if err := unifiedKernel(ctx, dir, uki, kernel, archive); err != nil {
		return a, err
	}
	esp := filepath.Join(dir, name+".esp")
	if err := espImage(ctx, esp, uki); err != nil {
		return a, err
	}
	if err := gptDisk(a.Disk, esp); err != nil {
		return a, fmt.Errorf("making the disk: %w", err)
	}
	if err := bootISO(a.ISO, esp); err != nil {
		return a, fmt.Errorf("making the ISO: %w", err)
	}
	return a, errors.Join(os.Remove(uki), os.Remove(esp))
}

// debianKernel finds the newest installed kernel and its modules.
func debianKernel() (kernel, modules string, err error) {
	found, _ := filepath.Glob("/boot/vmlinuz-*")
	slices.Sort(found)
	for _, path := range slices.Backward(found) {
		dir := filepath.Join("/lib/modules", strings.TrimPrefix(filepath.Base(path), "vmlinuz-"))
		if _, err := os.Stat(dir); err == nil {
			return path, dir, nil
		}
	}
	return "", "", errors.New("no kernel in /boot: apt-get install linux-image-amd64")
}

// unifiedKernel joins systemd's stub, the kernel, the initramfs and the
// command line into one EFI program, as ukify does.
func unifiedKernel(ctx context.Context, dir, uki, kernel string, archive []byte) error {
	write := func(name string, data []byte) (string, error) {
		path := filepath.Join(dir, name)
		return path, os.WriteFile(path, data, 0o644)
	}
	initrd, err1 := write("initrd", archive)
	cmdline, err2 := write("cmdline", []byte("console=ttyS0,115200 quiet loglevel=3 panic=5 mitigations=off tsc=nowatchdog"))
	release, err3 := write("osrel", []byte("ID=appliance\nPRETTY_NAME=Appliance\n"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	argv := []string{"objcopy"}
	for _, s := range []struct{ name, file, at string }{
		{".osrel", release, "0x20000"}, {".cmdline", cmdline, "0x30000"}, {".linux", kernel, "0x2000000"}, {".initrd", initrd, "0x3000000"},
	} {
		argv = append(argv, "--add-section", s.name+"="+s.file, "--change-section-vma", s.name+"="+s.at)
	}
	argv = append(argv, "/usr/lib/systemd/boot/efi/linuxx64.efi.stub", uki)
	if err := (host.Cmd{Argv: argv}).Run(ctx); err != nil {
		return err
	}
	return errors.Join(os.Remove(initrd), os.Remove(cmdline), os.Remove(release))
}

const espSize = 24 << 20

// espImage is a FAT with the program where firmware looks for one.
func espImage(ctx context.Context, path, uki string) error {
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(path, espSize); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"mkfs.vfat", "-n", "ESP", "-i", "A0A0A0A0", path},
		{"mmd", "-i", path, "::/EFI", "::/EFI/BOOT"},
		{"mcopy", "-i", path, uki, "::/EFI/BOOT/BOOTX64.EFI"},
	} {
		if err := (host.Cmd{Argv: argv}).Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// gptDisk puts the ESP into a partition.
func gptDisk(path, esp string) error {
	const start = 2048
	_ = os.Remove(path)
	d, err := diskfs.Create(path, espSize+(2<<20), diskfs.SectorSize512)
	if err != nil {
		return err
	}
	defer d.Close()
	table := &gpt.Table{
		LogicalSectorSize: 512, PhysicalSectorSize: 512, ProtectiveMBR: true, GUID: "5F2C0C2E-6F0E-4B0A-9F7A-0D6F1C2B3A4D",
		Partitions: []*gpt.Partition{{Index: 1, Start: start, End: start + espSize/512 - 1, Type: gpt.EFISystemPartition, Name: "esp", GUID: "0B5E6F3C-3F0A-4D7B-8B0E-7A1C2D3E4F50"}},
	}
	if err := d.Partition(table); err != nil {
		return err
	}
	data, err := os.Open(esp)
	if err != nil {
		return err
	}
	defer data.Close()
	_, err = d.WritePartitionContents(1, data)
	return err
}

// bootISO is an ISO whose El Torito entry is the ESP.
func bootISO(path, esp string) error {
	_ = os.Remove(path)
	d, err := diskfs.Create(path, espSize+(4<<20), diskfs.SectorSize(2048))
	if err != nil {
		return err
	}
	defer d.Close()
	d.LogicalBlocksize = 2048
	fs, err := d.CreateFilesystem(disk.FilesystemSpec{Partition: 0, FSType: filesystem.TypeISO9660, VolumeLabel: "APPLIANCE"})
	if err != nil {
		return err
	}
	data, err := os.ReadFile(esp)
	if err != nil {
		return err
	}
	file, err := fs.OpenFile("/EFI.IMG", os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if _, err := bytes.NewReader(data).WriteTo(file); err != nil {
		return err
	}
	iso, ok := fs.(*iso9660.FileSystem)
	if !ok {
		return errors.New("not an ISO 9660 file system")
	}
	return iso.Finalize(iso9660.FinalizeOptions{
		VolumeIdentifier: "APPLIANCE",
		ElTorito: &iso9660.ElTorito{
			BootCatalog: "/BOOT.CAT",
			Entries:     []*iso9660.ElToritoEntry{{Platform: iso9660.EFI, Emulation: iso9660.NoEmulation, BootFile: "/EFI.IMG"}},
		},
	})
}
