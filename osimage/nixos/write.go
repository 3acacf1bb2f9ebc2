package nixos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"

	"github.com/rogpeppe/go-internal/diff"
)

// Change is what writing a file would do.
type Change string

// What can become of a file in a folder that may hold some already.
const (
	New     Change = "new"     // not there
	Same    Change = "same"    // as it would be written
	Renew   Change = "renew"   // an earlier hvinstall's, untouched since
	Differs Change = "differs" // somebody's own, or edited since
	Kept    Change = "kept"    // somebody's own, for which ours is only a start
)

// Compared is a file next to what is in its place.
type Compared struct {
	File
	Change Change
	// Diff is a unified diff from what is there to what would be written.
	Diff string
}

// Compare looks at what is in dir and writes nothing.
func Compare(dir string, files []File) ([]Compared, error) {
	compared := make([]Compared, len(files))
	for i, f := range files {
		c, err := compare(dir, f)
		if err != nil {
			return nil, err
		}
		compared[i] = c
	}
	return compared, nil
}

func compare(dir string, f File) (Compared, error) {
	c := Compared{File: f}
	at := filepath.Join(dir, f.Path)
	info, err := os.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Change = New
		return c, nil
	case err != nil:
		return c, fmt.Errorf("looking at %s: %w", at, err)
	case !info.Mode().IsRegular():
		return c, fmt.Errorf("%s is no regular file; move it away, or write into another folder", at)
	}
	have, err := os.ReadFile(at)
	if err != nil {
		return c, fmt.Errorf("reading what is there: %w", err)
	}
	switch {
	case string(have) == f.Content:
		c.Change = Same
		return c, nil
	case untouched(string(have)):
		c.Change = Renew
	case strings.HasPrefix(f.Path, "users/"), strings.Contains(f.Path, "/users/"):
		// A Home Manager module is for its user to fill.
		c.Change = Kept
		return c, nil
	default:
		c.Change = Differs
	}
	c.Diff = string(diff.Diff(f.Path+" (there)", have, f.Path+" (generated)", []byte(f.Content)))
	return c, nil
}

// Write writes the files that are new, to be renewed, or, where force is set,
// different. It returns the paths written.
func Write(dir string, files []Compared, force bool) ([]string, error) {
	var written []string
	for _, f := range files {
		if f.Change == Same || f.Change == Kept || f.Change == Differs && !force {
			continue
		}
		if err := host.WriteFile(filepath.Join(dir, f.Path), []byte(f.Content), 0o644); err != nil {
			return written, err
		}
		written = append(written, f.Path)
	}
	return written, nil
}
