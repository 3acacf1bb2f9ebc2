package boot

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Microcode are the files and folders below lib/firmware that this machine's
// processors take their microcode from: Intel's has a file for each kind of
// processor, 20 MB of them, and AMD's are few. Of other processors, and where
// /proc tells nothing, it is all.
func Microcode() []string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return MicrocodeFolders()
	}
	return microcodeOf(string(info))
}

// EarlyOnly ends the names of files in which Debian has what a processor takes
// before the kernel starts and not while it runs.
const EarlyOnly = ".initramfs"

// MicrocodeFolders are those of all processors.
func MicrocodeFolders() []string { return []string{"amd-ucode", "intel-ucode"} }

// microcodeOf reads /proc/cpuinfo. Intel's files are named by family, model and
// stepping, see arch/x86/kernel/cpu/microcode/intel.c.
func microcodeOf(cpuinfo string) []string {
	var names []string
	for processor := range strings.SplitSeq(cpuinfo, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(processor) {
			key, value, _ := strings.Cut(line, ":")
			fields[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
		switch fields["vendor_id"] {
		case "": // the end of the file
			continue
		case "AuthenticAMD":
			names = append(names, "amd-ucode")
			continue
		case "GenuineIntel":
		default:
			return MicrocodeFolders()
		}
		family, err1 := strconv.ParseUint(fields["cpu family"], 10, 8)
		model, err2 := strconv.ParseUint(fields["model"], 10, 8)
		stepping, err3 := strconv.ParseUint(fields["stepping"], 10, 8)
		if err1 != nil || err2 != nil || err3 != nil {
			return MicrocodeFolders()
		}
		name := fmt.Sprintf("intel-ucode/%02x-%02x-%02x", family, model, stepping)
		names = append(names, name, name+EarlyOnly)
	}
	if len(names) == 0 {
		return MicrocodeFolders()
	}
	slices.Sort(names)
	return slices.Compact(names)
}
