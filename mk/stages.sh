#!/usr/bin/env bash
# Runs make targets one after the other, times each, and ends with a table.
# Lanes joined by + run side by side, with guests of one CPU each; in a lane,
# targets joined by commas run one after the other. A failing stage does not
# hide the later ones.
set -u -o pipefail
cd "$(dirname "$0")/.."
mkdir -p build/stages
stages=() results=() times=()
failed=0 started=$SECONDS

note() { # name result seconds
	stages+=("$1") results+=("$2") times+=("$3")
	[ "$2" = ok ] || failed=$((failed + 1))
}

alone() { # name
	local t=$SECONDS result=FAILED
	echo "=== $1"
	if make --no-print-directory "$1" 2>&1 | tee "build/stages/$1.log"; then result=ok; fi
	note "$1" "$result" $((SECONDS - t))
}

together() { # lane...
	local lane targets names=() name
	echo "=== side by side: $*"
	for lane; do
		IFS=, read -ra targets <<<"$lane"
		names+=("${targets[@]}")
		(
			export HVINSTALL_GUEST_CPUS=${HVINSTALL_GUEST_CPUS:-1}
			for name in "${targets[@]}"; do
				t=$SECONDS result=FAILED
				rm -f "build/stages/$name.result"
				if make --no-print-directory "$name" >"build/stages/$name.log" 2>&1; then result=ok; fi
				echo "$result $((SECONDS - t))" >"build/stages/$name.result"
			done
		) &
	done
	wait
	for name in "${names[@]}"; do
		echo "=== $name"
		cat "build/stages/$name.log"
		# shellcheck disable=SC2046 # two words
		note "$name" $(cat "build/stages/$name.result")
	done
}

for stage; do
	IFS=+ read -ra lanes <<<"$stage"
	if [ ${#lanes[@]} = 1 ]; then alone "$stage"; else together "${lanes[@]}"; fi
done
echo
echo "stage                 seconds  result"
for i in "${!stages[@]}"; do
	printf '%-22s %6d  %s\n' "${stages[$i]}" "${times[$i]}" "${results[$i]}"
done
printf '%-22s %6d\n' total $((SECONDS - started))
printf '%d passed, %d failed\n' $((${#stages[@]} - failed)) "$failed"
[ "$failed" -eq 0 ]
