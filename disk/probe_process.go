package disk

import (
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// processes names the numbered folders of /proc.
func (m *machine) processes() []string {
	names, _ := m.list("/proc")
	var pids []string
	for _, name := range names {
		if _, err := strconv.ParseUint(name, 10, 32); err == nil {
			pids = append(pids, name)
		}
	}
	return pids
}

// link is a symbolic link's target, "" where there is none to be seen.
func (m *machine) link(p string) string {
	target, err := os.Readlink(m.path(p))
	if err != nil {
		return ""
	}
	return target
}

// readProcesses finds the processes that have a device open for writing or
// exclusively: a VM that was given a whole disk, a tool that is formatting.
// Opening it exclusively ourselves would tell more, and could make another
// program's own attempt fail. Readers such as smartd hold nothing.
func (m *machine) readProcesses(use func(device string, h Holder)) {
	self, hidden := strconv.Itoa(os.Getpid()), 0
	for _, pid := range m.processes() {
		if pid == self {
			continue
		}
		fds, err := os.ReadDir(m.path("/proc/" + pid + "/fd"))
		if os.IsPermission(err) {
			hidden++
		}
		for _, entry := range fds {
			fd := entry.Name()
			target := m.link("/proc/" + pid + "/fd/" + fd)
			if !strings.HasPrefix(target, "/dev/") {
				continue
			}
			name := strings.TrimPrefix(target, "/dev/")
			if m.blocks[name] == nil || !m.holdsOpen(pid, fd) {
				continue
			}
			use(name, Holder{Kind: "process", Name: printable(m.text("/proc/"+pid+"/comm")) + " (PID " + pid + ")"})
		}
	}
	if hidden > 0 {
		m.cannotSee("which devices other users' processes have open: permission denied%s", deniedHint(fs.ErrPermission, os.Geteuid()))
	}
}

// holdsOpen reports whether an open file's flags say writing or exclusive.
func (m *machine) holdsOpen(pid, fd string) bool {
	for line := range strings.SplitSeq(m.text("/proc/"+pid+"/fdinfo/"+fd), "\n") {
		if rest, found := strings.CutPrefix(line, "flags:"); found {
			flags, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 32)
			return err == nil && (flags&uint64(os.O_WRONLY|os.O_RDWR) != 0 || flags&uint64(os.O_EXCL) != 0)
		}
	}
	return false
}
