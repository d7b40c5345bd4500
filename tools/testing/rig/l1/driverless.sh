# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: guests without the driver, or not yet with it. After features.sh or debug.sh.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

PARAMETERS=/sys/module/kvm_pviommu/parameters

# blamed: how often has the host said that a guest lacks the driver?
blamed() {
	dmesg | grep -c "has not enabled aperture"
}

is_blamed() {
	[ "$(blamed)" != "$blamed_before" ]
}

# Its devices are blocked, and the host says why.
blocked_guest() {
	timeout=$(cat $PARAMETERS/driver_timeout)
	echo 2 >$PARAMETERS/driver_timeout
	blamed_before=$(blamed)
	launch driverless ''
	guest_until pause booted
	guest_step edu
	check "no driver: edu cannot write" said edu inside_write_blocked 1
	check "no driver: nor read" said edu inside_read 0
	guest_tell try_disk
	check "no driver: the host says so" wait_until is_blamed
	guest_until pause try_disk
	check "no driver: there is no disk" said disk 0
	check "no driver: nothing is pinned" [ "$(stat_of pinned)" = 0 ]
	finish
	check "no driver: it was said once" [ "$(blamed)" = $((blamed_before + 1)) ]
	echo "$timeout" >$PARAMETERS/driver_timeout
}

# locked_below KIB
locked_below() {
	[ "$(locked_kib "$guest_pid")" -lt "$1" ]
}

# With --fallback=pin they work as under plain VFIO, until the driver comes.
pinned_guest() {
	ram=$((512 * 1024))
	RUN_OPTIONS=--fallback=pin
	launch pinned ''
	RUN_OPTIONS=
	guest_until pause booted
	check "fallback: all RAM is locked" [ "$(locked_kib "$guest_pid")" -ge $ram ]
	check "fallback: devices wait" [ "$(stat_of waiting)" = 2 ]
	guest_step edu
	check "fallback: DMA works without the driver" said edu inside_write 1
	check "fallback: anywhere" said edu outside_write_blocked 0
	guest_step edu_off
	guest_step edu
	check "fallback: edu keeps what it has read" said edu secret_kept 1
	guest_step edu_off
	guest_step idle
	check "fallback: the disk reads right without the driver" reads_right

	guest_step remove "$GUEST_NVME" "$GUEST_EDU"
	guest_driver
	guest_step rescan
	check "fallback: with the driver RAM is let go" wait_until locked_below 16384
	check "fallback: all of it" [ $((($(pins) - pins_before) * 4)) -lt 16384 ]
	check "fallback: no device waits" [ "$(stat_of waiting)" = 0 ]
	check "fallback: the disk reads right with the driver" reads_right
	forget
	guest_step edu
	check_edu "fallback: with the driver" edu
	finish
}

blocked_guest
pinned_guest
