package configs

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Schema gives the JSON Schema (draft 2020-12) of layout.yaml, for editors. It
// is made from the types' tags, as the decoder's checks are; what holds between
// several keys is left to the decoder, except for "exactly one of".
func Schema() ([]byte, error) {
	s := schemas{shapes: shapes{}, defs: map[string]any{}}
	root := s.mapping(reflect.TypeFor[Layout]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "https://hvinstall.invalid/layout.schema.json"
	root["title"] = "hvinstall layout.yaml"
	root["description"] = "A hypervisor: its disks, how they unlock, its network, exports and VMs."
	root["$defs"] = s.defs
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return append(text, '\n'), nil
}

type schemas struct {
	shapes shapes
	defs   map[string]any
}

// object is a JSON object; the encoder sorts its keys.
type object = map[string]any

// mapping is the schema of a layout type.
func (s schemas) mapping(t reflect.Type) object {
	properties, required := object{}, []string{}
	s.properties(t, properties, &required)
	o := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	for key, rule := range exclusive(t) {
		o[key] = rule
	}
	return o
}

func (s schemas) properties(t reflect.Type, properties object, required *[]string) {
	for _, f := range s.shapes.of(t).fields {
		if f.inline {
			s.properties(f.goType, properties, required)
			continue
		}
		if f.required {
			*required = append(*required, f.key)
		}
		p := s.value(f.goType, &f)
		// A reference may have neighbours since draft 2019-09.
		if f.doc != "" {
			p["description"] = f.doc
		}
		if f.fallback != "" && !f.toldOnly {
			p["default"] = defaultValue(f)
		}
		properties[f.key] = p
	}
}

// exclusive holds the "exactly one of" that the types themselves do not say.
func exclusive(t reflect.Type) object {
	either := func(a, b string) object {
		return object{"oneOf": []any{object{"required": []string{a}}, object{"required": []string{b}}}}
	}
	switch t {
	case reflect.TypeFor[OS]():
		return either("image", "nixos")
	case reflect.TypeFor[NixOS]():
		return either("flake", "file")
	case reflect.TypeFor[USBKey]():
		return either("disk", "uuid")
	case reflect.TypeFor[NIC]():
		return either("name", "mac")
	case reflect.TypeFor[VM]():
		is := func(state string) object {
			return object{"properties": object{"state": object{"const": state}}, "required": []string{"state"}}
		}
		protected := object{"properties": object{"protected": object{"const": true}}, "required": []string{"protected"}}
		return object{"if": is("absent"), "then": object{"not": protected}, "else": either("disk_image", "iso_image")}
	case reflect.TypeFor[Network]():
		dhcp := object{"properties": object{"dhcp": object{"const": true}}, "required": []string{"dhcp", "addresses"}}
		return object{"not": dhcp}
	case reflect.TypeFor[Cloud]():
		return object{"minProperties": 1}
	default:
		return nil
	}
}

// value is the schema of a field's value.
func (s schemas) value(t reflect.Type, f *field) object {
	switch t {
	case sizeType:
		return object{"type": []string{"string", "integer"}, "pattern": sizePattern, "minimum": max(1, f.min)}
	case durationType:
		return object{"type": []string{"string", "integer"}, "pattern": durationPattern, "minimum": f.min}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.value(t.Elem(), f)
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int:
		o := object{"type": "integer", "minimum": f.min}
		if f.max > 0 {
			o["maximum"] = f.max
		}
		return o
	case reflect.Struct:
		return s.reference(t)
	case reflect.Map:
		return object{"type": "object", "propertyNames": object{"pattern": formOf(f.keyForm).anchored()}}
	case reflect.Slice:
		if f.mapKey != "" {
			return s.ordered(t.Elem(), f)
		}
		return s.list(t.Elem(), f)
	default:
		return s.text(f)
	}
}

func (s schemas) text(f *field) object {
	if len(f.enum) > 0 {
		return object{"type": "string", "enum": f.enum}
	}
	o := object{"type": "string", "minLength": 1}
	if f.number {
		o["type"] = []string{"string", "number"}
	}
	if formOf(f.form).pattern != "" {
		o["pattern"] = formOf(f.form).anchored()
	}
	return o
}

func (s schemas) list(element reflect.Type, f *field) object {
	one := s.value(element, f)
	many := object{"type": "array", "items": one}
	if f.key == "disks" {
		many["minItems"] = 2 // RAID1
	}
	if f.key == "clients" {
		many["minItems"] = 1
	}
	if f.single {
		return object{"anyOf": []any{one, many}}
	}
	return many
}

// ordered is a mapping whose keys are names that the user chooses.
func (s schemas) ordered(element reflect.Type, f *field) object {
	value := s.text(f)
	if f.mapValue == "" {
		value = s.reference(element)
	}
	names := object{"pattern": formOf(f.keyForm).anchored()}
	if f.keyForm == "pool" {
		names["not"] = object{"enum": reservedPools}
	}
	return object{"type": "object", "propertyNames": names, "additionalProperties": value}
}

// reference puts a type among the definitions, once, and refers to it.
func (s schemas) reference(t reflect.Type) object {
	name := strings.ToLower(t.Name())
	if _, known := s.defs[name]; !known {
		s.defs[name] = nil // being made
		whole := any(s.mapping(t))
		if sh := s.shapes.of(t).short; sh != nil {
			whole = object{"anyOf": []any{s.text(sh), whole}}
		}
		s.defs[name] = whole
	}
	return object{"$ref": "#/$defs/" + name}
}

// defaultValue is a default tag as JSON.
func defaultValue(f field) any {
	v := reflect.New(f.goType).Elem()
	setText(v, f.fallback)
	switch {
	case v.Kind() == reflect.Pointer:
		return v.Elem().Bool()
	case v.Kind() == reflect.Int:
		return v.Int()
	case v.Kind() == reflect.Slice && v.Type() != sizeType:
		return v.Interface()
	default:
		return f.fallback
	}
}
