package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"hvinstall/host"

	"golang.org/x/sys/unix"
)

// Offsets in a FAT32 boot sector, see Microsoft's FAT specification, 3.3.
const (
	fatBackupAt = 50 // sector of the second boot sector, two bytes
	fatSerialAt = 67 // volume serial, four bytes
)

// parseSerial reads a volume serial as people write it: 8B34-7D3C.
func parseSerial(s string) (uint32, error) {
	n, err := strconv.ParseUint(strings.ReplaceAll(s, "-", ""), 16, 32)
	if err != nil || len(s) != 9 || s[4] != '-' {
		return 0, fmt.Errorf("%q is not a VFAT volume serial, which looks like 8B34-7D3C", s)
	}
	return uint32(n), nil
}

// readSerial is the serial of the VFAT on a device, or "" where there is none.
func readSerial(device io.ReaderAt) (string, error) {
	boot := make([]byte, 512)
	if _, err := device.ReadAt(boot, 0); err != nil {
		return "", err
	}
	if boot[510] != 0x55 || boot[511] != 0xaa || string(boot[82:87]) != "FAT32" {
		return "", nil
	}
	return serialText(boot[fatSerialAt:]), nil
}

// makeVFAT formats the partition. The serial of the plan is written last, so
// that it means a whole file system: mkfs writes the boot sector before the
// tables, and a kill between the two would leave a file system that looks
// whole and is not.
func (p PartitionPlan) makeVFAT(ctx context.Context, log func(string, ...any)) error {
	serial, err := parseSerial(p.FSUUID)
	if err != nil {
		return err
	}
	argv := []string{"mkfs.vfat", "-F", "32", "-n", p.FSLabel, "-i", fmt.Sprintf("%08X", ^serial)}
	cluster := uint64(4 << 10)
	if p.Size >= 4<<30 {
		// The tables of a large stick shrink to an eighth, and FAT32 still has
		// the 65,525 clusters that it needs.
		cluster = 32 << 10
		argv = append(argv, "-s", "64")
	}
	cached, err := p.cache(2*4*p.Size/cluster + 1<<20)
	if err != nil {
		return err
	}
	err = host.Cmd{Argv: append(argv, p.Device()), Log: log}.Run(ctx)
	if err := errors.Join(err, cached.Close()); err != nil {
		return err
	}
	file, err := os.OpenFile(p.Device(), os.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(writeSerial(file, serial), file.Close())
}

// cache has the kernel read the partition's first bytes in one go, and keep
// them until the file is closed. mkfs.vfat writes its tables by sectors of 512
// bytes, and for each page of them the kernel would read the old content from
// the stick first: 512 waits for a stick of 8 GB.
func (p PartitionPlan) cache(bytes uint64) (*os.File, error) {
	file, err := os.Open(p.Device())
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, io.NewSectionReader(file, 0, int64(min(bytes, p.Size)))); err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", p.Device(), err), file.Close())
	}
	return file, nil
}

// byUUID is where udev shows the VFAT by its serial.
func (p PartitionPlan) byUUID() string { return "/dev/disk/by-uuid/" + p.FSUUID }

// isNamed reports whether udev shows the partition by the VFAT's serial.
func (p PartitionPlan) isNamed() bool {
	linked, err := kernelName(p.byUUID())
	if err != nil {
		return false
	}
	name, err := kernelName(p.Device())
	return err == nil && linked == name
}

// name makes udev show the partition by the VFAT's serial, and waits for it.
func (p PartitionPlan) name(ctx context.Context) error {
	if err := announce(p.Device()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, linkTimeout, fmt.Errorf(
		"udev did not show the VFAT %s within %v; see whether systemd-udevd runs", p.FSUUID, linkTimeout))
	defer cancel()
	return host.WaitInFolder(ctx, filepath.Dir(p.byUUID()), p.isNamed)
}

// writeSerial replaces the volume serial in both boot sectors, the one that
// counts last.
func writeSerial(file *os.File, serial uint32) error {
	boot := make([]byte, 512)
	if _, err := file.ReadAt(boot, 0); err != nil {
		return fmt.Errorf("reading the new boot sector: %w", err)
	}
	sector := int64(binary.LittleEndian.Uint16(boot[11:]))
	backup := int64(binary.LittleEndian.Uint16(boot[fatBackupAt:])) * sector
	text := binary.LittleEndian.AppendUint32(nil, serial)
	for _, at := range []int64{backup, 0} {
		if _, err := file.WriteAt(text, at+fatSerialAt); err != nil {
			return fmt.Errorf("writing the volume serial: %w", err)
		}
		if err := file.Sync(); err != nil {
			return fmt.Errorf("writing the volume serial: %w", err)
		}
	}
	return nil
}

// announce makes udev look at a device once more. By itself it may not: what is
// written while it is still at work on the device's last event goes unseen, and
// the device keeps the name that it had before.
func announce(device string) error {
	name, err := kernelName(device)
	if err != nil {
		return err
	}
	err = os.WriteFile("/sys/class/block/"+name+"/uevent", []byte("change"), 0)
	if err != nil {
		return fmt.Errorf("telling udev of %s: %w", device, err)
	}
	return nil
}

// foundVFAT is the serial of the VFAT on the partition: "" where there is
// none, or the partition is not there yet.
func (p PartitionPlan) foundVFAT() (string, error) {
	file, err := os.Open(p.Device())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	return readSerial(file)
}
