package disk

import (
	"testing"
)

// gptImage is a disk that sgdisk partitioned: testdata/signatures/gpt.gz.
func gptImage(t *testing.T) *sparseDevice { t.Helper(); return loadImage(t, "gpt") }

func TestTables(t *testing.T) {
	tables := func(s *sparseDevice, sector uint32) []table {
		c := newContent(s, 0, s.Size, sector)
		return readTables(c, contentSignatures(c))
	}
	one := func(t *testing.T, s *sparseDevice, sector uint32) table {
		t.Helper()
		found := tables(s, sector)
		if len(found) != 1 {
			t.Fatalf("%d tables: %+v", len(found), found)
		}
		return found[0]
	}
	good := one(t, gptImage(t), 512)
	if p := good.partitions; good.signature.Offset != 512 || len(p) != 2 || p[0].Label != "disk-os-ESP" || p[0].Type != TypeESP ||
		p[0].Start != 1<<20 || p[0].Size != 20<<20 || p[1].Label != "disk-os-luks" || p[1].Number != 2 {
		t.Errorf("%+v", good)
	}
	t.Run("primary lost", func(t *testing.T) {
		s := gptImage(t)
		s.put(0, make([]byte, 64<<10))
		got := one(t, s, 512)
		if got.signature.Offset != s.Size-512 || got.signature.UUID != good.signature.UUID || len(got.partitions) != 2 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("both damaged", func(t *testing.T) {
		s := gptImage(t)
		s.put(512+60, []byte{0xff})
		s.put(s.Size-512+60, []byte{0xff})
		if got := one(t, s, 512); got.signature.Type != "gpt" || got.signature.UUID != "" || len(got.partitions) != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("being written", func(t *testing.T) {
		s := gptImage(t)
		s.put(1024, make([]byte, 16<<10))    // no entries yet
		s.put(s.Size-512, make([]byte, 512)) // and no backup
		if got := one(t, s, 512); got.signature.UUID != good.signature.UUID || len(got.partitions) != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("of another sector size", func(t *testing.T) {
		if got := one(t, gptImage(t), 4096); got.signature.Offset != 512 || got.signature.UUID != good.signature.UUID {
			t.Errorf("%+v", got)
		}
	})
	t.Run("MBR", func(t *testing.T) {
		got := one(t, loadImage(t, "mbr"), 512)
		p := got.partitions
		if got.signature.Type != "mbr" || got.signature.UUID != "deadbeef" || len(p) != 4 || p[1].Type != "0x05" || p[2].Number != 5 || p[3].Start != 104448*512 || p[3].Number != 6 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a FAT is no MBR", func(t *testing.T) {
		if got := tables(loadImage(t, "fat32"), 512); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("an MBR's chain that loops", func(t *testing.T) {
		s := loadImage(t, "mbr")
		// The first extended boot record's link leads back to itself.
		s.put(67584*512+462+8, []byte{0, 0, 0, 0})
		one(t, s, 512)
		s.put(67584*512+462+8, []byte{0xff, 0xff, 0xff, 0xff})
		one(t, s, 512)
	})
}
