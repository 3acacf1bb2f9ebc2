package initrd

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
	"github.com/ulikunitz/xz"

	"hvinstall/initrd/boot"
)

const kernel = "6.1.0-test"

// fakeRoot is a root file system with a kernel of small modules, in all the
// forms in which distributions pack them.
func fakeRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	modules := filepath.Join(root, "lib/modules", kernel)
	files := map[string]string{
		"modules.dep": `kernel/drivers/md/dm-crypt.ko: kernel/drivers/md/dm-mod.ko
kernel/drivers/md/dm-mod.ko:
kernel/fs/btrfs/btrfs.ko.xz: kernel/lib/raid6/raid6_pq.ko.zst kernel/lib/libcrc32c.ko.gz
kernel/lib/raid6/raid6_pq.ko.zst:
kernel/lib/libcrc32c.ko.gz:
kernel/arch/x86/crypto/crc32c-intel.ko:
kernel/crypto/crc32c_generic.ko:
kernel/crypto/xts.ko:
kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko
kernel/fs/fat/fat.ko:
kernel/fs/nls/nls_ascii.ko:
kernel/fs/nls/nls_iso8859-1.ko:
kernel/drivers/nvme/host/nvme.ko:
kernel/drivers/scsi/exotic.ko: kernel/drivers/scsi/exotic-lib.ko
kernel/drivers/scsi/exotic-lib.ko:
kernel/drivers/net/card.ko:
kernel/drivers/block/nothing_asks.ko:
kernel/drivers/hid/hid-roccat.ko:
kernel/drivers/hid/hid-rmi.ko: kernel/drivers/media/videobuf.ko
kernel/drivers/media/videobuf.ko:
kernel/drivers/scsi/lpfc.ko:
kernel/fs/squashfs/squashfs.ko:
kernel/fs/overlayfs/overlay.ko:
kernel/drivers/block/loop.ko:
`,
		"modules.alias": `# Aliases extracted from modules themselves.
alias pci:v*d*sv*sd*bc01sc08i02* nvme
alias pci:v0000ABCDd00000001sv*sd*bc*sc*i* exotic
alias pci:v0000ABCDd00000002sv*sd*bc*sc*i* card
alias hid:b0003g*v00001E7Dp00002FA8 hid_roccat
alias pci:v0000ABCDd00000003sv*sd*bc*sc*i* lpfc
alias hid:b0003g*v000006CBp* hid_rmi
alias crypto-crc32c crc32c_generic
alias crypto-crc32c crc32c_intel
alias fs-btrfs btrfs
`,
		// A circle: crc32c_generic wants btrfs, which wants it.
		"modules.softdep": "softdep btrfs pre: crypto-crc32c\nsoftdep crc32c_generic pre: btrfs\nsoftdep nvme post: vfat\n",
		"modules.builtin": "kernel/fs/nls/nls_cp437.ko\n",
	}
	for line := range strings.Lines(files["modules.dep"]) {
		name, _, _ := strings.Cut(line, ":")
		files[name] = packed(t, name, "code of "+boot.ModuleName(name))
	}
	for name, text := range files {
		path := filepath.Join(modules, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func packed(t *testing.T, name, text string) string {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch filepath.Ext(name) {
	case ".xz":
		w, err = xz.NewWriter(&out)
	case ".zst":
		w, err = zstd.NewWriter(&out)
	case ".gz":
		w = gzip.NewWriter(&out)
	default:
		return text
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func testConfig() *boot.Config {
	return &boot.Config{
		Hostname: "h", FallbackToPassword: true,
		Volumes: []boot.Volume{{UUID: "u-1", Mapping: "cryptroot", DiskID: "nvme-1"}},
		Root:    boot.Root{FSUUID: "fs-1", Subvolume: "root"},
	}
}

func options(t *testing.T) Options {
	t.Helper()
	root := fakeRoot(t)
	binary := filepath.Join(root, "hvinstall")
	if err := os.WriteFile(binary, []byte("the binary"), 0o644); err != nil {
		t.Fatal(err)
	}
	return Options{Root: root, Kernel: kernel, Binary: binary, Config: testConfig()}
}

// unpack reads an image's archive: name → record.
func unpack(t *testing.T, image []byte) (map[string]cpio.Record, []string) {
	t.Helper()
	dec, err := zstd.NewReader(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	plain, err := io.ReadAll(dec)
	if err != nil {
		t.Fatal(err)
	}
	records, names := map[string]cpio.Record{}, []string{}
	err = cpio.ForEachRecord(cpio.Newc.Reader(bytes.NewReader(plain)), func(r cpio.Record) error {
		records[r.Name] = r
		names = append(names, r.Name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, names
}

func content(t *testing.T, r cpio.Record) string {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBuildHolds(t *testing.T) {
	image, err := Build(options(t))
	if err != nil {
		t.Fatal(err)
	}
	records, names := unpack(t, image.Data)
	if got := content(t, records["init"]); got != "the binary" {
		t.Errorf("init holds %q", got)
	}
	if mode := records["init"].Mode & 0o777; mode != 0o755 {
		t.Errorf("init's mode is %o", mode)
	}
	if r := records["dev/console"]; r.Rmajor != 5 || r.Rminor != 1 {
		t.Errorf("dev/console is %d:%d", r.Rmajor, r.Rminor)
	}
	if mode := records["etc/hvinstall/boot.json"].Mode & 0o777; mode != 0o600 {
		t.Errorf("boot.json's mode is %o", mode)
	}
	if got, err := boot.Parse([]byte(content(t, records["etc/hvinstall/boot.json"]))); err != nil || got.Hostname != "h" {
		t.Errorf("boot.json: %+v, %v", got, err)
	}
	for _, m := range []string{"kernel/fs/btrfs/btrfs.ko", "kernel/lib/raid6/raid6_pq.ko", "kernel/lib/libcrc32c.ko", "kernel/drivers/md/dm-mod.ko"} {
		r, ok := records["lib/modules/"+kernel+"/"+m]
		if !ok {
			t.Errorf("%s is not there", m)
			continue
		}
		if got, want := content(t, r), "code of "+boot.ModuleName(m); got != want {
			t.Errorf("%s holds %q, want %q", m, got, want)
		}
	}
	want := []string{"btrfs", "crc32c_generic", "crc32c_intel", "dm_crypt", "dm_mod", "exotic", "exotic_lib", "fat", "hid_roccat", "libcrc32c", "nls_ascii", "nls_iso8859_1", "nvme", "raid6_pq", "vfat", "xts"}
	if diff := cmp.Diff(want, image.Modules); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
	// The kernel makes no folders by itself.
	for i, name := range names {
		if dir := filepath.Dir(name); dir != "." && !slices.Contains(names[:i], dir) {
			t.Errorf("%s comes before its folder", name)
		}
		if r := records[name]; r.MTime != 0 || r.UID != 0 || r.GID != 0 {
			t.Errorf("%s: time %d, owner %d:%d", name, r.MTime, r.UID, r.GID)
		}
	}
}

func TestModuleList(t *testing.T) {
	image, err := Build(options(t))
	if err != nil {
		t.Fatal(err)
	}
	records, _ := unpack(t, image.Data)
	list, err := boot.ReadModules(strings.NewReader(content(t, records[boot.ModulesPath[1:]])))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]boot.Module{}
	for _, m := range list.List {
		byName[m.Name] = m
		if _, ok := records[m.Path[1:]]; !ok {
			t.Errorf("%s is listed at %s, which is not there", m.Name, m.Path)
		}
	}
	btrfs := byName["btrfs"]
	if !btrfs.Always || byName["nvme"].Always {
		t.Errorf("always: btrfs %v, nvme %v; want true, false", btrfs.Always, byName["nvme"].Always)
	}
	for _, need := range []string{"libcrc32c", "raid6_pq", "crc32c_intel"} {
		if !slices.Contains(btrfs.Needs, need) {
			t.Errorf("btrfs needs %v, want %s among them", btrfs.Needs, need)
		}
	}
	// Whichever way the circle was cut, a loader must come to an end.
	if slices.Contains(btrfs.Needs, "crc32c_generic") && slices.Contains(byName["crc32c_generic"].Needs, "btrfs") {
		t.Error("btrfs and crc32c_generic wait for each other")
	}
	if got := list.Match("pci:v00008086d00000953sv00008086sd00003704bc01sc08i02"); !slices.Equal(got, []string{"nvme"}) {
		t.Errorf("an NVMe disk wants %v", got)
	}
	for _, a := range list.Aliases {
		if a.Module == "card" || !strings.Contains(a.Pattern, ":") {
			t.Errorf("alias %v has no place here", a)
		}
	}
}

func TestBuildAddsDriversOfTheMachine(t *testing.T) {
	o := options(t)
	o.Modaliases = []string{"pci:v0000ABCDd00000001sv1sd1bc01sc07i00", "pci:v0000ABCDd00000002sv1sd1bc02sc00i00"}
	image, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"exotic": true, "exotic_lib": true, "card": false} {
		if got := slices.Contains(image.Modules, name); got != want {
			t.Errorf("%s is there: %v, want %v", name, got, want)
		}
	}
}

func TestBuildRepeats(t *testing.T) {
	one, err := Build(options(t))
	if err != nil {
		t.Fatal(err)
	}
	two, err := Build(options(t)) // another folder, other times
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Data, two.Data) {
		t.Error("two builds of the same differ")
	}
}

func TestBuildLive(t *testing.T) {
	o := options(t)
	o.Config = nil
	image, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	records, _ := unpack(t, image.Data)
	if _, ok := records["etc/hvinstall/boot.json"]; ok {
		t.Error("the live initramfs has a boot.json")
	}
	for name, want := range map[string]bool{"squashfs": true, "overlay": true, "loop": true, "dm_crypt": false, "btrfs": false} {
		if got := slices.Contains(image.Modules, name); got != want {
			t.Errorf("%s is there: %v, want %v", name, got, want)
		}
	}
}

func TestBuildNamesWhatIsMissing(t *testing.T) {
	o := options(t)
	o.Modules = []string{"no-such-driver"}
	if _, err := Build(o); err == nil || !strings.Contains(err.Error(), "no-such-driver") {
		t.Errorf("err = %v, want one that names no-such-driver", err)
	}
	o = options(t)
	o.Kernel = "5.0"
	if _, err := Build(o); err == nil || !strings.Contains(err.Error(), "5.0") {
		t.Errorf("err = %v, want one that names the kernel", err)
	}
	o = options(t)
	o.Config.Root.FSUUID = ""
	if _, err := Build(o); err == nil || !strings.Contains(err.Error(), "fs_uuid") {
		t.Errorf("err = %v, want one about fs_uuid", err)
	}
}

func TestMicrocodeComesFirst(t *testing.T) {
	o := options(t)
	for name, text := range map[string]string{"amd-ucode/b.bin": "B", "amd-ucode/a.bin": "A", "amd-ucode/a.bin.asc": "signature", "intel-ucode/06-55-04": "I", "intel-ucode/06-9e-0a.initramfs": "E"} {
		path := filepath.Join(o.Root, "lib/firmware", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"amd-ucode", "intel-ucode"}, image.Microcode); diff != "" {
		t.Error(diff)
	}
	got := map[string]string{}
	err = cpio.ForEachRecord(cpio.Newc.Reader(bytes.NewReader(image.Data)), func(r cpio.Record) error {
		got[r.Name] = content(t, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got["kernel/x86/microcode/AuthenticAMD.bin"] != "AB" || got["kernel/x86/microcode/GenuineIntel.bin"] != "IE" {
		t.Errorf("microcode: %q", got)
	}
	zstdMagic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	if at := bytes.Index(image.Data, zstdMagic); at < 0 || at%512 != 0 {
		t.Errorf("the main archive begins at %d, want a multiple of 512", at)
	}
	o.Microcode = []string{"intel-ucode/06-55-07"}
	if image, err = Build(o); err != nil || len(image.Microcode) > 0 {
		t.Errorf("microcode of a processor that has none: %q, %v", image.Microcode, err)
	}
	o.Microcode = []string{"intel-ucode/06-55-04"}
	if image, err = Build(o); err != nil || !slices.Equal(image.Microcode, []string{"intel-ucode"}) {
		t.Errorf("microcode of one processor: %q, %v", image.Microcode, err)
	}
}

// TestDynamicBinaryIsRefused: the kernel would panic on it.
func TestDynamicBinaryIsRefused(t *testing.T) {
	o := options(t)
	o.Binary = "/bin/ls"
	if _, err := Build(o); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("Build with a dynamically linked binary = %v, want it refused", err)
	}
}
