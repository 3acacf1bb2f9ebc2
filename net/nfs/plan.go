// Package nfs serves directories of the pools to the LAN.
//
// It makes the exported directories on their mounted pools (never on an empty
// mount point), and writes its own files beside the system's: an exports.d
// file, an nfs.conf.d file, a filter for the server's port, and a drop-in that
// orders the server after the pools. It changes nobody else's exports or
// firewall rules and never deletes data.
package nfs

import (
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"hvinstall/configs"
	"hvinstall/step"

	"github.com/google/uuid"
)

// Pool is a mounted file system that directories are exported from.
type Pool struct {
	Name       string `json:"name"`
	Mountpoint string `json:"mountpoint"` // on the installed host
	UUID       string `json:"uuid"`       // of its btrfs; empty: any btrfs is taken
	// Away: it cannot be mounted for now. Its exports stay in the files, and come
	// back with it.
	Away bool `json:"away,omitempty"`
}

// Plan is everything that is exported. An empty plan stops exporting what an
// earlier one exported.
type Plan struct {
	Exports []Export `json:"exports,omitempty"`
	Pools   []Pool   `json:"pools,omitempty"` // those with an export
}

// Export is one directory and its clients.
type Export struct {
	Path    string   `json:"path"`
	Pool    Pool     `json:"pool"`
	Clients []string `json:"clients"` // networks in CIDR form
	Options []string `json:"options"` // without squash, fsid and mountpoint
	Squash  string   `json:"squash"`
	FSID    string   `json:"fsid"` // clients know the directory by it, also after a reinstall

	Owner string      `json:"owner"` // name or number
	Group string      `json:"group"`
	Mode  os.FileMode `json:"mode"`
	// Enforce: owner, group or mode are not the defaults, so they also hold for
	// a directory that is there. The defaults are for one that hvinstall makes.
	Enforce bool `json:"enforce"`
}

const (
	defaultOwner, defaultMode = "root", "0755"
	defaultLAN                = "192.168.1.0/24"
	rootSquash                = "root_squash"
)

// MakePlan decides what is exported to whom. want may be nil: nothing is.
func MakePlan(want *configs.NFSExports, pools []Pool) (Plan, []step.Refusal) {
	var plan Plan
	var refusals []step.Refusal
	if want == nil {
		return plan, nil
	}
	for _, e := range want.Exports {
		export, refusal := makeExport(e, or(want.LanCIDR, defaultLAN), pools)
		if refusal == nil && slices.ContainsFunc(plan.Exports, func(other Export) bool { return other.Path == export.Path }) {
			refusal = &step.Refusal{Code: "export-twice", Where: export.Path, What: "it is exported twice", Hint: "give one export several clients"}
		}
		if refusal != nil {
			refusals = append(refusals, *refusal)
			continue
		}
		plan.Exports = append(plan.Exports, export)
		if !slices.Contains(plan.Pools, export.Pool) {
			plan.Pools = append(plan.Pools, export.Pool)
		}
	}
	return plan, refusals
}

func makeExport(e configs.NFSExport, lan string, pools []Pool) (Export, *step.Refusal) {
	refuse := func(what, hint string) (Export, *step.Refusal) {
		return Export{}, &step.Refusal{Code: "export-invalid", Where: e.Path, What: what, Hint: hint}
	}
	export := Export{
		Path: path.Clean(e.Path), Options: e.Options, Squash: or(e.Squash, rootSquash),
		Owner: or(e.Owner, defaultOwner), Group: or(e.Group, defaultOwner),
	}
	found := false
	for _, pool := range pools {
		if strings.HasPrefix(export.Path, strings.TrimSuffix(pool.Mountpoint, "/")+"/") && (!found || len(pool.Mountpoint) > len(export.Pool.Mountpoint)) {
			export.Pool, found = pool, true
		}
	}
	if !found || !path.IsAbs(e.Path) {
		return refuse("it is not below a pool's mount point", "export a directory of a pool")
	}
	if len(export.Options) == 0 {
		export.Options = []string{"rw", "sync", "no_subtree_check"}
	}
	if at := slices.IndexFunc(export.Options, func(o string) bool { return !plainOption(o) }); at >= 0 {
		return refuse(fmt.Sprintf("%q is no option that may be given here", export.Options[at]), "see exports(5); squash, fsid and mountpoint are set by hvinstall")
	}
	if !slices.Contains([]string{rootSquash, "no_root_squash", "all_squash"}, export.Squash) {
		return refuse(fmt.Sprintf("squash %q is not known", export.Squash), "root_squash, no_root_squash or all_squash")
	}
	clients := e.Clients
	if len(clients) == 0 {
		clients = []string{lan}
	}
	for _, c := range clients {
		network, err := netip.ParsePrefix(c)
		if err != nil {
			return refuse(fmt.Sprintf("client %q is not a network", c), "write it in CIDR form: 192.168.1.0/24, 192.168.1.7/32 or fd00::/64")
		}
		if network.Addr().Is4In6() {
			return refuse(fmt.Sprintf("client %q is an IPv4 network written as IPv6", c), "write it as IPv4: 192.168.1.0/24")
		}
		if name := network.Masked().String(); !slices.Contains(export.Clients, name) {
			export.Clients = append(export.Clients, name)
		}
	}
	mode, err := strconv.ParseUint(or(e.Mode, defaultMode), 8, 12)
	if err != nil {
		return refuse(fmt.Sprintf("mode %q is not octal", e.Mode), "write it as 0755")
	}
	export.Mode = os.FileMode(mode) // 12 bits; they stay Unix bits and are never printed as Go's
	export.Enforce = export.Owner != defaultOwner || export.Group != defaultOwner || or(e.Mode, defaultMode) != defaultMode
	// Derived, so that a reinstalled host has the same: clients' mounts go on.
	export.FSID = uuid.NewSHA1(uuid.NameSpaceURL, []byte("hvinstall:nfs:"+export.Pool.UUID+":"+export.Path)).String()
	return export, nil
}

// plainOption holds the charset of exports(5) options that need no quoting,
// and keeps out those that are not the layout's to give.
func plainOption(o string) bool {
	word, _, _ := strings.Cut(o, "=")
	if slices.Contains([]string{"", "fsid", "mountpoint", "mp", rootSquash, "no_root_squash", "all_squash", "no_all_squash"}, word) {
		return false
	}
	return strings.IndexFunc(o, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_=.:/@+-", r)
	}) < 0
}

// Lines is the plan as a preview shows it: what is served to whom, and whose
// files a client's root makes.
func (p Plan) Lines() []string {
	width := 0
	for _, e := range p.Exports {
		width = max(width, len(e.Path))
	}
	var lines []string
	for _, e := range p.Exports {
		lines = append(lines,
			fmt.Sprintf("%-*s  to %s", width, e.Path, strings.Join(e.ClientsInWords(), ", ")),
			fmt.Sprintf("%-*s  %s; %s", width, "", strings.Join(e.Options, ","), e.squashInWords()))
	}
	return lines
}

// ClientsInWords are the clients, and what a network is that looks like others
// and is not: one that nobody knows the people of.
func (e Export) ClientsInWords() []string {
	var words []string
	for _, c := range e.Clients {
		words = append(words, clientInWords(c))
	}
	return words
}

func clientInWords(client string) string {
	n, err := netip.ParsePrefix(client)
	switch {
	case err != nil:
		return client
	case n.Bits() == 0 && n.Addr().Is4():
		return client + " (EVERYONE who reaches this host by IPv4)"
	case n.Bits() == 0:
		return client + " (EVERYONE who reaches this host by IPv6)"
	case n.Addr().IsPrivate(), n.Bits() > 8 && n.Addr().Is4(), n.Bits() > 16 && n.Addr().Is6():
		return client
	}
	return client + " (A LARGE PART of the Internet)"
}

// Doors is what an export lets in that its clients and its squash do not tell.
func (p Plan) Doors(e Export) []string {
	var doors []string
	for _, word := range e.Options {
		if isZero(word, "anonuid") || isZero(word, "anongid") {
			doors = append(doors, word+": who is squashed is root in it")
		}
	}
	for _, outer := range p.Exports {
		if strings.HasPrefix(e.Path, strings.TrimSuffix(outer.Path, "/")+"/") {
			doors = append(doors, "lies in "+outer.Path+", which is exported as well: to "+strings.Join(outer.ClientsInWords(), ", ")+" ("+outer.Squash+")")
		}
	}
	return doors
}

// isZero says whether an option is key=0, however the 0 is written.
func isZero(option, key string) bool {
	name, value, _ := strings.Cut(option, "=")
	number, err := strconv.Atoi(value)
	return name == key && err == nil && number == 0
}

func (e Export) squashInWords() string {
	if slices.ContainsFunc(e.Options, func(o string) bool { return isZero(o, "anonuid") }) {
		return e.Squash + " with anonuid=0: who is squashed is root here"
	}
	switch e.Squash {
	case "no_root_squash":
		return "no_root_squash: a client's root is root here"
	case "all_squash":
		return "all_squash: every client user is nobody here"
	}
	return "root_squash: a client's root is nobody here"
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
