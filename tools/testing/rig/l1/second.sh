# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: hosts and guests with different kernels: rig.guests says which ones.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

WRITE_LENGTH=$MIB

# The kselftests of second.list, each with what follows it.
run_selftests() {
	export PVIOMMU_TEST_EDU="$EDU" PVIOMMU_TEST_OTHER="$NVME"
	export PVIOMMU_TEST_MODULE="$BIN/kvm-pviommu.ko"
	grep -v '^#' /run/rig/l1/second.list | while read -r name options; do
		result "selftest-begin $name"
		pins_before=$(pins)
		# Lists of words.
		# shellcheck disable=SC2046,SC2086
		/run/rig/selftests/"$name" $(selftest_options) $options >"$LOG/selftest-$name.tap" 2>&1 </dev/null
		status=$?
		result "selftest $name $status $(($(pins) - pins_before))"
	done
}

# A small budget, so that maps are refused now and then.
try_kernel() {
	GUEST_KERNEL=/run/rig/guest-$1/vmlinuz
	GUEST_INITRD=/run/rig/guest-$1/guest.cpio
	RUN_OPTIONS="--budget 96p"
	launch "$1" iommu.strict=0
	RUN_OPTIONS=
	title="guest $1:"
	guest_until pause booted
	forget
	guest_step release
	check "$title it is this kernel" grep -q "^guest $1 release $1\." "$LOG/said"
	guest_step pviommu
	guest_step idle
	guest_step groups
	check "$title the disk is translated" said group "0000:00:$GUEST_NVME DMA-FQ"
	check "$title the disk reads right" reads_right
	# Each to a place of its own.
	set -- "$1" "${1#*.}"
	guest_step write $((DATA_LENGTH + $2 * WRITE_LENGTH)) "$WRITE_LENGTH" "$2"
	result "write $1 0 $((DATA_LENGTH + $2 * WRITE_LENGTH)) $WRITE_LENGTH $2"
	forget
	guest_step parallel "$DATA_LENGTH"
	check "$title the budget was too small" [ "$(stat_of refused)" -gt 0 ]
	check "$title never exceeded" [ "$(stat_of pinned_peak)" -le 96 ]
	check "$title all readers read right" \
		[ "$(grep -cxF "guest $1 md5 $image_md5" "$LOG/said")" = 4 ]
	forget
	guest_step edu
	for fact in inside_write inside_read unmapped_write_blocked unmapped_read_blocked \
		outside_write_blocked outside_read_blocked; do
		check "$title edu $fact" said edu $fact 1
	done
	check_unload "$1"
	finish
	check_not "$title the driver does not complain" \
		grep -qE "unexpected result|failed to unmap|cannot follow" "$LOG/guest-$1.console"
	GUEST_KERNEL='' GUEST_INITRD=''
}

# The disk in mode bounce, edu in mode hybrid, whose DMA operations 6.1 has others of.
try_modes() {
	GUEST_KERNEL=/run/rig/guest-$1/vmlinuz
	GUEST_INITRD=/run/rig/guest-$1/guest.cpio
	RUN_OPTIONS=--separate
	launch "$1-modes" ''
	RUN_OPTIONS=
	title="guest $1:"
	guest_until pause booted
	guest_step pviommu mode=bounce,1:hybrid bounce_mb=16
	guest_step idle
	syncs=$(stat_of syncs 0)
	check "$title in mode bounce the disk reads right" reads_right
	guest_step write "$DATA_LENGTH" "$WRITE_LENGTH" 3
	guest_step written "$DATA_LENGTH" "$WRITE_LENGTH" 3
	check "$title without a sync" [ "$(stat_of syncs 0)" = "$syncs" ]
	forget
	guest_step edu
	check_edu "$title in mode hybrid edu" edu
	guest_step groups
	check "$title edu is in no group" said group "0000:00:$GUEST_EDU" none
	finish
	GUEST_KERNEL='' GUEST_INITRD=''
}

try_direct() {
	GUEST_KERNEL=/run/rig/guest-$1/vmlinuz
	GUEST_INITRD=/run/rig/guest-$1/guest.cpio
	RUN_OPTIONS=--direct
	launch "$1-direct" ''
	RUN_OPTIONS=
	title="guest $1:"
	guest_until pause booted
	guest_step pviommu mode=direct idle_seconds=0
	guest_step idle
	check "$title in mode direct the disk reads right" reads_right_cached
	check "$title pages stay" [ "$(stat_of pinned)" -ge $((DATA_LENGTH / 4096)) ]
	shrink
	check "$title until the host takes them back" wait_until has_reclaimed
	check "$title and the disk reads right after that" reads_right
	guest_step write "$DATA_LENGTH" "$WRITE_LENGTH" 4
	guest_step written "$DATA_LENGTH" "$WRITE_LENGTH" 4
	forget
	guest_step edu
	check "$title in mode direct edu writes where it may" said edu inside_write 1
	check "$title and reads there" said edu inside_read 1
	finish
	GUEST_KERNEL='' GUEST_INITRD=''
}

# Devices come and go. In 6.1 the driver stays for good.
check_unload() {
	forget
	guest_step remove "$GUEST_NVME" "$GUEST_EDU"
	check "$title nothing is pinned without devices" [ "$(stat_of pinned)" = 0 ]
	guest_step no_pviommu
	if [ "$1" = 6.1 ]; then
		check "$title the driver does not unload" grep -q "^guest $1 rmmod [1-9]" "$LOG/said"
	else
		check "$title the driver unloads" said rmmod 0
		guest_step pviommu
	fi
	guest_step rescan
	check "$title the disk that comes again reads right" reads_right
}

load_pviommu
bind_vfio "$NVME" "$EDU"
if [ "$(option selftests)" != no ]; then
	swap_on
	run_selftests
	swap_off
fi
for series in $(option guests | tr , ' '); do
	try_kernel "$series"
	[ "$series" = 6.1 ] || continue
	try_modes "$series"
	try_direct "$series"
done
rmmod kvm_pviommu || fail "kvm-pviommu.ko does not unload"
result "checks done"
