package testvm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/therootcompany/xz"
)

// Unpacked is the kernel as an ELF file, which QEMU enters directly, by PVH.
// Under TCG a kernel that unpacks itself takes 5 s for it. Booted so, the
// kernel has no VGA text console: nobody set the screen up for it.
//
// The file is below build/kernel and made once. A kernel that isn't packed by
// xz, as Debian's is, stays as it is.
func (k Kernel) Unpacked() (string, error) {
	info, err := os.Stat(k.Image)
	if err != nil {
		return "", err
	}
	path := filepath.Join(Root(), "build", "kernel", fmt.Sprintf("vmlinux-%s-%d", k.Release, info.ModTime().Unix()))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	image, err := os.ReadFile(k.Image)
	if err != nil {
		return "", err
	}
	payload, err := payload(image)
	if err != nil {
		return "", fmt.Errorf("%s: %w", k.Image, err)
	}
	if !bytes.HasPrefix(payload, []byte("\xfd7zXZ\x00")) {
		return k.Image, nil
	}
	packed, err := xz.NewReader(bytes.NewReader(payload), 0)
	if err != nil {
		return "", fmt.Errorf("%s: %w", k.Image, err)
	}
	packed.Multistream(false) // its size follows, four bytes that are no stream
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	// Tests of several packages may do this at the same time.
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return "", err
	}
	defer file.Cleanup()
	if _, err := io.Copy(file, packed); err != nil {
		return "", fmt.Errorf("unpacking %s: %w", k.Image, err)
	}
	return path, file.CloseAtomicallyReplace()
}

// payload is the packed kernel in a bzImage.
// Source: Documentation/arch/x86/boot.rst, payload_offset and payload_length,
// which protocol 2.08 has.
func payload(image []byte) ([]byte, error) {
	const setupSects, magic, version, offset, length = 0x1f1, 0x202, 0x206, 0x248, 0x24c
	if len(image) < length+4 || string(image[magic:magic+4]) != "HdrS" || binary.LittleEndian.Uint16(image[version:]) < 0x208 {
		return nil, fmt.Errorf("no bzImage of boot protocol 2.08 or newer")
	}
	setup := uint64(image[setupSects])
	if setup == 0 {
		setup = 4
	}
	start := (setup+1)*512 + uint64(binary.LittleEndian.Uint32(image[offset:]))
	end := start + uint64(binary.LittleEndian.Uint32(image[length:]))
	if end > uint64(len(image)) {
		return nil, fmt.Errorf("its payload ends at byte %d of %d", end, len(image))
	}
	return image[start:end], nil
}
