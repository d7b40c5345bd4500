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

# The kernel's own runner of kselftests, as it is installed.
installed_runner() {
	cd /run/kernel/selftests || return
	./run_kselftest.sh --per-test-log
}

# selftests_by COMMAND...: which starts a runner that keeps what each kselftest has said.
selftests_by() {
	export PVIOMMU_TEST_EDU="$EDU" PVIOMMU_TEST_OTHER="$NVME"
	export PVIOMMU_TEST_MODULE="$BIN/kvm-pviommu.ko" PVIOMMU_TEST_DIVISOR=20
	pins_at_start=$(pins)
	swap_on
	result "selftest-begin of the kernel's runner"
	("$@") >"$LOG/runner" 2>&1
	for log in /tmp/*_test; do
		sed 's/^# //' "$log" >"$LOG/selftest-${log##*/}.tap"
	done
	check "kselftests: no pins leaked" [ "$(pins)" = "$pins_at_start" ]
	swap_off
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
