package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/siderolabs/go-blockdevice/v2/blkid"
	"golang.org/x/sys/unix"
)

// readContents reads what is on each disk, side by side. A disk that does not
// answer in time is left behind, its content unread: a failing one can block a
// read for minutes.
func (m *machine) readContents(ctx context.Context, patience time.Duration, disks []Disk) {
	var wg sync.WaitGroup
	for i := range disks {
		wg.Go(func() {
			d := disks[i] // a copy: a reader left behind must not write into it later
			d.Partitions = slices.Clone(d.Partitions)
			result := make(chan Disk, 1)
			go func() {
				m.readContent(&d)
				result <- d
			}()
			timer := time.NewTimer(patience)
			defer timer.Stop()
			select {
			case disks[i] = <-result:
			case <-ctx.Done():
			case <-timer.C:
				m.unreadDisk(&disks[i], fmt.Errorf("no answer in %s", patience))
			}
		})
	}
	wg.Wait()
}

// unreadDisk takes udev's word for what could not be read, and marks that
// there may be more.
func (m *machine) unreadDisk(d *Disk, err error) {
	if len(d.Signatures) == 0 {
		d.Signatures = m.blocks[d.Name].udevSignature()
	}
	d.Signatures = append(d.Signatures, Signature{Type: Unread})
	for i := range d.Partitions {
		if b := m.blocks[d.Partitions[i].Name]; b != nil {
			d.Partitions[i].Signatures = b.udevSignature()
		}
	}
	m.cannotSee("what is on %s: %s%s", d.Called(), why(err), deniedHint(err, os.Geteuid()))
}

// open opens a device for reading and nothing else. O_NONBLOCK: a drive
// without a medium must not make us wait.
func (m *machine) open(name string) (*os.File, error) {
	file, err := os.OpenFile(m.path("/dev/"+name), os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := m.isDevice(file, name); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// isDevice refuses a file that is not the device that sysfs calls by this
// name. In a captured tree an image stands for it.
func (m *machine) isDevice(file *os.File, name string) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return err
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
	switch {
	case stat.Mode&unix.S_IFMT == unix.S_IFREG && m.root != "/":
	case stat.Mode&unix.S_IFMT != unix.S_IFBLK:
		return errors.New("it is not a block device")
	case dev != m.blocks[name].dev:
		return fmt.Errorf("it is device %s, not %s", dev, m.blocks[name].dev)
	}
	return nil
}

// readContent reads a disk's tables, signatures and partitions.
func (m *machine) readContent(d *Disk) {
	file, err := m.open(d.Name)
	if err != nil {
		m.unreadDisk(d, err)
		return
	}
	defer file.Close()
	m.contentOf(d, file)
}

func (m *machine) contentOf(d *Disk, file *os.File) {
	c := newContent(file, 0, d.Size, d.LogicalSector)
	found := contentSignatures(c)
	for _, t := range readTables(c, found) {
		d.Signatures = append(d.Signatures, t.signature)
		d.Partitions = mergePartitions(d.Partitions, t.partitions)
		if t.signature.Type == "gpt" && t.signature.UUID != "" {
			d.Begun, d.BegunBy = foundBegun(c, d.LogicalSector, t.signature.UUID)
			d.Erasing = foundErasing(c, d.LogicalSector, t.signature.UUID)
		}
	}
	d.Signatures = append(d.Signatures, found...)
	if c.err != nil {
		m.unreadDisk(d, c.err)
		return
	}
	if len(d.Signatures) == 0 && len(d.Partitions) == 0 {
		d.Signatures = m.nothingKnown(file, c)
	}
	for i := range d.Partitions {
		m.readPartition(d, &d.Partitions[i], file)
	}
}

// nothingKnown decides between blank and unknown. Blank takes two hands: both
// ends are zero, and a second library of readers knows nothing either.
func (m *machine) nothingKnown(file *os.File, c *content) []Signature {
	if c.base == 0 {
		if kind, err := secondOpinion(file); err == nil && kind != "" {
			return []Signature{{Type: kind}}
		}
	}
	if !c.blank() {
		return []Signature{{Type: UnknownData}}
	}
	return nil
}

// secondOpinion asks go-blockdevice. It is not the first hand because it stops
// at the first format found, and knows neither btrfs, NTFS nor md.
func secondOpinion(file *os.File) (kind string, err error) {
	// It parses what any disk may hold; a panic there is no reason to fail.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading signatures: %v", r)
		}
	}()
	info, err := blkid.Probe(file, blkid.WithSkipLocking(true))
	if err != nil || info == nil {
		return "", err
	}
	return info.Name, nil
}

// readPartition reads one partition through its own device where the kernel
// has one: the disk's page cache and the partition's are not the same, and the
// disk's can be older than what was written through the partition.
func (m *machine) readPartition(d *Disk, p *Partition, disk *os.File) {
	if isExtended(p.Type) {
		return // holds a chain of tables, which are read already
	}
	file, base := disk, p.Start
	if p.Name != "" {
		if own, err := m.open(p.Name); err == nil {
			defer own.Close()
			file, base = own, 0
		} else if m.root == "/" {
			p.Signatures = append(m.blocks[p.Name].udevSignature(), Signature{Type: Unread})
			m.cannotSee("what is on partition %d of %s: %s%s", p.Number, d.Called(), why(err), deniedHint(err, os.Geteuid()))
			return
		}
	}
	if base == p.Start && (p.Start > d.Size || p.Size > d.Size-p.Start) {
		return
	}
	c := newContent(file, base, p.Size, d.LogicalSector)
	p.Signatures = contentSignatures(c)
	switch {
	case c.err != nil:
		p.Signatures = append(p.Signatures, Signature{Type: Unread})
		m.cannotSee("what is on partition %d of %s: %s%s", p.Number, d.Called(), why(c.err), deniedHint(c.err, os.Geteuid()))
	case len(p.Signatures) == 0:
		p.Signatures = m.nothingKnown(file, c)
	}
}

func isExtended(kind string) bool { return kind == "0x05" || kind == "0x0f" || kind == "0x85" }

// mergePartitions joins what the kernel knows of the partitions with what the
// table says: the kernel's names, the table's types and GUIDs. Those that only
// one of them knows are kept.
func mergePartitions(kernel, table []Partition) []Partition {
	merged := slices.Clone(kernel)
	for _, t := range table {
		i := slices.IndexFunc(merged, func(k Partition) bool { return k.Number == t.Number && k.Start == t.Start })
		if i < 0 {
			merged = append(merged, t)
			continue
		}
		merged[i].Type, merged[i].GUID, merged[i].Label = t.Type, t.GUID, t.Label
		if !isExtended(t.Type) { // the kernel shows the first sectors of an extended one only
			merged[i].Size = max(merged[i].Size, t.Size)
		}
	}
	slices.SortStableFunc(merged, func(a, b Partition) int { return a.Number - b.Number })
	return merged
}
