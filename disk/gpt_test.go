package disk

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// tableOf is an OS disk's table on a disk of this size.
func tableOf(size uint64) TablePlan {
	end := size/alignment*alignment - alignment
	return TablePlan{GUID: "6f1c2a3b-0000-5000-8000-000000000001", Partitions: []PartitionPlan{
		{Number: 1, Label: "disk-os-ESP", Type: TypeESP, GUID: "6f1c2a3b-0000-5000-8000-000000000002", Start: alignment, Size: 256 << 20, Format: "vfat", FSLabel: "ESP", FSUUID: "8B34-7D3C"},
		{Number: 2, Label: "disk-os-luks", Type: TypeLinuxLUKS, GUID: "6f1c2a3b-0000-5000-8000-000000000003", Start: 257 << 20, Size: end - 257<<20, Format: "luks"},
	}}
}

func sparseDisk(t *testing.T, size int64) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestTableCutShort stops the writing of a table after each of its writes, and
// in the middle of each: the disk must never look like somebody else's.
func TestTableCutShort(t *testing.T) {
	const size = 8 << 30
	table := tableOf(size)
	w, err := table.layOut(size, 512)
	if err != nil {
		t.Fatal(err)
	}
	for stop := range w.ordered() {
		for _, part := range []int{0, 1, 2} { // none, half, all of the write at which it stops
			file := sparseDisk(t, size)
			for i, x := range w.ordered()[:stop+1] {
				n := len(x.data)
				if i == stop {
					// A sector is written whole or not at all.
					n = n * part / 2 / 512 * 512
				}
				if _, err := file.WriteAt(x.data[:n], x.offset); err != nil {
					t.Fatal(err)
				}
			}
			whole := stop == len(w.ordered())-1 && part == 2
			found, why, err := table.findTable(file, size, 512)
			if err != nil {
				t.Fatal(err)
			}
			c := newContent(file, 0, size, 512)
			var d Disk
			signatures := contentSignatures(c)
			for _, found := range readTables(c, signatures) {
				d.Signatures = append(d.Signatures, found.signature)
				d.Begun, _ = foundBegun(c, 512, found.signature.UUID)
			}
			switch {
			case whole:
				if found != tableWhole || !d.isOurs(table) || !d.Begun {
					t.Errorf("whole: found %d (%s), ours %v, begun %v", found, why, d.isOurs(table), d.Begun)
				}
			case found == tableNone:
				if len(d.Signatures) > 0 || !c.blank() {
					t.Errorf("stopped at write %d, part %d: no table, and yet not blank", stop, part)
				}
			case found != tableBegun || !d.isOurs(table) || !d.Begun:
				t.Errorf("stopped at write %d, part %d: found %d (%s), ours %v, begun %v; want it begun", stop, part, found, why, d.isOurs(table), d.Begun)
			}
		}
	}
}

// TestCompleteTableIsNeverRewritten: without the mark, a table of ours that has
// lost something is somebody's to repair.
func TestCompleteTableIsNeverRewritten(t *testing.T) {
	const size = 8 << 30
	table := tableOf(size)
	w, err := table.layOut(size, 512)
	if err != nil {
		t.Fatal(err)
	}
	file := sparseDisk(t, size)
	if err := w.put(file); err != nil {
		t.Fatal(err)
	}
	if err := zero(file, []span{{begunOffset(size, 512), 512}}); err != nil {
		t.Fatal(err)
	}
	if found, why, _ := table.findTable(file, size, 512); found != tableWhole {
		t.Fatalf("found %d (%s), want it whole", found, why)
	}
	if begun, err := isBegun(file, size, 512, table.GUID); begun || err != nil {
		t.Errorf("begun = %v, %v after the mark was removed", begun, err)
	}
	if _, err := file.WriteAt(make([]byte, 512), size-512); err != nil { // the backup's header
		t.Fatal(err)
	}
	if found, why, _ := table.findTable(file, size, 512); found != tableBroken {
		t.Errorf("found %d (%s), want it broken", found, why)
	}
	if found, _, _ := tableOf(9<<30).findTable(sparseDisk(t, size), size, 512); found != tableNone {
		t.Errorf("found %d on a blank disk, want none", found)
	}
}

// TestProtectiveMBRBeyond2TiB: the field has 32 bits.
func TestProtectiveMBRBeyond2TiB(t *testing.T) {
	for size, want := range map[uint64]uint32{4000787030016: 0xffffffff, 8 << 30: 8<<21 - 1} {
		w, err := tableOf(size).layOut(size, 512)
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.LittleEndian.Uint32(w.mbr.data[446+12:]); got != want {
			t.Errorf("a disk of %d bytes: %#x sectors protected, want %#x", size, got, want)
		}
	}
}

// TestWipeReachesEverySignature holds the wiped parts against the offsets of
// signatures at both ends.
func TestWipeReachesEverySignature(t *testing.T) {
	const size = 1 << 40
	dp := DiskPlan{Disk: Disk{Size: size, Partitions: []Partition{{Start: 3 << 30, Size: 5 << 30}}}, Table: tableOf(size)}
	spans := dp.wipeSpans()
	covered := func(at uint64) bool {
		for _, s := range spans {
			if at >= s.offset && at < s.offset+s.size {
				return true
			}
		}
		return false
	}
	for what, at := range map[string]uint64{
		"MBR": 510, "GPT": 512, "LVM": 512, "ext4": 1080, "btrfs": 64<<10 + 0x40, "swap": 4086, "ZFS label 0": 128 << 10, "iso9660": 32769,
		"backup GPT": size - 512, "md 0.90": size - 64<<10, "md 1.0": size - 8192, "ZFS label 3": size - 128<<10,
		"old partition's btrfs": 3<<30 + 64<<10, "old partition's md": 8<<30 - 8192, "LUKS2's late second header": 257<<20 + 4<<20,
		"new partition's end": dp.Table.Partitions[1].Start + dp.Table.Partitions[1].Size - 4096,
	} {
		if !covered(at) {
			t.Errorf("%s at %d is not wiped", what, at)
		}
	}
	if last := spans[len(spans)-1]; last.offset != 0 {
		t.Errorf("the disk's beginning is wiped before %d: a wipe cut short would hide what the disk held", last.offset)
	}
	for _, s := range spans {
		if s.offset+s.size > size {
			t.Errorf("span %+v leads beyond the disk", s)
		}
	}
}

// TestWipeCutShort stops the wiping of a disk that carried a hvinstall host's
// volume again and again: the same --erase goes on with it, and nothing takes the
// header that is gone for one that was lost.
func TestWipeCutShort(t *testing.T) {
	const size = 2 << 30
	old := TablePlan{GUID: "5a5a5a5a-0000-5000-8000-000000000001", Partitions: []PartitionPlan{
		{Number: 1, Label: "disk-tank-1-luks", Type: TypeLinuxLUKS, GUID: "5a5a5a5a-0000-5000-8000-000000000002", Start: alignment, Size: size - 3*alignment, Format: "luks"},
	}}
	writes, err := old.layOut(size, 512)
	if err != nil {
		t.Fatal(err)
	}
	file, volume := sparseDisk(t, size), make([]byte, 4<<20)
	_, err = loadImage(t, "luks2").ReadAt(volume, 0)
	if err := errors.Join(err, writes.put(file), zero(file, []span{{begunOffset(size, 512), 512}})); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(volume, alignment); err != nil {
		t.Fatal(err)
	}
	read := func() Disk {
		d := nvme("nvme1n1", "A", size)
		(&machine{root: "/", unseen: map[string]bool{}}).contentOf(&d, file)
		return d
	}
	in := house()
	in.Erase = []string{"nvme-A"}
	in.Facts.Disks[1] = read()
	gone := false
	check := func(where uint64) {
		t.Helper()
		d := read()
		if _, carries := d.Carried(); !carries {
			gone = true
		}
		in.Facts.Disks[1] = d
		if plan, refusals := MakePlan(in); len(refusals) > 0 || plan.Disks[1].Fate != Erase {
			t.Fatalf("cut short at %d, where it holds %s: %s, %v, want erase", where, d.Content(), plan.Disks[1].Fate, refusals)
		}
	}
	mark, spans := DiskPlan{Disk: in.Facts.Disks[1], Table: tableOf(size)}.wiping()
	if _, err := file.WriteAt(mark.data, mark.offset); err != nil {
		t.Fatal(err)
	}
	if check(uint64(mark.offset)); gone {
		t.Fatal("the disk does not carry the volume that it is to lose")
	}
	for i, s := range spans {
		piece := uint64(4 << 20)
		if i >= len(spans)-3 { // the disk's own ends, with the tables
			piece = 128 << 10
		}
		for done := uint64(0); done < s.size; done += piece {
			if err := zero(file, []span{{s.offset + done, min(piece, s.size-done)}}); err != nil {
				t.Fatal(err)
			}
			check(s.offset + done)
		}
	}
	if !gone {
		t.Error("the volume is still there")
	}
}

func TestSerial(t *testing.T) {
	if n, err := parseSerial("8B34-7D3C"); n != 0x8b347d3c || err != nil {
		t.Errorf("= %#x, %v", n, err)
	}
	for _, bad := range []string{"", "8B347D3C", "8B34-7D3", "8B34-7D3X", "8B34-7D3C1"} {
		if _, err := parseSerial(bad); err == nil {
			t.Errorf("parseSerial(%q) is no error", bad)
		}
	}
}

// TestBegunSaysForWhom: the mark of a disk that is being made gives the host's
// seed back, letter by letter; one written before there were seeds gives none.
func TestBegunSaysForWhom(t *testing.T) {
	for _, host := range []string{"small-0123456789ab", "hypervisor", ""} {
		size := uint64(64 << 20)
		table := TablePlan{GUID: "6f1c2a3b-0000-5000-8000-000000000001", Host: host}
		writes, err := table.layOut(size, 512)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := errors.Join(file.Truncate(int64(size)), writes.put(file)); err != nil {
			t.Fatal(err)
		}
		if begun, got := foundBegun(newContent(file, 0, size, 512), 512, table.GUID); !begun || got != host {
			t.Errorf("foundBegun = %v, %q, want true, %q", begun, got, host)
		}
	}
}
