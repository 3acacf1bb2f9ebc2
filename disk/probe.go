package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hvinstall/host"
)

// ProbeOptions change what Probe looks at.
type ProbeOptions struct {
	// Loop counts attached loop devices as disks: tests use them.
	Loop bool
	// Patience is how long a disk may take to answer; a failing one can take
	// minutes. 0 means 30 seconds.
	Patience time.Duration
}

// Probe reads what the machine's disks are, what is on them and what uses
// them. root is put before /sys, /dev, /run and /proc: "/", or a captured tree.
//
// It opens devices read-only and never writes. What it may not read, it says
// in Unseen, and the disk gets the signature "unread".
func Probe(ctx context.Context, root string) (Facts, error) {
	return ProbeOptions{}.Probe(ctx, root)
}

// Probe is Probe with options.
func (o ProbeOptions) Probe(ctx context.Context, root string) (Facts, error) {
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	m := &machine{root: root, unseen: map[string]bool{}}
	names, err := m.list("/sys/block")
	if err != nil {
		return Facts{}, fmt.Errorf("listing the disks: %w; mount sysfs at /sys", err)
	}
	m.readBlocks(names)
	m.readAliases()
	var disks []Disk
	for _, name := range names {
		if o.isDisk(m, name) {
			disks = append(disks, m.sysfsDisk(name))
		}
	}
	var live map[string]bool
	var uses sync.WaitGroup
	uses.Go(func() {
		m.readHolders()
		live = m.liveDisks()
	})
	m.readContents(ctx, o.Patience, disks)
	uses.Wait()
	for i := range disks {
		m.addHolders(&disks[i])
		disks[i].Live = live[disks[i].Name]
	}
	if err := ctx.Err(); err != nil {
		return Facts{}, context.Cause(ctx)
	}
	return Facts{Disks: disks, Filesystems: m.filesystems(), Swapfiles: m.swapfiles(), Unseen: m.unseenLines()}, nil
}

// notDisks are block devices that stand on others, or on memory or network,
// and drives that only read.
var notDisks = []string{"loop", "ram", "zram", "dm-", "md", "sr", "nbd", "fd", "bcache", "zd", "drbd", "mtdblock", "pmem"}

func (o ProbeOptions) isDisk(m *machine, name string) bool {
	b := m.blocks[name]
	if b.size == 0 { // a card reader without a card, a loop device not in use
		return false
	}
	if strings.HasPrefix(name, "loop") {
		return o.Loop
	}
	if strings.HasPrefix(name, "mmcblk") && (strings.Contains(name, "boot") || strings.HasSuffix(name, "rpmb")) {
		return false // eMMC's own boot areas, and its replay-protected one
	}
	for _, prefix := range notDisks {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	// A multipath NVMe's hidden paths have no device of their own.
	return m.text("/sys/block/"+name+"/hidden") != "1"
}

// machine is a machine, or a captured tree of one, as Probe reads it.
type machine struct {
	root    string
	blocks  map[string]*block   // every block device and partition, by kernel name
	byDev   map[string]string   // major:minor → kernel name
	aliases map[string][]string // kernel name → by-id aliases
	holders map[string][]Holder // kernel name → what uses it
	pools   []string            // imported ZFS pools
	mounts  []mount

	mu     sync.Mutex
	unseen map[string]bool
}

func (m *machine) path(p string) string { return filepath.Join(m.root, p) }

// text reads a small file, trimmed; "" where it cannot be read.
func (m *machine) text(p string) string {
	b, err := os.ReadFile(m.path(p))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimRight(string(b), "\x00"))
}

// list names a folder's entries, sorted as people count: sda, sdb, … sdaa.
func (m *machine) list(p string) ([]string, error) {
	entries, err := os.ReadDir(m.path(p))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.SortFunc(names, compareNames)
	return names, nil
}

// compareNames puts sdb before sdaa and nvme2n1 before nvme10n1.
func compareNames(a, b string) int {
	if isLetterName(a) && isLetterName(b) && len(a) != len(b) && a[:2] == b[:2] {
		return len(a) - len(b)
	}
	return host.CompareNatural(a, b)
}

func isLetterName(s string) bool {
	return len(s) > 2 && s[1] == 'd' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}

func (m *machine) cannotSee(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unseen[fmt.Sprintf(format, args...)] = true
}

func (m *machine) unseenLines() []string {
	var lines []string
	for line := range m.unseen {
		lines = append(lines, line)
	}
	slices.SortFunc(lines, compareNames)
	return lines
}

// why shortens a path error to what matters.
func why(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// deniedHint is what to do about an error, where it is a lack of permission.
func deniedHint(err error, uid int) string {
	switch {
	case !errors.Is(err, fs.ErrPermission):
		return ""
	case uid == 0:
		return "; root may not look here: a container or sandbox keeps it away"
	}
	return "; run as root"
}
