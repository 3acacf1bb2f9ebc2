package disk

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// udev reads udev's database about a device: the properties that its rules
// found as root and that everyone may read.
func (m *machine) udev(dev string) map[string]string {
	properties := map[string]string{}
	if dev == "" {
		return properties
	}
	for line := range strings.SplitSeq(m.text("/run/udev/data/b"+dev), "\n") {
		if rest, found := strings.CutPrefix(line, "E:"); found {
			if key, value, found := strings.Cut(rest, "="); found {
				properties[key] = value
			}
		}
	}
	return properties
}

// udevText undoes the \x20 escapes of udev's *_ENC properties.
func udevText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return printable(b.String())
}

// readAliases groups the links of /dev/disk/by-id by the device that they
// point at.
func (m *machine) readAliases() {
	m.aliases = map[string][]string{}
	folder := strings.TrimSuffix(ByIDFolder, "/")
	names, err := m.list(folder)
	if err != nil {
		m.cannotSee("by-id names: %s: %s; is udev running?", folder, why(err))
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, "lvm-pv-uuid-") {
			continue // names what is on the disk, and is gone with it
		}
		target, err := os.Readlink(m.path(folder + "/" + name))
		if err != nil {
			m.cannotSee("by-id name %s: %s", name, why(err))
			continue
		}
		device := filepath.Base(target)
		m.aliases[device] = append(m.aliases[device], name)
	}
	for _, aliases := range m.aliases {
		slices.Sort(aliases)
	}
}

// udevPartition gives a partition's type and GUID the form that the table's own
// readers give them: udev writes 0x5, and for an MBR deadbeef-01 as GUID.
func (b *block) udevPartition() (kind, guid string) {
	kind, guid = strings.ToLower(b.udev["ID_PART_ENTRY_TYPE"]), strings.ToLower(b.udev["ID_PART_ENTRY_UUID"])
	if digit, found := strings.CutPrefix(kind, "0x"); found {
		if len(digit) == 1 {
			kind = "0x0" + digit
		}
		guid = ""
	}
	return kind, guid
}

// udevSignature is what udev saw of a device's content, for those who may not
// read it.
func (b *block) udevSignature() []Signature {
	var found []Signature
	u := b.udev
	kind := u["ID_PART_TABLE_TYPE"]
	if b.disk != b.name { // a partition's record repeats its disk's
		kind = ""
	}
	switch kind {
	case "":
	case "dos":
		found = append(found, Signature{Type: "mbr", UUID: u["ID_PART_TABLE_UUID"]})
	default:
		found = append(found, Signature{Type: kind, UUID: strings.ToLower(u["ID_PART_TABLE_UUID"])})
	}
	known := ""
	kind = u["ID_FS_TYPE"]
	switch kind {
	case "":
		return found
	case "crypto_LUKS":
		known = "luks" + u["ID_FS_VERSION"]
	case "linux_raid_member":
		known = "md"
	case "LVM2_member":
		known = "lvm2"
	case "zfs_member":
		known = "zfs"
	case "BitLocker":
		known = "bitlocker"
	default:
		known = printable(kind)
	}
	return append(found, Signature{Type: known, UUID: udevText(u["ID_FS_UUID_ENC"]), Label: udevText(u["ID_FS_LABEL_ENC"])})
}
