#!/usr/bin/env bash
# os-image-again.sh IMAGE.squashfs: builds the image once more, in another
# folder, with the same time, and compares the two byte by byte.
set -euo pipefail
image=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r osimage/debian "$work/elsewhere"
SOURCE_DATE_EPOCH=$(unsquashfs -fstime "$image")
export SOURCE_DATE_EPOCH
"$work/elsewhere/build" "$work/again.squashfs"
if ! diff "${image%.squashfs}.packages" "$work/again.packages"; then
	echo "Debian has replaced packages since $image was built; run: OSIMAGE_REBUILD=1 make os-image" >&2
	exit 1
fi
cmp "$image" "$work/again.squashfs"
echo "two builds are the same: $(cat "$image.sha256")"
