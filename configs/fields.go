package configs

import (
	"reflect"
	"strconv"
	"strings"
)

// field is what the tags of one field of a layout type say; layout.go lists
// them.
type field struct {
	index    int
	goType   reflect.Type
	key      string
	inline   bool
	required bool
	doc      string
	fallback string // the default, applied as it stands unless told only
	toldOnly bool   // the default depends on other keys; defaults.go fills it in
	form     string
	keyForm  string
	enum     []string
	min, max int64
	number   bool // text that may be written as a plain number
	short    bool
	single   bool
	mapKey   string
	mapValue string
	secret   bool
	example  string
}

// shape is the fields of a layout type.
type shape struct {
	name   string
	fields []field
	byKey  map[string]*field
	short  *field // the one that may stand for the whole
}

// shapes gives the shape of each layout type. It is made for one load: there
// are thirty types, and a shared one would need a lock.
type shapes map[reflect.Type]*shape

func (s shapes) of(t reflect.Type) *shape {
	if known := s[t]; known != nil {
		return known
	}
	sh := &shape{name: t.Name(), byKey: map[string]*field{}}
	for i := range t.NumField() {
		f, ok := fieldOf(t.Field(i), i)
		if ok {
			sh.fields = append(sh.fields, f)
		}
	}
	for i := range sh.fields {
		f := &sh.fields[i]
		if f.inline {
			continue
		}
		sh.byKey[f.key] = f
		if f.short {
			sh.short = f
		}
	}
	s[t] = sh
	return sh
}

func fieldOf(sf reflect.StructField, index int) (field, bool) {
	tag := sf.Tag.Get("yaml")
	if !sf.IsExported() || tag == "-" || tag == "" {
		return field{}, false
	}
	words := strings.Split(tag, ",")
	f := field{
		index: index, goType: sf.Type, key: words[0], required: len(words) == 1,
		doc: sf.Tag.Get("doc"), form: sf.Tag.Get("form"), keyForm: sf.Tag.Get("keyform"),
		number: sf.Tag.Get("plain") == "number", short: sf.Tag.Get("short") != "", single: sf.Tag.Get("single") != "",
		mapKey: sf.Tag.Get("mapkey"), mapValue: sf.Tag.Get("mapvalue"),
		secret: sf.Tag.Get("secret") != "", example: sf.Tag.Get("example"),
	}
	f.inline = len(words) > 1 && words[1] == "inline"
	if e := sf.Tag.Get("enum"); e != "" {
		f.enum = strings.Split(e, ",")
	}
	f.fallback, f.toldOnly = strings.CutPrefix(sf.Tag.Get("default"), "=")
	f.min, _ = strconv.ParseInt(sf.Tag.Get("min"), 10, 64)
	f.max, _ = strconv.ParseInt(sf.Tag.Get("max"), 10, 64)
	return f, true
}

// keys are the keys of a mapping of this type, those of inlined types too.
func (s shapes) keys(t reflect.Type) []string {
	var keys []string
	for _, f := range s.of(t).fields {
		if f.inline {
			keys = append(keys, s.keys(f.goType)...)
			continue
		}
		keys = append(keys, f.key)
	}
	return keys
}
