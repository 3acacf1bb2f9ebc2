package vmstore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hvinstall/host"
	"hvinstall/host/web"
)

// TestConvertedImageReadsNothingElse gives qemu-img what the readers before it
// refuse: an image whose content is in another file. Unconfined, that file is
// in the output.
func TestConvertedImageReadsNothingElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("confining a program takes root; make check runs as root")
	}
	dir := t.TempDir()
	secret := bytes.Repeat([]byte("a line of the host's /etc/shadow\n"), 2048)
	canary := filepath.Join(dir, "canary")
	if err := os.WriteFile(canary, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "image")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
	}
	run("create", "-q", "-f", "qcow2", "-F", "raw", "-b", canary, image)
	for _, confined := range []bool{false, true} {
		out := filepath.Join(dir, map[bool]string{false: "open", true: "confined"}[confined])
		cmd := host.Cmd{Argv: []string{"qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, out}}
		if confined {
			cmd.Confined = &host.Confinement{Read: image, Write: out}
		}
		err := cmd.Run(t.Context())
		got, readErr := os.ReadFile(out)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if has := bytes.Contains(got, secret[:33]); has == confined || (err == nil) == confined {
			t.Errorf("confined %v: the other file is in the output: %v; %v", confined, has, err)
		}
	}
}

// TestXZMemory: the first stream is small and passes; the second asks for a
// dictionary of 1.5 GiB.
func TestXZMemory(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		t.Fatal("xz is missing; apt-get install xz-utils")
	}
	data := bytes.Repeat([]byte("content"), 1000)
	pack := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command("xz", append([]string{"-zc", "-T1", "--check=crc32"}, args...)...)
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	small := pack("-0")
	huge := bytes.Clone(small)
	// The block header's filter properties: one byte for the dictionary's size,
	// see "The .xz File Format", 5.3.1. 39 is 3 GiB.
	at := bytes.Index(huge[12:24], []byte{0x21, 0x01})
	if at < 0 {
		t.Fatal("no LZMA2 filter in the block's header")
	}
	huge[12+at+2] = 39
	sealBlock(huge[12:])
	cmd := exec.Command(unpackers[compressionXZ][0], unpackers[compressionXZ][1:]...)
	cmd.Stdin = bytes.NewReader(append(bytes.Clone(small), huge...))
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("Memory usage limit")) {
		t.Errorf("%v, %q; want xz to stop at its limit", err, out[max(0, len(out)-200):])
	}
}

// sealBlock writes a block header's CRC32 anew.
func sealBlock(header []byte) {
	size := (int(header[0]) + 1) * 4
	binary.LittleEndian.PutUint32(header[size-4:], crc32.ChecksumIEEE(header[:size-4]))
}

// TestEndlessSums: a list of sums that never ends hung the run. What ends it is
// the time; the test's own limit is what would otherwise wait for ever.
func TestEndlessSums(t *testing.T) {
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, "#"); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select { // one byte now and then, so that no pause is a long one
			case <-r.Context().Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}))
	defer server.Close()
	sum, err := parseChecksum("sha256:" + server.URL + "/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	_, err = sum.resolve(t.Context(), web.New("", time.Minute), "https://x.org/a.qcow2", 2*time.Second)
	if err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("%v, want an error that says why", err)
	}
	select { // and the server is let go
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Error("the server is still writing to nobody, or was never asked")
	}
}
