package live

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Running reports whether this is the live system.
func Running() bool {
	info, err := os.Stat(Medium)
	return err == nil && info.IsDir()
}

// Layout is the layout on the medium; empty: there is none.
func Layout() string {
	path := filepath.Join(Medium, "layout.yaml")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// Save keeps a layout on the medium. The file before stays as layout.yaml.old
// where it is a person's, and goes where hvinstall made it.
func Save(data []byte, old bool) error {
	return writable(func() error {
		path := filepath.Join(Medium, "layout.yaml")
		if !old {
			return errors.Join(writeSynced(path+".new", data), os.Rename(path+".new", path))
		}
		if err := writeSynced(path+".new", data); err != nil {
			return err
		}
		if err := os.Rename(path, path+".old"); err != nil && !os.IsNotExist(err) {
			return err
		}
		return os.Rename(path+".new", path)
	})
}

// begunNote tells, from a run's begin to its good end, what was begun.
var begunNote = filepath.Join(Medium, "begun.txt")

// Begin notes on the medium that an installation has begun.
func Begin(what string) error {
	return writable(func() error { return writeSynced(begunNote, []byte(what+"\n")) })
}

// Begun is what was begun and did not come to its end; empty: nothing.
func Begun() string {
	data, err := os.ReadFile(begunNote)
	if err != nil || len(data) > 1000 {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// End takes the note away.
func End() error {
	return writable(func() error {
		if err := os.Remove(begunNote); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	})
}

// writable makes the medium writable for a moment only: a stick may be pulled
// out at any time.
func writable(write func() error) (err error) {
	const flags = unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", Medium, "", flags, ""); err != nil {
		return fmt.Errorf("the medium cannot be written to: %w; copy the layout elsewhere", err)
	}
	defer func() {
		again := unix.Mount("", Medium, "", flags|unix.MS_RDONLY, "")
		if err == nil && again != nil {
			err = fmt.Errorf("write-protecting the medium again: %w", again)
		}
	}()
	if err := write(); err != nil {
		return err
	}
	dir, err := os.Open(Medium)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}

func writeSynced(path string, data []byte) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Sync()
}
