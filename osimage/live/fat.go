package live

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"hvinstall/host"
)

// fat is a FAT32 in a file, made by the reference programs: go-diskfs' own is
// not clean by fsck.vfat.
type fat struct {
	file, label, serial string
	size                int64
	cluster             int64
	epoch               int64
}

// env makes mtools and mkfs.vfat write the same bytes each time.
func (f fat) env() []string {
	return []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(f.epoch, 10), "TZ=UTC", "MTOOLS_SKIP_CHECK=1"}
}

func (f fat) make(ctx context.Context) error {
	file, err := os.Create(f.file)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(f.size); err != nil {
		return err
	}
	err = host.Cmd{
		Argv: []string{"mkfs.vfat", "-F", "32", "-s", strconv.FormatInt(f.cluster/sector, 10), "-S", strconv.Itoa(sector),
			"-n", f.label, "--invariant", f.file},
		Env: f.env(),
	}.Run(ctx)
	if err != nil {
		return err
	}
	return f.writeSerial(file)
}

// writeSerial writes the volume's serial into the boot sector and its copy.
// mkfs.vfat has an option for it, which --invariant overrides; without that,
// the label's entry carries the time of day.
func (f fat) writeSerial(file *os.File) error {
	n, err := strconv.ParseUint(strings.ReplaceAll(f.serial, "-", ""), 16, 32)
	if err != nil {
		return fmt.Errorf("serial %q: %w", f.serial, err)
	}
	// BS_VolID of FAT32, and BPB_BkBootSec as mkfs.vfat sets it.
	const serialOffset, copySector = 67, 6
	for _, offset := range []int64{serialOffset, copySector*sector + serialOffset} {
		if _, err := file.WriteAt(binary.LittleEndian.AppendUint32(nil, uint32(n)), offset); err != nil {
			return err
		}
	}
	return nil
}

// fill makes folders and copies files, each {from, to}.
func (f fat) fill(ctx context.Context, folders []string, files [][2]string) error {
	if len(folders) > 0 {
		argv := []string{"mmd", "-i", f.file}
		for _, d := range folders {
			argv = append(argv, "::/"+d)
		}
		if err := (host.Cmd{Argv: argv, Env: f.env()}).Run(ctx); err != nil {
			return err
		}
	}
	for _, c := range files {
		if err := (host.Cmd{Argv: []string{"mcopy", "-o", "-i", f.file, c[0], "::/" + c[1]}, Env: f.env()}).Run(ctx); err != nil {
			return fmt.Errorf("copying %s: %w", c[0], err)
		}
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
