package vmstore

import (
	"bytes"
	"errors"
	"io"
)

// otherFormats are those that QEMU reads besides the ones taken here, by what
// stands at the place where it looks (the probe functions of QEMU's block/).
// Some name other files, and all have parsers that few people look at.
var otherFormats = []struct {
	name, mark string
	at         int64 // from the end where it is negative
}{
	{"a COWD (VMDK of ESX)", "COWD", 0},
	{"a QED", "QED\x00", 0},
	{"a Parallels disk", "WithoutFreeSpace", 0},
	{"a Parallels disk", "WithouFreSpacExt", 0},
	{"a Bochs disk", "Bochs Virtual HD Image", 0},
	{"a cloop", "#!/bin/sh\n#V2.0 Format\n", 0},
	{"a DMG", "koly", -512},
	{"a LUKS volume", "LUKS\xba\xbe", 0},
	{"a QEMU copy-on-write file", "OOOM", 0},
	{"a VMDK descriptor", "# Disk DescriptorFile", 0},
	{"a VHD", "conectix", 0},
	{"a VHDX", "vhdxfile", 0},
	{"a qcow", "QFI\xfb", 0},
	{"a VMDK", "KDMV", 0},
}

// otherFormat names the format that a raw image would be taken for by a program
// that is not told its format. A raw disk begins with boot code, which none of
// these is.
func otherFormat(r io.ReaderAt, head []byte, size int64) (string, error) {
	// QEMU passes over a VMDK descriptor's comments and empty lines.
	for line := range bytes.Lines(head) {
		line = bytes.TrimRight(line, "\r\n")
		if bytes.HasPrefix(line, []byte("version=")) {
			return "a VMDK descriptor", nil
		}
		if len(bytes.TrimSpace(line)) > 0 && line[0] != '#' {
			break
		}
	}
	for _, f := range otherFormats {
		at := f.at
		if at < 0 {
			at += size
		}
		mark := make([]byte, len(f.mark))
		if at < 0 {
			continue
		}
		if _, err := r.ReadAt(mark, at); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if string(mark) == f.mark {
			return f.name, nil
		}
	}
	return "", nil
}
