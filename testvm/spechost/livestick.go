package spechost

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"hvinstall/testvm"
)

// mtools finds the partitions of the live image by their places: the ESP of
// 128 MiB begins at 1 MiB, the data partition behind it.
const espAt, dataAt = "@@1M", "@@129M"

// LiveImage is what 'make live' builds.
func LiveImage() string { return filepath.Join(testvm.Root(), "build/live.img") }

func (m *Machine) livePath() string { return filepath.Join(m.Dir, "live.img") }

// WriteLive makes the machine's live stick from an image, with files on it and
// words added to the kernel's command line, as a person does on any computer.
func (m *Machine) WriteLive(ctx context.Context, image, arguments string, files map[string]string) error {
	if _, err := os.Stat(image); err != nil {
		return fmt.Errorf("%w; run: make live", err)
	}
	if _, err := command(ctx, "cp", "--sparse=always", "--reflink=auto", image, m.livePath()); err != nil {
		return err
	}
	for name, text := range files {
		if err := m.PutOnLive(ctx, name, text); err != nil {
			return err
		}
	}
	if arguments == "" {
		return nil
	}
	const entry = "::/loader/entries/live.conf"
	text, err := command(ctx, "mtype", "-i", m.livePath()+espAt, entry)
	if err != nil {
		return err
	}
	text = regexp.MustCompile(`(?m)^options .*$`).ReplaceAllString(text, "${0} "+arguments)
	return m.put(ctx, espAt, entry, text)
}

// PutOnLive writes a file onto the live stick's data partition.
func (m *Machine) PutOnLive(ctx context.Context, name, text string) error {
	return m.put(ctx, dataAt, "::/"+name, text)
}

// ReadLive reads a file from the live stick's data partition.
func (m *Machine) ReadLive(ctx context.Context, name string) (string, error) {
	return command(ctx, "mtype", "-i", m.livePath()+dataAt, "::/"+name)
}

func (m *Machine) put(ctx context.Context, partition, name, text string) error {
	file, err := os.CreateTemp("", "spechost-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString(text); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	_, err = command(ctx, "mcopy", "-o", "-i", m.livePath()+partition, file.Name(), name)
	return err
}

func command(ctx context.Context, argv ...string) (string, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}
