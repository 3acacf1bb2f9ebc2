package crypt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"hvinstall/host"
	"hvinstall/step"
)

// BackupStepID is the ID of the step that backs the volume's header up.
func (v VolumePlan) BackupStepID() string { return "crypt/backup/" + v.Mapping }

// BackupStep keeps a copy of the volume's header in a folder of another
// encrypted volume. It is never kept on a stick: a header beside its key would
// go on opening the volume after that key was revoked.
func (v VolumePlan) BackupStep(folder string, after ...string) step.Step {
	path := filepath.Join(folder, v.Mapping+".luks")
	return step.Step{
		ID: v.BackupStepID(), Title: fmt.Sprintf("back up the header of %s", v.Mapping), After: after,
		Detail: []string{"to " + path},
		Check: func(context.Context) (step.State, string, error) {
			same, err := sameHeader(v.Device, path)
			switch {
			case errors.Is(err, os.ErrNotExist):
				return step.Absent, "there is no backup yet", nil
			case err != nil:
				return 0, "", err
			case !same:
				return step.Absent, "the header has changed since the last backup", nil
			}
			return step.Done, "", nil
		},
		Do: func(ctx context.Context, report step.Reporter) error { return v.backup(ctx, path, report.Log) },
	}
}

// headerStart is how much of a header tells one state of it from another: both
// copies of the metadata with their sequence numbers.
const headerStart = 32 << 10

func sameHeader(device, backup string) (bool, error) {
	read := func(path string) ([]byte, error) {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		b := make([]byte, headerStart)
		if _, err := io.ReadFull(file, b); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		return b, nil
	}
	have, err := read(backup)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return false, nil
		}
		return false, err
	}
	want, err := read(device)
	if err != nil {
		return false, err
	}
	return bytes.Equal(have, want), nil
}

// backup replaces the backup by a new one, whole or not at all.
func (v VolumePlan) backup(ctx context.Context, path string, log logger) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		return err
	}
	temporary := path + ".part"
	// cryptsetup refuses to overwrite.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := host.Cmd{Argv: []string{"cryptsetup", "luksHeaderBackup", v.Device, "--header-backup-file", temporary}, Log: log}.Run(ctx)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = errors.Join(file.Chmod(0o600), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
