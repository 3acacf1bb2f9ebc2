package configs

import (
	"path"
	"reflect"
	"strconv"
	"strings"
)

// applyDefaults fills in what the layout leaves out: first what the default
// tags say, then what depends on other keys.
func (l *Layout) applyDefaults(s shapes) {
	fillIn(s, reflect.ValueOf(l).Elem())
	if l.Encryption.KeyFilename == "" {
		l.Encryption.KeyFilename = l.Hostname
	}
	if l.OS != nil && l.OS.Subvolumes == nil {
		l.OS.Subvolumes = []Subvolume{{"root", "/"}, {"home", "/home"}}
		if l.OS.Image == nil {
			l.OS.Subvolumes = append(l.OS.Subvolumes, Subvolume{"nix", "/nix"})
		}
	}
	if l.OS != nil && l.OS.NixOS != nil && l.OS.NixOS.ModulesDir == "" {
		l.OS.NixOS.ModulesDir = path.Join("nix/hosts", l.Hostname)
	}
	for i := range l.Pools {
		if p := &l.Pools[i]; p.Mountpoint == "" {
			p.Mountpoint = "/mnt/" + p.Name
		}
	}
	if n := l.Network; n != nil && n.DHCP == nil {
		on := len(n.Addresses) == 0
		n.DHCP = &on
	}
	if n := l.NFSExports; n != nil {
		for i := range n.Exports {
			if e := &n.Exports[i]; e.Clients == nil {
				e.Clients = []string{n.LanCIDR}
			}
		}
	}
	l.VMPlan.applyDefaults(l.Network)
}

func (p *VMPlan) applyDefaults(n *Network) {
	if p.DefaultBridge == "" {
		p.DefaultBridge = "br0"
		if n != nil {
			p.DefaultBridge = n.Bridge
		}
	}
	for i := range p.VMs {
		vm := &p.VMs[i]
		vm.MACAddress = strings.ToLower(vm.MACAddress)
		for j := range vm.USBDevices {
			u := &vm.USBDevices[j]
			u.VendorID, u.ProductID = strings.ToLower(u.VendorID), strings.ToLower(u.ProductID)
		}
	}
}

// fillIn sets each zero field that has a default in its tag, in v and in
// everything below it that the layout gave.
func fillIn(s shapes, v reflect.Value) {
	for _, f := range s.of(v.Type()).fields {
		field := v.Field(f.index)
		if f.fallback != "" && !f.toldOnly && isAbsent(field) {
			setText(field, f.fallback)
		}
		switch {
		case field.Kind() == reflect.Struct:
			fillIn(s, field)
		case field.Kind() == reflect.Pointer && !field.IsNil() && field.Elem().Kind() == reflect.Struct:
			fillIn(s, field.Elem())
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
			for i := range field.Len() {
				fillIn(s, field.Index(i))
			}
		}
	}
}

// isAbsent tells an absent list from one that is empty on purpose.
func isAbsent(v reflect.Value) bool {
	if v.Kind() == reflect.Slice {
		return v.IsNil()
	}
	return v.IsZero()
}

// setText sets a field from the text of its default tag. Every tag is tried
// by TestDefaultTags.
func setText(v reflect.Value, text string) {
	switch {
	case v.Type() == sizeType:
		size, err := ParseSize(text)
		mustBeRight(err)
		v.SetUint(uint64(size))
	case v.Type() == durationType:
		duration, err := ParseDuration(text)
		mustBeRight(err)
		v.SetInt(int64(duration))
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Bool:
		on := text == "true"
		v.Set(reflect.ValueOf(&on))
	case v.Kind() == reflect.Int:
		number, err := strconv.Atoi(text)
		mustBeRight(err)
		v.SetInt(int64(number))
	case v.Kind() == reflect.Slice:
		v.Set(reflect.ValueOf(strings.Split(text, ",")))
	default:
		v.SetString(text)
	}
}

func mustBeRight(err error) {
	if err != nil {
		panic("configs: a default tag in layout.go: " + err.Error())
	}
}
