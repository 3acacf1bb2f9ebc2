package configs

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"

	"hvinstall/configs/keymap"
)

// form is how a text must look. What ends up in a file, a unit or a command
// line is held to characters that can end none of them: no value of a layout
// can bring in a line or an argument of its own.
type form struct {
	// pattern is the whole of the text, in the part of the language that Go's
	// regexp and JSON Schema (ECMA-262) share; "" is one printable line.
	pattern string
	what    string // the form in words: "... is not <what>"
	example string
	// more looks at what a pattern cannot say; it runs on what the pattern
	// accepted.
	more func(text string) (problem, hint string)
	// fix is asked for a hint when the pattern did not match.
	fix  func(text string) string
	mute bool // the value is not shown
}

const (
	pathChars = `[A-Za-z0-9._+@:=~,-]`
	pathForm  = `/(?:` + pathChars + `+/)*` + pathChars + `*`
	hex       = `[0-9A-Fa-f]`
	urlChars  = `[A-Za-z0-9._~:/?#\[\]@!&()*+,;=%-]`
	urlForm   = `(?:https?://[A-Za-z0-9._~:@!&*+,;=%\[\]-]+(?:[/?]` + urlChars + `*)?|file:///[A-Za-z0-9._~:@!&()*+,;=%/-]+)`
	nixName   = `[A-Za-z_][A-Za-z0-9_'-]*`
)

// forms is the table. It is a function's value rather than a variable so that
// nothing is compiled before it is used.
var forms = sync.OnceValue(func() map[string]*compiled {
	table := map[string]form{
		"":              {},
		"text":          {pattern: `[ -~]{1,128}`, what: "plain text on one line", example: "text"},
		"word":          {pattern: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, what: "a word of letters, digits, dots and dashes"},
		"hostname":      {pattern: `[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?`, what: "a host name: one label of letters, digits and dashes, at most 63", example: "hypervisor", more: checkHostname, fix: fixHostname},
		"disk":          {pattern: `/dev/disk/by-id/(?:[A-Za-z0-9#+.:=@_-]|\\x[0-9a-f]{2})+`, what: "a /dev/disk/by-id/ path", example: "/dev/disk/by-id/nvme-Samsung_SSD_970_EVO_1TB_S466NX0M712345A", more: checkDisk, fix: fixDisk},
		"pool":          {pattern: `[a-z](?:[a-z0-9-]{0,14}[a-z0-9])?`, what: "a pool name: a-z, then a-z, 0-9 and -, at most 16", more: checkPoolName},
		"subvolume":     {pattern: `[A-Za-z0-9@_][A-Za-z0-9@._-]{0,63}`, what: "a subvolume name: letters, digits and . _ - @, at most 64", more: notDots},
		"path":          {pattern: pathForm, what: "an absolute path of letters, digits and . _ + @ : = ~ , -", more: checkPath, fix: fixPath},
		"file":          {pattern: `(?:/|` + pathChars + `+/)*` + pathChars + `+`, what: "a path of letters, digits and . _ + @ : = ~ , -", more: checkFile},
		"mount_option":  {pattern: `[a-z][a-z0-9_.-]*(?:=[A-Za-z0-9:._/+-]+)?`, what: "a mount option such as noatime or compress=zstd", example: "noatime", more: checkMountOption},
		"nfs_option":    {pattern: `[a-z_]+(?:=[A-Za-z0-9:._/@+-]+)?`, what: "an option of exports(5)", example: "rw", more: checkNFSOption},
		"kernel_arg":    {pattern: `[A-Za-z0-9_][A-Za-z0-9_.,:=/+@%~!?^*\[\]-]*`, what: "one kernel argument, without spaces, quotes or $ & ; | < > ( ) { }", example: "intel_iommu=on", fix: fixKernelArg},
		"url":           {pattern: urlForm, what: "an http://, https:// or file:/// address", example: "https://example.org/image.qcow2", more: checkURL, fix: fixURL},
		"url_or_path":   {pattern: urlForm + `|` + pathForm, what: "an http://, https:// or file:/// address, or an absolute path"},
		"sha256":        {pattern: hex + `{64}`, what: "a SHA-256 sum: 64 hex digits", example: strings.Repeat("0123456789abcdef", 4)},
		"checksum":      {pattern: `sha256:` + hex + `{64}|sha512:` + hex + `{128}|sha(?:256|512):` + urlForm, what: "sha256:HEX (64 digits), sha512:HEX (128 digits), or sha256: and the address of a sums file", example: "sha256:https://example.org/SHA256SUMS", fix: fixChecksum},
		"flake":         {pattern: `[A-Za-z0-9./][A-Za-z0-9+.:/?=&%@_~-]*#[A-Za-z0-9_][A-Za-z0-9_.-]*`, what: "a flake reference with the host's attribute, such as github:me/infra#hypervisor", fix: fixFlake},
		"nix_import":    {pattern: nixName + `(?:\.(?:` + nixName + `|"[^"\\$]*"))*|\.{0,2}/` + pathChars + `+(?:/` + pathChars + `+)*|<[A-Za-z0-9._+/-]+>|\([^\x00-\x1f]*\)`, what: "a Nix attribute path such as flake.modules.nixos.tailscale, a path such as ./gpu.nix, or an expression in parentheses", example: "flake.modules.nixos.tailscale"},
		"nix_option":    {pattern: nixName + `(?:\.(?:` + nixName + `|"[^"\\$]+"|[0-9]+))*`, what: "a NixOS option's dotted name", example: "services.fstrim.enable"},
		"state_version": {pattern: `[0-9]{2}\.(?:05|11)`, what: "a NixOS release such as 25.11"},
		"fat_name":      {pattern: `[A-Za-z0-9_][A-Za-z0-9._-]{0,63}`, what: "a plain file name: letters, digits and . _ -, at most 64", more: checkFATName},
		"vfat_uuid":     {pattern: hex + `{4}-` + hex + `{4}`, what: "a VFAT volume serial such as 8B34-7D3C", example: "8B34-7D3C", fix: fixVFAT},
		"ifname":        {pattern: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}`, what: "an interface name: letters, digits and . _ -, at most 15 bytes", example: "br0", more: notDots, fix: fixInterface},
		"mac":           {pattern: `(?:` + hex + `{2}:){5}` + hex + `{2}`, what: "a MAC address such as 52:54:00:12:34:56", example: "52:54:00:12:34:56", more: checkMAC, fix: fixMAC},
		"cidr":          {pattern: `[0-9A-Fa-f.:]+/[0-9]{1,3}`, what: "a network such as 192.168.1.0/24", example: "192.168.1.0/24", more: checkNetwork, fix: fixNetwork},
		"address":       {pattern: `[0-9A-Fa-f.:]+/[0-9]{1,3}`, what: "an address with its prefix length such as 192.168.1.10/24", example: "192.168.1.10/24", more: checkAddress, fix: fixAddress},
		"ip":            {pattern: `[0-9A-Fa-f.:]+`, what: "an IP address", example: "192.168.1.1", more: checkIP},
		"port":          {pattern: `(?:tcp|udp)/[0-9]{1,5}(?:-[0-9]{1,5})?`, what: "a protocol and its port, such as tcp/8080 or udp/5000-5010", example: "tcp/8080", more: checkPort, fix: fixPort},
		"domain":        {pattern: `(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?`, what: "a DNS domain such as lan or example.org", example: "lan"},
		"owner":         {pattern: `[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}`, what: "a user or group name, or its number", more: checkOwner},
		"mode":          {pattern: `0?[0-7]{3,4}`, what: "an octal mode such as 0755"},
		"lang":          {pattern: `(?:C|POSIX|[a-z]{2,3}(?:_[A-Z]{2})?)(?:\.[A-Za-z0-9-]+)?(?:@[a-z]+)?`, what: "a locale such as en_GB.UTF-8"},
		"timezone":      {pattern: `[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}`, what: "a time zone such as Europe/Brussels"},
		"keymap":        {pattern: `[A-Za-z0-9][A-Za-z0-9._-]*`, what: "a console keymap such as us or be", example: "be", more: checkKeymap},
		"user":          {pattern: `[a-z_][a-z0-9_-]{0,31}`, what: "a name of a-z, 0-9, _ and -, at most 32", example: "snyssen"},
		"ssh_key":       {pattern: `[^\x00-\x1f\x7f-\x9f]+`, what: "one line of an authorized_keys file", example: "[ssh-ed25519 AAAAC3... me@laptop]", more: checkSSHKey, mute: true},
		"password_hash": {pattern: `\$(?:y|gy|7|6|5|2[aby])\$[./A-Za-z0-9=,$+-]+`, what: "a crypt(5) hash ($y$, $6$, $2b$, ...)", example: "$y$j9T$...", fix: fixPassword, mute: true},
		"libvirt_uri":   {pattern: `[a-z]+(?:\+[a-z0-9]+)?://[A-Za-z0-9@._:/?=&,%~+-]*`, what: "a libvirt address such as qemu:///system"},
		"vm":            {pattern: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, what: "a VM name: letters, digits and . _ -, at most 64; a VM that has another one gets one by virsh domrename while it is off", more: notDots},
		"usb_id":        {pattern: `0[xX]` + hex + `{4}`, what: "a USB id: 0x and four hex digits", example: "0x1a86", fix: fixUSB},
		"block":         {pattern: `[^\x00]+`, what: "text"},
		"user_data":     {pattern: `[^\x00]+`, what: "text", more: checkUserData},
	}
	all := make(map[string]*compiled, len(table))
	for name, f := range table {
		all[name] = &compiled{form: f}
	}
	return all
})

// compiled is a form with its pattern, compiled when first asked.
type compiled struct {
	form
	once   sync.Once
	regexp *regexp.Regexp
}

// anchored is the pattern of the whole text, as the JSON Schema has it.
func (f form) anchored() string { return `^(?:` + f.pattern + `)$` }

func formOf(name string) *compiled {
	f := forms()[name]
	if f == nil {
		panic("configs: no form " + name) // a tag in layout.go; TestEveryFormIsKnown
	}
	return f
}

// check says what is wrong with a text, and the way out.
func (f *compiled) check(text string) (problem, hint string) {
	if f.pattern == "" {
		return "", ""
	}
	f.once.Do(func() { f.regexp = regexp.MustCompile(`^(?:` + f.pattern + `)\z`) })
	if f.regexp.MatchString(text) {
		if f.more == nil {
			return "", ""
		}
		return f.more(text)
	}
	if f.fix != nil {
		hint = f.fix(text)
	}
	if f.mute {
		return "not " + f.what, hint
	}
	return fmt.Sprintf("%s is not %s", quote(text), f.what), hint
}

func notDots(text string) (string, string) {
	if strings.Trim(text, ".") == "" {
		return quote(text) + " is a directory, not a name", ""
	}
	return "", ""
}

func checkHostname(text string) (string, string) {
	if strings.EqualFold(text, "localhost") {
		return "localhost is every machine's own name", "choose a name for this host"
	}
	return "", ""
}

// checkKeymap: a keyboard that cannot be had would leave the boot prompt with an
// American one, on which the passphrase is another.
func checkKeymap(text string) (string, string) {
	if _, found := keymap.Find(text); found {
		return "", ""
	}
	hint := "a name of 'localectl list-keymaps', or X's layout and variant: be, fr-bepo, us-intl"
	if like := keymap.Like(text); len(like) > 0 {
		hint = "one of " + strings.Join(like, ", ")
	}
	return text + " is no keyboard that the console can have", hint
}

func fixHostname(text string) string {
	if first, _, dotted := strings.Cut(text, "."); dotted && first != "" {
		return fmt.Sprintf("only the first label is the host's name: %s", short(first))
	}
	if strings.Contains(text, "_") {
		return "a host name has no _; use -"
	}
	return ""
}

func checkPath(text string) (string, string) {
	if clean := path.Clean(text); clean != text {
		return fmt.Sprintf("%s is not a clean path", quote(text)), "write " + short(clean)
	}
	return "", ""
}

func checkFile(text string) (string, string) {
	if clean := path.Clean(text); clean != text && "./"+clean != text {
		return fmt.Sprintf("%s is not a clean path", quote(text)), "write " + short(clean)
	}
	return "", ""
}

func fixPath(text string) string {
	if !strings.HasPrefix(text, "/") {
		return "an absolute path begins with /"
	}
	return ""
}

func fixKernelArg(text string) string {
	if strings.Contains(text, " ") {
		return "each argument is an entry of its own"
	}
	return ""
}

func fixFlake(text string) string {
	if !strings.Contains(text, "#") {
		return "name the host's configuration after a #: " + short(text) + "#hypervisor"
	}
	return ""
}

// checkFATName refuses what MS-DOS kept for devices, which some firmware and
// every Windows machine still do, and what VFAT would drop.
func checkFATName(text string) (string, string) {
	stem, _, _ := strings.Cut(strings.ToLower(text), ".")
	switch {
	case strings.HasSuffix(text, "."):
		return fmt.Sprintf("%q ends in a dot, which VFAT drops", text), ""
	case stem == "con", stem == "prn", stem == "aux", stem == "nul",
		len(stem) == 4 && (strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt")) && stem[3] >= '1' && stem[3] <= '9':
		return fmt.Sprintf("%q is the name of a device on VFAT", text), ""
	}
	return "", ""
}

func fixVFAT(text string) string {
	if len(text) > 9 {
		return "that is not the serial of a VFAT volume; see: lsblk -o NAME,FSTYPE,UUID"
	}
	if bare, err := regexp.MatchString(`^`+hex+`{8}$`, text); bare && err == nil {
		return fmt.Sprintf("write %s-%s", strings.ToUpper(text[:4]), strings.ToUpper(text[4:]))
	}
	return ""
}

func fixUSB(text string) string {
	if bare, err := regexp.MatchString(`^`+hex+`{4}$`, text); bare && err == nil {
		return fmt.Sprintf("write \"0x%s\"; lsusb prints vendor:product", strings.ToLower(text))
	}
	return "lsusb prints vendor:product, four hex digits each"
}
