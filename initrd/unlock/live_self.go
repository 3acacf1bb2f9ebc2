package unlock

import (
	"fmt"
	"os"
	"path/filepath"
)

// selfInLive is where the live system has hvinstall, in everybody's PATH.
const selfInLive = "/usr/local/bin/hvinstall"

// putSelf puts this binary into the live system: what installs is what booted,
// and the image needs no rebuilding for it.
func putSelf() error {
	data, err := os.ReadFile("/init")
	if err != nil {
		return fmt.Errorf("reading this binary: %w", err)
	}
	target := filepath.Join(newRoot, selfInLive)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(target, data, 0o600); err != nil {
		return fmt.Errorf("putting hvinstall into the live system: %w", err)
	}
	return os.Chmod(target, 0o755)
}
