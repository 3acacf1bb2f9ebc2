//go:build guest

package nfs_test

import (
	"testing"
	"time"

	"hvinstall/testvm"
)

// TestInGuest runs Debian's kernel server and kernel clients: the machine that
// builds may have neither.
func TestInGuest(t *testing.T) {
	const share = "/usr/share/nfs-common/conffiles/"
	testvm.RunTests(t, testvm.Guest{
		Config: testvm.Config{
			Memory:  1024,
			Timeout: 15 * time.Minute,
			Drives:  []testvm.Drive{{Model: testvm.Virtio, Serial: "POOL1", Size: 2e9}, {Model: testvm.Virtio, Serial: "SYSTEM", Size: 1e9}},
		},
		Programs: []string{"exportfs", "rpc.mountd", "rpc.nfsd", "mount.nfs", "mount.nfs4", "nft", "ip", "nfsconf", "systemd-escape"},
		Modules:  []string{"nfsd", "nfs", "nfsv4", "nfsv3", "veth", "nf_tables"},
		Files: map[string]string{
			"etc/netconfig": "/etc/netconfig", "etc/services": "/etc/services", "etc/protocols": "/etc/protocols",
			"etc/rpc": "/etc/rpc", "etc/nfs.conf": share + "nfs.conf",
		},
	}, []string{"./net/nfs"})
}
