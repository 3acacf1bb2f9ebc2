#!/usr/bin/env bash
# live.sh IMAGE.squashfs LIVE.img: takes the kernel, its modules and the boot
# loader out of the image, builds the live initramfs, and writes the stick.
set -euo pipefail
image=$1 out=$2
for program in unsquashfs mkfs.vfat mcopy; do
	command -v "$program" >/dev/null || PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || {
		echo "missing: $program; run: apt-get install squashfs-tools dosfstools mtools" >&2
		exit 1
	}
done
sum=$(cut -c1-64 "$image.sha256")
work=build/live
mkdir -p "$work"
# The kernel's tree of an image is taken out once.
if [ "$(cat "$work/sum" 2>/dev/null)" != "$sum" ]; then
	rm -rf "$work/root" "$work/sum"
	unsquashfs -quiet -no-progress -no-xattrs -dest "$work/root" "$image" \
		boot usr/lib/modules usr/lib/firmware usr/lib/systemd/boot lib >/dev/null
	echo "$sum" >"$work/sum"
fi
kernel=$(ls "$work/root/usr/lib/modules")
loader=$work/root/usr/lib/systemd/boot/efi/systemd-bootx64.efi
if [ -f "$loader.signed" ]; then loader=$loader.signed; fi
bin/hvinstall initrd --live --root "$work/root" --kernel "$kernel" --binary bin/hvinstall -o "$work/initrd" ${LIVE_INITRD_ARGS:-}
go run ./osimage/live/mklive --kernel "$work/root/boot/vmlinuz-$kernel" --initrd "$work/initrd" \
	--loader "$loader" --image "$image" \
	--file README.txt=osimage/live/README.txt --file layout-example.yaml=configs/examples/hypervisor.yaml \
	${LIVE_APPEND:+--append "$LIVE_APPEND"} -o "$out"
ls -l "$out"
