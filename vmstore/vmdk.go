package vmstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Where a sparse VMDK has its descriptor (VMware's Virtual Disk Format 5.0,
// "Hosted Sparse Extents"). QEMU looks for a parent in the 20 sectors behind
// the first one whatever the header says (block/vmdk.c, vmdk_parent_open), so
// both places are read.
const (
	vmdkSector     = 512
	vmdkUsualStart = 1 * vmdkSector
	vmdkUsualSize  = 20 * vmdkSector
	vmdkMostText   = 64 << 10 // bytes; a descriptor of one extent has under 1 KiB
)

// readVMDK checks a sparse VMDK and gives the virtual size. A descriptor is a
// text that may name other files of this host, as a parent or as extents, and
// qemu-img opens what it names as whoever runs it: only a disk that is whole in
// this one file is taken.
func readVMDK(r io.ReaderAt, head []byte, size int64) (virtual int64, err error) {
	not := func(format string, args ...any) error { return &NotAnImageError{Why: fmt.Sprintf(format, args...)} }
	if len(head) < 44 {
		return 0, not("its VMDK header is cut off")
	}
	le := binary.LittleEndian
	sectors, start, count := le.Uint64(head[12:]), le.Uint64(head[28:]), le.Uint64(head[36:])
	switch {
	case sectors == 0:
		// Such a header only points to a text that names other files.
		return 0, not("the VMDK holds no disk itself, it names other files; convert it to one file first")
	case sectors > 1<<53:
		return 0, not("its VMDK header gives a size of %d sectors", sectors)
	case count > vmdkMostText/vmdkSector || start > uint64(size)/vmdkSector:
		return 0, not("the descriptor of the VMDK is said to be at sector %d and to have %d sectors, which cannot be", start, count)
	}
	texts := [][2]int64{{vmdkUsualStart, vmdkUsualSize}}
	if start != 0 && count != 0 {
		texts = append(texts, [2]int64{int64(start) * vmdkSector, int64(count) * vmdkSector})
	}
	for _, at := range texts {
		text, err := io.ReadAll(io.NewSectionReader(r, at[0], at[1]))
		if err != nil {
			return 0, err
		}
		if bytes.Contains(bytes.ToLower(text), []byte("parentfilenamehint")) {
			return 0, not("the VMDK names a parent, another file that it is only the difference to; convert it to one file first")
		}
		if err := judgeVMDKText(text); err != nil {
			return 0, err
		}
	}
	return int64(sectors) * vmdkSector, nil
}

// judgeVMDKText looks at the lines of a descriptor; bytes that are none pass.
func judgeVMDKText(text []byte) error {
	text, _, _ = bytes.Cut(text, []byte{0})
	if !bytes.HasPrefix(text, []byte("# Disk DescriptorFile")) {
		return nil
	}
	extents := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		key, value, assigned := strings.Cut(line, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		fields := strings.Fields(line)
		switch key = strings.ToLower(strings.TrimSpace(key)); {
		case assigned && key == "parentcid" && !strings.EqualFold(value, "ffffffff"):
			return &NotAnImageError{Why: "the VMDK is the difference to another file; convert it to one file first"}
		case assigned && key == "createtype" && !strings.EqualFold(value, "monolithicSparse") && !strings.EqualFold(value, "streamOptimized"):
			return &NotAnImageError{Why: fmt.Sprintf("the VMDK is of type %.64q, whose content is in other files; convert it to monolithicSparse first", value)}
		case len(fields) >= 3 && (fields[0] == "RW" || fields[0] == "RDONLY" || fields[0] == "NOACCESS"):
			if extents++; extents > 1 || fields[2] != "SPARSE" {
				return &NotAnImageError{Why: fmt.Sprintf("the VMDK has the extent %.64q, which is another file; convert it to one file first", line)}
			}
		}
	}
	return nil
}

// judgeVDI refuses a VDI that is the difference to another one. The types are
// VirtualBox's (VDICore.h): 1 is dynamic, 2 fixed.
func judgeVDI(head []byte) error {
	if kind := binary.LittleEndian.Uint32(head[0x4c:]); kind != 1 && kind != 2 {
		return &NotAnImageError{Why: fmt.Sprintf("the VDI is of type %d, and only dynamic (1) and fixed (2) ones are whole by themselves; convert it first", kind)}
	}
	if size := int64(binary.LittleEndian.Uint64(head[0x170:])); size < 0 {
		return &NotAnImageError{Why: "its VDI header gives a size that cannot be"}
	}
	// The UUIDs of the disk that it was linked to, and of its parent.
	if len(head) < 0x1c8 || !bytes.Equal(head[0x1a8:0x1c8], make([]byte, 32)) {
		return &NotAnImageError{Why: "the VDI names a parent, another file that it is only the difference to; convert it to one file first"}
	}
	return nil
}
