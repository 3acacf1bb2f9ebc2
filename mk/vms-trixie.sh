#!/bin/bash
# The tests of the VMs against the libvirt and QEMU of Debian 13, in a tree of
# its own below build/. The rest of the machine stays as it is.
set -euo pipefail
tree=$PWD/build/vms-trixie
if [ ! -e "$tree/whole" ]; then
	rm -rf "$tree"
	mmdebstrap --quiet --variant=apt --include=libvirt-daemon-system,libvirt-clients,qemu-system-x86,qemu-utils,ovmf,swtpm,swtpm-tools,dbus,genisoimage,xz-utils,zstd,btrfs-progs,libxml2-utils,iproute2,e2fsprogs,systemd,busybox-static,binutils,dosfstools,mtools,curl \
		trixie "$tree" http://deb.debian.org/debian
	# QEMU's own mount name space has no terminals in here.
	echo 'namespaces = []' >>"$tree/etc/libvirt/qemu.conf"
	touch "$tree/whole"
fi
# A guest may have firmware that a release no longer brings; and the appliance
# is built as on the machine itself, from its kernel and its stub.
cp /usr/share/OVMF/OVMF_CODE.fd /usr/share/OVMF/OVMF_VARS.fd "$tree/usr/share/OVMF/"
mkdir -p "$tree/test" "$tree/lib/modules" "$tree/boot" "$tree/usr/lib/systemd/boot/efi"
cp /usr/lib/systemd/boot/efi/linuxx64.efi.stub "$tree/usr/lib/systemd/boot/efi/"
go test -tags libvirt -c -o "$tree/test/vmstore.test" ./vmstore
rm -rf "$tree/test/testdata"
cp -r vmstore/testdata "$tree/test/"
exec unshare --mount bash -euc '
	tree=$1 pattern=$2
	mount --bind "$tree" "$tree"
	mount -t proc proc "$tree/proc"
	for dir in /dev /sys /boot /lib/modules; do mount --rbind "$dir" "$tree$dir"; done
	exec chroot "$tree" sh -c "libvirtd --version && cd /test && exec ./vmstore.test -test.timeout 30m -test.run \"$pattern\""
' trixie "$tree" "${RUN:-.}"
