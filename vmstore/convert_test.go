//go:build libvirt

package vmstore

import (
	"archive/tar"
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFetchConverts: an appliance in any of the formats that vendors publish
// becomes a qcow2 with the same content, by qemu-img's own comparison.
func TestFetchConverts(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "disk.raw")
	data := make([]byte, 8<<20)
	for i := range 1 << 20 {
		data[i*7] = byte(i)
	}
	// A boot sector, so that it is known for a disk.
	data[510], data[511] = 0x55, 0xaa
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	web := newServer(t)
	for _, format := range []string{"raw", "vmdk", "vdi", "vhdx", "vpc", "vpc-fixed", "ova"} {
		t.Run(format, func(t *testing.T) {
			vendor := filepath.Join(dir, "vendor."+format)
			options := map[string]string{"vmdk": "subformat=streamOptimized", "ova": "subformat=streamOptimized", "vpc": "force_size=on", "vpc-fixed": "subformat=fixed,force_size=on"}[format]
			program := map[string]string{"ova": "vmdk", "vpc-fixed": "vpc"}[format]
			argv := []string{"qemu-img", "convert", "-f", "raw", "-O", cmp.Or(program, format)}
			if options != "" {
				argv = append(argv, "-o", options)
			}
			pack(t, append(argv, raw, vendor)...)
			published, err := os.ReadFile(vendor)
			if err != nil {
				t.Fatal(err)
			}
			if format == "ova" {
				published = tarOf(t, tar.Header{Name: "a.ovf", Size: 4, Mode: 0o644}, []byte("<ok>"), tar.Header{Name: "a.mf", Size: 4, Mode: 0o644}, []byte("SHA1"),
					tar.Header{Name: "a-disk1.vmdk", Size: int64(len(published)), Mode: 0o644}, published)
			}
			packed := compressed(t, "xz", published)
			dest := t.TempDir()
			log, err := fetchOne(t, testFetcher(), dest, web.put("/"+format+".xz", &served{data: packed, etag: `"1"`}), sha(packed))
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(log.lines, "\n"))
			}
			got := filepath.Join(dest, "disk.qcow2")
			if f, err := inspect(got); err != nil || f.Format != "qcow2" || f.Virtual != int64(len(data)) {
				t.Errorf("it became %+v, %v; want a qcow2 of %d bytes", f, err, len(data))
			}
			pack(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, got)
			wantClean(t, dest, "disk.qcow2")
		})
	}
}
