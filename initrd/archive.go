package initrd

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

// archive collects the files of a newc archive, see the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst. Owners are root,
// times zero and inode numbers counted, so that equal content gives equal bytes.
type archive struct {
	records []cpio.Record
	folders map[string]bool
}

func (a *archive) add(r cpio.Record) {
	r.MTime = 0
	r.NLink = 1
	a.records = append(a.records, r)
}

func (a *archive) dir(name string) {
	if a.folders == nil {
		a.folders = map[string]bool{}
	}
	if a.folders[name] {
		return
	}
	a.folders[name] = true
	a.add(cpio.Directory(name, 0o755))
}

func (a *archive) file(name string, data []byte, mode uint64) {
	a.add(cpio.StaticRecord(data, cpio.Info{
		Name: name, Mode: cpio.S_IFREG | mode, FileSize: uint64(len(data)),
	}))
}

func (a *archive) fileWithFolders(name string, data []byte, mode uint64) {
	var folders []string
	for d := path.Dir(name); d != "."; d = path.Dir(d) {
		folders = append(folders, d)
	}
	for _, d := range slices.Backward(folders) {
		a.dir(d)
	}
	a.file(name, data, mode)
}

func (a *archive) charDevice(name string, major, minor uint64) {
	a.add(cpio.CharDev(name, 0o600, major, minor))
}

// bytes is the archive. The kernel unpacks in the order given, so that folders
// come before what is in them: sorting by name does that.
func (a *archive) bytes() ([]byte, error) {
	slices.SortStableFunc(a.records, func(x, y cpio.Record) int { return strings.Compare(x.Name, y.Name) })
	var out bytes.Buffer
	w := cpio.Newc.Writer(&out)
	for i, r := range a.records {
		r.Ino = uint64(i + 1)
		if err := w.WriteRecord(r); err != nil {
			return nil, fmt.Errorf("writing %s to the archive: %w", r.Name, err)
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, fmt.Errorf("ending the archive: %w", err)
	}
	return out.Bytes(), nil
}

// compressed is the archive as zstd. One encoder goroutine: the bytes must not
// depend on the number of processors.
func (a *archive) compressed() ([]byte, error) {
	plain, err := a.bytes()
	if err != nil {
		return nil, err
	}
	// The kernel refuses windows of more than 128 MiB (lib/decompress_unzstd.c).
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedBestCompression),
		zstd.WithWindowSize(zstd.MaxWindowSize>>6), // 8 MiB
		zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	return enc.EncodeAll(plain, nil), nil
}
