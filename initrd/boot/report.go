package boot

// ReportPath is where the init leaves its report; /run moves into the system.
const ReportPath = "/run/hvinstall/boot.json"

// Report is how the boot went, up to switch_root. Times are seconds since the
// kernel started.
type Report struct {
	Kernel     string `json:"kernel"`
	Live       bool   `json:"live,omitempty"`
	UnlockedBy string `json:"unlocked_by,omitempty"` // "stick 8B34-7D3C", "the passphrase"

	Init       float64 `json:"init"`                  // the init's first line of code
	Modules    float64 `json:"modules,omitempty"`     // volumes open and every module loaded
	Stick      float64 `json:"stick,omitempty"`       // the stick that opened them became visible
	FirstOpen  float64 `json:"first_open,omitempty"`  // the first volume was open
	LastOpen   float64 `json:"last_open,omitempty"`   // the last volume was open
	Mounted    float64 `json:"mounted,omitempty"`     // root and pools were mounted
	SwitchRoot float64 `json:"switch_root,omitempty"` // the init gave way to the system's

	Volumes []VolumeReport `json:"volumes,omitempty"`
	Pools   []PoolReport   `json:"pools,omitempty"`
	// Warnings are the loud lines that were shown on the console.
	Warnings []string `json:"warnings,omitempty"`
}

// VolumeReport is what became of one volume.
type VolumeReport struct {
	Mapping string  `json:"mapping"`
	DiskID  string  `json:"disk_id"`
	Open    bool    `json:"open"`
	By      string  `json:"by,omitempty"`      // as Report.UnlockedBy
	At      float64 `json:"at,omitempty"`      // when it was open
	Problem string  `json:"problem,omitempty"` // why it is not
}

// PoolState is what became of a pool.
type PoolState string

// A pool is mounted, mounted with members missing, or not mounted.
const (
	PoolMounted  PoolState = "mounted"
	PoolDegraded PoolState = "degraded"
	PoolSkipped  PoolState = "skipped"
)

// PoolReport is what became of one pool.
type PoolReport struct {
	Name       string    `json:"name"`
	Mountpoint string    `json:"mountpoint"`
	State      PoolState `json:"state"`
	Missing    []string  `json:"missing,omitempty"` // by-id names of the members that were not there
	Problem    string    `json:"problem,omitempty"`
}
