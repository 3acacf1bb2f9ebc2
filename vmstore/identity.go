package vmstore

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// namespace is the root of the UUIDs of our VMs: UUIDv5 of the DNS name space
// and "vm.hvinstall". It must never change, or every VM would get a new
// identity.
var namespace = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("vm.hvinstall"))

// UUID is the VM's identity on this host: the same host and name give the same
// UUID on every run and after every reinstallation, so that a guest that ties
// its licence or its machine-id to it never notices.
func UUID(hostname, name string) string {
	return uuid.NewSHA1(namespace, []byte(hostname+"/"+name)).String()
}

// MAC is the address of a VM that names none. It lies in QEMU's 52:54:00, so
// that it reads as a VM's in the router's list of leases.
func MAC(hostname, name string) string {
	sum := sha256.Sum256([]byte("mac/" + hostname + "/" + name))
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
}

// sameMAC compares as libvirt does: without regard to case.
func sameMAC(a, b string) bool { return strings.EqualFold(a, b) }
