package spechost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"hvinstall/testvm"
)

// ESPAt and DataAt, behind the name of the live image, are where mtools finds
// its partitions: the ESP of 128 MiB begins at 1 MiB, the data partition behind
// it.
const ESPAt, DataAt = "@@1M", "@@129M"

// LiveImage is what 'make live' builds.
func LiveImage() string { return filepath.Join(testvm.Root(), "build/live.img") }

func (m *Machine) livePath() string { return filepath.Join(m.Dir, "live.img") }

// WriteLive makes the machine's live stick from an image, with files on it and
// words added to the kernel's command line, as a person does on any computer.
func (m *Machine) WriteLive(ctx context.Context, image, arguments string, files map[string]string) error {
	if _, err := os.Stat(image); err != nil {
		return fmt.Errorf("%w; run: make live", err)
	}
	if _, err := testvm.Command(ctx, "cp", "--sparse=always", "--reflink=auto", image, m.livePath()); err != nil {
		return err
	}
	for name, text := range files {
		if err := m.put(ctx, DataAt, "::/"+name, text); err != nil {
			return err
		}
	}
	if arguments == "" {
		return nil
	}
	const entry = "::/loader/entries/live.conf"
	text, err := testvm.Command(ctx, "mtype", "-i", m.livePath()+ESPAt, entry)
	if err != nil {
		return err
	}
	text = regexp.MustCompile(`(?m)^options .*$`).ReplaceAllString(text, "${0} "+arguments)
	return m.put(ctx, ESPAt, entry, text)
}

// put writes a file into one of the live stick's partitions.
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
	_, err = testvm.Command(ctx, "mcopy", "-o", "-i", m.livePath()+partition, file.Name(), name)
	return err
}
