package osimage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hvinstall/host"
)

// Two files say how far the unpacking came. The first is written before
// anything else and removed last; the second only when the whole image is
// there, synced, and its sum was right. No boot entry is made without it.
const (
	startedMark = ".hvinstall-unpacking"
	doneMark    = "/var/lib/hvinstall/image.json"
)

// Installed is what doneMark says.
type Installed struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"` // as it was computed from the bytes that were unpacked
}

// ReadInstalled reads which image the system at root was unpacked from; false:
// none, or not to its end.
func ReadInstalled(root string) (Installed, bool, error) {
	var i Installed
	data, err := os.ReadFile(filepath.Join(root, doneMark))
	if errors.Is(err, fs.ErrNotExist) {
		return i, false, nil
	}
	if err != nil {
		return i, false, err
	}
	if err := json.Unmarshal(data, &i); err != nil || i.SHA256 == "" {
		return i, false, fmt.Errorf("%s is damaged; remove it to have the system unpacked again", doneMark)
	}
	// The mark and the image come in one root: the start's mark beside it means
	// that a later unpacking was interrupted.
	if _, err := os.Lstat(filepath.Join(root, startedMark)); err == nil {
		return i, false, nil
	}
	return i, true, nil
}

func writeInstalled(root string, i Installed) error {
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFile(filepath.Join(root, doneMark), append(data, '\n'), 0o644)
}
