# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Functions for jobs on the debug kernel: what it has seen. Loaded by lib.sh.
#
# Variables come from lib.sh.
# shellcheck disable=SC2154

KMEMLEAK=/sys/kernel/debug/kmemleak

# From here on leaks count.
leaks_begin() {
	echo scan >$KMEMLEAK
	echo clear >$KMEMLEAK
}

# Objects that nothing refers to any more; the kernel says on the console that
# there are some. It wants them to be 5 seconds old.
leaks_end() {
	sleep 6
	echo scan >$KMEMLEAK
	echo scan >$KMEMLEAK
	cat $KMEMLEAK >"$LOG/kmemleak"
	check "kmemleak finds nothing" [ ! -s "$LOG/kmemleak" ]
}

# How often each line has run, for gcov, below the paths where the kernel was built.
save_coverage() {
	(
		cd /sys/kernel/debug/gcov || exit
		find . -name '*.gcda' | while read -r file; do
			mkdir -p "$LOG/gcov/$(dirname "$file")"
			cat "$file" >"$LOG/gcov/$file"
		done
	)
}
