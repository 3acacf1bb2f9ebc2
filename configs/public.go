package configs

import (
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// leftOut marks a value that stands for a secret. A layout that is no copy has
// none: see decoder.noLeftOut.
const leftOut = "hvinstall-left-out"

// hiddenHash stands for a password hash: that there is one is no secret.
const hiddenHash = "$y$" + leftOut

// publicHeader is the first line of what Public writes.
const publicHeader = "# layout.yaml without its secrets, for 'hvinstall status' without root. Edit layout.yaml."

// harmless are the forms of text that anybody may read as it is, and what of
// the others may be read. A form that is not here is left out, and so is a field
// without a form and without an enum: of a new one nobody has judged yet whether
// it can hold a secret.
var harmless = map[string]func(string) string{
	"address": whole, "cidr": whole, "disk": whole, "domain": whole, "fat_name": whole, "file": whole, "hostname": whole,
	"ifname": whole, "ip": whole, "keymap": whole, "lang": whole, "mac": whole, "mode": whole, "mount_option": whole,
	"nfs_option": whole, "owner": whole, "path": whole, "pool": whole, "port": whole, "sha256": whole, "state_version": whole,
	"subvolume": whole, "text": whole, "timezone": whole, "usb_id": whole, "user": whole, "vfat_uuid": whole, "vm": whole,
	"word":          whole,
	"kernel_arg":    whole, // /proc/cmdline is everybody's
	"password_hash": func(string) string { return hiddenHash },
	// That there is a seed is no secret, and what a VM's definition depends on.
	"user_data": func(string) string { return "#cloud-config " + leftOut },
	"block":     func(string) string { return leftOut },
	"ssh_key":   publicKey,
	"url":       PublicURL, "url_or_path": PublicURL, "libvirt_uri": PublicURL,
	"checksum": func(s string) string {
		algorithm, value, _ := strings.Cut(s, ":")
		return algorithm + ":" + PublicURL(value)
	},
	"flake": func(s string) string {
		reference, attribute, _ := strings.Cut(s, "#") // which is a name within the flake
		return PublicURL(reference) + "#" + attribute
	},
}

func whole(s string) string { return s }

// PublicURL is an address without what may be a secret: user and password,
// query, fragment. What is no address stays as it is; "" is one that cannot be
// read.
func PublicURL(s string) string {
	if !strings.ContainsAny(s, "@?#") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	if u.Opaque != "" && strings.Contains(u.Opaque, "@") {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return u.String()
}

var keyInLine = regexp.MustCompile(`(?:^|[ \t])((?:ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+[ \t]+[A-Za-z0-9+/=]+)`)

// publicKey is a line of authorized_keys without its options, which may hold a
// command with a password, and without its comment.
func publicKey(line string) string {
	m := keyInLine.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	return m[1]
}

// Public is the text of a layout for everybody's eyes. It is made of what the
// layout means, so that no comment is in it, and loads like the layout itself.
// Text that is no layout has no public part.
func Public(text []byte) []byte {
	d := newDecoder()
	l := &Layout{}
	d.readLayout(l, "layout", text)
	if len(d.errors) > 0 {
		return nil
	}
	out, err := yaml.Marshal(copier{d.shapes, publicText, nil}.structure(reflect.ValueOf(l).Elem()))
	if err != nil {
		return nil
	}
	return append([]byte(publicHeader+"\n"), out...)
}

// copier makes the YAML of a layout, with another text for some of its values.
type copier struct {
	shapes shapes
	text   func(f field, text string) (shown string, ok bool)
	// open is for values of no fixed type; nil leaves them out.
	open func(f field, v any) any
}

func (c copier) structure(v reflect.Value) yaml.MapSlice {
	m := yaml.MapSlice{}
	for _, f := range c.shapes.of(v.Type()).fields {
		value := v.Field(f.index)
		switch {
		case f.inline:
			m = append(m, c.structure(value)...)
		case value.IsZero() || f.key == "" || f.key == "-":
		case f.mapKey != "":
			if entries := c.mapping(f, value); len(entries) > 0 {
				m = append(m, yaml.MapItem{Key: f.key, Value: entries})
			}
		default:
			if shown, ok := c.value(f, value); ok {
				m = append(m, yaml.MapItem{Key: f.key, Value: shown})
			}
		}
	}
	return m
}

// mapping is a list that the layout has as a mapping.
func (c copier) mapping(f field, list reflect.Value) yaml.MapSlice {
	m := yaml.MapSlice{}
	for i := range list.Len() {
		v := list.Index(i)
		item := yaml.MapItem{Key: v.FieldByName(f.mapKey).String()}
		if f.mapValue != "" {
			item.Value = v.FieldByName(f.mapValue).String() // of the list's form, a path
		} else {
			item.Value = c.structure(v)
		}
		m = append(m, item)
	}
	return m
}

func (c copier) value(f field, v reflect.Value) (shown any, ok bool) {
	switch value := v.Interface().(type) {
	case Size:
		return uint64(value), true
	case Duration:
		return time.Duration(value).String(), true
	}
	switch v.Kind() {
	case reflect.Pointer:
		return c.value(f, v.Elem())
	case reflect.Bool, reflect.Int:
		return v.Interface(), true
	case reflect.String:
		return c.text(f, v.String())
	case reflect.Struct:
		return c.structure(v), true
	case reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			if shown, ok := c.value(f, v.Index(i)); ok {
				list = append(list, shown)
			}
		}
		return list, true
	case reflect.Map:
		if c.open == nil {
			return nil, false
		}
		return c.open(f, v.Interface()), true
	default:
		return nil, false
	}
}

func publicText(f field, text string) (string, bool) {
	if len(f.enum) > 0 {
		return text, true
	}
	show := harmless[f.form]
	if show == nil {
		return "", false
	}
	text = show(text)
	return text, text != ""
}
