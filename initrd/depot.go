package initrd

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"

	"hvinstall/initrd/boot"
)

// depot is a kernel's folder of modules, as depmod(8) describes it.
type depot struct {
	dir     string
	files   map[string]string   // name → path below dir
	needs   map[string][]string // name → names of its dependencies, the first to load first
	soft    map[string][]string // name → names or aliases wanted before it
	aliases []boot.Alias
	builtin map[string]bool
}

// openDepot reads depmod's files in /lib/modules/<version>.
func openDepot(dir string) (*depot, error) {
	d := &depot{
		dir: dir, files: map[string]string{}, needs: map[string][]string{},
		soft: map[string][]string{}, builtin: map[string]bool{},
	}
	for _, f := range []struct {
		name     string
		optional bool
		line     func(string)
	}{
		{"modules.dep", false, d.dependencyLine},
		{"modules.alias", false, d.aliasLine},
		{"modules.softdep", true, d.softdepLine},
		{"modules.builtin", true, func(l string) { d.builtin[boot.ModuleName(l)] = true }},
	} {
		err := eachLine(filepath.Join(dir, f.name), f.line)
		if f.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the kernel's modules: %w", err)
		}
	}
	return d, nil
}

func eachLine(path string, line func(string)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); text != "" && text[0] != '#' {
			line(text)
		}
	}
	return lines.Err()
}

// dependencyLine reads "kernel/a.ko: kernel/b.ko kernel/c.ko". depmod lists all
// dependencies of dependencies, the last to load first.
func (d *depot) dependencyLine(line string) {
	file, rest, _ := strings.Cut(line, ":")
	name := boot.ModuleName(file)
	d.files[name] = file
	for _, f := range slices.Backward(strings.Fields(rest)) {
		d.needs[name] = append(d.needs[name], boot.ModuleName(f))
	}
}

// aliasLine reads "alias pci:v00008086d* ahci".
func (d *depot) aliasLine(line string) {
	if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" {
		d.aliases = append(d.aliases, boot.Alias{Pattern: f[1], Module: underscores(f[2])})
	}
}

// softdepLine reads "softdep btrfs pre: xxhash64 post: x". Words before "pre:"
// are wanted before, too.
func (d *depot) softdepLine(line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "softdep" {
		return
	}
	name, before := underscores(f[1]), true
	for _, word := range f[2:] {
		switch word {
		case "pre:":
			before = true
		case "post:":
			before = false
		default:
			if before {
				d.soft[name] = append(d.soft[name], word)
			}
		}
	}
}

func underscores(s string) string { return strings.ReplaceAll(s, "-", "_") }

// wanted finds the modules behind a soft dependency: one of that name, else
// all that answer to the alias (crypto-crc32c is crc32c_generic and, where the
// processor has it, crc32c_intel).
func (d *depot) wanted(word string) []string {
	if _, ok := d.files[underscores(word)]; ok {
		return []string{underscores(word)}
	}
	var names []string
	for _, a := range d.aliases {
		if a.Pattern == word && !slices.Contains(names, a.Module) {
			names = append(names, a.Module)
		}
	}
	slices.Sort(names)
	return names
}

// closure adds name and everything it needs to have.
func (d *depot) closure(name string, have map[string]*boot.Module) {
	if have[name] != nil {
		return
	}
	file, ok := d.files[name]
	if !ok {
		return
	}
	m := &boot.Module{Name: name, Path: "/lib/modules/" + filepath.Base(d.dir) + "/" + stripCompression(file)}
	have[name] = m // before the recursion: soft dependencies may go in circles
	for _, n := range d.needs[name] {
		m.Needs = append(m.Needs, n)
		d.closure(n, have)
	}
	for _, word := range d.soft[name] {
		for _, n := range d.wanted(word) {
			d.closure(n, have)
			if !slices.Contains(m.Needs, n) && !leadsTo(n, name, have) {
				m.Needs = append(m.Needs, n)
			}
		}
	}
}

// leadsTo says whether loading from loads to, too: a soft dependency on it
// would then be a circle, in which a loader waits for ever.
func leadsTo(from, to string, have map[string]*boot.Module) bool {
	seen := map[string]bool{}
	var look func(string) bool
	look = func(name string) bool {
		if name == to {
			return true
		}
		if seen[name] || have[name] == nil {
			return false
		}
		seen[name] = true
		return slices.ContainsFunc(have[name].Needs, look)
	}
	return look(from)
}

func stripCompression(file string) string {
	if i := strings.LastIndex(file, ".ko."); i >= 0 {
		return file[:i+3]
	}
	return file
}

// read is a module's file, decompressed: the whole initramfs is compressed
// better than each file by itself, and the loader needs no decompressors.
func (d *depot) read(name string) ([]byte, error) {
	path := filepath.Join(d.dir, d.files[name])
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading module %s: %w", name, err)
	}
	defer file.Close()
	r, err := decompressor(file, path)
	if err != nil {
		return nil, fmt.Errorf("reading module %s: %w", name, err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading module %s: %w", name, err)
	}
	return data, nil
}

func decompressor(r io.Reader, path string) (io.Reader, error) {
	switch filepath.Ext(path) {
	case ".xz":
		return xz.NewReader(bufio.NewReader(r), xz.DefaultDictMax)
	case ".zst":
		dec, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return dec.IOReadCloser(), nil
	case ".gz":
		return gzip.NewReader(r)
	}
	return r, nil
}
