package vmstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// readVHD finds the footer that makes a file a VHD (Microsoft's "Virtual Hard
// Disk Image Format Specification"): the last 512 bytes, and the first ones as
// well where the disk is dynamic. One that is the difference to another file is
// no whole image.
func readVHD(r io.ReaderAt, size int64) (virtual int64, isVHD bool, err error) {
	const sector, fixed, dynamic = 512, 2, 3
	if size < 2*sector {
		return 0, false, nil
	}
	footer := make([]byte, sector)
	for _, at := range []int64{0, size - sector} {
		if _, err := r.ReadAt(footer, at); err != nil && !errors.Is(err, io.EOF) {
			return 0, false, err
		}
		if !bytes.HasPrefix(footer, []byte("conectix")) {
			continue
		}
		virtual = int64(binary.BigEndian.Uint64(footer[48:]))
		switch kind := binary.BigEndian.Uint32(footer[60:]); {
		case kind == fixed && at == 0 || kind != fixed && kind != dynamic:
			return virtual, true, &NotAnImageError{Why: fmt.Sprintf("the VHD is of type %d, and only fixed (2) and dynamic (3) ones are whole by themselves; convert it first", kind)}
		case kind == fixed && virtual != size-sector:
			return virtual, true, &NotAnImageError{Why: "it is cut off: the VHD's length is not the one that its footer says"}
		case kind == dynamic && at != 0:
			continue // its beginning is not there: a raw disk that holds one's end
		}
		return virtual, true, nil
	}
	return 0, false, nil
}
