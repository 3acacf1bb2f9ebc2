package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// block is a block device or partition as sysfs and udev describe it.
type block struct {
	name   string
	folder string // /sys/block/sda or /sys/block/sda/sda1
	dev    string // major:minor
	size   uint64 // bytes
	disk   string // the whole disk's name; its own for a disk
	udev   map[string]string
	slaves []string // kernel names of what it stands on
	holder []string // kernel names of what stands on it
	dmName string
}

// readBlocks reads every block device and partition.
func (m *machine) readBlocks(names []string) {
	m.blocks, m.byDev = map[string]*block{}, map[string]string{}
	add := func(name, folder, disk string) {
		b := &block{name: name, folder: folder, disk: disk, dev: m.text(folder + "/dev"), dmName: m.text(folder + "/dm/name")}
		b.size = m.number(folder+"/size") * 512 // always in these units, see Documentation/block/stat
		b.slaves, _ = m.list(folder + "/slaves")
		b.holder, _ = m.list(folder + "/holders")
		b.udev = m.udev(b.dev)
		m.blocks[name] = b
		if b.dev != "" {
			m.byDev[b.dev] = name
		}
	}
	for _, name := range names {
		folder := "/sys/block/" + name
		add(name, folder, name)
		entries, _ := m.list(folder)
		for _, entry := range entries {
			if strings.HasPrefix(entry, name) && m.text(folder+"/"+entry+"/partition") != "" {
				add(entry, folder+"/"+entry, name)
			}
		}
	}
}

func (m *machine) number(p string) uint64 {
	n, _ := strconv.ParseUint(m.text(p), 10, 54)
	return n
}

// sysfsDisk describes a disk from sysfs and udev's database, which need no
// root.
func (m *machine) sysfsDisk(name string) Disk {
	b := m.blocks[name]
	queue := b.folder + "/queue/"
	d := Disk{
		Name: name, ByID: m.aliases[name], Size: b.size,
		LogicalSector:  uint32(m.number(queue + "logical_block_size")),
		PhysicalSector: uint32(m.number(queue + "physical_block_size")),
		Rotational:     m.text(queue+"rotational") == "1",
		Removable:      m.text(b.folder+"/removable") == "1",
		ReadOnly:       m.text(b.folder+"/ro") == "1",
		Discard:        m.number(queue+"discard_max_bytes") > 0,
		Transport:      m.transport(b),
	}
	if d.LogicalSector == 0 {
		d.LogicalSector = 512
	}
	d.PhysicalSector = max(d.PhysicalSector, d.LogicalSector)
	m.identify(b, &d)
	d.Unit = m.unit(b)
	for _, p := range m.partitionsOf(name) {
		part := m.blocks[p]
		kind, guid := part.udevPartition()
		d.Partitions = append(d.Partitions, Partition{
			Name: p, Number: int(m.number(part.folder + "/partition")),
			Start: m.number(part.folder+"/start") * 512, Size: part.size,
			Type: kind, GUID: guid, Label: udevText(part.udev["ID_PART_ENTRY_NAME"]),
		})
	}
	return d
}

// partitionsOf names the partitions that the kernel knows, in the table's
// order.
func (m *machine) partitionsOf(disk string) []string {
	var names []string
	for name, b := range m.blocks {
		if b.disk == disk && name != disk {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, compareNames)
	return names
}

// identify fills in model, vendor, serial and WWN: udev's database first,
// which has them in full, else sysfs.
func (m *machine) identify(b *block, d *Disk) {
	device := b.folder + "/device/"
	first := func(values ...string) string {
		for _, v := range values {
			if v = printable(v); v != "" {
				return v
			}
		}
		return ""
	}
	u := b.udev
	d.Model = first(udevText(u["ID_MODEL_ENC"]), u["ID_MODEL"], m.text(device+"model"), m.text(device+"name"))
	d.Vendor = first(udevText(u["ID_VENDOR_ENC"]), u["ID_VENDOR"], m.text(device+"vendor"))
	if d.Vendor == "ATA" || strings.HasPrefix(d.Vendor, "0x") {
		d.Vendor = "" // the kernel's word for "behind libata"; virtio's is a PCI number
	}
	// A SCSI disk's ID_SERIAL_SHORT is its WWN; the number on its label is the
	// unit serial.
	d.Serial = first(u["ID_SCSI_SERIAL"], u["ID_SERIAL_SHORT"], m.text(device+"serial"), m.text(b.folder+"/serial"), vpdSerial(m.text(device+"vpd_pg80")))
	if d.Serial == "" && d.Transport == "virtio" {
		d.Serial = first(u["ID_SERIAL"])
	}
	d.WWN = first(u["ID_WWN_WITH_EXTENSION"], u["ID_WWN"], m.text(b.folder+"/wwid"), m.text(device+"wwid"))
	if strings.HasPrefix(d.WWN, "t10.") { // made of model and serial: no name of its own
		d.WWN = ""
	}
}

// unit tells the namespaces of one NVMe drive apart, and the LUNs of one array.
// The first has none, and what has always been known by model and serial stays so.
func (m *machine) unit(b *block) string {
	if strings.HasPrefix(b.name, "nvme") {
		if id := m.number(b.folder + "/nsid"); id > 1 {
			return fmt.Sprintf("ns%d", id)
		}
		return ""
	}
	link, err := os.Readlink(m.path(b.folder + "/device")) // …/0:0:1:2 is host:channel:target:lun
	if err != nil || strings.Contains(link, "usb") {
		return ""
	}
	parts := strings.Split(filepath.Base(link), ":")
	if len(parts) != 4 || parts[3] == "0" || m.transport(b) == "usb" {
		return "" // a USB enclosure's are told apart by their names
	}
	return "lun" + parts[3]
}

// vpdSerial is the unit serial number of SCSI's vital product data page 80:
// four bytes of header, then text.
func vpdSerial(page string) string {
	if len(page) <= 4 {
		return ""
	}
	return page[4:]
}

// transport tells how the disk is attached from its place in the device tree.
func (m *machine) transport(b *block) string {
	link, err := os.Readlink(m.path(b.folder))
	if err != nil {
		link = b.folder
	}
	vendor := m.text(b.folder + "/device/vendor")
	path := "/" + filepath.ToSlash(link) + "/"
	switch {
	case strings.HasPrefix(b.name, "nvme"):
		return "nvme"
	case strings.HasPrefix(b.name, "mmcblk"):
		return "mmc"
	case strings.Contains(path, "/usb"):
		return "usb"
	case strings.Contains(path, "/virtio"):
		return "virtio"
	case strings.Contains(path, "/ata"), vendor == "ATA", b.udev["ID_BUS"] == "ata":
		return "sata"
	case strings.Contains(path, "/end_device-"):
		return "sas"
	}
	return ""
}
