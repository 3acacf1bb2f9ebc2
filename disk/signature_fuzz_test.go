package disk

import (
	"bytes"
	"testing"
	"unicode"
)

// FuzzSignatures reads disks whose first and last 64 KiB are anything at all:
// no reader may panic, read outside, or pass on what a terminal would obey.
func FuzzSignatures(f *testing.F) {
	for _, image := range images {
		s := loadImage(f, image.name)
		head := make([]byte, min(s.Size, 128<<10))
		if _, err := s.ReadAt(head, 0); err != nil {
			f.Fatal(err)
		}
		f.Add(head, []byte(nil), uint32(512))
	}
	zfs := make([]byte, 256<<10)
	if _, err := zfsImage(64<<20, 0).ReadAt(zfs, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(zfs[:20<<10], zfs, uint32(4096))
	f.Fuzz(func(t *testing.T, head, tail []byte, sector uint32) {
		if len(head)+len(tail) > 1<<20 {
			return
		}
		switch sector {
		case 512, 4096:
		default:
			sector = 512
		}
		// The middle is zeros, so that offsets far in lead somewhere.
		data := make([]byte, len(head)+2<<20+len(tail))
		copy(data, head)
		copy(data[len(data)-len(tail):], tail)
		c := newContent(bytes.NewReader(data), 0, uint64(len(data)), sector)
		found := contentSignatures(c)
		for _, table := range readTables(c, found) {
			found = append(found, table.signature)
			for _, p := range table.partitions {
				if p.Start > c.size || p.Size > c.size-p.Start {
					t.Errorf("partition %+v lies outside of %d bytes", p, c.size)
				}
				clean(t, p.Label)
			}
		}
		for _, s := range found {
			clean(t, s.Label)
			clean(t, s.UUID)
			clean(t, s.Subsystem)
		}
		if c.err != nil {
			t.Errorf("reading what is there: %v", c.err)
		}
	})
}

func clean(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if unicode.IsControl(r) {
			t.Errorf("%q has a control character", s)
		}
	}
}
