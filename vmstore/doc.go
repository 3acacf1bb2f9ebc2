// Package vmstore converges the VMs of libvirt_vms: their images, their domain
// XML, and their state in libvirt.
//
// It writes below libvirt_vmstore_root, one directory for each VM, and to
// libvirt over its socket. It never stops a running VM for a change unless it
// was asked to, never shrinks a disk, never replaces an image that is there,
// never touches a VM that the layout does not name, and deletes nothing
// outside libvirt_vmstore_root.
package vmstore
