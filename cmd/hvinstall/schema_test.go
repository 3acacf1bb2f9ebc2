package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestRunSchema(t *testing.T) {
	var out, errors bytes.Buffer
	if code := runSchema(t.Context(), terminal{nil, &out, &errors}, nil); code != exitDone || errors.Len() > 0 {
		t.Fatalf("schema = %d, %s, want 0", code, errors.String())
	}
	var schema map[string]any
	if err := json.Unmarshal(out.Bytes(), &schema); err != nil || schema["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("schema prints %q, %v, want a draft 2020-12 schema", schema["$schema"], err)
	}
	if code := runSchema(t.Context(), terminal{nil, &out, &errors}, []string{"extra"}); code != exitUsage || !strings.Contains(errors.String(), "extra") {
		t.Errorf("schema extra = %d, %s, want 2", code, errors.String())
	}
}
