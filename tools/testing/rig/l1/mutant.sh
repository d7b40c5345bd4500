# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Functions for jobs in the emulated host: suites that are to catch a mutant. Each
# says "suite-begin NUMBER" once all is ready for it: what fails before is no catch.
#
# Variables come from lib.sh and its like.
# shellcheck disable=SC2034,SC2154

# run_kselftest NUMBER BINARY [ARGUMENT...]
run_kselftest() {
	number=$1
	binary=$2
	shift 2
	result "suite-begin $number"
	pins_before=$(pins)
	# shellcheck disable=SC2046
	"/run/rig/selftests/$binary" $(selftest_options) "$@" >"$LOG/suite-$number.tap" 2>&1 </dev/null
	status=$?
	result "suite-end $number $status $(($(pins) - pins_before))"
}

# What a guest can try. All but the first find the driver loaded.

# Before the driver, which then has to leave it alone.
try_edu_before() {
	guest_step edu
	guest_step pviommu
	guest_step groups
	check "the device that was there before is in no group" \
		said group "0000:00:$GUEST_EDU" none
}

try_driver() {
	guest_step pviommu
}

try_edu() {
	guest_step edu
	for finding in inside_write inside_read unmapped_write_blocked \
		unmapped_read_blocked outside_write_blocked outside_read_blocked; do
		check "edu: $finding" said edu $finding 1
	done
}

try_disk() {
	guest_step idle
	check "disk: it reads right" reads_right
}

# With 6.1 it does for good.
try_driver_stays() {
	guest_step remove "$GUEST_NVME" "$GUEST_EDU"
	guest_step no_pviommu
	check_not "driver: it does not unload" said rmmod 0
}

# A device goes, and the others stay.
try_gone() {
	guest_step remove "$GUEST_EDU"
	check "gone: the disk reads right" reads_right
}

# edu from the kernel to VFIO and back.
try_vfio() {
	guest_step edu_at kernel "0000:00:$GUEST_EDU" keep=2
	guest_step vfio_bind "0000:00:$GUEST_EDU"
	guest_step vfio vfio "0000:00:$GUEST_EDU" "stale=$(value_of kernel kept_iova)"
	check_edu "VFIO" vfio
	check "VFIO: nothing of the kernel is mapped" said vfio stale_read_blocked 1
	guest_step edu_at again "0000:00:$GUEST_EDU" "stale=$(value_of vfio left_iova)"
	check_edu "again" again
	check "again: nothing of VFIO is mapped" said again stale_read_blocked 1
}

# Four at a time, who want more than a small budget has.
try_readers() {
	guest_step idle
	forget
	guest_step parallel "$DATA_LENGTH"
	check "readers: all read right" \
		[ "$(grep -cxF "guest $guest md5 $image_md5" "$LOG/said")" = 4 ]
	check "readers: the budget was too small" [ "$(stat_of refused)" -gt 0 ]
}

try_guest() {
	number=$1
	shift
	cmdline=
	steps=
	RUN_OPTIONS=
	for word; do
		case $word in
		--*) RUN_OPTIONS="$RUN_OPTIONS $word" ;;
		*=*) cmdline="$cmdline $word" ;;
		*) steps="$steps $word" ;;
		esac
	done

	launch "of-$number" "$cmdline"
	guest_until pause booted
	result "suite-begin $number"
	for step in $steps; do
		"try_$step"
	done
	finish
	check_not "the driver does not complain" \
		grep -q "unexpected result" "$LOG/guest-$guest.console"
	result "suite-end $number"
}

# run_guest NUMBER {--OPTION | NAME=VALUE | STEP}...: options for pviommu run, the
# guest's kernel command line, what it is to try.
run_guest() {
	# A guest that fails ends its shell.
	(try_guest "$@")
}

load_pviommu
bind_vfio "$NVME" "$EDU"
swap_on
many_devices
export PVIOMMU_TEST_EDU="$EDU" PVIOMMU_TEST_OTHER="$NVME"
export PVIOMMU_TEST_MODULE="$BIN/kvm-pviommu.ko"
