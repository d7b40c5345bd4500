# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: guests in mode direct, whose pages stay mapped until somebody needs them. After
# guests.sh and features.sh.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

# Pages of guest memory that the disk's data needs.
DATA_PAGES=$((DATA_LENGTH / 4096))

# The most that is in use while a guest is at rest: queues, and buffers to receive into.
IN_USE=2048

# The host wants memory: nine tenths at least of what is idle have to go.
is_reclaimed() {
	[ "$(stat_of pinned)" -lt $((IN_USE + (pinned_before - IN_USE) / 10)) ]
}

take_back() {
	pinned_before=$(stat_of pinned)
	reclaimed_before=$(stat_of reclaimed)
	began=$(milliseconds)
	shrink
	check "$1: the host takes back what is idle" wait_until is_reclaimed
	echo "$1: $pinned_before pages, then $(stat_of pinned), $(($(milliseconds) - began)) ms"
}

# A device reaches what is idle, and nothing after the host has taken it back.
check_idle() {
	guest_step edu_at edu "0000:00:$GUEST_EDU"
	check "direct: edu writes where it may" said edu inside_write 1
	check "direct: edu reads where it may" said edu inside_read 1
	target=$(value_of edu target_iova)
	guest_step edu_at idle "0000:00:$GUEST_EDU" "stale=$target"
	check "direct: an unmapped page is within reach still" said idle stale_read_blocked 0
	guest_step unbind "$GUEST_EDU"
	take_back direct
	check "direct: and has counted it" \
		[ "$(stat_of reclaimed)" -ge $((reclaimed_before + (pinned_before - IN_USE) * 9 / 10)) ]
	guest_step edu_at gone "0000:00:$GUEST_EDU" "stale=$target"
	check "direct: a page that was taken back is not" said gone stale_read_blocked 1

	guest_step edu_at narrow "0000:00:$GUEST_NARROW_EDU" bits=28
	check "direct: a device with 28 address bits stays below" \
		[ "$(value_of narrow highest_iova)" -lt $((256 * MIB)) ]
	check "direct: and writes there" said narrow inside_write 1
	check "direct: and reads there" said narrow inside_read 1
	guest_step edu_off
}

direct_guest() {
	ENDPOINTS="$NVME=$GUEST_NVME $EDU=$GUEST_EDU $NARROW_EDU=$GUEST_NARROW_EDU $NET=$GUEST_NET"
	RUN_OPTIONS=--direct
	launch direct ''
	RUN_OPTIONS=''
	guest_until pause booted
	guest_step pviommu mode=direct idle_seconds=0
	guest_step idle
	check "direct: the table has use counts" [ "$(stat_of direct)" = 1 ]
	check "direct: the disk reads right" reads_right_cached
	check "direct: pages stay when they are not used" [ "$(stat_of pinned)" -ge $DATA_PAGES ]
	guest_net
	check "direct: the network's data is right" transfers_right
	calls=$(stat_of hypercalls)
	check "direct: the disk reads right again" reads_right
	calls=$(($(stat_of hypercalls) - calls))
	check "direct: with nearly no hypercall ($calls)" [ $calls -lt 64 ]
	guest_step groups
	check "direct: the disk is in no group" said "group 0000:00:$GUEST_NVME none"
	check_idle
	check "direct: the disk reads right after that" reads_right
	check "direct: the network's data is right after that" transfers_right
	check "direct: the host has refused nothing" [ "$(stat_of refused)" = 0 ]
	finish
	ENDPOINTS=''
}

# With a budget of an eighth of the pages that are touched.
tight_direct_guest() {
	budget=$((DATA_PAGES / 8))
	RUN_OPTIONS="--direct --budget ${budget}p"
	launch direct_tight ''
	RUN_OPTIONS=''
	guest_until pause booted
	guest_step pviommu mode=direct idle_seconds=0
	guest_step idle
	check "direct, small budget: the disk reads right" reads_right_cached
	check "direct, small budget: never more than that" [ "$(stat_of pinned_peak)" -le $budget ]
	check "direct, small budget: the host has refused nothing" [ "$(stat_of refused)" = 0 ]
	forget
	guest_step pool 0
	check "direct, small budget: the guest has made room" \
		[ "$(value_of pool evicted_pages)" -ge $((DATA_PAGES - budget)) ]
	finish
}

direct_guest
tight_direct_guest
