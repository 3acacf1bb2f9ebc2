package disk

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var updateImages = flag.Bool("update-images", false, "make the images of testdata/signatures anew with the real tools")

// sparseDevice is a device of which only the pages that are not zero are kept.
type sparseDevice struct {
	Size  uint64
	Pages map[uint64][]byte // by offset, 4 KiB each
}

const page = 4096

func (s *sparseDevice) ReadAt(p []byte, off int64) (int, error) {
	if uint64(off) >= s.Size {
		return 0, io.EOF
	}
	n := min(uint64(len(p)), s.Size-uint64(off))
	clear(p)
	for at := uint64(off) &^ (page - 1); at < uint64(off)+n; at += page {
		data, ok := s.Pages[at]
		if !ok {
			continue
		}
		if at < uint64(off) {
			copy(p[:n], data[uint64(off)-at:])
		} else {
			copy(p[at-uint64(off):n], data)
		}
	}
	if n < uint64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// readSparse reads a file, keeping at most the pages that could matter: a file
// system of a test has few others.
func readSparse(path string) (*sparseDevice, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	s := &sparseDevice{Size: uint64(info.Size()), Pages: map[uint64][]byte{}}
	magic := make([]byte, 0x4004)
	if _, err := file.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	luks := string(magic[:4]) == "LUKS" || string(magic[0x4000:]) == "SKUL"
	buf := make([]byte, 1<<20)
	for at := uint64(0); at < s.Size; {
		n, err := file.ReadAt(buf, int64(at))
		if n == 0 && err != nil {
			break
		}
		for i := 0; i < n; i += page {
			// LUKS fills the room of its keyslots with random bytes.
			off := at + uint64(i)
			near := off < 64<<10 || !luks && (off < 8<<20 || off >= 32<<20 && off < 56<<20 || s.Size-off <= 1<<20 || off>>16 == 1024)
			if p := buf[i:min(i+page, n)]; near && !allZero(p) {
				s.Pages[at+uint64(i)] = bytes.Clone(p)
			}
		}
		at += uint64(n)
	}
	return s, nil
}

func loadImage(t testing.TB, name string) *sparseDevice {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "signatures", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var s sparseDevice
	if err := gob.NewDecoder(unzip).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func (s *sparseDevice) save(t testing.TB, name string) {
	t.Helper()
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if err := gob.NewEncoder(zip).Encode(s); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", "signatures", name+".gz"), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// images are what real tools write, and what is to be read from it. md's
// superblocks are captured in a guest: mdadm needs the kernel's md.
var images = []struct {
	name, pkg string
	size      uint64
	make      string // a shell command; $F is the image
	want      []Signature
}{
	{
		"luks1", "cryptsetup-bin", 32 << 20, "echo -n x | cryptsetup luksFormat -q --type luks1 --iter-time 1 --uuid 11111111-2222-3333-4444-555555555555 $F -",
		[]Signature{{Type: "luks1", UUID: "11111111-2222-3333-4444-555555555555", Cipher: "aes-xts-plain64"}},
	},
	{
		"luks2", "cryptsetup-bin", 32 << 20, "echo -n x | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --iter-time 1 --label cryptroot --subsystem hvinstall --uuid 11111111-2222-3333-4444-555555555555 $F -",
		[]Signature{{Type: "luks2", UUID: "11111111-2222-3333-4444-555555555555", Label: "cryptroot", Subsystem: "hvinstall"}},
	},
	{
		"luks2-first-header-lost", "cryptsetup-bin", 32 << 20, "echo -n x | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --iter-time 1 --label lost --uuid 11111111-2222-3333-4444-555555555555 $F - && dd if=/dev/zero of=$F bs=4096 count=1 conv=notrunc",
		[]Signature{{Type: "luks2", UUID: "11111111-2222-3333-4444-555555555555", Label: "lost", Offset: 16384}},
	},
	{
		"btrfs", "btrfs-progs", 256 << 20, "mkfs.btrfs -q -L bulk -U 11111111-2222-3333-4444-555555555555 $F",
		[]Signature{{Type: "btrfs", UUID: "11111111-2222-3333-4444-555555555555", Label: "bulk", Offset: 65536, Members: 1}},
	},
	{
		"btrfs-two", "btrfs-progs", 256 << 20, "truncate -s 256M $F.2 && mkfs.btrfs -q -d raid1 -m raid1 -L pool -U 11111111-2222-3333-4444-555555555555 $F $F.2",
		[]Signature{{Type: "btrfs", UUID: "11111111-2222-3333-4444-555555555555", Label: "pool", Offset: 65536, Members: 2}},
	},
	{
		"btrfs-first-lost", "btrfs-progs", 256 << 20, "mkfs.btrfs -q -L copy -U 11111111-2222-3333-4444-555555555555 $F && dd if=/dev/zero of=$F bs=1M count=1 conv=notrunc",
		[]Signature{{Type: "btrfs", UUID: "11111111-2222-3333-4444-555555555555", Label: "copy", Offset: 64 << 20, Members: 1}},
	},
	{
		"ext2", "e2fsprogs", 4 << 20, "mkfs.ext2 -q -L two -U 11111111-2222-3333-4444-555555555555 $F",
		[]Signature{{Type: "ext2", UUID: "11111111-2222-3333-4444-555555555555", Label: "two", Offset: 1024}},
	},
	{
		"ext3", "e2fsprogs", 16 << 20, "mkfs.ext3 -q -L three -U 11111111-2222-3333-4444-555555555555 $F",
		[]Signature{{Type: "ext3", UUID: "11111111-2222-3333-4444-555555555555", Label: "three", Offset: 1024}},
	},
	{
		"ext4", "e2fsprogs", 16 << 20, "mkfs.ext4 -q -L four -U 11111111-2222-3333-4444-555555555555 $F",
		[]Signature{{Type: "ext4", UUID: "11111111-2222-3333-4444-555555555555", Label: "four", Offset: 1024}},
	},
	{
		"xfs", "xfsprogs", 300 << 20, "mkfs.xfs -q -L dat -m uuid=11111111-2222-3333-4444-555555555555 $F",
		[]Signature{{Type: "xfs", UUID: "11111111-2222-3333-4444-555555555555", Label: "dat"}},
	},
	{"fat12", "dosfstools", 2 << 20, "mkfs.vfat -F 12 -i 8B347D3C -n TWELVE $F", []Signature{{Type: "vfat", UUID: "8B34-7D3C", Label: "TWELVE"}}},
	{"fat16", "dosfstools", 32 << 20, "mkfs.vfat -F 16 -i 8B347D3C -n 'SIX TEEN' $F", []Signature{{Type: "vfat", UUID: "8B34-7D3C", Label: "SIX TEEN"}}},
	{"fat32", "dosfstools", 64 << 20, "mkfs.vfat -F 32 -i 8B347D3C -n KEYS $F", []Signature{{Type: "vfat", UUID: "8B34-7D3C", Label: "KEYS"}}},
	{"fat32-no-label", "dosfstools", 64 << 20, "mkfs.vfat -F 32 -i 00010002 $F", []Signature{{Type: "vfat", UUID: "0001-0002"}}},
	{"fat32-4k", "dosfstools", 300 << 20, "mkfs.vfat -F 32 -S 4096 -i 8B347D3C -n KEYS $F", []Signature{{Type: "vfat", UUID: "8B34-7D3C", Label: "KEYS"}}},
	{"exfat", "exfatprogs", 16 << 20, "mkfs.exfat -L Camera -U 0x8b347d3c $F || mkfs.exfat -L Camera $F", []Signature{{Type: "exfat", UUID: "*", Label: "Camera"}}},
	{"ntfs", "ntfs-3g", 16 << 20, "mkfs.ntfs -q -F -L 'Windows Data' $F", []Signature{{Type: "ntfs", UUID: "*", Label: "Windows Data"}}},
	{"f2fs", "f2fs-tools", 64 << 20, "mkfs.f2fs -q -l phone $F", []Signature{{Type: "f2fs", UUID: "*", Label: "phone", Offset: 1024}}},
	{"reiserfs", "reiserfsprogs", 48 << 20, "mkfs.reiserfs -q -f -l old -u 11111111-2222-3333-4444-555555555555 $F", []Signature{{Type: "reiserfs", UUID: "11111111-2222-3333-4444-555555555555", Label: "old", Offset: 65536}}},
	{"swap", "util-linux", 4 << 20, "mkswap -q -L swp -U 11111111-2222-3333-4444-555555555555 $F", []Signature{{Type: "swap", UUID: "11111111-2222-3333-4444-555555555555", Label: "swp", Offset: 4086}}},
	{"squashfs", "squashfs-tools", 0, "mkdir $F.d && echo x > $F.d/x && rm -f $F && mksquashfs $F.d $F -quiet -no-progress", []Signature{{Type: "squashfs"}}},
	{"iso9660", "genisoimage", 0, "mkdir $F.d && echo x > $F.d/x && genisoimage -quiet -V DEBIAN_12 -o $F $F.d", []Signature{{Type: "iso9660", UUID: "*", Label: "DEBIAN_12", Offset: 32768}}},
	{"gpt", "gdisk", 64 << 20, "sgdisk -n1:0:+20M -t1:ef00 -c1:disk-os-ESP -n2:0:0 -t2:8309 -c2:disk-os-luks $F", nil},
	{"mbr", "fdisk", 128 << 20, `printf 'label: dos\nlabel-id: 0xdeadbeef\nstart=2048,size=65536,type=83,bootable\nstart=67584,size=131072,type=5\nstart=69632,size=32768,type=82\nstart=104448,size=32768,type=83\n' | sfdisk -q $F`, nil},
	{"bcache", "bcache-tools", 16 << 20, "make-bcache -B $F", []Signature{{Type: "bcache", UUID: "*", Offset: 4096}}},
}

// TestImages holds the readers against what the real tools write.
func TestImages(t *testing.T) {
	for _, image := range images {
		t.Run(image.name, func(t *testing.T) {
			if *updateImages {
				path := filepath.Join(t.TempDir(), "image")
				if err := os.WriteFile(path, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(path, int64(image.size)); err != nil {
					t.Fatal(err)
				}
				run := exec.Command("sh", "-c", image.make)
				run.Env = append(os.Environ(), "F="+path, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
				if out, err := run.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s\nis %s installed?", image.make, err, out, image.pkg)
				}
				made, err := readSparse(path)
				if err != nil {
					t.Fatal(err)
				}
				made.save(t, image.name)
			}
			s := loadImage(t, image.name)
			got := contentSignatures(newContent(s, 0, s.Size, 512))
			checkSignatures(t, got, image.want)
		})
	}
}

// checkSignatures compares; a UUID * is any that is not empty.
func checkSignatures(t *testing.T, got, want []Signature) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("signatures = %+v, want %+v", got, want)
	}
	for i := range got {
		w := want[i]
		if w.UUID == "*" && got[i].UUID != "" && strings.Trim(got[i].UUID, "0-") != "" {
			w.UUID = got[i].UUID
		}
		if !reflect.DeepEqual(got[i], w) {
			t.Errorf("signature = %+v, want %+v", got[i], want[i])
		}
	}
}

// put writes into a sparseDevice device.
func (s *sparseDevice) put(off uint64, data []byte) {
	for i, b := range data {
		at := off + uint64(i)
		p := s.Pages[at&^(page-1)]
		if p == nil {
			p = make([]byte, page)
			s.Pages[at&^(page-1)] = p
		}
		p[at&(page-1)] = b
	}
}

func newSparse(size uint64) *sparseDevice {
	return &sparseDevice{Size: size, Pages: map[uint64][]byte{}}
}

// TestConstructed holds the readers of formats that Debian's main archive has
// no tool for, or whose tool needs a device, against headers made from the
// formats' published descriptions.
func TestConstructed(t *testing.T) {
	const size = 512 << 20
	uuid := []byte("\x11\x11\x11\x11\x22\x22\x33\x33\x44\x44\x55\x55\x55\x55\x55\x55")
	const text = "11111111-2222-3333-4444-555555555555"
	md := func(offset uint64) *sparseDevice {
		s, sb := newSparse(size), make([]byte, 256)
		copy(sb, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00")
		copy(sb[16:], uuid)
		copy(sb[32:], "host:0")
		binary.LittleEndian.PutUint32(sb[92:], 2)
		binary.LittleEndian.PutUint64(sb[144:], offset/512)
		s.put(offset, sb)
		return s
	}
	md090 := newSparse(size)
	{
		sb := make([]byte, 128)
		copy(sb, "\xfc\x4e\x2b\xa9\x00\x00\x00\x00\x5a\x00\x00\x00")
		for i, at := range []int{20, 52, 56, 60} {
			binary.LittleEndian.PutUint32(sb[at:], binary.BigEndian.Uint32(uuid[4*i:]))
		}
		binary.LittleEndian.PutUint32(sb[40:], 3)
		md090.put(size-65536, sb)
	}
	one := func(off uint64, magic string) *sparseDevice {
		s := newSparse(size)
		s.put(off, []byte(magic))
		return s
	}
	lvm := newSparse(size)
	lvm.put(512, []byte("LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00LVM2 001abcdefghijklmnopqrstuvwxyz012345"))
	for _, c := range []struct {
		name string
		s    *sparseDevice
		want Signature
	}{
		{"md 0.90", md090, Signature{Type: "md", UUID: text, Offset: size - 65536, Members: 3}},
		{"md 1.0", md(size - 8192), Signature{Type: "md", UUID: text, Label: "host:0", Offset: size - 8192, Members: 2}},
		{"md 1.1", md(0), Signature{Type: "md", UUID: text, Label: "host:0", Members: 2}},
		{"md 1.2", md(4096), Signature{Type: "md", UUID: text, Label: "host:0", Offset: 4096, Members: 2}},
		{"lvm2", lvm, Signature{Type: "lvm2", UUID: "abcdef-ghij-klmn-opqr-stuv-wxyz-012345", Offset: 512}},
		{"bitlocker", one(0, "\xeb\x58\x90-FVE-FS-"), Signature{Type: "bitlocker", Offset: 3}},
		{"refs", one(0, "\x00\x00\x00ReFS\x00\x00\x00\x00"), Signature{Type: "refs", Offset: 3}},
		{"vmfs", one(1<<20, "\x0d\xd0\x01\xc0"), Signature{Type: "vmfs", Offset: 1 << 20}},
		{"intel-raid", one(size-1024, "Intel Raid ISM Cfg Sig. 1.3.00"), Signature{Type: "intel-raid", Offset: size - 1024}},
		{"ddf-raid", one(size-512, "\xde\x11\xde\x11"), Signature{Type: "ddf-raid", Offset: size - 512}},
		{"zfs", zfsImage(size, 0, 1, 2, 3), Signature{Type: "zfs", UUID: "1234567890123456789", Label: "tank", Members: 2}},
		{"zfs at the end only", zfsImage(size, 3), Signature{Type: "zfs", UUID: "1234567890123456789", Label: "tank", Members: 2, Offset: size - 256<<10}},
		{"hibernation", one(4086, "S1SUSPEND\x00"), Signature{Type: "hibernation", Offset: 4086}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkSignatures(t, contentSignatures(newContent(c.s, 0, c.s.Size, 512)), []Signature{c.want})
		})
	}
}

// zfsImage writes ZFS labels as "ZFS On-Disk Specification", chapter 1,
// describes them, into the given places of the four.
func zfsImage(size uint64, places ...int) *sparseDevice {
	s := newSparse(size)
	for _, i := range places {
		off := []uint64{0, zfsLabel, size - 2*zfsLabel, size - zfsLabel}[i]
		s.put(off+zfsPairs, append([]byte{1, 1, 0, 0}, zfsList()...))
		for slot := uint64(0); slot < 8; slot++ {
			ub := make([]byte, 40)
			binary.LittleEndian.PutUint64(ub, 0x00bab10c)
			binary.LittleEndian.PutUint64(ub[8:], 5000)
			binary.LittleEndian.PutUint64(ub[16:], 4+slot)
			s.put(off+zfsUberblocks+slot*1024, ub)
		}
	}
	return s
}

// zfsList is a pool's name-value list in XDR.
func zfsList() []byte {
	be := binary.BigEndian
	str := func(s string) []byte {
		b := be.AppendUint32(nil, uint32(len(s)))
		b = append(b, s...)
		return append(b, make([]byte, (4-len(s)%4)%4)...)
	}
	pair := func(name string, kind, count uint32, value []byte) []byte {
		body := append(str(name), be.AppendUint32(be.AppendUint32(nil, kind), count)...)
		body = append(body, value...)
		head := be.AppendUint32(be.AppendUint32(nil, uint32(len(body)+8)), uint32(len(body)+32))
		return append(head, body...)
	}
	list := func(pairs ...[]byte) []byte {
		b := make([]byte, 8) // version 0, flags
		b[7] = 1
		for _, p := range pairs {
			b = append(b, p...)
		}
		return append(b, make([]byte, 8)...)
	}
	number := func(n uint64) []byte { return be.AppendUint64(nil, n) }
	child := list(pair("type", 9, 1, str("disk")), pair("id", 8, 1, number(0)), pair("path", 9, 1, str("/dev/disk/by-id/ata-x-part1")))
	tree := list(pair("type", 9, 1, str("mirror")), pair("children", 20, 2, append(child, child...)))
	return list(
		pair("version", 8, 1, number(5000)),
		pair("name", 9, 1, str("tank")),
		pair("state", 8, 1, number(0)),
		pair("pool_guid", 8, 1, number(1234567890123456789)),
		pair("hostname", 9, 1, str("nas")),
		pair("vdev_tree", 19, 1, tree),
	)
}

// TestUnknownIsNotBlank: what no reader knows must not look like an empty
// disk, at either end.
func TestUnknownIsNotBlank(t *testing.T) {
	for _, off := range []uint64{0, 4096, 1<<20 - 1, 64<<20 - 1} {
		s := newSparse(64 << 20)
		s.put(off, []byte{1})
		c := newContent(s, 0, s.Size, 512)
		if found := contentSignatures(c); len(found) != 0 {
			t.Errorf("a byte at %d reads as %+v", off, found)
		}
		if c.blank() {
			t.Errorf("a disk with a byte at %d counts as blank", off)
		}
	}
	s := newSparse(64 << 20)
	if c := newContent(s, 0, s.Size, 512); !c.blank() || c.err != nil {
		t.Errorf("a disk of zeros: blank = %v, err = %v", c.blank(), c.err)
	}
}

// TestReadErrorIsNotBlank: a disk that fails to read must not look empty.
func TestReadErrorIsNotBlank(t *testing.T) {
	s := newSparse(1 << 20)
	c := newContent(s, 0, 64<<20, 512) // the device is shorter than it says
	contentSignatures(c)
	if c.err == nil {
		t.Error("reading beyond the end gives no error")
	}
}

// TestZFSLabelFile keeps the constructed label where guests can write it to a
// disk.
func TestZFSLabelFile(t *testing.T) {
	label := make([]byte, zfsLabel)
	if _, err := zfsImage(64<<20, 0).ReadAt(label, 0); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "zfs-label.gz")
	if *updateImages {
		var out bytes.Buffer
		zip := gzip.NewWriter(&out)
		if _, err := zip.Write(label); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := io.ReadAll(zip); err != nil || !bytes.Equal(kept, label) {
		t.Errorf("testdata/zfs-label.gz is not the label (%v); run go test ./disk -update-images", err)
	}
}
