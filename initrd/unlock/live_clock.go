package unlock

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A machine whose clock has no battery starts in 1970 or in its firmware's year,
// and then no certificate is valid yet. What it runs was made before now, and so
// was what a person put on the stick: the clock is set to the later of the two.
// systemd-timesyncd corrects it once a time server answers.

// setClock sets a clock that is before the image was made, and only that one.
func setClock(con *consoles, image, medium string) {
	made := imageTime(image)
	if now := time.Now(); made.IsZero() || !now.Before(made) {
		return
	}
	floor := latest(made, medium)
	if err := unix.Settimeofday(&unix.Timeval{Sec: floor.Unix()}); err != nil {
		con.warn("the clock says %s, and cannot be set: %v", time.Now().UTC().Format(time.DateOnly), err)
		return
	}
	con.important("the clock was before this system was made, and is set to %s", floor.UTC().Format("2006-01-02 15:04 UTC"))
}

// imageTime is when a squashfs was made, as its superblock says; zero where it
// does not.
func imageTime(path string) time.Time {
	file, err := os.Open(path)
	if err != nil {
		return time.Time{}
	}
	defer file.Close()
	var superblock [12]byte
	if _, err := io.ReadFull(file, superblock[:]); err != nil || string(superblock[:4]) != "hsqs" {
		return time.Time{}
	}
	return time.Unix(int64(binary.LittleEndian.Uint32(superblock[8:])), 0)
}

// staleAfter is when a live stick is too old to be believed: a file of a later
// time has a wrong one.
const staleAfter = 10 * 365 * 24 * time.Hour

// latest is the time of the newest file on the medium, if it is after the image
// was made and not too long after.
func latest(made time.Time, medium string) time.Time {
	newest := made
	for _, pattern := range []string{"/*", "/hvinstall/*"} {
		names, _ := filepath.Glob(medium + pattern) // the pattern is a good one
		for _, name := range names {
			info, err := os.Lstat(name)
			if err == nil && info.ModTime().After(newest) && info.ModTime().Before(made.Add(staleAfter)) {
				newest = info.ModTime()
			}
		}
	}
	return newest
}
