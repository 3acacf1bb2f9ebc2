package configs

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const referencePath = "../docs/layout.md"

// TestReference keeps docs/layout.md as the types say; -update writes it.
func TestReference(t *testing.T) {
	got := reference()
	if *update {
		if err := os.WriteFile(referencePath, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/layout.md is stale; go test ./configs -run Reference -update (-is +should be):\n%s", diff)
	}
}

// TestReferenceExamples reads every example of docs/layout.md as its key's
// value: none may be wrong in itself.
func TestReferenceExamples(t *testing.T) {
	s := shapes{}
	var walk func(t reflect.Type)
	seen := map[reflect.Type]bool{}
	walk = func(layoutType reflect.Type) {
		if seen[layoutType] {
			return
		}
		seen[layoutType] = true
		for _, f := range s.of(layoutType).fields {
			if inner := structOf(f.goType); inner != nil {
				walk(inner)
			}
			if f.inline {
				continue
			}
			example := exampleOf(&f)
			if example == "" {
				t.Errorf("%s.%s has no example", layoutType.Name(), f.key)
				continue
			}
			d := newDecoder()
			target := reflect.New(layoutType).Elem()
			entries := d.document("example", 0, []byte(f.key+": "+example+"\n"))
			if len(entries) != 1 {
				t.Errorf("%s: %s is no YAML: %v", f.key, example, d.errors)
				continue
			}
			field, known := d.fieldFor(target, f.key)
			d.decode(entries[0].value, field, known, entries[0].at)
			if len(d.errors) > 0 && !strings.Contains(example, "...") && example != "|" {
				t.Errorf("the example of %s.%s: %v", layoutType.Name(), f.key, d.errors)
			}
		}
	}
	walk(reflect.TypeFor[Layout]())
}

// structOf is the layout type below a field: its own, its pointer's, its
// list's; nil for a plain value.
func structOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		return t
	}
	return nil
}

// reference is docs/layout.md.
func reference() string {
	var b strings.Builder
	b.WriteString(head())
	r := referenceWriter{shapes{}, &b}
	r.section("The whole", "", reflect.TypeFor[Layout]())
	b.WriteString(referenceTail)
	return b.String()
}

type referenceWriter struct {
	shapes shapes
	b      *strings.Builder
}

// section is a table of the keys of one type, then the sections of the types
// in it.
func (r referenceWriter) section(title, prefix string, t reflect.Type) {
	fmt.Fprintf(r.b, "\n## %s\n\n| key | type | default | meaning | example |\n|---|---|---|---|---|\n", title)
	fields := r.shapes.of(t).fields
	var flat []field
	for _, f := range fields {
		if f.inline {
			flat = append(flat, r.shapes.of(f.goType).fields...)
			continue
		}
		flat = append(flat, f)
	}
	for i := range flat {
		f := &flat[i]
		fmt.Fprintf(r.b, "| `%s` | %s | %s | %s | %s |\n", f.key, cell(typeOf(f)), cell(defaultOf(f)), cell(f.doc), cell(code(exampleOf(f))))
	}
	for i := range flat {
		f := &flat[i]
		inner := structOf(f.goType)
		if inner == nil || f.mapValue != "" {
			continue
		}
		path := prefix + f.key
		switch {
		case f.mapKey != "":
			path += ".NAME"
		case f.goType.Kind() == reflect.Slice:
			path += "[]"
		}
		if inner == reflect.TypeFor[DiskRef]() && f.key == "disks" {
			continue // as os.disk
		}
		r.section("`"+path+"`", path+".", inner)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func typeOf(f *field) string {
	word := valueWord(f, f.goType)
	if f.required {
		word += "; **required**"
	}
	return word
}

func valueWord(f *field, t reflect.Type) string {
	switch t {
	case sizeType:
		word := "size"
		if f.min > 0 {
			word += fmt.Sprintf(", %s to %s", Size(f.min), Size(f.max))
		}
		return word
	case durationType:
		return fmt.Sprintf("time, %s to %s", Duration(f.min*1e9), Duration(f.max*1e9))
	}
	switch t.Kind() {
	case reflect.Pointer:
		return valueWord(f, t.Elem())
	case reflect.Bool:
		return "`true` or `false`"
	case reflect.Int:
		return fmt.Sprintf("number, %d to %d", f.min, f.max)
	case reflect.Map:
		return "mapping: name to any value"
	case reflect.Struct:
		if sh := (shapes{}).of(t); sh.short != nil {
			return "`" + sh.short.key + "` alone, or a mapping"
		}
		return "mapping"
	case reflect.Slice:
		switch {
		case f.mapValue != "":
			return "mapping: name to path, in order"
		case f.mapKey != "":
			return "mapping: name to mapping, in order"
		case f.single:
			return "list, or a single one; each: " + valueWord(f, t.Elem())
		}
		return "list; each: " + valueWord(f, t.Elem())
	default:
	}
	if len(f.enum) > 0 {
		return "`" + strings.Join(f.enum, "`, `") + "`"
	}
	return strings.TrimPrefix(strings.TrimPrefix(formOf(f.form).what, "a "), "an ")
}

func defaultOf(f *field) string {
	switch {
	case f.fallback == "":
		return ""
	case f.toldOnly:
		return f.fallback
	case f.goType.Kind() == reflect.Slice:
		return code("[" + strings.ReplaceAll(f.fallback, ",", ", ") + "]")
	}
	return code(f.fallback)
}

// exampleOf is a value that may stand behind the key.
func exampleOf(f *field) string {
	list := func(s string) string {
		if f.goType.Kind() == reflect.Slice && s != "" && !strings.HasPrefix(s, "[") && !strings.HasPrefix(s, "{") {
			return "[" + strings.ReplaceAll(s, ",", ", ") + "]"
		}
		return s
	}
	switch {
	case f.example != "":
		return f.example
	case f.fallback != "" && !f.toldOnly:
		return list(f.fallback)
	case len(f.enum) > 0:
		return f.enum[0]
	case f.goType.Kind() == reflect.Bool, f.goType == reflect.TypeFor[*bool]():
		return "true"
	}
	return list(formOf(f.form).example)
}

const referenceHead = `# layout.yaml, key by key

<!-- Generated from the types in configs/layout.go: go test ./configs -run Reference -update -->

One file says what a host is. ` + "`hvinstall check --plan layout.yaml`" + ` reads it without looking at the machine,
` + "`hvinstall schema > layout.schema.json`" + ` gives editors a JSON Schema of it, ` + "`hvinstall discover --layout`" + ` writes
a first one for the machine it runs on. With the line ` + "`# yaml-language-server: $schema=layout.schema.json`" + ` at
its top, editors that know YAML complete keys and show what they mean. Complete layouts to start from are in
[configs/examples](../configs/examples): [hypervisor.yaml](../configs/examples/hypervisor.yaml) with everything,
[smallest.yaml](../configs/examples/smallest.yaml), [vms-only.yaml](../configs/examples/vms-only.yaml) for a host that
something else installed, [nixos.yaml](../configs/examples/nixos.yaml).

The file is read strictly. An unknown key, a wrong type, a value of the wrong form, a contradiction is an
error with its place, and all of them are shown at once:

` + "```" + `
@ERRORS@
` + "```" + `

- **Sizes** are ` + "`1GiB`" + ` (2^30 bytes; KiB, MiB, TiB, PiB too, or K, M, G, T), ` + "`500GB`" + ` (10^9; kB, MB, TB, PB too), ` + "`1.5TiB`" + `,
  or a number of bytes. **Times** are ` + "`10s`" + `, ` + "`1m30s`" + `, ` + "`1h`" + `, or a number of seconds.
- A key without a value (` + "`os:`" + `) is an error: remove it, or give it one. Text is never empty. ` + "`[]`" + ` is an empty list.
- Truth is ` + "`true`" + ` or ` + "`false`" + `.
- Anchors, aliases and ` + "`<<`" + ` work; tags (` + "`!!str`" + `, ` + "`!vault`" + `) are refused. One document for each file.
- What ends up in files and command lines is held to harmless characters: paths have letters, digits and
  ` + "`. _ + @ : = ~ , -`" + `, no spaces.
- Errors hide what looks like a password, a hash, a token or a private key.
- Limits, so that no file can use up the machine: @BYTES@ MiB, @DEPTH@ levels deep, @KEYS@ keys in a mapping,
  @TOKENS@ words, @VALUES@ values (those repeated by aliases counted each time).
`

const referenceTail = `
## ` + "`--vms FILE`" + `

Reads only the ` + "`libvirt_*`" + ` keys of another YAML file; each replaces the layout's. An Ansible vars file is read as
it is: other keys, vaults and templates in it are left unread, and ` + "`yes`" + `, ` + "`no`" + `, ` + "`on`" + `, ` + "`off`" + ` are truth values there,
as for Ansible. A ` + "`{{ variable }}`" + ` or ` + "`!vault`" + ` in a key that is read is an error: hvinstall cannot resolve it. Another
role's ` + "`libvirt_`" + ` variables are ignored, unless their name is so near to one of ours that it must be meant.
`

// sampleLayout shows in docs/layout.md what an error looks like.
const sampleLayout = "hostname: hypervisor\npools:\n  vmstore:\n    disks: [/dev/sda, /dev/disk/by-id/nvme-WDC_WDS100T2B0C-00PXH0_20473A800123]\n    storage_media: sdd\n    mountpont: /mnt/vmstore\n"

// head is referenceHead with its figures and its sample filled in.
func head() string {
	_, err := Load("layout.yaml", []byte(sampleLayout))
	return strings.NewReplacer(
		"@ERRORS@", fmt.Sprint(err),
		"@BYTES@", fmt.Sprint(MaxBytes>>20), "@DEPTH@", fmt.Sprint(MaxDepth), "@KEYS@", fmt.Sprint(MaxKeys),
		"@TOKENS@", fmt.Sprint(MaxTokens), "@VALUES@", fmt.Sprint(MaxValues),
	).Replace(referenceHead)
}

// TestEveryFieldIsDocumented: a key without a meaning is no documentation.
func TestEveryFieldIsDocumented(t *testing.T) {
	for line := range strings.Lines(reference()) {
		if regexp.MustCompile("^\\| `").MatchString(line) && regexp.MustCompile(`\| +\| [^|]* \|$`).MatchString(strings.TrimSpace(line)) {
			t.Errorf("no meaning: %s", line)
		}
	}
}
