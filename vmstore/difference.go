package vmstore

import (
	"strings"
)

// Difference is one way in which a VM is not as the layout says.
type Difference struct {
	What string `json:"what"`
	Have string `json:"have"`
	Want string `json:"want"`
	Unit string `json:"unit,omitempty"`
	// Paths are the nodes of libvirt's description that change, as XPath.
	Paths []string `json:"paths,omitempty"`
	// Hardware is true where the guest sees another machine afterwards.
	Hardware bool `json:"hardware,omitempty"`
}

func (d Difference) String() string {
	switch {
	case d.Have == "":
		return d.What + ": not there, wanted " + d.Want
	case d.Want == "":
		return d.What + ": " + d.Have + ", not wanted"
	}
	s := d.What + " " + d.Have + " → " + d.Want
	if d.Unit != "" {
		s += " " + d.Unit
	}
	return s
}

// Line is the difference with the nodes that change.
func (d Difference) Line() string {
	if len(d.Paths) == 0 {
		return d.String()
	}
	short := make([]string, len(d.Paths))
	for i, p := range d.Paths {
		short[i] = strings.TrimPrefix(p, "/domain/")
	}
	return d.String() + " (" + strings.Join(short, ", ") + ")"
}

// plainWords are what a person would call a path.
var plainWords = map[string]Difference{
	"/domain/@type":                            {What: "domain type"},
	"/domain/name":                             {What: "name"},
	"/domain/memory":                           {What: "ram", Unit: "MiB"},
	"/domain/currentMemory":                    {What: "ram", Unit: "MiB"},
	"/domain/maxMemory":                        {What: "most ram", Unit: "MiB"},
	"/domain/vcpu":                             {What: "vcpu"},
	"/domain/vcpu/@current":                    {What: "vcpus plugged in"},
	"/domain/cpu/topology/@cores":              {What: "cores"},
	"/domain/cpu/@mode":                        {What: "cpu mode"},
	"/domain/os/type/@machine":                 {What: "machine"},
	"/domain/os/@firmware":                     {What: "firmware"},
	"/domain/os/nvram":                         {What: "firmware variables"},
	"/domain/os/firmware":                      {What: "secure boot"},
	"/domain/devices/interface/mac/@address":   {What: "mac"},
	"/domain/devices/interface/source/@bridge": {What: "bridge"},
	"/domain/devices/interface/model/@type":    {What: "nic model"},
	"/domain/devices/interface/@type":          {What: "nic"},
	"/domain/devices/disk/source/@file":        {What: "disk file"},
	"/domain/devices/disk/driver/@type":        {What: "disk format"},
	"/domain/metadata/hvinstall:vm":            {What: "hvinstall's own note"},
}

// wordsFor begins a difference at a path.
func wordsFor(path string) Difference {
	plain := withoutPlaces(path)
	d, known := plainWords[plain]
	if !known {
		short := strings.TrimPrefix(strings.TrimPrefix(plain, "/domain/"), "devices/")
		d.What = strings.ReplaceAll(short, "/@", "@")
	}
	d.Paths = []string{path}
	return d
}
