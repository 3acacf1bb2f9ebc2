package vmstore

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The canary is a file of the host. Its content must be in nothing that an
// image from outside becomes.
const canaryLine = "a line of the host's /etc/shadow\n"

// hostileImages are images that name another file of this host, or that a
// program which guesses formats would take for one that may. Each is given as
// vendors publish them; victim is the file that they are after.
func hostileImages(t *testing.T, victim string) map[string][]byte {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Fatal("qemu-img is missing; apt-get install qemu-utils")
	}
	dir := t.TempDir()
	create := func(args ...string) []byte {
		t.Helper()
		path := filepath.Join(dir, "made")
		args = append([]string{"create", "-q"}, args...)
		args = append(args, path, "1M")
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
		image, err := os.ReadFile(path)
		if err := errors.Join(err, os.Remove(path)); err != nil {
			t.Fatal(err)
		}
		return image
	}
	// bootable is what a raw disk looks like.
	bootable := func(head string) []byte {
		disk := make([]byte, 1<<20)
		copy(disk, head)
		disk[510], disk[511] = 0x55, 0xaa
		return disk
	}
	with := func(image []byte, at int, b ...byte) []byte {
		image = bytes.Clone(image)
		copy(image[at:], b)
		return image
	}
	vmdk := create("-f", "vmdk", "-o", "subformat=monolithicSparse")
	descriptor := func(old, text string) []byte {
		from := bytes.Index(vmdk, []byte("# Disk DescriptorFile"))
		to := from + 20*512
		changed := bytes.Replace(bytes.TrimRight(vmdk[from:to], "\x00"), []byte(old), []byte(text), 1)
		image := bytes.Clone(vmdk)
		clear(image[from:to])
		copy(image[from:to], changed)
		return image
	}
	// A window into the very same file, where another descriptor stands.
	window := descriptor("createType=", `parentFileNameHint="json:{'driver':'vmdk','file':{'driver':'raw','offset':131072,'file':{'driver':'file','filename':'/proc/self/fd/3'}}}"`+"\ncreateType=")
	window = append(window, make([]byte, 131072+65536-len(window))...)
	copy(window[131072:], "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \""+victim+"\" 0\n")

	qcow := create("-f", "qcow2")
	dataFile := create("-f", "qcow2", "-o", "data_file="+filepath.Join(dir, "outside")+",data_file_raw=on")
	vdi := create("-f", "vdi")
	vhd := create("-f", "vpc")
	differencing := bytes.Clone(vhd)
	for _, at := range []int{0, len(vhd) - 512} {
		binary.BigEndian.PutUint32(differencing[at+60:], 4)
	}
	vhdx := create("-f", "vhdx")
	parameters := bytes.Index(vhdx, vhdxParameters[:])
	metadata := bytes.Index(vhdx, []byte("metadata"))
	flags := metadata + int(binary.LittleEndian.Uint32(vhdx[parameters+16:])) + 4
	sizeItem := bytes.Index(vhdx, vhdxDiskSize[:])
	footer := bootable("")
	copy(footer[len(footer)-512:], "koly")
	return map[string][]byte{
		"vmdk with a parent":             descriptor("createType=", `parentFileNameHint="`+victim+"\"\ncreateType="),
		"vmdk with a window into itself": window,
		"vmdk with a flat extent":        descriptor("SPARSE \"", "FLAT \""+victim+"\" 0\nRW 1 SPARSE \""),
		"vmdk that is a text":            []byte("# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \"" + victim + "\" 0\n"),
		"vmdk text behind comments":      bootable("# a comment\n\nversion=1\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \"" + victim + "\" 0\n"),
		"vmdk of ESX":                    bootable("COWD"),
		"qcow2 with a backing file":      create("-f", "qcow2", "-u", "-F", "raw", "-b", victim),
		"qcow2 with a json backing file": create("-f", "qcow2", "-u", "-F", "raw", "-b", `json:{"driver":"raw","file":{"driver":"file","filename":"`+victim+`"}}`),
		"qcow2 v2 with a backing file":   create("-f", "qcow2", "-o", "compat=0.10", "-u", "-F", "raw", "-b", victim),
		"qcow2 with a data file":         dataFile,
		"qcow2 that is encrypted":        with(qcow, 32, 0, 0, 0, 2),
		"qcow2 of unknown features":      with(qcow, 72, 0x80),
		"qcow of version 1":              with(qcow, 4, 0, 0, 0, 1),
		"vdi that is a difference":       with(vdi, 0x4c, 4),
		"vdi with a parent":              with(vdi, 0x1b8, 1),
		"vdi with a link":                with(vdi, 0x1a8, 1),
		"vhd that is a difference":       differencing,
		"vhdx with a parent":             with(vhdx, flags, 2),
		"vhdx with a locator":            with(vhdx, sizeItem, vhdxParent[:]...),
		"vhdx without parameters":        with(vhdx, parameters, 0),
		"vhdx whose table is elsewhere":  with(vhdx, 200<<10, 0xff),
		"qed with a backing file":        create("-f", "qed", "-u", "-F", "raw", "-b", victim),
		"qed":                            bootable("QED\x00"),
		"parallels":                      bootable("WithoutFreeSpace"),
		"parallels of 2 TB":              bootable("WithouFreSpacExt"),
		"bochs":                          bootable("Bochs Virtual HD Image"),
		"cloop":                          bootable("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"),
		"dmg":                            footer,
		"luks":                           bootable("LUKS\xba\xbe\x00\x02"),
		"raw that holds a vhd's end":     append(bootable("")[:1<<20-512], differencing[:512]...),
		"a web page":                     []byte("<!DOCTYPE html>"),
		"nothing":                        {},
	}
}

// TestHostileImages: each is brought as a disk and as an ISO, plainly and in an
// archive. It is refused, nothing is left of it, and the host's file is in
// nothing that was written.
func TestHostileImages(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "shadow")
	if err := os.WriteFile(victim, bytes.Repeat([]byte(canaryLine), 1<<15), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, image := range hostileImages(t, victim) {
		for _, iso := range []bool{false, true} {
			for _, packed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s iso=%v packed=%v", name, iso, packed), func(t *testing.T) {
					wantRefused(t, image, iso, packed)
				})
			}
		}
	}
}

// TestHostileMixUp: an ISO given as a disk and a disk given as an ISO leave
// nothing either.
func TestHostileMixUp(t *testing.T) {
	wantRefused(t, hostileISO(), false, false)
	wantRefused(t, hostileISO(), false, true)
	disk := make([]byte, 1<<20)
	disk[510], disk[511] = 0x55, 0xaa
	wantRefused(t, disk, true, false)
	wantRefused(t, disk, true, true)
}

func hostileISO() []byte {
	iso := make([]byte, 1<<20)
	copy(iso[sectorOfISO:], "\x01CD001\x01")
	return iso
}

func wantRefused(t *testing.T, content []byte, iso, packed bool) {
	t.Helper()
	from, to := filepath.Join(t.TempDir(), "published"), t.TempDir()
	if packed {
		var err error
		cmd := exec.Command("gzip", "-c")
		cmd.Stdin = bytes.NewReader(content)
		if content, err = cmd.Output(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(from, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f := fetcher{client: nil, stall: time.Minute, backoff: time.Second, limit: 1 << 30}
	disk := filepath.Join(to, "disk.qcow2")
	err := f.fetch(t.Context(), Image{URL: "file://" + from, ISO: iso}, []string{disk}, quiet{})
	if err == nil || !IsFinal(err) {
		t.Errorf("it was taken, or the refusal says that another try may help: %v", err)
	}
	err = filepath.WalkDir(to, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		t.Errorf("%s is left behind, the host's file in it: %v", e.Name(), strings.Contains(string(text), canaryLine))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if have, err := os.ReadFile(from); err != nil || !bytes.Equal(have, content) {
		t.Errorf("what was published is not there as it was: %v", err)
	}
}

type quiet struct{}

func (quiet) Progress(int64, int64, string) {}
func (quiet) Log(string, ...any)            {}
func (quiet) Warn(string, ...any)           {}

// TestHostileWholeImages: what the readers take is what vendors publish.
func TestHostileWholeImages(t *testing.T) {
	dir := t.TempDir()
	for _, options := range [][]string{
		{"qcow2"}, {"qcow2", "-o", "compat=0.10"}, {"qcow2", "-o", "compression_type=zstd"}, {"qcow2", "-o", "extended_l2=on,cluster_size=128k"},
		{"vmdk", "-o", "subformat=streamOptimized"}, {"vmdk"}, {"vdi"}, {"vdi", "-o", "static=on"}, {"vhdx"}, {"vhdx", "-o", "subformat=fixed"},
		{"vpc", "-o", "force_size=on"}, {"vpc", "-o", "subformat=fixed,force_size=on"},
	} {
		path := filepath.Join(dir, "image")
		args := append(append([]string{"create", "-q", "-f"}, options...), path, "64M")
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
		f, err := inspect(path)
		if err != nil || f.Problem != "" || f.Needs != "" || f.Format != options[0] || f.Virtual != 64<<20 {
			t.Errorf("%v: %+v, %v; want it taken, with 64 MiB", options, f, err)
		}
		if os.Geteuid() == 0 { // confining qemu-img takes root; make check runs as root
			to := filepath.Join(t.TempDir(), "disk.qcow2")
			if err := testFetcher().fetch(t.Context(), Image{URL: "file://" + path}, []string{to}, quiet{}); err != nil {
				t.Errorf("%v: %v", options, err)
			} else if f, err := inspect(to); err != nil || f.Format != formatQCOW2 || f.Virtual != 64<<20 {
				t.Errorf("%v became %+v, %v", options, f, err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileRawDisk: a guest writes a qcow2 header with a backing file to the
// first bytes of its raw disk. Where its definition says raw, raw it stays.
func TestHostileRawDisk(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "shadow")
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(victim, []byte(canaryLine), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", victim, disk, "1M").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := inspectDisk(disk, formatRaw)
	if err != nil || f.Format != formatRaw || f.Needs != "" || f.Virtual != f.Size {
		t.Errorf("%+v, %v; want a raw disk of its own length", f, err)
	}
	if err := growFile(t.Context(), disk, formatRaw, 2<<20, quiet{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(disk)
	if err != nil || info.Size() != 2<<20 {
		t.Errorf("%v, %v; want a file of 2 MiB", info.Size(), err)
	}
	if text, err := os.ReadFile(disk); err != nil || bytes.Contains(text, []byte(canaryLine)) {
		t.Errorf("the host's file is in the disk, or it cannot be read: %v", err)
	}
}

// FuzzImage: no first bytes make a reader of formats panic, or say of an image
// that names another file that it is whole.
func FuzzImage(f *testing.F) {
	for _, head := range []string{"QFI\xfb\x00\x00\x00\x03", "KDMV\x01\x00\x00\x00", "vhdxfile", "conectix", "# Disk DescriptorFile\n", "#\nversion=1\n", "COWD"} {
		f.Add([]byte(head + strings.Repeat("\x00", 1024)))
	}
	f.Add(hostileISO())
	f.Fuzz(func(t *testing.T, image []byte) {
		format, virtual, needs, err := readImage(bytes.NewReader(image), int64(len(image)))
		if err == nil && (virtual < 0 || format == "") {
			t.Errorf("%q of %d bytes was taken", format, virtual)
		}
		if err == nil && needs == "" && format == formatQCOW2 && len(namedFiles(bytes.NewReader(image))) > 0 && binary.BigEndian.Uint64(image[8:]) != 0 {
			t.Error("a qcow2 with a backing file was taken for a whole one")
		}
	})
}

// FuzzDomainXML: whatever a VM, its paths and its bridge are called, the
// definition has the same elements with these texts in them, or is refused.
func FuzzDomainXML(f *testing.F) {
	for _, s := range []string{"a", "a<b", `a"/><disk/>`, "a&lt;", "a\nb", "a]]>b", "<!--", "é", "\xff", "a\x00b", "'", "${x}", "\ufffe"} {
		f.Add(s, s, s)
	}
	spec := func(name, disk, bridge string) Spec {
		return Spec{Name: name, UUID: "00000000-0000-4000-8000-000000000000", DomainType: "kvm", VCPU: 1, RAMMB: 256, MAC: "52:54:00:00:00:01",
			Bridge: bridge, NICModel: "virtio", Dir: "/mnt/vmstore/a", Disk: disk, DiskFormat: "qcow2", DiskKind: "file", DiskTarget: "vda", DiskBus: "virtio", UEFI: true, NVRAM: disk}
	}
	count := func(t *testing.T, text string) (elements int, texts map[string]bool) {
		texts = map[string]bool{}
		d := xml.NewDecoder(strings.NewReader(text))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				return elements, texts
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			switch token := token.(type) {
			case xml.StartElement:
				elements++
				for _, a := range token.Attr {
					texts[a.Value] = true
				}
			case xml.CharData:
				texts[string(token)] = true
			case xml.Comment, xml.ProcInst, xml.Directive:
				t.Fatalf("%T in\n%s", token, text)
			}
		}
	}
	plain, err := domainXML(spec("a", "/a", "br0"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, disk, bridge string) {
		want, _ := count(t, plain)
		text, err := domainXML(spec(name, disk, bridge))
		if err != nil {
			return
		}
		elements, texts := count(t, text)
		if elements != want {
			t.Errorf("%d elements, want %d:\n%s", elements, want, text)
		}
		for _, s := range []string{name, disk, bridge} {
			// What XML cannot hold is replaced, and a line's end normalised.
			if ordinary(s) && strings.TrimSpace(s) == s && s != "" && !texts[s] {
				t.Errorf("%q is not in it as it is:\n%s", s, text)
			}
		}
	})
}

func ordinary(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == '\u007f' || r == 0xfffd || r == 0xfffe || r == 0xffff
	})
}

// TestHostileLinks: who may write to a VM's directory puts links to a file of
// root's in all the places that a download writes to.
func TestHostileLinks(t *testing.T) {
	image := qcow2Image(300<<10, 9)
	server := newServer(t)
	url := server.put("/f", &served{data: image, etag: `"x"`})
	before := unix.Umask(0)
	defer unix.Umask(before)
	for _, name := range []string{"", ".part", ".part.json", ".part.json.new", ".unpacking", ".converting"} {
		dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
		if err := os.WriteFile(victim, []byte("root's own"), 0o600); err != nil {
			t.Fatal(err)
		}
		disk := filepath.Join(dir, "disk.qcow2")
		if err := os.Symlink(victim, disk+name); err != nil {
			t.Fatal(err)
		}
		err := testFetcher().fetch(t.Context(), Image{URL: url}, []string{disk}, quiet{})
		info, statErr := os.Lstat(victim)
		if have, readErr := os.ReadFile(victim); readErr != nil || statErr != nil || string(have) != "root's own" || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: the file behind the link is %.20q, %v (%v)", name, have, readErr, err)
		}
		if info, statErr := os.Lstat(disk); err == nil && (statErr != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600) {
			t.Errorf("%q: fetched, and the disk is %v, %v", name, info, statErr)
		}
	}
}
