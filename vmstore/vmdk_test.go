package vmstore

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestImagesThatNameOtherFiles: qemu-img opens what a VMDK names with the
// rights of whoever runs it. Images whose content is in other files are refused
// before it sees them; whole ones are taken.
func TestImagesThatNameOtherFiles(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Fatal("qemu-img is missing; apt-get install qemu-utils")
	}
	dir := t.TempDir()
	create := func(name string, args ...string) []byte {
		t.Helper()
		path := filepath.Join(dir, name)
		args = append(append([]string{"create", "-q"}, args...), path, "1M")
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	sparse := create("sparse.vmdk", "-f", "vmdk", "-o", "subformat=monolithicSparse")
	stream := create("stream.vmdk", "-f", "vmdk", "-o", "subformat=streamOptimized")
	vdi := create("whole.vdi", "-f", "vdi")
	// in puts another text into the descriptor, over the padding behind it.
	in := func(image []byte, old, text string) []byte {
		t.Helper()
		from := bytes.Index(image, []byte("# Disk DescriptorFile"))
		to := from + 20*512
		changed := bytes.Replace(bytes.TrimRight(image[from:to], "\x00"), []byte(old), []byte(text), 1)
		if from < 0 || !bytes.Contains(changed, []byte(text)) {
			t.Fatalf("the descriptor has no %q", old)
		}
		padded := append(changed, make([]byte, to-from-len(changed))...)
		return append(append(bytes.Clone(image[:from]), padded...), image[to:]...)
	}
	differencing := bytes.Clone(vdi)
	differencing[0x4c] = 4
	for _, c := range []struct {
		name    string
		image   []byte
		refused string // what the refusal says; "" where the image is whole
	}{
		{"sparse", sparse, ""},
		{"stream", stream, ""},
		{"vdi", vdi, ""},
		{"parent", in(sparse, "createType=", "parentFileNameHint=\"/etc/shadow\"\ncreateType="), "names a parent"},
		{"parent of a stream", in(stream, "createType=", "parentFileNameHint=\"json:{}\"\ncreateType="), "names a parent"},
		{"parent in other letters", in(sparse, "createType=", "PARENTfilenamehint=\"x\"\ncreateType="), "names a parent"},
		{"parent behind a NUL", in(sparse, "createType=", "\x00parentFileNameHint=\"x\"\ncreateType="), "names a parent"},
		{"parent CID", in(sparse, "parentCID=ffffffff", "parentCID=00000001"), "difference to another file"},
		{"flat", in(sparse, "monolithicSparse", "monolithicFlat"), `type "monolithicFlat"`},
		{"extent", in(sparse, "SPARSE \"", "FLAT \"/etc/shadow\" 0\nRW 1 SPARSE \""), "FLAT"},
		{"two extents", in(sparse, "RW ", "RW 2048 SPARSE \"/root/other.vmdk\"\nRW "), "another file"},
		{"differencing vdi", differencing, "type 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := readImage(bytes.NewReader(c.image), int64(len(c.image)))
			var not *NotAnImageError
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.refused != "" && (!errors.As(err, &not) || !strings.Contains(not.Why, c.refused)):
				t.Errorf("= %v, want a refusal that says %q", err, c.refused)
			}
		})
	}
}

// TestHostileVMDKReadsNothing: without the refusal, qemu-img copies a file of
// the host into the image; this is what it guards against.
func TestHostileVMDKReadsNothing(t *testing.T) {
	dir := t.TempDir()
	victim, image := filepath.Join(dir, "shadow"), filepath.Join(dir, "disk.vmdk")
	if err := os.WriteFile(victim, bytes.Repeat([]byte("CANARY! "), 1<<17), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "vmdk", "-o", "backing_fmt=raw", "-b", victim, image).CombinedOutput()
	if err != nil {
		// Newer QEMU takes only VMDK parents here; the text is what counts.
		t.Logf("qemu-img create: %s", out)
		if out, err := exec.Command("qemu-img", "create", "-q", "-f", "vmdk", image, "1M").CombinedOutput(); err != nil {
			t.Fatalf("qemu-img create: %v\n%s", err, out)
		}
		text, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		hint := "parentFileNameHint=\"" + victim + "\"\n"
		at := bytes.Index(text, []byte("createType="))
		text = append(append(bytes.Clone(text[:at]), hint...), append(bytes.Clone(text[at:20*512+512-len(hint)]), text[20*512+512:]...)...)
		if err := os.WriteFile(image, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := inspect(image)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.Problem, "names a parent") {
		t.Errorf("problem = %q, want that it names a parent", f.Problem)
	}
}
