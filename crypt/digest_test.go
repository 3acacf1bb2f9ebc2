package crypt

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestOtherVolumeKey: a volume that somebody made under the UUID of the host's
// has another volume key, whatever else its header says.
func TestOtherVolumeKey(t *testing.T) {
	read := func(change ...string) Header {
		t.Helper()
		h, err := ParseHeader(bytes.NewReader(headerCopyOf(strings.NewReplacer(change...).Replace(realJSON))))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	real := read()
	if len(real.KeyDigest) != 64 {
		t.Fatalf("digest %q", real.KeyDigest)
	}
	v := VolumePlan{Mapping: "cryptroot", Device: "/dev/sdx", KeyDigest: real.KeyDigest}
	for name, c := range map[string]struct {
		change []string
		is     bool
	}{
		"itself":               {nil, true},
		"another slot":         {[]string{`"memory":64`, `"memory":128`}, true},
		"another token":        {[]string{`"tokens":{}`, `"tokens":{"0":{"type":"hvinstall-key","keyslots":["0"],"stick":"8B34-7D3C"}}`}, true},
		"another key":          {[]string{`ZDb79VOqZiiklnC039W2`, `aDb79VOqZiiklnC039W2`}, false},
		"another salt":         {[]string{`R3eaVALGJaToKLMsq3v3`, `a3eaVALGJaToKLMsq3v3`}, false},
		"a cheaper digest":     {[]string{`"iterations":1000`, `"iterations":1`}, false},
		"no digest":            {[]string{`"digests":{`, `"digests_":{`}, false},
		"the real one, unused": {[]string{`"digests":{`, `"digests":{"1":{"type":"pbkdf2","keyslots":[],"segments":[],"hash":"sha256","iterations":1,"salt":"R3eaVALGJaT=","digest":"ZDb79VOqZiiklnC039W2/fc/dNSGRr58E6geWTeTc/k="},`}, false},
	} {
		err := v.hasKeyOf(read(c.change...))
		var other *OtherVolumeKeyError
		if c.is != (err == nil) || err != nil && !errors.As(err, &other) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (VolumePlan{}).hasKeyOf(real); err != nil {
		t.Errorf("a host that remembers none: %v", err)
	}
}
