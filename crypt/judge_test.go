package crypt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// realJSON is the JSON area that cryptsetup 2.6.1 wrote for
//
//	cryptsetup luksFormat --type luks2 --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 64 --pbkdf-parallel 1
const realJSON = `{"keyslots":{"0":{"type":"luks2","key_size":64,"af":{"type":"luks1","stripes":4000,"hash":"sha256"},"area":{"type":"raw","offset":"32768","size":"258048","encryption":"aes-xts-plain64","key_size":64},"kdf":{"type":"argon2id","time":4,"memory":64,"cpus":1,"salt":"zG9oa7GNBgZAFo3hw7aR/xELGssS6JcaT05Mzz8lE5k="}}},"tokens":{},"segments":{"0":{"type":"crypt","offset":"16777216","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":4096}},"digests":{"0":{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":"R3eaVALGJaToKLMsq3v3l27XAT8DUU+OO4fCkdelN8c=","digest":"ZDb79VOqZiiklnC039W2/fc/dNSGRr58E6geWTeTc/k="}},"config":{"json_size":"12288","keyslots_size":"16744448"}}`

const (
	testUUID = "5a1b9d0e-0000-4000-8000-000000000001"
	testSize = 40 << 20
)

// headerCopyOf is a copy of a header of 16 KiB with valid checksum.
func headerCopyOf(text string) []byte {
	b := make([]byte, 0x4000)
	copy(b, magicPrimary)
	binary.BigEndian.PutUint16(b[6:], 2)
	binary.BigEndian.PutUint64(b[8:], 0x4000)
	binary.BigEndian.PutUint64(b[16:], 3)
	copy(b[168:], testUUID)
	copy(b[headerJSON:], text)
	sealHeader(b)
	return b
}

func TestJudgeTakesCryptsetups(t *testing.T) {
	for name, change := range map[string][]string{
		"as it is":           nil,
		"a key's slot":       {`{"type":"argon2id","time":4,"memory":64,"cpus":1,`, `{"type":"pbkdf2","hash":"sha512","iterations":1000,`},
		"of 1 GiB":           {`"memory":64`, `"memory":1048576`},
		"preferred":          {`"key_size":64,"af"`, `"key_size":64,"priority":2,"af"`},
		"adopted, of old":    {`"key_size":64,"af"`, `"key_size":32,"af"`, `"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64"`, `"dynamic","iv_tweak":"0","encryption":"aes-cbc-essiv:sha256"`},
		"came from LUKS1":    {`ZDb79VOqZiiklnC039W2/fc/dNSGRr58E6geWTeTc/k=`, `ZDb79VOqZiiklnC039W2/fc/dNQ=`},
		"a size":             {`"dynamic"`, `"4096"`},
		"with a stick's key": {`"tokens":{}`, `"tokens":{"0":{"type":"hvinstall-key","keyslots":["0"],"stick":"8B34-7D3C"}}`},
	} {
		text := strings.NewReplacer(change...).Replace(realJSON)
		needed, err := judge2(headerCopyOf(text), testSize, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(needed) != 1 || needed[0].offset != 32768 {
			t.Errorf("%s: needs %v", name, needed)
		}
	}
}

func TestJudgeRefuses(t *testing.T) {
	for _, c := range []struct{ field, from, to string }{
		// Each of these was a way in, or a way to end the first process.
		{"digests.0.digest", `"digest":"ZDb79VOqZiiklnC039W2/fc/dNSGRr58E6geWTeTc/k="`, `"digest":""`},
		{"digests.0.digest", `"digest":"ZDb7`, `"digest":"ZDb7ZDb7`},
		{"segments.0.encryption", `"0","encryption":"aes-xts-plain64"`, `"0","encryption":"aes-xts-plain64 4b4b 0 PARTUUID=1 32768 0"`},
		{"segments.0.encryption", `"0","encryption":"aes-xts-plain64"`, `"0","encryption":"cipher_null-ecb"`},
		{"segments.0.encryption", `"0","encryption":"aes-xts-plain64"`, `"0","encryption":""`},
		{"keyslots.0.area", `"encryption":"aes-xts-plain64","key_size":64}`, `"encryption":"cipher_null-ecb","key_size":64}`},
		{"keyslots.0.area", `"encryption":"aes-xts-plain64","key_size":64}`, `"encryption":"aes-xts-plain64","key_size":0}`},
		{"keyslots.0.key_size", `"key_size":64,"af"`, `"key_size":1099511627776,"af"`},
		{"keyslots.0.key_size", `"key_size":64,"af"`, `"key_size":0,"af"`},
		{"keyslots.0.kdf.cpus", `"cpus":1`, `"cpus":0`},
		{"keyslots.0.kdf.cpus", `"cpus":1`, `"cpus":256`},
		{"keyslots.0.kdf.time", `"time":4`, `"time":0`},
		{"keyslots.0.kdf.time", `"time":4`, `"time":4294967295`},
		{"keyslots.0.kdf.memory", `"memory":64`, `"memory":4294967295`},
		{"keyslots.0.kdf.memory", `"memory":64`, `"memory":0`},
		{"keyslots.0.kdf.iterations", `{"type":"argon2id","time":4,"memory":64,"cpus":1,`, `{"type":"pbkdf2","hash":"sha256","iterations":4294967295,`},
		{"keyslots.0.kdf.iterations", `{"type":"argon2id","time":4,"memory":64,"cpus":1,`, `{"type":"pbkdf2","hash":"sha256","iterations":0,`},
		{"keyslots.0.kdf.type", `argon2id`, `scrypt`},
		{"keyslots.0.kdf.salt", `"salt":"zG9oa7GNBgZAFo3hw7aR/xELGssS6JcaT05Mzz8lE5k="`, `"salt":"AAAA"`},
		{"keyslots.0.af", `4000`, `1`},
		{"keyslots.0.area", `"32768"`, `"32769"`},
		{"keyslots.0.area", `"32768"`, `"512"`},
		{"keyslots.0.area", `"32768"`, `"-512"`},
		{"keyslots.0.area", `"32768"`, `"9223372036854775296"`},
		{"keyslots.0.area", `"258048"`, `"512"`},
		{"keyslots.0.area", `"258048"`, `"9223372036854775807"`},
		{"digests.0.iterations", `"iterations":1000`, `"iterations":1000000000`},
		{"digests.0", `"hash":"sha256","iterations"`, `"hash":"crc32","iterations"`},
		{"digests.0.segments", `"segments":["0"]`, `"segments":["1"]`},
		{"digests", `"segments":["0"]`, `"segments":[]`},
		{"digests.0.keyslots", `"keyslots":["0"]`, `"keyslots":["0","1"]`},
		{"keyslots.0", `"keyslots":["0"]`, `"keyslots":["0","0"]`},
		{"keyslots.0", `"keyslots":["0"]`, `"keyslots":[]`},
		{"digests.0.keyslots", `{"0":{"type":"luks2"`, `{"00":{"type":"luks2"`},
		{"segments", `"segments":{"0":{`, `"segments":{"1":{},"0":{`},
		{"segments", `"segments":{"0":{"type`, `"segments":{"+0":{"type`},
		{"segments.0.type", `"type":"crypt"`, `"type":"linear"`},
		{"segments.0.offset", `"16777216"`, `"0"`},
		{"segments.0.size", `"16777216"`, `"1099511627776"`},
		{"segments.0.size", `"dynamic"`, `"1099511627776"`},
		{"segments.0.iv_tweak", `"iv_tweak":"0"`, `"iv_tweak":"-1"`},
		{"segments.0.sector_size", `"sector_size":4096`, `"sector_size":0`},
		{"segments.0", `"sector_size":4096`, `"sector_size":4096,"integrity":{"type":"none"}`},
		{"config.requirements", `"config":{`, `"config":{"requirements":{"mandatory":["online-reencrypt-v2"]},`},
		// Two readers would read these differently.
		{"json", `"tokens":{}`, `"Digests":{}`},
		{"json", `"tokens":{}`, `"digests":{}`},
		{"json", `"tokens":{}`, `"ſegments":{}`},
		{"json", `"tokens":{}`, `"tokens":` + strings.Repeat("[", 17) + strings.Repeat("]", 17)},
		{"json", `"tokens":{}`, `"tokens":{}}{`},
	} {
		text := strings.Replace(realJSON, c.from, c.to, 1)
		if text == realJSON {
			t.Fatalf("%s: %s is not in the header", c.field, c.from)
		}
		_, err := judge2(headerCopyOf(text), testSize, false)
		var refused *HeaderError
		if !errors.As(err, &refused) || refused.Field != c.field {
			t.Errorf("%s → %s: %v, want a refusal of %s", c.from, c.to, err, c.field)
		}
	}
	endless := headerCopyOf(realJSON)
	for i := headerJSON; i < len(endless); i++ {
		if endless[i] == 0 {
			endless[i] = ' '
		}
	}
	if _, err := judge2(endless, testSize, false); err == nil {
		t.Error("a JSON area without an end is taken")
	}
}

// TestForgedHeaderOpensNothing: the forged volume that every key opened. The
// way goes through what the boot uses.
func TestForgedHeaderOpensNothing(t *testing.T) {
	forged := strings.NewReplacer(`"digest":"ZDb79VOqZiiklnC039W2/fc/dNSGRr58E6geWTeTc/k="`, `"digest":""`,
		`"type":"argon2id","time":4,"memory":64,"cpus":1,`, `"type":"pbkdf2","hash":"sha256","iterations":1,`).Replace(realJSON)
	for name, c := range map[string]struct {
		text    string
		refused bool
	}{"real": {realJSON, false}, "forged": {forged, true}} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, headerCopyOf(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, testSize); err != nil {
			t.Fatal(err)
		}
		v := VolumePlan{Mapping: "cryptroot", Device: path, UUID: testUUID}
		fits, err := v.opens(NewKey(64), 0)
		var refused *HeaderError
		if fits || errors.As(err, &refused) != c.refused || !c.refused && err != nil {
			t.Errorf("%s: opens %v, %v", name, fits, err)
		}
	}
}

// TestJudgeOwn: of a volume that hvinstall formatted more is known; a header
// that is fit for somebody else's is not one of its.
func TestJudgeOwn(t *testing.T) {
	if _, err := judge2(headerCopyOf(realJSON), testSize, true); err != nil {
		t.Errorf("as cryptsetup made it: %v", err)
	}
	for field, change := range map[string][]string{
		"digests.0.digest":      {`ZDb79VOqZiiklnC039W2/fc/dNSGRr58E6geWTeTc/k=`, `ZDb79VOqZiiklnC039W2/fc/dNQ=`},
		"segments.0.encryption": {`"key_size":64,"af"`, `"key_size":32,"af"`, `"0","encryption":"aes-xts-plain64"`, `"0","encryption":"aes-cbc-essiv:sha256"`},
	} {
		b := headerCopyOf(strings.NewReplacer(change...).Replace(realJSON))
		if _, err := judge2(b, testSize, false); err != nil {
			t.Errorf("%s, adopted: %v", field, err)
		}
		var refused *HeaderError
		if _, err := judge2(b, testSize, true); !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%s, of our own: %v, want a refusal of it", field, err)
		}
	}
	path := filepath.Join(t.TempDir(), "luks1")
	b := make([]byte, testSize)
	copy(b, magicPrimary)
	b[7] = 1
	copy(b[168:], testUUID)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := VolumePlan{Mapping: "cryptroot", Device: path, UUID: testUUID}.opens(NewKey(64), 0)
	var refused *HeaderError
	if !errors.As(err, &refused) || refused.Field != "version" {
		t.Errorf("a LUKS1 header in place of our own: %v, want a refusal of its version", err)
	}
}

// slotsOf is a header with a number of keyslots whose kdf is the text.
func slotsOf(n int, kdf, digest string) []byte {
	const one = `"0":{"type":"luks2","key_size":64,"af":{"type":"luks1","stripes":4000,"hash":"sha256"},"area":{"type":"raw","offset":"32768","size":"258048","encryption":"aes-xts-plain64","key_size":64},"kdf":{"type":"argon2id","time":4,"memory":64,"cpus":1,`
	begin := strings.Replace(one, `"type":"argon2id","time":4,"memory":64,"cpus":1,`, kdf, 1)
	rest := `"salt":"zG9oa7GNBgZAFo3hw7aR/xELGssS6JcaT05Mzz8lE5k="}}`
	var slots, names []string
	for i := range n {
		slots = append(slots, strings.Replace(begin, `"0":`, fmt.Sprintf(`"%d":`, i), 1)+rest)
		names = append(names, fmt.Sprintf(`"%d"`, i))
	}
	return headerCopyOf(strings.NewReplacer(one+rest, strings.Join(slots, ","), `"keyslots":["0"]`, `"keyslots":[`+strings.Join(names, ",")+`]`,
		`"iterations":1000,"salt":"R3ea`, digest+`"salt":"R3ea`).Replace(realJSON))
}

// TestWorkOfAllSlots: a key that fits nowhere is tried on every slot, so that
// costs which are fit alone would hold up the boot for hours.
func TestWorkOfAllSlots(t *testing.T) {
	const cheapDigest = `"iterations":100000,`
	pbkdf2 := func(n int) string { return fmt.Sprintf(`"type":"pbkdf2","hash":"sha256","iterations":%d,`, n) }
	argon := func(time, memory int) string {
		return fmt.Sprintf(`"type":"argon2id","time":%d,"memory":%d,"cpus":4,`, time, memory)
	}
	for name, c := range map[string]struct {
		slots       int
		kdf, digest string
		field       string // empty: taken
	}{
		"one slot at the bound":          {1, pbkdf2(mostIterations), cheapDigest, ""},
		"32 slots at the bound":          {32, pbkdf2(mostIterations), cheapDigest, "keyslots"},
		"two slots, each over half":      {2, pbkdf2(mostIterations/2 + 1), cheapDigest, "keyslots"},
		"8 slots of a fast machine":      {8, pbkdf2(10_000_000), cheapDigest, ""},
		"argon2, one at the bound":       {1, argon(32, mostMemory), cheapDigest, ""},
		"argon2, 32 at the bound":        {32, argon(32, mostMemory), cheapDigest, "keyslots"},
		"argon2, 8 of a fast machine":    {8, argon(10, 1<<20), cheapDigest, ""},
		"a digest that each slot pays":   {32, pbkdf2(1000), `"iterations":100000000,`, "digests"},
		"32 cheap slots, 32 sticks' own": {32, pbkdf2(1000), cheapDigest, ""},
	} {
		_, err := judge2(slotsOf(c.slots, c.kdf, c.digest), testSize, true)
		var refused *HeaderError
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.field != "" && (!errors.As(err, &refused) || refused.Field != c.field):
			t.Errorf("%s: %v, want a refusal of %s", name, err, c.field)
		}
	}
}

// TestWhatIsJudgedIsUsed: a disk that shows the first reader one header and the
// next one another is not asked for the first one's costs.
func TestWhatIsJudgedIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	first := strings.Replace(realJSON, `"memory":64`, `"memory":32`, 1)
	if err := os.WriteFile(path, headerCopyOf(first), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, testSize); err != nil {
		t.Fatal(err)
	}
	header, err := ReadHeader(path)
	if err != nil {
		t.Fatal(err)
	}
	then := strings.NewReplacer(`"memory":64`, `"memory":4194304`, `"tokens":{}`, `"tokens":{"0":{"type":"hvinstall-passphrase","keyslots":["0"]}}`).Replace(realJSON)
	disk, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if _, err := disk.WriteAt(headerCopyOf(then), 0); err != nil {
		t.Fatal(err)
	}
	volume, used, err := header.openHeader(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer volume.Close()
	if got := used.Slots[0].Cost.Memory; got != 4<<20 || used.PassphraseSlot() != 0 {
		t.Errorf("%d KiB, passphrase in slot %d; want those of the header that is opened", got, used.PassphraseSlot())
	}
}

// TestMemoryOfSlot: a slot that takes more memory than there is, is an error.
func TestMemoryOfSlot(t *testing.T) {
	var u unlocker
	err := u.try(t.Context(), nil, "", Slot{KDF: "argon2id", Cost: Cost{1, 1 << 40, 1}}, 1, Key{}, "")
	if err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("%v, want a refusal", err)
	}
}

// TestJudgeLUKS1 changes a header field by field.
func TestJudgeLUKS1(t *testing.T) {
	valid := func() []byte {
		b := make([]byte, luks1Size)
		copy(b, magicPrimary)
		b[7] = 1
		copy(b[8:], "aes")
		copy(b[40:], "xts-plain64")
		copy(b[72:], "sha256")
		put := func(at int, n uint32) { binary.BigEndian.PutUint32(b[at:], n) }
		put(104, 4096)
		put(108, 64)
		put(164, 1000)
		for i := range 8 {
			put(luks1Slots+i*luks1Slot, luks1Disable)
		}
		put(luks1Slots, luks1Enabled)
		put(luks1Slots+4, 1000)
		put(luks1Slots+40, 8)
		put(luks1Slots+44, stripes)
		return b
	}
	if needed, err := judge1(valid(), testSize); err != nil || len(needed) != 1 {
		t.Fatalf("a whole header: %v, %v", needed, err)
	}
	for name, c := range map[string]struct {
		at int
		to uint32
	}{
		"key of 0 bytes": {108, 0}, "key of 2 GiB": {108, 1 << 31}, "no iterations": {164, 0}, "endless": {164, 1<<32 - 1},
		"data outside": {104, 1<<32 - 1}, "data at 0": {104, 0}, "slot half enabled": {luks1Slots, 1},
		"slot without iterations": {luks1Slots + 4, 0}, "two slots, each within the bound": {luks1Slots + 4, mostIterations/2 + 1}, "slot outside": {luks1Slots + 40, 1<<32 - 1}, "one stripe": {luks1Slots + 44, 1},
		"cipher": {8, 0x6e756c6c}, "a digest that two slots pay": {164, mostIterations/2 + 1},
	} {
		b := valid()
		second := b[luks1Slots+luks1Slot:]
		copy(second, b[luks1Slots:luks1Slots+luks1Slot])
		binary.BigEndian.PutUint32(second[4:], mostIterations/2)
		binary.BigEndian.PutUint32(b[c.at:], c.to)
		if _, err := judge1(b, testSize); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzJudge: whatever is taken is read within the device.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(realJSON))
	f.Add([]byte(strings.Replace(realJSON, `"32768"`, `"9223372036854775807"`, 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) >= 0x3000 || bytes.IndexByte(text, 0) >= 0 {
			return
		}
		needed, err := judge2(headerCopyOf(string(text)), testSize, len(text)%2 == 0)
		if err != nil {
			return
		}
		for _, e := range needed {
			if e.offset < 0x8000 || e.length <= 0 || e.offset+e.length > testSize {
				t.Fatal(fmt.Sprint(e))
			}
		}
	})
}

// FuzzHeader reads whole disks, in either copy and of either version: what is
// read is judged, and what is judged is read again from what the judge took.
func FuzzHeader(f *testing.F) {
	head := headerCopyOf(realJSON)
	f.Add(head)
	f.Add(append(make([]byte, 0x4000), head...))
	second := bytes.Clone(head)
	copy(second, magicSecondary)
	binary.BigEndian.PutUint64(second[headerOffset:], 0x4000)
	sealHeader(second)
	f.Add(append(make([]byte, 0x4000), second...))
	old := make([]byte, luks1Size)
	copy(old, magicPrimary)
	old[7] = 1
	f.Add(old)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		// The fuzzer finds no checksum, and whoever forges a header makes it.
		for at := 0; at+0x4000 <= len(data); at += 0x4000 {
			sealHeader(data[at : at+0x4000])
		}
		disk := make([]byte, 1<<17)
		copy(disk, data)
		h, err := ParseHeader(bytes.NewReader(disk))
		if err != nil {
			return
		}
		h.candidates(Key{Passphrase: true}, []int{0, 1, 2})
		h.Sticks()
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, disk, 0o600); err != nil {
			t.Fatal(err)
		}
		volume, used, err := h.openHeader(path, len(data)%2 == 0)
		if err != nil {
			return
		}
		defer volume.Close()
		if used.UUID != h.UUID {
			t.Errorf("opened %q, and %q was read", used.UUID, h.UUID)
		}
	})
}
