package configs

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
)

// LoadFile reads, decodes and validates the layout at path, and fills in the
// defaults. vms, where not empty, is another YAML file, an Ansible vars file
// say, whose libvirt_* keys replace the layout's, key by key.
//
// An invalid layout is an error of type Errors, with everything that is wrong.
func LoadFile(path, vms string) (*Layout, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the layout: %w", err)
	}
	var more []byte
	if vms != "" {
		if more, err = readFile(vms); err != nil {
			return nil, fmt.Errorf("reading the VMs: %w", err)
		}
	}
	return load(path, data, vms, more)
}

// Load is LoadFile for a layout in memory; name is what errors call it.
func Load(name string, data []byte) (*Layout, error) {
	return load(name, data, "", nil)
}

// readFile reads a little more than a layout may have, so that parse refuses
// what is larger, and /dev/zero ends too.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxBytes+1))
}

func load(name string, data []byte, vmsName string, vms []byte) (*Layout, error) {
	d := newDecoder()
	l := &Layout{}
	d.readLayout(l, name, data)
	if vmsName != "" && !d.full() {
		d.readVMs(l, vmsName, vms)
	}
	l.applyDefaults(d.shapes)
	d.validate(l)
	if len(d.errors) > 0 {
		return nil, d.errors.sorted()
	}
	l.Path, l.Source = name, data
	return l, nil
}

// document parses a file and makes it the one that errors point into. nil: an
// error was reported, or the file is empty.
func (d *decoder) document(name string, order int, data []byte) []entry {
	text := string(data)
	const bom = "\ufeff"
	if len(text) >= len(bom) && text[:len(bom)] == bom {
		text = text[len(bom):]
	}
	d.src = newSource(name, order, text)
	node, problem := parse(d.src, []byte(text))
	if problem != nil {
		d.errors = append(d.errors, problem)
		d.failed[d] = true
		return nil
	}
	if node == nil {
		return nil
	}
	if strings.Contains(text, "*") { // most layouts have no alias, and then the walk is saved
		d.resolveAliases(node)
	}
	d.noLeftOut()
	root := d.value(node)
	entries, ok := d.entries(root)
	if root != nil && !ok {
		d.at(startOf(d.src, node), "a layout begins with hostname: NAME", "not a mapping (key: value)")
		d.failed[d] = true
		return nil
	}
	return entries
}

func (d *decoder) readLayout(l *Layout, name string, data []byte) {
	entries := d.document(name, 0, data)
	if d.failed[d] {
		return
	}
	if len(entries) == 0 {
		d.at(place{d.src, 1, 1}, "a layout begins with hostname: NAME; hvinstall discover --layout writes one for this machine", "an empty layout")
		d.failed[d] = true
		return
	}
	d.decodeEntries(entries, reflect.ValueOf(l).Elem(), entries[0].at, "the layout")
}
