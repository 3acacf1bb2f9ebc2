#!/usr/bin/env bash
# Runs make targets one after the other, times each, and ends with a table.
# A failing stage does not hide the later ones.
set -u -o pipefail
cd "$(dirname "$0")/.."
mkdir -p build/stages
names=() results=() times=()
failed=0 started=$SECONDS
for stage in "$@"; do
	echo "=== $stage"
	t=$SECONDS
	if make --no-print-directory "$stage" 2>&1 | tee "build/stages/$stage.log"; then
		results+=(ok)
	else
		results+=(FAILED)
		failed=$((failed + 1))
	fi
	names+=("$stage") times+=($((SECONDS - t)))
done
echo
echo "stage                seconds  result"
for i in "${!names[@]}"; do
	printf '%-20s %7d  %s\n' "${names[$i]}" "${times[$i]}" "${results[$i]}"
done
printf '%-20s %7d\n' total $((SECONDS - started))
printf '%d passed, %d failed\n' $((${#names[@]} - failed)) "$failed"
[ "$failed" -eq 0 ]
