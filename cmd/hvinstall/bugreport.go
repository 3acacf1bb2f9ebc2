package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"hvinstall/configs"
	"hvinstall/host"
	"hvinstall/install"
	"hvinstall/osimage"

	"github.com/spf13/pflag"
)

// runReport writes what a report of a bug needs to one text file: versions, the
// layout's public copy, facts, plan, logs. Nothing in it has to be blanked by
// hand: secrets are left out, and what names this machine's parts is replaced.
func runReport(ctx context.Context, t terminal, args []string) int {
	flags := pflag.NewFlagSet("report", pflag.ContinueOnError)
	plan := flags.String("plan", "/etc/hvinstall/layout.yaml", "the layout `FILE` of this host")
	output := flags.StringP("output", "o", "", "the `FILE` to write, which must not be there; - is the screen")
	if code, done := parse(t, flags, args); done {
		return code
	}
	if flags.NArg() > 0 {
		return usageError(t, "report takes no argument %q", flags.Arg(0))
	}
	text := bugReport(ctx, *plan, time.Now())
	if *output == "-" {
		fmt.Fprint(t.out, text)
		return exitDone
	}
	path := *output
	if path == "" {
		path = "hvinstall-report-" + time.Now().UTC().Format("20060102T150405Z") + ".txt"
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = file.WriteString(text)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.complain(err)
		return exitFailed
	}
	fmt.Fprintf(t.out, "%s: %d KiB. Passwords, keys, cloud-init and the queries of addresses are left out; serial numbers,\nMAC addresses and UUIDs are replaced. Names of hosts, people, pools and VMs are in it.\n", showable(path), (len(text)+1023)>>10)
	return exitDone
}

// bugReport is the whole text. What cannot be read is said in its place.
func bugReport(ctx context.Context, plan string, now time.Time) string {
	var b strings.Builder
	redactor := configs.Redactor{}
	section := func(title, text string) {
		fmt.Fprintf(&b, "\n===== %s\n", title)
		for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
			fmt.Fprintln(&b, showable(redactor.Text(line)))
		}
	}
	orWhy := func(text []byte, err error) string {
		if err != nil {
			return "not read: " + err.Error()
		}
		return string(text)
	}
	indented := func(v any) string {
		text, err := json.MarshalIndent(v, "", " ")
		return orWhy(redactor.JSON(text), err)
	}
	layout, layoutErr := configs.LoadFile(plan, "")
	if errors.Is(layoutErr, os.ErrPermission) {
		layout, layoutErr = configs.LoadFile(osimage.PublicLayout, "")
	}
	if layoutErr == nil {
		redactor = layout.Redactor()
	}
	facts, factsErr := install.Probe(ctx)
	names := pseudonymsOf(facts)

	fmt.Fprintf(&b, "hvinstall report of %s\n", now.UTC().Format("2006-01-02 15:04 UTC"))
	var versions bytes.Buffer
	runVersion(ctx, terminal{nil, &versions, &versions}, nil)
	for _, argv := range [][]string{{"uname", "-srm"}, {"cryptsetup", "--version"}, {"btrfs", "--version"}, {"qemu-img", "--version"}, {"libvirtd", "--version"}, {"systemctl", "--version"}} {
		out, err := (host.Cmd{Argv: argv}).Output(ctx)
		first, _, _ := strings.Cut(orWhy(out, err), "\n")
		fmt.Fprintln(&versions, first)
	}
	section("versions", versions.String())
	if layoutErr != nil {
		section("layout", "not read: "+layoutErr.Error())
	} else {
		section("layout, its public copy", string(configs.Public(layout.Source)))
	}
	if factsErr != nil {
		section("facts", "not read: "+factsErr.Error())
	} else {
		shown := facts
		shown.Accounts.Given = osimage.Given{}
		section("facts", indented(shown))
	}
	if layoutErr == nil && factsErr == nil {
		if err := facts.ProbeVMs(ctx, layout); err != nil {
			section("VMs", "not read: "+err.Error())
		}
		section("plan", indented(install.Make(install.Input{Layout: layout, Facts: facts})))
	}
	for _, path := range reportedFiles() {
		section(path, orWhy(tailOf(path)))
	}
	out, err := (host.Cmd{Argv: []string{"journalctl", "-b", "--no-pager", "-o", "short-iso", "-n", "500", "-t", "hvinstall", "-t", "hvinstall-vms"}}).Output(ctx)
	section("journal of this boot", orWhy(out, err))
	return names.replace(b.String())
}

// reportedFiles are the logs of the last runs and the reports of boot and run.
func reportedFiles() []string {
	var files []string
	for _, folder := range []string{filepath.Join(runFolder, "log"), logFolder} {
		found, _ := filepath.Glob(filepath.Join(folder, "*.jsonl")) // the pattern is a good one
		slices.Sort(found)
		files = append(files, found[max(0, len(found)-3):]...)
	}
	for _, path := range []string{unattendedLog, filepath.Join(runFolder, "boot.json")} {
		if _, err := os.Stat(path); err == nil {
			files = append(files, path)
		}
	}
	return files
}

// tailOf is the end of a log, from a line's beginning.
func tailOf(path string) ([]byte, error) {
	const most = 512 << 10
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	cut := info.Size() > most
	if cut {
		if _, err := file.Seek(-most, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	reader := bufio.NewReader(io.LimitReader(file, most))
	if cut {
		if _, err := reader.ReadString('\n'); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(reader)
}

// pseudonyms stand for what names this machine's parts: with their serial
// numbers and UUIDs a disk can be made that passes for one of them. The same
// text has the same one in all of a report, and another in the next report.
type pseudonyms struct {
	key     []byte
	serials []string
}

func pseudonymsOf(f install.Facts) *pseudonyms {
	p := &pseudonyms{key: make([]byte, 32)}
	_, _ = rand.Read(p.key) // it never fails
	for _, d := range f.Disks.Disks {
		p.serials = append(p.serials, d.Serial, d.WWN)
	}
	return p
}

var namesOfParts = regexp.MustCompile(`(?i)\b(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|(?:eui|wwn|naa)[.-](?:0x)?[0-9a-f]{8,32}|0x[0-9a-f]{16}|[0-9a-f]{4}-[0-9a-f]{4})\b`)

// serialInName is the end of a by-id name; a disk that is not there is in the
// layout and not in the facts.
var serialInName = regexp.MustCompile(`(?:nvme|ata|usb|scsi|virtio)-[^\s"/]*_([A-Za-z0-9-]{6,})`)

// of is a text of the same form with other letters and digits.
func (p *pseudonyms) of(name string) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(strings.ToLower(name)))
	digits := hex.EncodeToString(mac.Sum(nil))
	out := []byte(name)
	prefix := 0
	if at := strings.IndexAny(name, ".-"); at == 3 && !strings.ContainsAny(name[:3], "0123456789") {
		prefix = 4 // eui., wwn-, naa.
	}
	if strings.HasPrefix(name[prefix:], "0x") {
		prefix += 2
	}
	for i, n := prefix, 0; i < len(out); i++ {
		if c := out[i]; c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			out[i] = digits[n%len(digits)]
			n++
		}
	}
	return string(out)
}

func (p *pseudonyms) replace(text string) string {
	names := slices.Clone(p.serials)
	for _, found := range serialInName.FindAllStringSubmatch(text, -1) {
		names = append(names, found[1])
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, name := range names {
		if len(name) > 3 {
			pairs = append(pairs, name, p.of(name))
		}
	}
	return namesOfParts.ReplaceAllStringFunc(strings.NewReplacer(pairs...).Replace(text), p.of)
}
