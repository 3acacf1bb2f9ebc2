package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hvinstall/configs"
	"hvinstall/crypt"
	"hvinstall/disk"
	"hvinstall/initrd/boot"
	"hvinstall/net/bridge"
	"hvinstall/step"
	"hvinstall/vmstore"

	"golang.org/x/sync/errgroup"
)

// Status is the whole host against its layout. Its JSON form is API.
type Status struct {
	Hostname string          `json:"hostname"`
	Taken    time.Time       `json:"taken"`
	Root     bool            `json:"root"` // taken as root: otherwise much is unseen
	Boot     *boot.Report    `json:"boot,omitempty"`
	Disks    []DiskStatus    `json:"disks,omitempty"`
	Volumes  []VolumeStatus  `json:"volumes,omitempty"`
	Pools    []PoolStatus    `json:"pools,omitempty"`
	Network  *NetworkStatus  `json:"network,omitempty"`
	Exports  []ExportStatus  `json:"exports,omitempty"`
	VMs      *vmstore.Status `json:"vms,omitempty"`
	// Differs is what is not as the layout wants it, with what to do.
	Differs []Difference `json:"differs,omitempty"`
	Unseen  []string     `json:"unseen,omitempty"`
}

// Difference is one thing that is not as it should be.
type Difference struct {
	Where string `json:"where"`
	What  string `json:"what"`
	Hint  string `json:"hint,omitempty"`
}

// DiskStatus is one disk of the layout.
type DiskStatus struct {
	Name    string      `json:"name"` // os, <pool>-<n>, key-<n>
	ID      string      `json:"id"`
	Present bool        `json:"present"`
	Model   string      `json:"model,omitempty"`
	Size    uint64      `json:"size,omitempty"`
	Health  disk.Health `json:"health"`
}

// PoolStatus is one btrfs: the OS's or a pool's.
type PoolStatus struct {
	Name       string     `json:"name"`
	Mountpoint string     `json:"mountpoint"`
	Mounted    bool       `json:"mounted"`
	Usage      disk.Usage `json:"usage"`
}

// NetworkStatus is the bridge.
type NetworkStatus struct {
	Bridge    string   `json:"bridge"`
	Up        bool     `json:"up"`
	NIC       string   `json:"nic,omitempty"`
	Carrier   bool     `json:"carrier"`
	SpeedMbit int      `json:"speed_mbit,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Gateways  []string `json:"gateways,omitempty"`
}

// ExportStatus is one NFS export.
type ExportStatus struct {
	Path     string   `json:"path"`
	Exported []string `json:"exported,omitempty"` // clients to whom the kernel exports it now
	Wanted   []string `json:"wanted"`
}

// ReadStatus looks at the host. It writes nothing, and says what it could not
// see without root.
func ReadStatus(ctx context.Context, l *configs.Layout) (Status, error) {
	health := askHealth(ctx, l)
	facts, err := probeAll(ctx, l)
	if err != nil {
		return Status{}, err
	}
	plan := Make(Input{Layout: l, Facts: facts})
	s := Status{Hostname: l.Hostname, Taken: facts.Taken, Root: facts.Root, Boot: readBootReport()}
	var wait sync.WaitGroup
	s.Volumes = make([]VolumeStatus, len(plan.Crypt.Volumes))
	for i, v := range plan.Crypt.Volumes {
		wait.Go(func() { s.Volumes[i] = volumeStatus(v, plan.Crypt.Keys) })
	}
	s.Pools = make([]PoolStatus, len(plan.Disk.Filesystems))
	for i, f := range plan.Disk.Filesystems {
		wait.Go(func() { s.Pools[i] = poolStatus(f) })
	}
	var found []step.Found
	steps, err := plan.Steps(Env{Keyring: &crypt.Keyring{OneProof: true}, Binary: "/proc/self/exe"})
	if err == nil {
		wait.Go(func() { found, err = step.Look(ctx, steps, step.LookSide) })
	}
	for _, d := range plan.Disk.Disks {
		s.Disks = append(s.Disks, diskStatus(d, health))
	}
	wait.Wait()
	if l.Network != nil {
		s.Network = networkStatus(*l.Network, facts.Network)
	}
	s.Exports = exportStatus(l)
	if facts.VMs != nil && plan.VMs != nil {
		vms := vmstore.MakeStatus(*plan.VMs, *facts.VMs)
		s.VMs = &vms
	}
	s.Unseen = facts.Unseen()
	if err != nil {
		s.Unseen = append(s.Unseen, strings.Split(err.Error(), "\n")...)
	}
	s.differs(plan, steps, found)
	return s, nil
}

// probeAll is Probe and ProbeVMs side by side, which an installed host allows:
// its VMs are where its root is.
func probeAll(ctx context.Context, l *configs.Layout) (Facts, error) {
	var vms Facts
	var side errgroup.Group
	side.Go(func() error { return vms.probeVMs(ctx, l, "/") })
	facts, err := Probe(ctx)
	if err = errors.Join(err, side.Wait()); err != nil {
		return Facts{}, err
	}
	if root(Input{Layout: l, Facts: facts}) != "/" { // the live system
		return facts, facts.ProbeVMs(ctx, l)
	}
	facts.VMs = vms.VMs
	return facts, nil
}

// askHealth asks the layout's disks, by their by-id names, while all the rest
// is read: a disk takes its time to answer.
func askHealth(ctx context.Context, l *configs.Layout) map[string]chan disk.Health {
	var ids []string
	if l.OS != nil {
		ids = append(ids, l.OS.Disk.ID)
	}
	for _, p := range l.Pools {
		for _, d := range p.Disks {
			ids = append(ids, d.ID)
		}
	}
	health := map[string]chan disk.Health{}
	for _, id := range ids {
		device, err := filepath.EvalSymlinks(id)
		if err != nil {
			continue // it is not there
		}
		answer := make(chan disk.Health, 1)
		health[id] = answer
		go func() { answer <- disk.ReadHealth(ctx, device) }()
	}
	return health
}

func diskStatus(d disk.DiskPlan, health map[string]chan disk.Health) DiskStatus {
	s := DiskStatus{Name: d.Name, ID: d.ID, Present: d.Disk.Name != "", Model: d.Disk.Model, Size: d.Disk.Size}
	answer, asked := health[d.ID]
	switch {
	case !s.Present:
	case d.Role == disk.RoleKey:
		s.Health = disk.Health{Unavailable: "a stick has no SMART"}
	case asked:
		s.Health = <-answer
	default: // it has come meanwhile
		s.Health = disk.Health{Unavailable: "not asked"}
	}
	return s
}

func poolStatus(f disk.FilesystemPlan) PoolStatus {
	s := PoolStatus{Name: f.Label}
	if len(f.Subvols) > 0 {
		s.Mountpoint = f.Subvols[0].Mountpoint
	}
	usage, err := disk.ReadUsage("/", f.UUID, s.Mountpoint)
	s.Mounted = err == nil
	if errors.Is(err, fs.ErrNotExist) || err == nil {
		s.Usage = usage
	}
	return s
}

func networkStatus(want configs.Network, facts bridge.Facts) *NetworkStatus {
	s := NetworkStatus{Bridge: want.Bridge}
	for _, nic := range facts.NICs {
		switch {
		case nic.Name == want.Bridge:
			s.Up, s.Addresses, s.Gateways = nic.Up, nic.Addresses, nic.Gateways
		case nic.Master == want.Bridge && (nic.Kind == "physical" || s.NIC == ""):
			s.NIC, s.Carrier, s.SpeedMbit = nic.Name, nic.Carrier, nic.SpeedMbit
		}
	}
	return &s
}

// exportStatus compares the layout with what the kernel's NFS server exports:
// /var/lib/nfs/etab, which exportfs keeps, has a line for each path and client.
func exportStatus(l *configs.Layout) []ExportStatus {
	if !hasExports(l) {
		return nil
	}
	active := map[string][]string{}
	if data, err := os.ReadFile("/var/lib/nfs/etab"); err == nil {
		for line := range strings.Lines(string(data)) {
			path, rest, found := strings.Cut(strings.TrimSpace(line), "\t")
			client, _, hasOptions := strings.Cut(rest, "(")
			if found && hasOptions {
				active[path] = append(active[path], client)
			}
		}
	}
	var all []ExportStatus
	for _, e := range l.NFSExports.Exports {
		wanted := e.Clients
		if len(wanted) == 0 {
			wanted = []string{l.NFSExports.LanCIDR}
		}
		all = append(all, ExportStatus{Path: e.Path, Exported: active[e.Path], Wanted: wanted})
	}
	return all
}

func readBootReport() *boot.Report {
	data, err := os.ReadFile(boot.ReportPath)
	if err != nil {
		return nil
	}
	var r boot.Report
	if json.Unmarshal(data, &r) != nil {
		return nil
	}
	return &r
}

// differs collects what is not as it should be, each with what to do.
func (s *Status) differs(plan Plan, steps []step.Step, found []step.Found) {
	add := func(where, what, hint string) { s.Differs = append(s.Differs, Difference{where, what, hint}) }
	for _, r := range slices.Concat(plan.Refusals, plan.Waits) {
		add(r.Where, r.What, r.Hint)
	}
	for _, d := range s.Disks {
		h := d.Health
		switch {
		case !d.Present || h.Unavailable != "":
		case !h.Passed:
			add(d.ID, "SMART says that the disk is failing", "replace it: btrfs replace keeps the pool in use meanwhile")
		case h.Pending > 0 || h.MediaErrors > 0:
			add(d.ID, fmt.Sprintf("%d sectors could not be read", h.Pending+h.MediaErrors), "scrub the pool (btrfs scrub start), and watch this number")
		}
	}
	for _, v := range s.Volumes {
		v.differs(add)
	}
	for _, p := range s.Pools {
		s.poolDiffers(p, add)
	}
	for _, e := range s.Exports {
		if len(e.Exported) == 0 {
			add(e.Path, "is not exported", "systemctl status nfs-server, then hvinstall --plan")
		}
	}
	if n := s.Network; n != nil {
		switch {
		case !n.Up:
			add(n.Bridge, "the bridge is not there", "hvinstall --plan makes it")
		case n.NIC != "" && !n.Carrier:
			add(n.NIC, "no carrier", "look at the cable and the switch")
		}
	}
	if s.VMs != nil {
		for _, vm := range s.VMs.VMs {
			if len(vm.Troubles) > 0 {
				add(vm.Name, strings.Join(vm.Troubles, "; "), vm.Advice)
			}
		}
	}
	for i, f := range found {
		// With a disk missing, most steps find nothing: that says no more.
		if f.State != step.Done && f.Step != "" && len(plan.Refusals) == 0 {
			add(steps[i].Title, f.State.String()+": "+f.Why, "hvinstall --plan "+plan.Layout.Path)
		}
	}
	if s.Boot != nil {
		for _, w := range s.Boot.Warnings {
			add("boot", w, "")
		}
	}
}

func (s *Status) poolDiffers(p PoolStatus, add func(where, what, hint string)) {
	if !p.Mounted {
		add("pool "+p.Name, "is not mounted", "see what the boot said: journalctl -b -t hvinstall")
		return
	}
	if n := p.Usage.Missing(); n > 0 {
		add("pool "+p.Name, fmt.Sprintf("%d of its disks is missing", n), "plug it in, or replace it: docs/recovery.md")
	}
	for _, d := range p.Usage.Devices {
		if d.Errors.Sum() > 0 {
			add("pool "+p.Name, fmt.Sprintf("device %d (%s) has had %d errors", d.ID, d.Name, d.Errors.Sum()), "btrfs device stats "+p.Mountpoint+" tells which; scrub the pool")
		}
	}
	if sc := p.Usage.Scrub; sc != nil && sc.Uncorrectable > 0 {
		add("pool "+p.Name, fmt.Sprintf("the last scrub found %d errors that it could not correct", sc.Uncorrectable), "restore the files that the journal names from a backup")
	}
}

// Healthy reports whether nothing differs.
func (s Status) Healthy() bool { return len(s.Differs) == 0 }
