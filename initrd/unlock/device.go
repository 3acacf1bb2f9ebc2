package unlock

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"hvinstall/crypt"

	"golang.org/x/sys/unix"
)

// device is a block device and what its first sectors say that it holds.
type device struct {
	name   string // the kernel's: sda1
	kind   content
	uuid   string // of LUKS, lower case; of VFAT as 8B34-7D3C
	disk   identity
	cipher string // of LUKS, as aes-xts-plain64; empty: the header is not whole
}

type content string

const (
	other content = "other"
	luks  content = "luks"
	vfat  content = "vfat"
)

// String is the device for people: sda1 (usb-Generic_Flash_Disk_AA11).
func (d device) String() string { return d.name + " (" + d.disk.byID() + ")" }

func (d device) path() string { return "/dev/" + d.name }

// identify reads a device. Devices that the init or the kernel made themselves
// (mappings, loops, RAM disks) are none of its business.
func identify(name string) (device, bool) {
	for _, prefix := range []string{"dm-", "loop", "ram", "zram", "fd", "md", "nbd"} {
		if strings.HasPrefix(name, prefix) {
			return device{}, false
		}
	}
	d := device{name: name, kind: other, disk: readIdentity("/sys/class/block", name)}
	// O_NONBLOCK: an empty optical drive is opened, and read in vain, at once.
	file, err := os.OpenFile(d.path(), os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return device{}, false
	}
	defer file.Close()
	head := make([]byte, 4096)
	if _, err := io.ReadFull(file, head); err != nil {
		return device{}, false
	}
	d.kind, d.uuid = identifyContent(head)
	if d.kind != vfat {
		// A LUKS volume whose first header is gone is opened by its second.
		if header, err := crypt.ParseHeader(file); err == nil {
			d.kind, d.uuid, d.cipher = luks, strings.ToLower(header.UUID), header.Cipher
		}
	}
	return d, true
}

// identifyContent knows LUKS and VFAT by a device's first 512 bytes or more.
func identifyContent(head []byte) (content, string) {
	if uuid, ok := luksUUID(head); ok {
		return luks, uuid
	}
	if serial, ok := vfatSerial(head); ok {
		return vfat, serial
	}
	return other, ""
}

// luksUUID reads the header's UUID, which both versions have at byte 168, see
// "LUKS2 On-Disk Format Specification", 2.1, and LUKS1's.
func luksUUID(head []byte) (string, bool) {
	if len(head) < 208 || !bytes.HasPrefix(head, []byte("LUKS\xba\xbe")) {
		return "", false
	}
	if v := binary.BigEndian.Uint16(head[6:]); v != 1 && v != 2 {
		return "", false
	}
	uuid, _, _ := bytes.Cut(head[168:208], []byte{0})
	return strings.ToLower(string(uuid)), len(uuid) > 0
}

// vfatSerial reads a FAT boot sector's volume serial, see Microsoft's FAT
// specification: BS_VolID at byte 67 of FAT32, 39 of FAT12 and FAT16, valid
// where the byte two before it (BS_BootSig) is 0x28 or 0x29.
func vfatSerial(head []byte) (string, bool) {
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xaa {
		return "", false
	}
	sector := binary.LittleEndian.Uint16(head[11:])
	if sector < 512 || sector > 4096 || sector&(sector-1) != 0 || head[13] == 0 || head[16] == 0 {
		return "", false
	}
	at := 39
	if binary.LittleEndian.Uint16(head[22:]) == 0 { // BPB_FATSz16: zero on FAT32 alone
		at = 67
	}
	if sig := head[at-1]; sig != 0x28 && sig != 0x29 {
		return "", false
	}
	serial := binary.LittleEndian.Uint32(head[at:])
	return fmt.Sprintf("%04X-%04X", serial>>16, serial&0xffff), true
}
