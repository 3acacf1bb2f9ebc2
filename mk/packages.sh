#!/usr/bin/env bash
# Installs what the demo and the tests need of Debian's packages, after asking
# on a terminal.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=$(for p in $(sed 's/#.*//' .ci/packages.txt); do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
done)
[ -n "$missing" ] || exit 0
echo "These Debian packages are needed and not installed:"
echo "$missing" | xargs | fold -s -w 78 | sed 's/^/  /'
if [ -t 0 ]; then
	read -rp "Install them by apt-get? [y/N] " answer
	case $answer in y | Y | yes) ;; *) echo "Nothing was installed."; exit 1 ;; esac
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # one word a package
apt-get install -q -y --no-install-recommends $missing
