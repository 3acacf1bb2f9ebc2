package spechost

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"hvinstall/testvm"
)

// Machine is the hypervisor as files in a folder.
type Machine struct {
	CPUs    int // 0: the usual number
	Dir     string
	Drives  []testvm.Drive // its seven disks and its key stick
	Mirror  io.Writer      // gets what its console says; may be nil
	Forward []string       // what its network reaches, as Server.Forward
}

// LiveStick names the live stick among the drives that a boot lists.
const LiveStick = "live"

// Open is the machine whose files are in dir.
func Open(dir string) *Machine {
	m := &Machine{Dir: dir, Drives: []testvm.Drive{
		{ID: "os", Model: testvm.NVMe, Serial: "OS500", Size: 500107862016},
		{ID: "vm1", Model: testvm.NVMe, Serial: "VM1000A", Size: 1000204886016},
		{ID: "vm2", Model: testvm.NVMe, Serial: "VM1000B", Size: 1000204886016},
		{ID: "vm3", Model: testvm.NVMe, Serial: "VM500", Size: 500107862016},
		{ID: "bulk1", Model: testvm.SATA, Serial: "BULK4000", Product: "ST4000VN008", Size: 4000787030016, Sector: 4096},
		{ID: "bulk2", Model: testvm.SATA, Serial: "BULK2000A", Product: "ST2000VN004", Size: 2000398934016, Sector: 4096},
		{ID: "bulk3", Model: testvm.SATA, Serial: "BULK2000B", Product: "ST2000VN004", Size: 2000398934016, Sector: 4096},
		{ID: "key", Model: testvm.USB, Serial: "KEY001", Size: 4e9},
	}}
	for i := range m.Drives {
		m.Drives[i].Path = filepath.Join(dir, m.Drives[i].ID+".img")
	}
	return m
}

// New is a new machine in dir: its disks are blank, its firmware knows nothing.
func New(dir string) (*Machine, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	m := Open(dir)
	for _, d := range m.Drives {
		if err := remove(d.Path); err != nil {
			return nil, err
		}
		if err := testvm.Sparse(d.Path, d.Size); err != nil {
			return nil, err
		}
	}
	return m, remove(m.vars())
}

func remove(path string) error {
	err := os.Remove(path)
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

func (m *Machine) vars() string { return filepath.Join(m.Dir, "vars.fd") }

// Drive is one of the machine's drives, to be changed before a boot.
func (m *Machine) Drive(id string) *testvm.Drive {
	i := slices.IndexFunc(m.Drives, func(d testvm.Drive) bool { return d.ID == id })
	if i < 0 {
		return nil
	}
	return &m.Drives[i]
}

// All lists the machine's own drives, without those that are named.
func (m *Machine) All(without ...string) []string {
	var ids []string
	for _, d := range m.Drives {
		if !slices.Contains(without, d.ID) {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// Config is the machine with these of its drives plugged in, for at most limit.
func (m *Machine) Config(limit time.Duration, drives ...string) testvm.Config {
	c := testvm.Config{
		Memory: 4096, CPUs: m.CPUs, OVMF: true, Vars: m.vars(), Timeout: Slow(limit), Screen: true, Mirror: m.Mirror,
		NICs: []testvm.NIC{{PCIBus: 5, MAC: "52:54:00:12:34:56", Net: "192.168.1.0/24", Forward: m.Forward}},
	}
	live := testvm.Drive{ID: LiveStick, Model: testvm.USB, Serial: "LIVE001", Path: m.livePath(), Boot: 1}
	for _, d := range append(slices.Clone(m.Drives), live) {
		if slices.Contains(drives, d.ID) {
			c.Drives = append(c.Drives, d)
		}
	}
	return c
}

// Trial is Config with drives and firmware that forget what is written to them:
// several can run at once.
func (m *Machine) Trial(limit time.Duration, drives ...string) testvm.Config {
	c := m.Config(limit, drives...)
	c.VarsSnapshot = true
	for i := range c.Drives {
		c.Drives[i].Snapshot = true
	}
	return c
}

// Slow stretches a time limit on a machine that others share:
// HVINSTALL_SLOW=3 makes it three times as long.
func Slow(d time.Duration) time.Duration {
	if factor, err := strconv.Atoi(os.Getenv("HVINSTALL_SLOW")); err == nil && factor > 1 {
		return d * time.Duration(factor)
	}
	return d
}

// LogFolder is where the machine's console and QEMU's words are kept.
func (m *Machine) LogFolder() string { return filepath.Join(m.Dir, "logs") }
