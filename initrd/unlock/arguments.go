package unlock

import (
	"fmt"
	"os"
	"strings"

	"hvinstall/initrd/boot"
)

// arguments are those of the kernel command line, in order.
type arguments []argument

type argument struct {
	key, value string
	valued     bool // has an equals sign
}

func readArguments() arguments {
	data, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil
	}
	return parseArguments(string(data))
}

// parseArguments splits a command line as the kernel does: double quotes keep
// spaces, and surround a value or the whole argument.
func parseArguments(line string) arguments {
	var list arguments
	var word strings.Builder
	quoted, any := false, false
	flush := func() {
		if any {
			key, value, valued := strings.Cut(word.String(), "=")
			list = append(list, argument{key, value, valued})
		}
		word.Reset()
		any = false
	}
	for _, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
			any = true
		case !quoted && (r == ' ' || r == '\t' || r == '\n'):
			flush()
		default:
			word.WriteRune(r)
			any = true
		}
	}
	flush()
	return list
}

// has says whether a flag is set: named, and not with =0.
func (a arguments) has(key string) bool {
	set := false
	for _, arg := range a {
		if arg.key == key {
			set = arg.value != "0"
		}
	}
	return set
}

// get is the last value of key.
func (a arguments) get(key string) string {
	value := ""
	for _, arg := range a {
		if arg.key == key && arg.valued {
			value = arg.value
		}
	}
	return value
}

// moduleOptions are a module's own arguments, "usb-storage.quirks=…", as
// modprobe passes them on.
func (a arguments) moduleOptions(name string) string {
	var options []string
	for _, arg := range a {
		module, option, found := strings.Cut(arg.key, ".")
		if !found || strings.ReplaceAll(module, "-", "_") != name {
			continue
		}
		if arg.valued {
			option += "=" + arg.value
		}
		options = append(options, option)
	}
	return strings.Join(options, " ")
}

// blacklisted says whether modprobe.blacklist= names the module.
func (a arguments) blacklisted(name string) bool {
	for _, arg := range a {
		if arg.key != "modprobe.blacklist" {
			continue
		}
		for module := range strings.SplitSeq(arg.value, ",") {
			if strings.ReplaceAll(module, "-", "_") == name {
				return true
			}
		}
	}
	return false
}

// writableRoot says how / is mounted first; the last of ro and rw counts.
func (a arguments) writableRoot() bool {
	writable := false
	for _, arg := range a {
		switch arg.key {
		case "rw":
			writable = true
		case "ro":
			writable = false
		}
	}
	return writable
}

// judge refuses a command line that would open the host. It is asked before any
// key is tried: systemd reads the command line by itself, later.
func (a arguments) judge() error {
	for _, arg := range a {
		why := boot.Opens(arg.key, arg.value)
		if why == "" {
			continue
		}
		return fmt.Errorf("%q on the kernel command line %s, so no volume is opened; "+
			"restart and take the menu's entry as it is; if the entry itself has the word, boot the live stick and take it out of the entry or of os.kernel_args", arg.key, why)
	}
	return nil
}
