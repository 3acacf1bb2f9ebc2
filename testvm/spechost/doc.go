// Package spechost is the specification's hypervisor as a QEMU machine: UEFI
// firmware, an OS disk, a VM store of three NVMe disks and a bulk store of
// three SATA disks at their real sizes (sparse), a key stick, a NIC called
// enp5s0 on a network with DHCP, and the live stick; with the layout for it, a
// console to type at, and a server of images that can be told to fail.
//
// It is imported by tests and the demo only. It writes below the folder that
// it is given and listens on loopback only.
package spechost
