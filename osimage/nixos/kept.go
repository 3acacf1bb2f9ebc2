package nixos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hvinstall/host"
	"hvinstall/step"
)

// keptSteps place what later runs and the units need on the host: the plan,
// the binary and the accounts' password hashes. They come before the install,
// whose activation makes the accounts.
func (j Job) keptSteps() []step.Step {
	steps := []step.Step{
		// 0600: the layout may hold password hashes.
		j.fileStep("os/nixos/plan", "keep the plan in "+LayoutPath, LayoutPath, func() ([]byte, error) { return j.Layout, nil }, 0o600),
		j.binaryStep(),
	}
	former := j.formerPasswordsStep()
	steps = append(steps, former)
	for _, u := range j.Input.Layout.Users {
		if u.PasswordHash != "" {
			keep := j.fileStep("os/nixos/password/"+u.Name, "keep the password hash of "+u.Name, PasswordsDir+"/"+u.Name,
				func() ([]byte, error) { return []byte(u.PasswordHash + "\n"), nil }, 0o600)
			// What is written there meanwhile is no former one.
			keep.After = append(slices.Clone(keep.After), former.ID)
			steps = append(steps, keep)
		}
	}
	return steps
}

// formerPasswordsStep removes the hashes that the layout no longer has.
func (j Job) formerPasswordsStep() step.Step {
	dir := filepath.Join(j.Root, PasswordsDir)
	former := func() ([]string, error) {
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		var names []string
		for _, f := range files {
			if !slices.ContainsFunc(j.Input.Layout.Users, func(u configsUser) bool { return u.Name == f.Name() && u.PasswordHash != "" }) {
				names = append(names, f.Name())
			}
		}
		return names, nil
	}
	return step.Step{
		ID: "os/nixos/former-passwords", Title: "keep no password hash that the layout has not", After: j.After,
		Check: func(context.Context) (step.State, string, error) {
			names, err := former()
			if err != nil {
				return step.Absent, "", fmt.Errorf("looking at %s: %w", dir, err)
			}
			if len(names) > 0 {
				return step.Absent, "the hash of " + strings.Join(names, ", ") + " is still there", nil
			}
			return step.Done, "", nil
		},
		Do: func(context.Context, step.Reporter) error {
			names, err := former()
			for _, name := range names {
				err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
			}
			return err
		},
	}
}

// fileStep keeps a small file; its content is in no title, event or error.
func (j Job) fileStep(id, title, path string, content func() ([]byte, error), mode os.FileMode) step.Step {
	at := filepath.Join(j.Root, path)
	return step.Step{
		ID: id, Title: title, After: j.After,
		Check: func(context.Context) (step.State, string, error) {
			data, err := content()
			if err != nil {
				return step.Absent, "", err
			}
			same, err := host.FileIs(at, data, mode)
			if err != nil {
				return step.Absent, "", fmt.Errorf("looking at %s: %w", at, err)
			}
			if !same {
				return step.Absent, at + " is not there, or not as in the layout", nil
			}
			return step.Done, at + " is as in the layout", nil
		},
		Do: func(context.Context, step.Reporter) error {
			data, err := content()
			if err != nil {
				return err
			}
			return host.WriteFile(at, data, mode)
		},
	}
}

// binaryStep keeps hvinstall itself. Where it runs from that very place, there
// is nothing to do.
func (j Job) binaryStep() step.Step {
	at := filepath.Join(j.Root, BinaryPath)
	return step.Step{
		ID: "os/nixos/binary", Title: "keep hvinstall in " + BinaryPath, After: j.After,
		Check: func(context.Context) (step.State, string, error) {
			same, err := sameFile(j.Binary, at)
			switch {
			case err != nil:
				return step.Absent, "", err
			case !same:
				return step.Absent, at + " is not there, or another version", nil
			}
			return step.Done, at + " is this version", nil
		},
		Do: func(context.Context, step.Reporter) error {
			in, err := os.Open(j.Binary)
			if err != nil {
				return fmt.Errorf("reading hvinstall itself: %w", err)
			}
			defer in.Close()
			return host.Replace(at, 0o755, in)
		},
	}
}

// sameFile reports whether b is an executable file with a's content.
func sameFile(a, b string) (bool, error) {
	one, err := os.Open(a)
	if err != nil {
		return false, fmt.Errorf("reading hvinstall itself: %w", err)
	}
	defer one.Close()
	two, err := os.Open(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at %s: %w", b, err)
	}
	defer two.Close()
	oneInfo, err := one.Stat()
	if err != nil {
		return false, err
	}
	twoInfo, err := two.Stat()
	if err != nil {
		return false, err
	}
	if os.SameFile(oneInfo, twoInfo) {
		return true, nil
	}
	if oneInfo.Size() != twoInfo.Size() || twoInfo.Mode().Perm() != 0o755 {
		return false, nil
	}
	var left, right [1 << 16]byte
	for {
		n, err := io.ReadFull(one, left[:])
		if m, _ := io.ReadFull(two, right[:]); n != m || left != right {
			return false, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
