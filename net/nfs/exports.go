package nfs

import (
	"fmt"
	"strings"
)

// Files of this package, below the root.
const (
	exportsFile  = "etc/exports.d/hvinstall.exports"
	confFile     = "etc/nfs.conf.d/hvinstall.conf"
	filterFile   = "etc/hvinstall/nfs.nft"
	dropInFile   = "etc/systemd/system/nfs-server.service.d/hvinstall.conf"
	reapplyFile  = "etc/systemd/system/hvinstall-nfs-filter.service"
	reapplyLink  = "etc/systemd/system/nftables.service.wants/hvinstall-nfs-filter.service"
	header       = "# Written by hvinstall from layout.yaml; a change here is undone by its next run.\n"
	serverUnit   = "nfs-server.service"
	serverLink   = "etc/systemd/system/multi-user.target.wants/nfs-server.service"
	serverProc   = "/proc/fs/nfsd/threads"
	exportsTable = "/var/lib/nfs/etab"
)

// exportsText is the exports file, see exports(5).
func (p Plan) exportsText() string {
	var b strings.Builder
	b.WriteString(header)
	for _, e := range p.Exports {
		b.WriteString(escape(e.Path))
		for _, client := range e.Clients {
			fmt.Fprintf(&b, " %s(%s)", client, strings.Join(e.options(), ","))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// options are all of an export's. mountpoint= keeps the server from serving
// the empty directory of a pool that is not mounted.
func (e Export) options() []string {
	return append(append([]string{}, e.Options...), e.Squash, "fsid="+e.FSID, "mountpoint="+escape(e.Pool.Mountpoint))
}

// escape writes the bytes that mean something in an exports file as \ooo.
func escape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c <= ' ' || c == '#' || c == '\\' || c == '"' || c == '\'' || c == '(' || c == ')' || c == ',' || c >= 0x7f {
			fmt.Fprintf(&b, `\%03o`, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// confText makes the server speak NFSv4 alone: one port, which the filter
// covers. NFSv3 needs rpcbind, mountd, statd and lockd reachable as well. It is
// for mountd, too: with neither version 2 nor 3 it opens no port, and answers
// the kernel alone.
const confText = header + `[nfsd]
vers2=n
vers3=n
vers4=y
udp=n
tcp=y
`

// dropInText orders the server after the pools, without requiring them: one
// that is missing must not keep the others from being served. The filter is
// required: the server does not start without it.
func (p Plan) dropInText() string {
	var b strings.Builder
	b.WriteString(header)
	b.WriteString("[Unit]\n")
	for _, pool := range p.Pools {
		fmt.Fprintf(&b, "After=%s\n", mountUnit(pool.Mountpoint))
	}
	fmt.Fprintf(&b, "After=nftables.service\n\n[Service]\nExecStartPre=/usr/sbin/nft -f /%s\n", filterFile)
	return b.String()
}

// reapplyText loads the filter again when nftables.service, which begins by
// flushing every table, is started, restarted or reloaded.
const reapplyText = header + `[Unit]
Description=Limit NFS to the clients of layout.yaml
DefaultDependencies=no
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
After=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /` + filterFile + `
ExecReload=/usr/sbin/nft -f /` + filterFile + `

[Install]
WantedBy=nftables.service
`

// mountUnit is the name of a mount point's unit, see systemd.unit(5), "String
// escaping for inclusion in unit names".
func mountUnit(mountpoint string) string {
	trimmed := strings.Trim(mountpoint, "/")
	if trimmed == "" {
		return "-.mount"
	}
	var b strings.Builder
	for i := range len(trimmed) {
		c := trimmed[i]
		switch {
		case c == '/':
			b.WriteByte('-')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == ':', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String() + ".mount"
}
