package osimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// edit is a file of the system and what it should be, told from what it is: a
// file that is ours whole ignores the old text, others keep what is not ours.
// Applied to its own result it changes nothing, which is how Check knows.
type edit struct {
	path string // on the installed host
	mode fs.FileMode
	want func(old []byte) []byte
}

// whole is a file that is ours.
func whole(path string, mode fs.FileMode, text string) edit {
	return edit{path, mode, func([]byte) []byte { return []byte(text) }}
}

// differs says how the file at root differs from what it should be; empty: it
// does not.
func (e edit) differs(root string) (string, error) {
	info, err := os.Lstat(filepath.Join(root, e.path))
	if errors.Is(err, fs.ErrNotExist) {
		return e.path + " is not there", nil
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return e.path + " is not a regular file", nil
	}
	old, err := os.ReadFile(filepath.Join(root, e.path))
	if err != nil {
		return "", err
	}
	if !bytes.Equal(e.want(old), old) {
		return e.path + " differs", nil
	}
	if info.Mode().Perm() != e.mode {
		return fmt.Sprintf("%s has mode %04o, not %04o", e.path, info.Mode().Perm(), e.mode), nil
	}
	return "", nil
}

func (e edit) apply(root string) error {
	target := filepath.Join(root, e.path)
	info, err := os.Lstat(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var old []byte
	if err == nil && info.Mode().IsRegular() {
		if old, err = os.ReadFile(target); err != nil {
			return err
		}
	}
	return host.WriteFile(target, e.want(old), e.mode)
}

// editStep makes files what they should be.
func editStep(root, id, title string, after []string, edits ...edit) step.Step {
	return step.Step{
		ID: id, Title: title, After: after,
		Check: func(context.Context) (step.State, string, error) {
			var different []string
			for _, e := range edits {
				why, err := e.differs(root)
				if err != nil {
					return step.Absent, "", err
				}
				if why != "" {
					different = append(different, why)
				}
			}
			if len(different) > 0 {
				return step.Absent, strings.Join(different, ", "), nil
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			for _, e := range edits {
				if err := e.apply(root); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

const (
	blockBegin = "# hvinstall: written from layout.yaml; lines outside of this block are yours"
	blockEnd   = "# hvinstall: end"
)

// block replaces hvinstall's part of a file and keeps the other lines.
func block(old []byte, ours string) []byte {
	ours = blockBegin + "\n" + strings.TrimRight(ours, "\n") + "\n" + blockEnd + "\n"
	text := string(old)
	before, rest, found := strings.Cut(text, blockBegin+"\n")
	if !found {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return []byte(text + ours)
	}
	_, after, _ := strings.Cut(rest, blockEnd+"\n")
	return []byte(before + ours + after)
}
