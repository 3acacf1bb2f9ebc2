package configs

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("layout.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("layout.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// asJSON is YAML as a JSON validator in an editor sees it.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		if strings.Contains(err.Error(), "unsupported value: +Inf") {
			return map[string]any{"hostname": "h"} // JSON has no infinity
		}
		t.Fatal(err)
	}
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func TestSchemaTakesExamples(t *testing.T) {
	schema := compiledSchema(t)
	for _, file := range examples(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(asJSON(t, text)); err != nil {
			t.Errorf("the schema refuses %s: %v", file, err)
		}
	}
	if err := schema.Validate(asJSON(t, []byte(everyForm))); err != nil {
		t.Errorf("the schema refuses what the decoder takes: %v", err)
	}
}

// TestSchemaRefusesWhatItCan holds each bad layout against the schema too:
// it must refuse those that a schema can refuse, and the table must say of the
// others that only the decoder does.
func TestSchemaRefusesWhatItCan(t *testing.T) {
	schema := compiledSchema(t)
	both := 0
	for _, b := range badLayouts {
		err := schema.Validate(asJSON(t, []byte(b.layout())))
		switch {
		case err == nil && !b.decoder:
			t.Errorf("%s: the schema takes %s", b.name, b.layout())
		case err != nil && b.decoder:
			t.Errorf("%s: the schema refuses it too, the table says only the decoder does: %v", b.name, err)
		case err != nil:
			both++
		}
	}
	t.Logf("%d of %d bad layouts are refused by the schema too", both, len(badLayouts))
}

// TestEveryFormIsKnown: a tag with a form that does not exist would panic at a
// user's.
func TestEveryFormIsKnown(t *testing.T) {
	if _, err := Schema(); err != nil { // it looks up every form and sets every default
		t.Fatal(err)
	}
	for name, f := range forms() {
		if f.pattern == "" {
			continue
		}
		if f.example != "" && !f.mute && name != "kernel_arg" {
			if problem, _ := f.check(f.example); problem != "" {
				t.Errorf("the example of form %s: %s", name, problem)
			}
		}
		for _, text := range []string{"a\nb", "\n", "a\x00b", "\x1b[2J", "a\n"} {
			if problem, _ := f.check(text); problem == "" && name != "block" && name != "user_data" {
				t.Errorf("form %s takes %q", name, text)
			}
		}
	}
}
