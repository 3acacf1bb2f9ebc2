package disk

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"hvinstall/host"
)

// tree unpacks a captured machine: testdata/trees/*.txtar, in which a file
// "path -> target" is a link, and "dev/NAME" with "image X" is that signature
// image as the device's content.
func tree(t *testing.T, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "trees", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, f := range archive.Files {
		path, target, isLink := strings.Cut(f.Name, " -> ")
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if isLink {
			if err := os.Symlink(target, full); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data := f.Data
		if strings.TrimSpace(string(data)) == "image blank" {
			data = make([]byte, 4<<20)
		} else if image, found := strings.CutPrefix(strings.TrimSpace(string(data)), "image "); found {
			s := loadImage(t, image)
			data = make([]byte, s.Size)
			if _, err := s.ReadAt(data, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(full, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestProbeTrees probes captured machines without root and without devices.
func TestProbeTrees(t *testing.T) {
	for name, check := range map[string]func(t *testing.T, f Facts){
		"installed": checkInstalled, "live-own": checkLiveOwn, "live-nixos": checkLiveNixOS, "stacked": checkStacked,
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Probe(context.Background(), tree(t, name))
			if err != nil {
				t.Fatal(err)
			}
			check(t, f)
		})
	}
}

func named(t *testing.T, f Facts, name string) Disk {
	t.Helper()
	for _, d := range f.Disks {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no disk %s among %+v", name, f.Disks)
	return Disk{}
}

func wantHolders(t *testing.T, what string, got []Holder, want ...Holder) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is held (-want +got):\n%s", what, diff)
	}
}

// A btrfs over two volumes: both are held by each of its mounts, although
// mountinfo names only one and gives no device number.
func checkInstalled(t *testing.T, f Facts) {
	for i, name := range []string{"nvme0n1", "nvme1n1"} {
		mapped, dm := []string{"crypt-vmstore-1", "crypt-vmstore-2"}[i], []string{"dm-1", "dm-2"}[i]
		wantHolders(t, name, named(t, f, name).Partitions[0].Holders,
			Holder{Kind: "dm", Name: mapped},
			Holder{Kind: "mount", Name: "/mnt/vmstore", Through: dm})
	}
	sda := named(t, f, "sda")
	wantHolders(t, "sda2", sda.Partitions[1].Holders,
		Holder{Kind: "dm", Name: "cryptroot"},
		Holder{Kind: "mount", Name: "/", Through: "dm-0"},
		Holder{Kind: "mount", Name: "/home", Through: "dm-0"})
	if !sda.Live || named(t, f, "nvme0n1").Live {
		t.Error("the running system runs from sda, and from nothing else")
	}
	if want := []string{"ata-Disk_A_S1", "wwn-0x5000c50012345678"}; !cmp.Equal(sda.ByID, want) {
		t.Errorf("by-id names %q, want %q: without those of partitions", sda.ByID, want)
	}
	if sda.Model != "Disk A" || sda.Serial != "S1" || sda.WWN != "0x5000c50012345678" || sda.Transport != "sata" || !sda.Rotational || sda.Size != 32<<20 {
		t.Errorf("sda: %+v", sda)
	}
	// The content of what may not be opened is udev's word, and never blank.
	n := named(t, f, "nvme1n1")
	if got := n.Signatures; len(got) != 2 || got[0].Type != "gpt" || got[1].Type != Unread || n.Blank() {
		t.Errorf("nvme1n1 unread: %+v", got)
	}
	if got := n.Partitions[0]; len(got.Signatures) != 1 || got.Signatures[0].Type != "luks2" || got.Label != "disk-vmstore-2-luks" {
		t.Errorf("nvme1n1p1 unread: %+v", got)
	}
	if len(f.Unseen) == 0 {
		t.Error("nothing is said of what could not be read")
	}
}

// An overlay whose lower part is a squashfs, in a loop file, on a stick.
func checkLiveOwn(t *testing.T, f Facts) {
	if !named(t, f, "sdb").Live || named(t, f, "sda").Live {
		t.Errorf("live: sda %v, sdb %v; want the stick, sdb", named(t, f, "sda").Live, named(t, f, "sdb").Live)
	}
	if len(f.Disks) != 2 {
		t.Errorf("%d disks, want 2: loop0 is none", len(f.Disks))
	}
	if a := named(t, f, "sda"); !a.Blank() {
		t.Errorf("sda is %s, want blank", a.Content())
	}
}

// The live system of a machine that started from the network runs from no disk,
// and is known to.
func TestLiveFromMemory(t *testing.T) {
	on := func(target, fs string) mount {
		return mount{Mount: host.Mount{Target: target, FSType: fs}, own: true}
	}
	for _, c := range []struct {
		mounts []mount
		unseen int
	}{
		{[]mount{on("/", "overlay"), on("/run", "tmpfs"), on("/run/hvinstall/live/hvinstall", "rootfs")}, 0},
		{[]mount{on("/", "overlay"), on("/run", "tmpfs")}, 1},
	} {
		m := &machine{root: t.TempDir(), mounts: c.mounts, unseen: map[string]bool{}}
		if live := m.liveDisks(); len(live) != 0 || len(m.unseen) != c.unseen {
			t.Errorf("%d mounts: live %v, unseen %v; want none, and %d", len(c.mounts), live, m.unseen, c.unseen)
		}
	}
}

// NixOS's ISO: the root is a tmpfs, the store an overlay over a squashfs out of
// /iso, and the whole stick is the ISO.
func checkLiveNixOS(t *testing.T, f Facts) {
	d := named(t, f, "sdb")
	if !d.Live {
		t.Error("the NixOS stick is not known for the live medium")
	}
	wantHolders(t, "sdb", d.Holders, Holder{Kind: "mount", Name: "/iso"})
}

// md over partitions, LVM over md, and swap on that.
func checkStacked(t *testing.T, f Facts) {
	for _, name := range []string{"sda", "sdb"} {
		wantHolders(t, name, named(t, f, name).Partitions[0].Holders,
			Holder{Kind: "md", Name: "md0"},
			Holder{Kind: "dm", Name: "vg0-swap", Through: "md0"},
			Holder{Kind: "swap", Name: "/dev/dm-0", Through: "dm-0 on md0"})
	}
}

// TestProbeOpensNothingForWriting audits the source: what reads the machine
// has no way to open for writing, and calls nothing that changes anything.
func TestProbeOpensNothingForWriting(t *testing.T) {
	paths, err := filepath.Glob("probe*.go")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("signature*.go")
	if err != nil {
		t.Fatal(err)
	}
	forbidden := []string{
		"O_RDWR", "O_WRONLY", "O_CREAT", "O_CREATE", "O_TRUNC", "O_APPEND", "Create", "CreateTemp", "WriteFile", "WriteAt", "Write",
		"Remove", "RemoveAll", "Rename", "Truncate", "Mkdir", "MkdirAll", "Symlink", "Link", "Chmod", "Chown", "Mount", "Unmount",
		"Pwrite", "Ioctl", "IoctlSetInt", "Syscall", "RawSyscall", "Command", "Cmd", "MountFS", "AcquireLock",
	}
	opens := 0
	for _, path := range append(paths, more...) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := s.X.(*ast.Ident)
			if !ok || (pkg.Name != "os" && pkg.Name != "unix" && pkg.Name != "host" && pkg.Name != "exec" && pkg.Name != "syscall") {
				return true
			}
			if pkg.Name == "os" && s.Sel.Name == "OpenFile" {
				opens++
			}
			if pkg.Name == "os" && (s.Sel.Name == "O_WRONLY" || s.Sel.Name == "O_RDWR") && path == "probe_process.go" {
				return true // compared with other processes' flags
			}
			for _, f := range forbidden {
				if s.Sel.Name == f && !(pkg.Name == "host" && f == "Mount") {
					t.Errorf("%s uses %s.%s", path, pkg.Name, s.Sel.Name)
				}
			}
			return true
		})
	}
	if opens != 1 {
		t.Errorf("%d calls of os.OpenFile, want the one in open", opens)
	}
}

func TestCompareNames(t *testing.T) {
	for _, pair := range [][2]string{{"sdb", "sdaa"}, {"sda", "sdb"}, {"nvme2n1", "nvme10n1"}, {"sda2", "sda10"}, {"nvme0n1", "sda"}} {
		if compareNames(pair[0], pair[1]) >= 0 {
			t.Errorf("%s does not come before %s", pair[0], pair[1])
		}
	}
}

func TestUdevText(t *testing.T) {
	if got := udevText(`Samsung\x20SSD\x20970\x20`); got != "Samsung SSD 970" {
		t.Errorf("got %q", got)
	}
	if got := udevText(`a\x1b[31m`); strings.ContainsRune(got, 0x1b) {
		t.Errorf("an escape gets through: %q", got)
	}
}

// TestDeniedHint: nobody who is root is told to become root.
func TestDeniedHint(t *testing.T) {
	denied := &fs.PathError{Op: "open", Path: "/dev/sda", Err: syscall.EPERM}
	for _, c := range []struct {
		err  error
		uid  int
		says string
	}{
		{denied, 1000, "run as root"},
		{denied, 0, "a container or sandbox"},
		{syscall.EIO, 1000, ""},
	} {
		if got := deniedHint(c.err, c.uid); !strings.Contains(got, c.says) || c.says == "" && got != "" || c.uid == 0 && strings.Contains(got, "run as root") {
			t.Errorf("%v as %d: %q, want %q", c.err, c.uid, got, c.says)
		}
	}
}
