package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"

	"hvinstall/disk"
	"hvinstall/step"
)

// FactsLimit is the largest facts file that is read, in bytes: a machine of a
// thousand disks fills less than a quarter of it.
const FactsLimit = 8 << 20

// largestDisk is 1 EiB; beyond it sums of a pool's disks could overflow.
const largestDisk = 1 << 60

// LoadFacts reads facts as Probe's JSON. It is strict: unknown fields, another
// version, and machines that cannot be are errors, all of which it lists.
func LoadFacts(r io.Reader) (Facts, error) {
	data, err := io.ReadAll(io.LimitReader(r, FactsLimit+1))
	if err != nil {
		return Facts{}, fmt.Errorf("reading the facts: %w", err)
	}
	if len(data) > FactsLimit {
		return Facts{}, fmt.Errorf("the facts are larger than %d MiB; capture them with 'hvinstall discover --json'", FactsLimit>>20)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var f Facts
	if err := decoder.Decode(&f); err != nil {
		return Facts{}, positioned(data, decoder.InputOffset(), err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Facts{}, positioned(data, decoder.InputOffset(), errors.New("more than one JSON value"))
	}
	if f.Version != FactsVersion {
		return Facts{}, fmt.Errorf("the facts are of version %d, and this hvinstall reads version %d; capture them again with 'hvinstall discover --json'", f.Version, FactsVersion)
	}
	if wrong := f.wrong(); len(wrong) > 0 {
		return Facts{}, fmt.Errorf("the facts cannot be true:\n  %s", step.Printable(strings.Join(wrong, "\n  ")))
	}
	f.makePrintable()
	return f, nil
}

var unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)

// positioned says at which line and column of the file decoding ended.
func positioned(data []byte, offset int64, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	what := strings.TrimPrefix(err.Error(), "json: ")
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset - 1 // it counts the byte that is wrong
	case errors.As(err, &kind):
		offset = kind.Offset
		what = fmt.Sprintf("%s is not of the kind %s", kind.Field, kind.Type)
	case unknownField.MatchString(what):
		// The decoder tells it at the end of the object.
		key := regexp.QuoteMeta(unknownField.FindStringSubmatch(what)[1])
		if at := regexp.MustCompile(`"` + key + `"\s*:`).FindIndex(data); at != nil {
			offset = int64(at[0])
		}
	case errors.Is(err, io.EOF):
		what = "the file is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		offset, what = int64(len(data)), "the file ends too early"
	}
	before := data[:min(max(offset, 0), int64(len(data)))]
	row := 1 + bytes.Count(before, []byte{'\n'})
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("the facts, line %d, column %d: %s", row, column, what)
}

// wrong lists what no machine can have.
func (f Facts) wrong() []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if f.CPUs < 0 || f.CPUs > 1<<16 {
		say("cpus is %d", f.CPUs)
	}
	if f.Memory.Available > f.Memory.Total {
		say("more memory is available (%d bytes) than there is (%d bytes)", f.Memory.Available, f.Memory.Total)
	}
	names := map[string]bool{}
	once := func(what, name string) {
		switch {
		case name == "":
			say("a %s has no name", what)
		case names[name]:
			say("the %s %q is there twice", what, name)
		}
		names[name] = true
	}
	for _, d := range f.Disks.Disks {
		once("disk", d.Name)
		wrong = append(wrong, wrongDisk(d)...)
		for _, p := range d.Partitions {
			if p.Name != "" {
				once("partition", p.Name)
			}
		}
	}
	clear(names)
	for _, n := range f.Network.NICs {
		once("NIC", n.Name)
		if len(n.Name) > 15 {
			say("the NIC %q has a name of more than 15 bytes", n.Name)
		}
		if n.MTU < 0 || n.SpeedMbit < 0 {
			say("the NIC %q has a negative MTU or speed", n.Name)
		}
	}
	return wrong
}

func wrongDisk(d disk.Disk) []string {
	var wrong []string
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("disk %q: ", d.Name)+fmt.Sprintf(format, args...))
	}
	if d.Size == 0 || d.Size > largestDisk {
		say("its size is %d bytes", d.Size)
	}
	for _, sector := range []struct {
		name  string
		bytes uint32
	}{{"logical", d.LogicalSector}, {"physical", d.PhysicalSector}} {
		if n := sector.bytes; n < 512 || n > 1<<20 || n&(n-1) != 0 {
			say("its %s sector of %d bytes is not a power of two from 512", sector.name, n)
		}
	}
	seen := map[string]bool{}
	for _, id := range d.ByID {
		if _, err := disk.ByIDName(disk.ByIDFolder + id); err != nil {
			say("by-id name %v", err)
		}
		if seen[id] {
			say("the by-id name %q is there twice", id)
		}
		seen[id] = true
	}
	typed := func(where string, signatures []disk.Signature) {
		for _, s := range signatures {
			if s.Type == "" {
				say("%s has a signature without a type", where)
			}
		}
	}
	typed("it", d.Signatures)
	for _, p := range d.Partitions {
		typed(fmt.Sprintf("partition %d", p.Number), p.Signatures)
		if p.Number < 0 || p.Number > math.MaxInt16 {
			say("it has a partition of number %d", p.Number)
		}
		if p.Start > d.Size || p.Size > d.Size-p.Start {
			say("partition %d ends beyond the disk", p.Number)
		}
	}
	return wrong
}
