package crypt

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A header is written by whoever had the disk, and luks.go trusts it: a digest
// of no length accepts every key, a cipher's text goes into the device-mapper
// table as it is, costs of zero panic and large ones take all memory. Here a
// header is judged before luks.go sees it. What is allowed is what cryptsetup
// writes and luks.go can open, see "LUKS2 On-Disk Format Specification", 3, and
// "LUKS1 On-Disk Format Specification", 2.

// HeaderError is a header that is refused, whatever the key.
type HeaderError struct {
	Field string // as keyslots.0.kdf.cpus
	Why   string
}

func (e *HeaderError) Error() string {
	return fmt.Sprintf("its LUKS header is not one that hvinstall opens (%s: %s), so no key was tried on it; "+
		"it is of another kind, damaged or forged: 'cryptsetup luksDump' shows it without a change", e.Field, e.Why)
}

func refuse(field, format string, args ...any) error {
	return &HeaderError{field, fmt.Sprintf(format, args...)}
}

// The bounds of what a keyslot may cost.
const (
	stripes = 4000 // anti-forensic, the only number that cryptsetup writes

	mostIterations = 100_000_000 // PBKDF2, of all keyslots together: half a minute of a fast core
	mostMemory     = 4 << 20     // argon2, KiB: cryptsetup's own limit
	mostCPUs       = 255         // argon2: luks.go cuts the number to eight bits
	mostWork       = 1 << 27     // argon2, KiB times passes, of all keyslots together: minutes
	mostDepth      = 16          // of the JSON
)

// digestLengths are the lengths of the hashes that a header may name, bytes.
var digestLengths = map[string]int{"sha1": 20, "sha256": 32, "sha512": 64}

// luks1Digest is the length of a digest that came from a LUKS1 header, of
// whatever hash, bytes: 'cryptsetup convert' keeps it. A volume of hvinstall's
// own was never one.
const luks1Digest = 20

// ownCipher is what hvinstall's own volumes have.
const ownCipher = "aes-xts-plain64"

// keySizes are the ciphers that a volume may have, and the sizes of their keys,
// bytes. cbc is for adopted volumes. Nothing else reaches the device-mapper table.
var keySizes = map[string][]uint64{
	"aes-xts-plain64":      {32, 64},
	"aes-cbc-essiv:sha256": {16, 32},
}

// extent is a range of the device that luks.go reads.
type extent struct{ offset, length int64 }

// judged is the JSON area as luks.go decodes it.
type judged struct {
	Keyslots map[string]judgedSlot    `json:"keyslots"`
	Segments map[string]judgedSegment `json:"segments"`
	Digests  map[string]judgedDigest  `json:"digests"`
	Config   struct {
		Requirements json.RawMessage `json:"requirements"`
	} `json:"config"`
}

type judgedSlot struct {
	Type    string `json:"type"`
	KeySize uint64 `json:"key_size"`
	AF      struct {
		Type    string `json:"type"`
		Stripes uint64 `json:"stripes"`
		Hash    string `json:"hash"`
	} `json:"af"`
	Area struct {
		Type       string `json:"type"`
		Offset     string `json:"offset"`
		Size       string `json:"size"`
		Encryption string `json:"encryption"`
		KeySize    uint64 `json:"key_size"`
	} `json:"area"`
	KDF      judgedKDF `json:"kdf"`
	Priority *int      `json:"priority"`
}

type judgedKDF struct {
	Type       string `json:"type"`
	Hash       string `json:"hash"`
	Salt       string `json:"salt"`
	Iterations uint64 `json:"iterations"`
	Time       uint64 `json:"time"`
	Memory     uint64 `json:"memory"`
	CPUs       uint64 `json:"cpus"`
}

type judgedSegment struct {
	Type       string          `json:"type"`
	Offset     string          `json:"offset"`
	Size       string          `json:"size"`
	IVTweak    string          `json:"iv_tweak"`
	Encryption string          `json:"encryption"`
	SectorSize uint64          `json:"sector_size"`
	Integrity  json.RawMessage `json:"integrity"`
	Flags      json.RawMessage `json:"flags"`
}

type judgedDigest struct {
	Type       string   `json:"type"`
	Keyslots   []string `json:"keyslots"`
	Segments   []string `json:"segments"`
	Hash       string   `json:"hash"`
	Iterations uint64   `json:"iterations"`
	Salt       string   `json:"salt"`
	Digest     string   `json:"digest"`
}

// judge2 judges the first copy of a LUKS2 header on a device of a size. copied
// is that copy, from its first byte to its last. own says that hvinstall
// formatted the volume. It returns what else of the device is needed to open it.
func judge2(copied []byte, size int64, own bool) ([]extent, error) {
	if string(bytes.TrimRight(copied[headerChecksumName:headerChecksumName+32], "\x00")) != "sha256" {
		return nil, refuse("checksum", "is not sha256")
	}
	text, _, ended := bytes.Cut(copied[headerJSON:], []byte{0})
	if !ended {
		return nil, refuse("json", "does not end")
	}
	if err := plainJSON(text); err != nil {
		return nil, err
	}
	var m judged
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, refuse("json", "%v", err)
	}
	if r := m.Config.Requirements; len(r) > 0 && !slices.Contains([]string{"null", "{}", `{"mandatory":[]}`}, string(r)) {
		return nil, refuse("config.requirements", "an operation on it is not finished; finish it by 'cryptsetup reencrypt --resume-only'")
	}
	segment, there := m.Segments["0"]
	if !there || len(m.Segments) != 1 {
		return nil, refuse("segments", "there are %d, and one called 0 is allowed", len(m.Segments))
	}
	data, err := segment.judge(int64(len(copied)), size)
	if err != nil {
		return nil, err
	}
	if own && segment.Encryption != ownCipher {
		return nil, refuse("segments.0.encryption", "hvinstall made this volume with %s, and %q is there now", ownCipher, segment.Encryption)
	}
	if err := judgeDigests(m, own); err != nil {
		return nil, err
	}
	if err := judgeWork(m); err != nil {
		return nil, err
	}
	var needed []extent
	for id, slot := range m.Keyslots {
		area, err := slot.judge("keyslots."+id, segment.Encryption, 2*int64(len(copied)), data)
		if err != nil {
			return nil, err
		}
		needed = append(needed, area)
	}
	return needed, nil
}

// judge returns where the data begins.
func (s judgedSegment) judge(header, size int64) (data int64, err error) {
	data, offset := decimal(s.Offset)
	_, tweak := decimal(s.IVTweak)
	length, sized := decimal(s.Size)
	if s.Size == "dynamic" {
		length, sized = size-data, true
	}
	switch {
	case s.Type != "crypt":
		return 0, refuse("segments.0.type", "%q is not crypt", s.Type)
	case keySizes[s.Encryption] == nil:
		return 0, refuse("segments.0.encryption", "%q is not on the list", s.Encryption)
	case len(s.Integrity) > 0 || len(s.Flags) > 0:
		return 0, refuse("segments.0", "integrity and flags are not supported")
	case !slices.Contains([]uint64{512, 1024, 2048, 4096}, s.SectorSize):
		return 0, refuse("segments.0.sector_size", "%d bytes", s.SectorSize)
	case !tweak:
		return 0, refuse("segments.0.iv_tweak", "%q", s.IVTweak)
	case !offset || data < 2*header || data%int64(s.SectorSize) != 0:
		return 0, refuse("segments.0.offset", "%q", s.Offset)
	case !sized || length <= 0 || length > size-data || length%int64(s.SectorSize) != 0:
		return 0, refuse("segments.0.size", "%q from %d is not on a device of %d bytes", s.Size, data, size)
	}
	return data, nil
}

// judgeDigests sees that each keyslot's key is compared with one digest, and
// that as a whole.
func judgeDigests(m judged, own bool) error {
	digests := map[string]int{} // of each keyslot
	ofSegment := 0
	for id, d := range m.Digests {
		field := "digests." + id
		sum, err := base64.StdEncoding.DecodeString(d.Digest)
		salt, saltErr := base64.StdEncoding.DecodeString(d.Salt)
		want := digestLengths[d.Hash]
		switch {
		case !isNumber(id):
			return refuse(field, "is no number")
		case d.Type != "pbkdf2" || want == 0:
			return refuse(field, "type %q with hash %q", d.Type, d.Hash)
		case err != nil || len(sum) != want && (own || len(sum) != luks1Digest):
			return refuse(field+".digest", "has %d bytes, and %s has %d", len(sum), d.Hash, want)
		case saltErr != nil || len(salt) < 8:
			return refuse(field+".salt", "has %d bytes", len(salt))
		case d.Iterations < 1 || d.Iterations > mostIterations:
			return refuse(field+".iterations", "%d", d.Iterations)
		}
		for _, slot := range d.Keyslots {
			if _, there := m.Keyslots[slot]; !there {
				return refuse(field+".keyslots", "keyslot %q does not exist", slot)
			}
			digests[slot]++
		}
		switch {
		case len(d.Segments) == 0: // of unbound keyslots, which open nothing
		case len(d.Segments) > 1 || d.Segments[0] != "0":
			return refuse(field+".segments", "%q", d.Segments)
		default:
			ofSegment++
		}
	}
	if ofSegment != 1 {
		return refuse("digests", "%d are of the data, and one is allowed", ofSegment)
	}
	for id := range m.Keyslots {
		if digests[id] != 1 {
			return refuse("keyslots."+id, "is of %d digests", digests[id])
		}
	}
	return nil
}

// judgeWork bounds what a key costs that fits nowhere: it is tried on every
// keyslot, and each time its digest is computed.
func judgeWork(m judged) error {
	var iterations, digests, work uint64 // each is bounded, and there are at most 32
	for id, slot := range m.Keyslots {
		if err := slot.KDF.judge("keyslots." + id + ".kdf"); err != nil {
			return err
		}
		if slot.KDF.Type == "pbkdf2" {
			iterations += slot.KDF.Iterations
		} else {
			work += slot.KDF.Time * slot.KDF.Memory
		}
	}
	for _, d := range m.Digests {
		digests += d.Iterations * uint64(max(len(d.Keyslots), 1))
	}
	switch {
	case iterations > mostIterations:
		return refuse("keyslots", "%d iterations together", iterations)
	case work > mostWork:
		return refuse("keyslots", "%d KiB times passes together", work)
	case digests > mostIterations:
		return refuse("digests", "%d iterations for all keyslots", digests)
	}
	return nil
}

// judge returns the keyslot's area, which lies between the end of both headers
// and the data.
func (s judgedSlot) judge(field, encryption string, begin, data int64) (extent, error) {
	offset, hasOffset := decimal(s.Area.Offset)
	size, hasSize := decimal(s.Area.Size)
	_, id, _ := strings.Cut(field, ".")
	switch {
	case !isNumber(id):
		return extent{}, refuse(field, "is no number")
	case s.Type != "luks2" || s.Area.Type != "raw" || s.AF.Type != "luks1":
		return extent{}, refuse(field, "type %q, area %q, af %q", s.Type, s.Area.Type, s.AF.Type)
	case !slices.Contains(keySizes[encryption], s.KeySize):
		return extent{}, refuse(field+".key_size", "%d bytes are no key of %s", s.KeySize, encryption)
	case !slices.Contains(keySizes[s.Area.Encryption], s.Area.KeySize):
		return extent{}, refuse(field+".area", "%q with a key of %d bytes", s.Area.Encryption, s.Area.KeySize)
	case s.AF.Stripes != stripes || digestLengths[s.AF.Hash] == 0:
		return extent{}, refuse(field+".af", "%d stripes of %q", s.AF.Stripes, s.AF.Hash)
	case s.Priority != nil && (*s.Priority < 0 || *s.Priority > 2):
		return extent{}, refuse(field+".priority", "%d", *s.Priority)
	}
	length := int64(s.KeySize) * stripes
	if !hasOffset || !hasSize || offset < begin || offset%512 != 0 || size < length || offset > data || size > data-offset {
		return extent{}, refuse(field+".area", "%q bytes from %q are not between the header and the data", s.Area.Size, s.Area.Offset)
	}
	return extent{offset, length}, nil
}

func (k judgedKDF) judge(field string) error {
	if salt, err := base64.StdEncoding.DecodeString(k.Salt); err != nil || len(salt) < 8 {
		return refuse(field+".salt", "has %d bytes", len(salt))
	}
	switch k.Type {
	case "pbkdf2":
		if k.Iterations < 1 || k.Iterations > mostIterations {
			return refuse(field+".iterations", "%d", k.Iterations)
		}
		if k.Hash != "sha256" && k.Hash != "sha512" {
			return refuse(field+".hash", "%q", k.Hash)
		}
	case "argon2i", "argon2id":
		switch {
		case k.CPUs < 1 || k.CPUs > mostCPUs:
			return refuse(field+".cpus", "%d", k.CPUs)
		case k.Memory < 1 || k.Memory > mostMemory:
			return refuse(field+".memory", "%d KiB", k.Memory)
		case k.Time < 1 || k.Time > mostWork/k.Memory:
			return refuse(field+".time", "%d passes over %d KiB", k.Time, k.Memory)
		}
	default:
		return refuse(field+".type", "%q", k.Type)
	}
	return nil
}

// plainJSON refuses what two readers could read differently: deep nesting, and
// keys that are the same but for their case, which encoding/json takes for one.
func plainJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	type level struct {
		keys  map[string]bool // nil: an array
		value bool            // a key was read, and its value comes
	}
	var levels []level
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return refuse("json", "%v", err)
		}
		top := len(levels) - 1
		if top >= 0 && levels[top].keys != nil && !levels[top].value && token != json.Delim('}') {
			key, _ := token.(string)
			if strings.IndexFunc(key, func(r rune) bool { return r < 0x20 || r > 0x7e }) >= 0 {
				return refuse("json", "the key %q is not plain ASCII", key)
			}
			if folded := strings.ToLower(key); levels[top].keys[folded] {
				return refuse("json", "the key %q is there twice", key)
			} else {
				levels[top].keys[folded] = true
			}
			levels[top].value = true
			continue
		}
		if top >= 0 {
			levels[top].value = false
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{keys: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, level{})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
		}
		if len(levels) > mostDepth {
			return refuse("json", "is nested more than %d deep", mostDepth)
		}
	}
}

// LUKS1's header, see its specification, 2.1.
const (
	luks1Size    = 592
	luks1Slots   = 208
	luks1Slot    = 48
	luks1Enabled = 0x00AC71F3
	luks1Disable = 0x0000DEAD
)

// judge1 judges a LUKS1 header, and returns what else of the device is needed.
func judge1(b []byte, size int64) ([]extent, error) {
	at := func(offset int) uint64 { return uint64(binary.BigEndian.Uint32(b[offset:])) }
	cipher, hash := field(b[8:40])+"-"+field(b[40:72]), field(b[72:104])
	data, keySize := int64(at(104))*512, at(108)
	switch {
	case cipher != "aes-xts-plain64" || keySize != 32 && keySize != 64:
		return nil, refuse("cipher", "%q with a key of %d bytes cannot be opened here", cipher, keySize)
	case digestLengths[hash] == 0:
		return nil, refuse("hash", "%q", hash)
	case data < luks1Size || data >= size:
		return nil, refuse("payload-offset", "%d bytes on a device of %d", data, size)
	case at(164) < 1 || at(164) > mostIterations:
		return nil, refuse("mk-digest-iterations", "%d", at(164))
	}
	var needed []extent
	var work, digests uint64
	for i := range 8 {
		slot := luks1Slots + i*luks1Slot
		field, active, iterations := fmt.Sprintf("keyslot %d", i), at(slot), at(slot+4)
		offset, length := int64(at(slot+40))*512, int64(keySize)*stripes
		switch {
		case active == luks1Disable:
			continue
		case active != luks1Enabled:
			return nil, refuse(field, "is neither enabled nor disabled")
		case iterations < 1 || iterations > mostIterations:
			return nil, refuse(field+" iterations", "%d", iterations)
		case at(slot+44) != stripes:
			return nil, refuse(field+" stripes", "%d", at(slot+44))
		case offset < luks1Size || offset+length > data:
			return nil, refuse(field+" offset", "%d is not between the header and the data", offset)
		}
		work, digests = work+iterations, digests+at(164)
		needed = append(needed, extent{offset, length})
	}
	if work > mostIterations || digests > mostIterations {
		return nil, refuse("iterations", "%d of the keyslots together, %d of the digest", work, digests)
	}
	return needed, nil
}

// decimal reads a number as cryptsetup writes it: no sign, no leading zero.
func decimal(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 63)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// isNumber reports whether an object's name is a number that luks.go and we
// read alike.
func isNumber(id string) bool {
	n, ok := decimal(id)
	return ok && n < 32
}
