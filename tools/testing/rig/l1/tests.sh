# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: the kselftests, the guests, then more guests. Variables come from lib.sh.
# shellcheck disable=SC2154

run_selftests() {
	export PVIOMMU_TEST_EDU="$EDU" PVIOMMU_TEST_OTHER="$NVME"
	for test in /run/rig/selftests/*; do
		name=${test##*/}
		result "selftest-begin $name"
		pins_before=$(pins)
		"$test" >"$LOG/selftest-$name.tap" 2>&1 </dev/null
		status=$?
		result "selftest $name $status $(($(pins) - pins_before))"
	done
}

load_pviommu
bind_vfio "$NVME" "$EDU"
run_selftests
# shellcheck disable=SC1091
. /run/rig/l1/guests.sh
# shellcheck disable=SC1091
. /run/rig/l1/features.sh
