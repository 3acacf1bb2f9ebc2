package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

var (
	sizeType     = reflect.TypeFor[Size]()
	durationType = reflect.TypeFor[Duration]()
)

// decodeScalar reads text, a number, a truth value, a size or a duration, and
// holds it against the field's form, words and bounds.
func (d *decoder) decodeScalar(n ast.Node, v reflect.Value, f *field, at place) bool {
	text, ok := scalarText(n)
	if !ok {
		hint := ""
		if f.form == "block" || f.form == "user_data" {
			hint = fmt.Sprintf("write %s: | and the text below it, indented", f.key)
		}
		d.wrongTypeHint(n, f, at, wanted(v.Type()), hint)
		return false
	}
	if strings.Contains(text, "{{") && (d.ansible || f.form != "block" && f.form != "user_data" && !f.secret) {
		d.at(at, jinjaHint, "%s holds an Ansible variable", f.key)
		return false
	}
	switch v.Type() {
	case sizeType:
		return d.decodeSize(text, v, f, at)
	case durationType:
		return d.decodeDuration(text, v, f, at)
	}
	switch v.Kind() {
	case reflect.Bool:
		return d.decodeBool(n, text, v, f, at)
	case reflect.Int:
		return d.decodeInt(n, text, v, f, at)
	default:
		return d.decodeText(n, text, v, f, at)
	}
}

func wanted(t reflect.Type) string {
	switch {
	case t == sizeType:
		return "a size such as 1GiB"
	case t == durationType:
		return "a time such as 10s"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	default:
		return "text"
	}
}

func (d *decoder) decodeSize(text string, v reflect.Value, f *field, at place) bool {
	size, err := ParseSize(text)
	if err != nil {
		d.at(at, "", "%s: %v", f.key, err)
		return false
	}
	v.SetUint(uint64(size))
	switch {
	case size == 0:
		d.at(at, "remove the key to leave it out", "%s is zero", f.key)
	case f.min > 0 && size < Size(f.min):
		d.at(at, "", "%s is %s; the least is %s", f.key, size, Size(f.min))
	case f.max > 0 && size > Size(f.max):
		d.at(at, "", "%s is %s; the most is %s", f.key, size, Size(f.max))
	default:
		return true
	}
	return false
}

func (d *decoder) decodeDuration(text string, v reflect.Value, f *field, at place) bool {
	duration, err := ParseDuration(text)
	if err != nil {
		d.at(at, "", "%s: %v", f.key, err)
		return false
	}
	v.SetInt(int64(duration))
	least, most := Duration(time.Duration(f.min)*time.Second), Duration(time.Duration(f.max)*time.Second)
	switch {
	case duration < least:
		d.at(at, "", "%s is %s; the least is %s", f.key, duration, least)
	case f.max > 0 && duration > most:
		d.at(at, "", "%s is %s; the most is %s", f.key, duration, most)
	default:
		return true
	}
	return false
}

func (d *decoder) decodeBool(n ast.Node, text string, v reflect.Value, f *field, at place) bool {
	if b, ok := n.(*ast.BoolNode); ok {
		v.SetBool(b.Value)
		return true
	}
	switch strings.ToLower(text) {
	case "yes", "on", "true":
		if d.ansible && !quoted(n) {
			// Ansible reads YAML 1.1, in which these are truth values.
			v.SetBool(true)
			return true
		}
		d.wrongTypeHint(n, f, at, "true or false", fmt.Sprintf("write %s: true", f.key))
	case "no", "off", "false":
		if d.ansible && !quoted(n) {
			v.SetBool(false)
			return true
		}
		d.wrongTypeHint(n, f, at, "true or false", fmt.Sprintf("write %s: false", f.key))
	default:
		d.wrongType(n, f, at, "true or false")
	}
	return false
}

func (d *decoder) decodeInt(n ast.Node, text string, v reflect.Value, f *field, at place) bool {
	if n.Type() != ast.IntegerType {
		hint := ""
		if _, err := strconv.Atoi(text); err == nil {
			hint = fmt.Sprintf("write it without quotes: %s: %s", f.key, text)
		}
		d.wrongTypeHint(n, f, at, "a whole number", hint)
		return false
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || text != strconv.FormatInt(number, 10) {
		d.at(at, "write it in digits alone", "%s: %s is not a plain decimal number", f.key, short(text))
		return false
	}
	if number < f.min || f.max > 0 && number > f.max {
		d.at(at, "", "%s is %d; it goes from %d to %d", f.key, number, f.min, f.max)
		return false
	}
	v.SetInt(number)
	return true
}

func (d *decoder) decodeText(n ast.Node, text string, v reflect.Value, f *field, at place) bool {
	if _, isText := n.(*ast.StringNode); !isText {
		if _, block := n.(*ast.LiteralNode); !block && (!f.number || n.Type() == ast.BoolType) {
			hint := fmt.Sprintf("put it in quotes: \"%s\"", short(text))
			if f.secret {
				hint = "put it in quotes"
			}
			d.wrongTypeHint(n, f, at, "text", hint)
			return false
		}
	}
	v.SetString(text)
	if text == "" {
		d.at(at, "give it a value, or remove it", "%s is empty", f.key)
		return false
	}
	if len(f.enum) > 0 {
		if slices.Contains(f.enum, text) {
			return true
		}
		hint := ""
		if near := nearest(text, f.enum); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		d.at(at, hint, "%s is %s; it is one of %s", f.key, quote(text), strings.Join(f.enum, ", "))
		return false
	}
	problem, hint := formOf(f.form).check(text)
	if problem != "" {
		d.at(at, hint, "%s: %s", f.key, problem)
		return false
	}
	return true
}
