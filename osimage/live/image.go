package live

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	diskfs "github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/google/uuid"

	"hvinstall/host"
)

// Parts are the files that a live image is made of.
type Parts struct {
	Kernel string // vmlinuz
	Initrd string // made by hvinstall initrd --live
	Loader string // systemd-bootx64.efi
	Image  string // the squashfs
	Sum    string // its sha256, in hex
	// Files are put on the data partition beside the image: name there → file
	// here.
	Files map[string]string
	// Append is added to the kernel's command line.
	Append string
	// Epoch is the time that the files carry, in seconds.
	Epoch int64
	// Spare is how many bytes of the data partition stay free.
	Spare int64
}

const (
	mib       = 1 << 20
	sector    = 512
	espSize   = 128 * mib
	dataLabel = "HVINSTALL"
	// FAT32 begins at 65525 clusters; below, firmware may disagree with
	// mkfs.vfat on what it is.
	dataCluster, dataSmallest = 4096, 288 * mib
)

// Programs are what writing an image needs.
func Programs() []string { return []string{"mkfs.vfat", "mmd", "mcopy"} }

// Write writes a live image, a GPT with an ESP and a data partition, to the
// file at path. The same parts give the same bytes.
func Write(ctx context.Context, path string, p Parts) error {
	if missing := host.Missing(Programs()...); len(missing) > 0 {
		return fmt.Errorf("missing: %s; run: apt-get install dosfstools mtools", strings.Join(missing, " "))
	}
	work, err := os.MkdirTemp(filepath.Dir(path), ".live-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	// What identifies the medium follows from what is on it: two sticks of one
	// version are the same, those of two versions are not mixed up.
	serial := p.Serial()
	esp, data := filepath.Join(work, "esp"), filepath.Join(work, "data")
	if err := p.writeESP(ctx, work, esp, serial); err != nil {
		return fmt.Errorf("the ESP: %w", err)
	}
	dataSize, err := p.writeData(ctx, work, data, serial)
	if err != nil {
		return fmt.Errorf("the data partition: %w", err)
	}
	whole := filepath.Join(work, "image")
	if err := assemble(whole, esp, data, dataSize, p.derive); err != nil {
		return err
	}
	return os.Rename(whole, path)
}

// Serial is the VFAT serial of the data partition, by which the live system
// finds its medium.
func (p Parts) Serial() string {
	h := sha256.Sum256([]byte("hvinstall live " + p.Sum))
	s := strings.ToUpper(hex.EncodeToString(h[:4]))
	return s[:4] + "-" + s[4:]
}

func (p Parts) derive(name string) string {
	return strings.ToUpper(uuid.NewSHA1(uuid.Nil, []byte("hvinstall live "+p.Sum+" "+name)).String())
}

func (p Parts) writeESP(ctx context.Context, work, file, serial string) error {
	append := strings.TrimSpace("hvinstall.live=" + serial + " console=ttyS0,115200 console=tty0 " + p.Append)
	texts := map[string]string{
		"loader.conf": "timeout 5\nconsole-mode keep\n",
		"live.conf":   entry("hvinstall: live system", "1", "quiet "+append),
		"debug.conf":  entry("hvinstall: live system, with every message", "2", append+" rd.hvinstall.debug rd.hvinstall.shell"),
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	// The serial differs from the data partition's: the medium is known by that.
	f := fat{file: file, label: "HVLIVE", serial: flip(serial), size: espSize, cluster: 1024, epoch: p.Epoch}
	if err := f.make(ctx); err != nil {
		return err
	}
	return f.fill(ctx, []string{"EFI", "EFI/BOOT", "loader", "loader/entries", "hvinstall"}, [][2]string{
		{p.Loader, "EFI/BOOT/BOOTX64.EFI"},
		{filepath.Join(work, "loader.conf"), "loader/loader.conf"},
		{filepath.Join(work, "live.conf"), "loader/entries/live.conf"},
		{filepath.Join(work, "debug.conf"), "loader/entries/live-debug.conf"},
		{p.Kernel, "hvinstall/linux"},
		{p.Initrd, "hvinstall/initrd"},
	})
}

func entry(title, order, options string) string {
	return fmt.Sprintf("title    %s\nsort-key %s\nlinux    /hvinstall/linux\ninitrd   /hvinstall/initrd\noptions  %s\n", title, order, options)
}

func flip(serial string) string { return serial[5:] + "-" + serial[:4] }

func (p Parts) writeData(ctx context.Context, work, file, serial string) (int64, error) {
	sum := filepath.Join(work, "sum")
	if err := os.WriteFile(sum, []byte(p.Sum+"  root.squashfs\n"), 0o600); err != nil {
		return 0, err
	}
	files := [][2]string{{p.Image, "hvinstall/root.squashfs"}, {sum, "hvinstall/root.squashfs.sha256"}}
	for _, name := range sortedKeys(p.Files) {
		files = append(files, [2]string{p.Files[name], name})
	}
	var size int64
	for _, f := range files {
		info, err := os.Stat(f[0])
		if err != nil {
			return 0, err
		}
		size += (info.Size() + dataCluster - 1) / dataCluster * dataCluster
	}
	// The two FATs take four bytes for each cluster.
	size += size/dataCluster*8 + mib + p.Spare
	size = (max(size, dataSmallest) + mib - 1) / mib * mib
	f := fat{file: file, label: dataLabel, serial: serial, size: size, cluster: dataCluster, epoch: p.Epoch}
	if err := f.make(ctx); err != nil {
		return 0, err
	}
	return size, f.fill(ctx, []string{"hvinstall"}, files)
}

// assemble writes the table and copies the partitions behind it.
func assemble(path, esp, data string, dataSize int64, derive func(string) string) error {
	total := int64(mib) + espSize + dataSize + mib
	d, err := diskfs.Create(path, total, diskfs.SectorSize512)
	if err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	defer d.Close()
	if err := partition(d, dataSize, derive); err != nil {
		return fmt.Errorf("writing the partition table: %w", err)
	}
	out, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := copyAt(out, mib, esp); err != nil {
		return err
	}
	if err := copyAt(out, mib+espSize, data); err != nil {
		return err
	}
	return out.Close()
}

func partition(d *disk.Disk, dataSize int64, derive func(string) string) error {
	start := func(offset int64) uint64 { return uint64(offset / sector) }
	return d.Partition(&gpt.Table{
		LogicalSectorSize: sector, PhysicalSectorSize: sector, ProtectiveMBR: true, GUID: derive("disk"),
		Partitions: []*gpt.Partition{
			{Index: 1, Start: start(mib), End: start(mib+espSize) - 1, Type: gpt.EFISystemPartition, Name: "hvinstall-live-ESP", GUID: derive("esp")},
			{Index: 2, Start: start(mib + espSize), End: start(mib+espSize+dataSize) - 1, Type: gpt.MicrosoftBasicData, Name: "hvinstall-live-data", GUID: derive("data")},
		},
	})
}

// copyAt copies a file to an offset of another and leaves zeros out, so that
// the image stays sparse.
func copyAt(out *os.File, offset int64, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	buffer := make([]byte, 64<<10)
	zero := make([]byte, len(buffer))
	for {
		n, err := io.ReadFull(in, buffer)
		if n > 0 && string(buffer[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(buffer[:n], offset); err != nil {
				return err
			}
		}
		offset += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
