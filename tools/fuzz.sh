#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Explores every parser and engine with libFuzzer for a bounded time, as many at once as there are
# cores (FUZZ_JOBS: another number), and prints a table.
#
#   tools/fuzz.sh BUILD SECONDS [NAME...]    BUILD was configured with -Dfuzz=true
#
# What libFuzzer finds is kept in BUILD/fuzz-found/NAME and explored further next time; the committed
# seeds stay as they are. cov: edges of the program reached, of all in it; ft: features, libFuzzer's
# finer count. Exit: 0 when no target crashed or leaked, 1 otherwise or when there is no target.
set -u
# Undefined behaviour ends a run as a crash does; by default it would only be a line in the log.
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
build=${1:?usage: tools/fuzz.sh BUILD SECONDS [NAME...]}
seconds=${2:-20}
shift $(($# < 2 ? $# : 2))
corpus=$(dirname "$0")/../tests/fuzz/corpus
jobs=${FUZZ_JOBS:-$(nproc)}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
	for exe in "$build"/tests/fuzz/fuzz_*; do
		if [ -x "$exe" ] && [ ! -d "$exe" ]; then
			names+=("${exe##*/fuzz_}")
		fi
	done
fi
[ ${#names[@]} -gt 0 ] || { echo "fuzz: no targets in $build"; exit 1; }

explore()
{
	local found=$build/fuzz-found/$1
	mkdir -p "$found"
	"$build/tests/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=1024 \
		-print_final_stats=1 -artifact_prefix="$found/" "$found" "$corpus/$1" \
		>"$found.log" 2>&1
	echo $? >"$found.rc"
}

# The last value of "WORD: N" in a log; empty when there is none.
last()
{
	sed -n "s/.* $2: \([0-9]*\).*/\1/p" "$1" | tail -n 1
}

for name in "${names[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
	explore "$name" &
done
wait

failed=0
printf '%-10s %12s %9s %8s %8s %9s %8s %6s\n' target runs runs/s cov edges ft crashes leaks
for name in "${names[@]}"; do
	log=$build/fuzz-found/$name.log
	leaks=$(grep -c 'ERROR: LeakSanitizer' "$log")
	crashes=0
	if [ "$(cat "$build/fuzz-found/$name.rc")" -ne 0 ]; then
		failed=$((failed + 1))
		[ "$leaks" -gt 0 ] || crashes=1
	fi
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	edges=$(sed -n 's/.*Loaded [0-9]* modules *(\([0-9]*\) inline 8-bit counters).*/\1/p' "$log")
	printf '%-10s %12s %9s %8s %8s %9s %8s %6s\n' "$name" "${runs:-?}" \
		"$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")" "$(last "$log" cov)" \
		"${edges:-?}" "$(last "$log" ft)" "$crashes" "$leaks"
done
for name in "${names[@]}"; do
	[ "$(cat "$build/fuzz-found/$name.rc")" -ne 0 ] || continue
	echo "fuzz_$name: the input is in $build/fuzz-found/$name/, the end of its report:"
	tail -n 30 "$build/fuzz-found/$name.log"
done
[ $failed -eq 0 ]
