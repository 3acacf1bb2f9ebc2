package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzLoad: whatever the bytes, Load gives a layout or Errors that can be
// shown, and never shows what must be hidden.
func FuzzLoad(f *testing.F) {
	for _, file := range examples(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, []byte(nil))
	}
	vars, err := os.ReadFile("examples/ansible-vars.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("hostname: h\n"), vars)
	f.Add([]byte(everyForm), []byte(nil))
	for _, b := range badLayouts {
		f.Add([]byte(b.layout()), []byte(nil))
	}
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var layout, vars []byte
		for _, part := range archive.Files {
			switch part.Name {
			case "layout.yaml":
				layout = part.Data
			case "vars.yml":
				vars = part.Data
			}
		}
		f.Add(layout, vars)
	}
	f.Fuzz(func(t *testing.T, data, vars []byte) {
		name := ""
		if len(vars) > 0 {
			name = "vars.yml"
		}
		l, err := load("layout.yaml", data, name, vars)
		if err == nil {
			checkLoaded(t, l)
			return
		}
		var all Errors
		if l != nil || !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("load = %v, %v (%T), want no layout and Errors", l, err, err)
		}
		for i, e := range all {
			if e.Message == "" || !utf8.ValidString(e.Error()) || strings.ContainsAny(e.Error(), "\x00\x1b\x7f") {
				t.Errorf("error %q cannot be shown", e.Error())
			}
			if strings.ContainsAny(e.Message, "\n\r") || strings.ContainsAny(e.Source, "\n\r") || len(e.Source) > 4*maxWidth+64 {
				t.Errorf("error %q does not fit", e.Error())
			}
			if i > 0 && all[i-1].order == e.order && all[i-1].Line > e.Line {
				t.Errorf("line %d is reported after line %d", e.Line, all[i-1].Line)
			}
			if e.Line > 0 && e.order == 0 && e.Line > strings.Count(string(data), "\n")+1 {
				t.Errorf("line %d of %d", e.Line, strings.Count(string(data), "\n")+1)
			}
		}
	})
}

// checkLoaded holds what a valid layout promises to those who write files and
// command lines from it.
func checkLoaded(t *testing.T, l *Layout) {
	t.Helper()
	texts := []string{l.Hostname, l.Seed, l.VMStoreRoot, l.DefaultBridge, l.URI, l.DiskTemplate, l.ISOTemplate, l.Encryption.KeyFilename, l.Locale.Lang, l.Locale.Timezone, l.Locale.Keymap}
	texts = append(texts, l.Libvirtd.Users...)
	if o := l.OS; o != nil {
		if (o.Image == nil) == (o.NixOS == nil) || o.ESPSize < 256<<20 || !strings.HasPrefix(o.Disk.ID, byID) {
			t.Errorf("os %+v is not what was promised", o)
		}
		texts = append(texts, o.Disk.ID, o.Disk.Model, o.Disk.Serial)
		texts = append(append(texts, o.KernelArgs...), o.MountOptions...)
	}
	for _, p := range l.Pools {
		if len(p.Disks) < 2 || !below(p.Mountpoint, "/mnt", "/srv", "/var/lib") {
			t.Errorf("pool %+v is not what was promised", p)
		}
		texts = append(append(texts, p.Name, p.Mountpoint), p.MountOptions...)
	}
	if n := l.Network; n != nil {
		texts = append(append(append(append(texts, n.Bridge, n.NIC.Name, n.NIC.MAC), n.Addresses...), n.DNS...), n.Domains...)
	}
	if n := l.NFSExports; n != nil {
		for _, e := range n.Exports {
			texts = append(append(append(texts, e.Path, e.Owner, e.Group, e.Mode), e.Clients...), e.Options...)
		}
	}
	for _, u := range l.Users {
		texts = append(append(append(texts, u.Name, u.PasswordHash), u.Groups...), u.SSHAuthorizedKeys...)
	}
	for _, vm := range l.VMs {
		if vm.Name == "" || strings.ContainsAny(vm.Name, "/ ") || vm.State != "absent" && (vm.DiskImage == nil) == (vm.ISOImage == nil) {
			t.Errorf("VM %+v is not what was promised", vm)
		}
		for _, dest := range vm.dests() {
			if vm.State != "absent" && !below(*dest, l.VMStoreRoot+"/"+vm.Name) {
				t.Errorf("dest %q of VM %q is outside", *dest, vm.Name)
			}
		}
		texts = append(texts, vm.Name, vm.MACAddress, vm.Bridge)
	}
	for _, text := range texts {
		// The comment of an SSH key may be in any language.
		if strings.ContainsFunc(text, func(r rune) bool {
			return r < ' ' || r >= 0x7f && r < 0xa0 || r > '~' && !strings.Contains(text, "ssh-") && !strings.Contains(text, "ecdsa-")
		}) {
			t.Errorf("%q holds what could break a file or a command line", text)
		}
	}
}
