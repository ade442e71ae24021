#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Explores every parser with libFuzzer for a bounded time.
#
#   tools/fuzz.sh BUILD SECONDS    BUILD was configured with -Dfuzz=true
#
# What libFuzzer finds is kept in BUILD/fuzz-found/NAME; the committed seeds stay as they are.
# Exit: 0 when no target crashed, 1 otherwise or when there is no target.
set -u
build=${1:?usage: tools/fuzz.sh BUILD SECONDS}
seconds=${2:-20}
corpus=$(dirname "$0")/../tests/fuzz/corpus
failed=0
ran=0
for exe in "$build"/tests/fuzz/fuzz_*; do
	if [ ! -x "$exe" ] || [ -d "$exe" ]; then
		continue
	fi
	name=${exe##*/fuzz_}
	found=$build/fuzz-found/$name
	mkdir -p "$found"
	ran=$((ran + 1))
	if "$exe" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix="$found/" "$found" "$corpus/$name" >"$found.log" 2>&1; then
		echo "fuzz_$name: $(sed -n 's/^stat::number_of_executed_units: //p' "$found.log") inputs, no crash"
	else
		failed=$((failed + 1))
		echo "fuzz_$name: CRASHED; the input is in $found/, the report in $found.log"
		tail -n 30 "$found.log"
	fi
done
[ $ran -gt 0 ] || { echo "fuzz: no targets in $build"; exit 1; }
[ $failed -eq 0 ]
