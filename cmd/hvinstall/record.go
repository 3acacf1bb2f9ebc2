package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hvinstall/host"
	"hvinstall/step"
)

// Where a run's log lies while it is under way, and below the host's root for
// good.
const (
	runFolder = "/run/hvinstall"
	logFolder = "/var/log/hvinstall"
)

// record keeps a run's events as JSON lines. Nothing is decided from it.
type record struct {
	file    *os.File
	journal *step.Journal
}

// newRecord begins the log of a run in /run, which is there before any disk.
func newRecord(folder string, now time.Time) (*record, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the log's folder: %w", err)
	}
	path := filepath.Join(folder, now.UTC().Format("20060102T150405Z")+".jsonl")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	journal := step.NewJournal(file)
	journal.Quiet = true
	return &record{file, journal}, nil
}

func (r *record) event(e step.Event) {
	// A log that cannot be written must not end a run half way.
	_ = r.journal.Event(e)
}

// keep copies the log to the host's own /var/log, and returns its path there.
func (r *record) keep(root string) (string, error) {
	data, err := os.ReadFile(r.file.Name())
	if err != nil {
		return "", fmt.Errorf("reading the log: %w", err)
	}
	path := filepath.Join(root, logFolder, filepath.Base(r.file.Name()))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("making the log's folder: %w", err)
	}
	if err := host.WriteFile(path, data, 0o600); err != nil {
		return "", err
	}
	return path, nil
}

func (r *record) close() error { return r.file.Close() }
