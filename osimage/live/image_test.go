package live

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func parts(t *testing.T) Parts {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte(name), size/len(name)+1), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return Parts{
		Kernel: write("kernel", 1<<20), Initrd: write("initrd", 3<<20), Loader: write("loader", 100<<10), Image: write("image", 5<<20),
		Sum: strings.Repeat("ab", 32), Files: map[string]string{"README.txt": write("readme", 100), "layout.example.yaml": write("layout", 5000)},
		Append: "hvinstall.yes", Epoch: 1764000000, Spare: 8 << 20,
	}
}

func program(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s(apt-get install gdisk dosfstools mtools)", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// The image is judged by sgdisk, fsck.vfat and mtools.
func TestWrite(t *testing.T) {
	image := filepath.Join(t.TempDir(), "live.img")
	p := parts(t)
	if err := Write(context.Background(), image, p); err != nil {
		t.Fatal(err)
	}
	if out := program(t, "sgdisk", "-v", image); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk -v: %s", out)
	}
	if out := program(t, "sgdisk", "-p", image); !strings.Contains(out, "EF00") || !strings.Contains(out, "0700") {
		t.Errorf("partitions: %s", out)
	}
	whole, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	esp, data := filepath.Join(t.TempDir(), "esp"), filepath.Join(t.TempDir(), "data")
	for file, content := range map[string][]byte{esp: whole[mib : mib+espSize], data: whole[mib+espSize : len(whole)-mib]} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		program(t, "fsck.vfat", "-n", file)
	}
	if out := program(t, "mtype", "-i", esp, "::/loader/entries/live.conf"); !strings.Contains(out, "hvinstall.live="+p.Serial()) || !strings.Contains(out, "hvinstall.yes") {
		t.Errorf("entry: %s", out)
	}
	if out := program(t, "mdir", "-i", data, "::/"); !strings.Contains(out, "Volume in drive : is HVINSTALL") || !strings.Contains(out, p.Serial()) {
		t.Errorf("data partition: %s, want serial %s", out, p.Serial())
	}
	if out := program(t, "mtype", "-i", data, "::/hvinstall/root.squashfs.sha256"); out != p.Sum+"  root.squashfs\n" {
		t.Errorf("sum file: %q", out)
	}
	got, err := exec.Command("mtype", "-i", data, "::/hvinstall/root.squashfs").Output()
	want, _ := os.ReadFile(p.Image)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the image on the medium: %d bytes, %v; want %d", len(got), err, len(want))
	}

	again := filepath.Join(t.TempDir(), "again.img")
	if err := Write(context.Background(), again, p); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(whole, second) {
		t.Error("writing the same parts again gives another image")
	}
}
