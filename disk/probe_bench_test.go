package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkProbe probes a tree of twelve disks, whose contents are files of 256
// MiB: eleven with a btrfs, one blank. The page cache holds them, so this is
// the cost of the program and of reading two MiB of each.
func BenchmarkProbe(b *testing.B) {
	root := b.TempDir()
	put := func(path, text string) {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	s := loadImage(b, "btrfs")
	for i := range 12 {
		name := "sd" + string(rune('a'+i))
		for file, text := range map[string]string{
			"dev": fmt.Sprintf("8:%d", 16*i), "size": fmt.Sprint(s.Size / 512), "removable": "0", "ro": "0",
			"queue/logical_block_size": "512", "queue/physical_block_size": "4096", "queue/rotational": "1", "queue/discard_max_bytes": "0",
		} {
			put("sys/block/"+name+"/"+file, text+"\n")
		}
		put("dev/disk/by-id/x", "")
		put("dev/"+name, "")
		device := filepath.Join(root, "dev", name)
		if err := os.Truncate(device, int64(s.Size)); err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			continue
		}
		file, err := os.OpenFile(device, os.O_WRONLY, 0)
		if err != nil {
			b.Fatal(err)
		}
		for off, data := range s.Pages {
			if _, err := file.WriteAt(data, int64(off)); err != nil {
				b.Fatal(err)
			}
		}
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		f, err := Probe(context.Background(), root)
		if err != nil || len(f.Disks) != 12 || f.Disks[3].Signatures[0].Type != "btrfs" {
			b.Fatalf("%v %+v", err, f)
		}
	}
}
