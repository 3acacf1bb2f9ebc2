package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
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
	if p.Size >= 4<<30 {
		// Clusters of 32 KiB: the tables of a large stick shrink to an eighth,
		// and FAT32 still has the 65,525 clusters that it needs.
		argv = append(argv, "-s", "64")
	}
	err = host.Cmd{Argv: append(argv, p.Device()), Log: log}.Run(ctx)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(p.Device(), os.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer file.Close()
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
