# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: guests whose driver copies what devices read and write (bounce), or all but large
# buffers (hybrid). After guests.sh and features.sh.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

# check_use MODE: disk and network in their modes.
check_use() {
	check "$1: the disk reads right" reads_right
	# Behind what the guests before have written, which is still to be looked at.
	guest_step write "$((DATA_LENGTH + WRITE_LENGTH))" "$WRITE_LENGTH" 7
	guest_step written "$((DATA_LENGTH + WRITE_LENGTH))" "$WRITE_LENGTH" 7
	guest_net
	check "$1: the network's data is right" transfers_right
}

# check_devices MODE: none is in a group, and edu reaches what it may.
check_devices() {
	guest_step groups
	check "$1: the disk is in no group" said "group 0000:00:$GUEST_NVME none"
	guest_step edu narrow "$GUEST_NARROW_EDU"
	check_edu "$1" edu
	guest_step edu_narrow narrow "$GUEST_NARROW_EDU" 28
	check "$1: a device with 28 address bits stays below" \
		[ "$(value_of narrow highest_iova)" -lt $((256 * MIB)) ]
	check_edu "$1: with 28 bits" narrow
	guest_step edu_off
}

# Then the same guest, with another mode, a disk behind a smaller pool.
modes_guest() {
	ENDPOINTS="$NVME=$GUEST_NVME $EDU=$GUEST_EDU $NARROW_EDU=$GUEST_NARROW_EDU $NET=$GUEST_NET"
	launch modes ''
	guest_until pause booted
	guest_step pviommu mode=bounce bounce_mb=32
	check "bounce: nothing is pinned without a device's driver" [ "$(stat_of pinned)" = 0 ]
	guest_step idle
	check "bounce: all of the pool is pinned" [ "$(stat_of pinned)" = 8192 ]
	check "bounce: in large pages" [ "$(stat_of large)" -gt 0 ]
	syncs=$(stat_of syncs)
	check_use bounce
	check_devices bounce
	check "bounce: no sync after the first" [ "$(stat_of syncs)" = "$syncs" ]
	check "bounce: no page but the pool's was ever pinned" [ "$(stat_of pinned_peak)" = 8192 ]
	guest_step no_pviommu
	check_not "bounce: the driver does not unload while there are endpoints" said rmmod 0

	guest_step remove "$GUEST_NVME" "$GUEST_EDU" "$GUEST_NARROW_EDU" "$GUEST_NET"
	check "bounce: the pool goes with the last device" [ "$(stat_of pinned)" = 0 ]
	check "bounce: nothing stays enabled" [ "$(stat_of enabled)" = 0 ]
	forget
	guest_step no_pviommu
	check "bounce: the driver unloads" said rmmod 0

	guest_step pviommu mode=hybrid bounce_mb=8
	guest_step rescan
	guest_step idle
	check "hybrid: the pool is pinned" [ "$(stat_of pinned)" = 2048 ]
	check_use hybrid
	check "hybrid: large buffers were pinned where they are" [ "$(stat_of pinned_peak)" -gt 2048 ]
	check "hybrid: and are not any more" [ "$(stat_of pinned)" = 2048 ]
	check_devices hybrid
	finish
	ENDPOINTS=
}

# More in flight than a pool has room for, as soon as two readers meet: the host has no
# room for a larger one.
full_guest() {
	RUN_OPTIONS="--budget 64p"
	launch full ''
	RUN_OPTIONS=
	guest_until pause booted
	guest_step pviommu mode=bounce
	guest_step idle
	check "small pool: as large as the budget" [ "$(stat_of pinned)" = 64 ]
	forget
	guest_step parallel "$DATA_LENGTH"
	guest_step pool 0
	check "small pool: it was full" [ "$(value_of pool pool_full)" -gt 0 ]
	check "small pool: all readers read right" \
		[ "$(grep -cxF "guest full md5 $image_md5" "$LOG/said")" = 4 ]
	check "small pool: the host has refused nothing" [ "$(stat_of refused)" = 0 ]
	finish
}

# One aperture one way, one the other.
mixed_modes_guest() {
	ENDPOINTS="$NVME=$GUEST_NVME $EDU=$GUEST_EDU"
	RUN_OPTIONS=--separate
	launch mixed_modes ''
	RUN_OPTIONS=
	guest_until pause booted
	guest_step pviommu mode=bounce,1:remap bounce_mb=4
	guest_step idle
	guest_step edu
	guest_step groups
	check "mixed: the disk is in no group" said "group 0000:00:$GUEST_NVME none"
	check "mixed: edu is in one" grep -q "group 0000:00:$GUEST_EDU DMA" "$LOG/said"
	check "mixed: the pool is the disk's" [ "$(stat_of pinned 0)" = 1024 ]
	check "mixed: edu has none" [ "$(stat_of pinned_peak 1)" -lt 16 ]
	check_edu mixed edu
	check "mixed: the disk reads right" reads_right
	finish
	ENDPOINTS=
}

modes_guest
full_guest
mixed_modes_guest
