# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: the kselftests, the guests that are measured, then those with more to show.
# Variables come from lib.sh.
# shellcheck disable=SC2154

run_selftests() {
	export PVIOMMU_TEST_EDU="$EDU" PVIOMMU_TEST_OTHER="$NVME"
	export PVIOMMU_TEST_MODULE="$BIN/kvm-pviommu.ko"
	for test in /run/rig/selftests/*_test; do
		name=${test##*/}
		result "selftest-begin $name"
		pins_before=$(pins)
		# It waits for RCU most of the time, and there are two hosts: half as often on each.
		[ "$name" != hook_test ] || export PVIOMMU_TEST_DIVISOR=2
		# shellcheck disable=SC2046
		"$test" $(selftest_options) >"$LOG/selftest-$name.tap" 2>&1 </dev/null
		status=$?
		unset PVIOMMU_TEST_DIVISOR
		result "selftest $name $status $(($(pins) - pins_before))"
	done
}

load_pviommu
bind_vfio "$NVME" "$EDU"
many_devices
swap_on
run_selftests
swap_off
for part in guests features bounce direct network lifecycle many driverless; do
	# shellcheck disable=SC1090
	. "/run/rig/l1/$part.sh"
done
# For the boots after this one.
[ ! -e /sys/firmware/acpi/tables/DMAR ] || cp /sys/firmware/acpi/tables/DMAR "$LOG/dmar"
result "checks done"
