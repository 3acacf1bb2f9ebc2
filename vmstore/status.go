package vmstore

import "path/filepath"

// Status is what hvinstall status says of the VMs.
type Status struct {
	// Libvirt is why libvirt does not answer; empty: it does.
	Libvirt string     `json:"libvirt,omitempty"`
	VMs     []VMStatus `json:"vms"`
}

// VMStatus is one VM, declared or not.
type VMStatus struct {
	Name     string   `json:"name"`
	State    string   `json:"state"` // running, shut off, …, or not defined
	Declared bool     `json:"declared"`
	Differs  []string `json:"differs,omitempty"`
	Restart  string   `json:"restart,omitempty"` // restart needed: …
	// Troubles are what is wrong with it, whatever the layout says, and Advice
	// what to do.
	Troubles   []string `json:"troubles,omitempty"`
	Advice     string   `json:"advice,omitempty"`
	Notes      []string `json:"notes,omitempty"` // worth knowing
	Disk       string   `json:"disk,omitempty"`
	DiskUsed   int64    `json:"disk_used,omitempty"`   // bytes on the pool
	DiskSize   int64    `json:"disk_size,omitempty"`   // bytes as the guest sees it
	RAMMB      int      `json:"ram_mb,omitempty"`      // of the running VM, else of the next start
	VCPU       int      `json:"vcpu,omitempty"`        // likewise
	Autostart  bool     `json:"autostart,omitempty"`   // by libvirt
	Protected  bool     `json:"protected,omitempty"`   // not used for undeclared VMs
	WillRemove bool     `json:"will_remove,omitempty"` // declared absent, and still there
}

// MakeStatus compares the plan with the facts that it was made from. It is
// pure, as the plan is.
func MakeStatus(p Plan, facts Facts) Status {
	var s Status
	if !facts.Libvirt.Reachable {
		s.Libvirt = facts.Libvirt.Why
	}
	for _, v := range p.VMs {
		if v.Action == Gone {
			continue
		}
		st := VMStatus{Name: v.Name, State: "not defined", Declared: true, Restart: v.RestartLine(), Disk: v.Spec.Disk, WillRemove: v.Action == Remove}
		st.fill(facts, facts.domain(v.Name))
		st.Differs = v.differs(facts, p)
		for _, n := range p.Notes {
			if n.Where == v.Name {
				st.Notes = append(st.Notes, n.What)
			}
		}
		s.VMs = append(s.VMs, st)
	}
	for _, u := range p.Undeclared {
		st := VMStatus{Name: u.Name, State: u.State, Disk: u.Disk}
		st.fill(facts, facts.domain(u.Name))
		s.VMs = append(s.VMs, st)
	}
	return s
}

func (st *VMStatus) fill(facts Facts, d *Domain) {
	if d != nil {
		st.State, st.Autostart = d.State, d.Autostart
		st.RAMMB, st.VCPU = d.RAMMB, d.VCPU
		if d.Active {
			st.RAMMB, st.VCPU = d.LiveRAMMB, d.LiveVCPU
		}
		st.Troubles, st.Advice = d.troubles(facts)
	}
	if f, ok := facts.Files[filepath.Clean(st.Disk)]; ok {
		st.DiskUsed, st.DiskSize = f.Allocated, f.Virtual
	}
}

// troubles are what keeps a VM from running well.
func (d *Domain) troubles(facts Facts) (found []string, advice string) {
	if d.Reason != "" {
		what := d.State + ": " + d.Reason
		if len(d.Failing) > 0 {
			what += " of " + names(d.Failing)
		}
		found = append(found, what)
		advice = "see /var/log/libvirt/qemu/" + d.Name + ".log"
		if d.State == "paused" {
			advice = "look at the pool's free space and at dmesg, then go on: virsh resume " + d.Name
		}
	}
	if !facts.Libvirt.Local {
		return found, advice
	}
	for _, disk := range d.Disks {
		if _, there := facts.Files[disk.Path]; there || disk.Path == "" || disk.Device != "disk" || disk.Kind != "file" {
			continue
		}
		if d.Active {
			found = append(found, "the file of its disk "+disk.Target+" is gone while it runs: "+disk.Path)
			advice = "do not stop it: what it has open is still there, and gone when it stops; copy it first: virsh blockcopy " + d.Name + " " + disk.Target + " /another/path.qcow2 --wait"
			continue
		}
		found = append(found, "the file of its disk "+disk.Target+" is not there: "+disk.Path)
		if advice == "" {
			advice = "mount the pool it was on, or put it back from a backup"
		}
	}
	return found, advice
}

// differs says in what a VM is not as the layout wants it.
func (v VM) differs(facts Facts, p Plan) []string {
	d := facts.domain(v.Name)
	switch v.Action {
	case Remove:
		return []string{"it is to be removed"}
	case Create:
		if _, there := facts.Files[v.Spec.Disk]; !there && p.Local {
			return []string{"not defined", "no disk"}
		}
		return []string{"not defined"}
	case Adopt, Change, Keep, Gone:
	}
	var lines []string
	if v.Action == Adopt {
		lines = append(lines, "not made by hvinstall")
	}
	for _, diff := range v.Differences {
		lines = append(lines, diff.String())
	}
	if v.Action == Change && len(v.Differences) == 0 {
		lines = append(lines, "its definition has changed")
	}
	if v.GrowFrom > 0 {
		lines = append(lines, (Difference{What: "disk", Have: gib(v.GrowFrom), Want: gib(int64(v.Spec.DiskGB) << 30)}).String())
	}
	if d != nil && d.Autostart != v.Autostart {
		lines = append(lines, "autostart "+onOff(d.Autostart)+" → "+onOff(v.Autostart))
	}
	if d != nil && v.Running && !d.Active {
		lines = append(lines, "it does not run")
	}
	return lines
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
