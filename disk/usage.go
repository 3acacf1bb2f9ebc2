package disk

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Usage is how a mounted btrfs is: its devices, errors, space and last scrub.
// Everything but the scrub is read from sysfs, which needs no root; see the
// kernel's fs/btrfs/sysfs.c.
type Usage struct {
	UUID     string        `json:"uuid"`
	Label    string        `json:"label,omitempty"`
	Devices  []UsageDevice `json:"devices"`
	Profiles []string      `json:"profiles,omitempty"` // of data chunks: raid1, or more than one while converting
	Data     uint64        `json:"data"`               // bytes used by data and metadata, copies not counted
	Free     uint64        `json:"free"`               // bytes that can still be stored, copies not counted
	Scrub    *Scrub        `json:"scrub,omitempty"`    // nil: never, or not readable
}

// UsageDevice is one device of a btrfs.
type UsageDevice struct {
	ID      int    `json:"id"`             // btrfs' devid
	Name    string `json:"name,omitempty"` // the kernel's name; empty where missing
	Missing bool   `json:"missing,omitempty"`
	Errors  Errors `json:"errors"`
}

// Errors are btrfs' counters for one device since they were last reset.
type Errors struct {
	Write      uint64 `json:"write,omitempty"`
	Read       uint64 `json:"read,omitempty"`
	Flush      uint64 `json:"flush,omitempty"`
	Corruption uint64 `json:"corruption,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
}

// Sum is how many errors there were of any kind.
func (e Errors) Sum() uint64 { return e.Write + e.Read + e.Flush + e.Corruption + e.Generation }

// Scrub is the last scrub that btrfs-progs ran.
type Scrub struct {
	Started       time.Time `json:"started"`
	Finished      bool      `json:"finished"`
	Corrected     uint64    `json:"corrected"`
	Uncorrectable uint64    `json:"uncorrectable"`
}

// Missing is how many devices are missing.
func (u Usage) Missing() int {
	n := 0
	for _, d := range u.Devices {
		if d.Missing {
			n++
		}
	}
	return n
}

// ReadUsage reads the btrfs with this UUID below root ("/" but in tests).
// fs.ErrNotExist means that it is not mounted. mountpoint gives the free space;
// empty leaves it out.
func ReadUsage(root, uuid, mountpoint string) (Usage, error) {
	dir := filepath.Join(root, "sys/fs/btrfs", uuid)
	u := Usage{UUID: uuid, Label: readLine(filepath.Join(dir, "label"))}
	infos, err := os.ReadDir(filepath.Join(dir, "devinfo"))
	if err != nil {
		return u, fmt.Errorf("btrfs %s: %w", uuid, err)
	}
	for _, info := range infos {
		id, err := strconv.Atoi(info.Name())
		if err != nil {
			continue
		}
		at := filepath.Join(dir, "devinfo", info.Name())
		u.Devices = append(u.Devices, UsageDevice{
			ID: id, Missing: readLine(filepath.Join(at, "missing")) == "1", Errors: readErrors(filepath.Join(at, "error_stats")),
		})
	}
	slices.SortFunc(u.Devices, func(a, b UsageDevice) int { return a.ID - b.ID })
	for _, kind := range []string{"data", "metadata", "system"} {
		u.Data += readNumber(filepath.Join(dir, "allocation", kind, "bytes_used"))
	}
	u.Profiles = profiles(filepath.Join(dir, "allocation/data"))
	if mountpoint != "" {
		u.Free = freeBytes(mountpoint)
	}
	u.Scrub, err = readScrub(filepath.Join(root, "var/lib/btrfs/scrub.status."+uuid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return u, err
}

// profiles lists the RAID profiles that chunks of one kind have: sysfs has a
// folder for each.
func profiles(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func readErrors(path string) Errors {
	data, err := os.ReadFile(path)
	if err != nil {
		return Errors{}
	}
	var e Errors
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch name {
		case "write_errs":
			e.Write = n
		case "read_errs":
			e.Read = n
		case "flush_errs":
			e.Flush = n
		case "corruption_errs":
			e.Corruption = n
		case "generation_errs":
			e.Generation = n
		}
	}
	return e
}

// readScrub reads the file in which btrfs-progs keeps a scrub's outcome: a
// line for each device, of key:value pairs (btrfs-progs, cmds/scrub.c).
func readScrub(path string) (*Scrub, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var s Scrub
	devices := 0
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "|")
		if len(fields) < 2 {
			continue
		}
		values := map[string]uint64{}
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(f, ":")
			values[key], _ = strconv.ParseUint(value, 10, 64)
		}
		if started := time.Unix(int64(values["t_start"]), 0); s.Started.IsZero() || started.After(s.Started) {
			s.Started = started
		}
		finished := values["finished"] == 1 && values["canceled"] == 0
		s.Finished = finished && (devices == 0 || s.Finished)
		s.Corrected += values["corrected_errors"]
		s.Uncorrectable += values["uncorrectable_errors"]
		devices++
	}
	if devices == 0 {
		return nil, lines.Err()
	}
	return &s, lines.Err()
}

func readLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func readNumber(path string) uint64 {
	n, _ := strconv.ParseUint(readLine(path), 10, 64)
	return n
}
