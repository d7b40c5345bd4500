# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: three guests of 1 GiB with passthrough devices on a host of 2 GiB. Under plain VFIO,
# to see that they do not start; then behind pviommu, where all of their memory is in use.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

GUEST_MEMORY=1024
WORK_MIB=$(option work_mib)
ROUNDS=$(option rounds)
GUESTS="first second third"

# What is used for DMA, before that memory is used for something else.
TOUCH_MIB=200

# The devices of guest NUMBER, for the VMM and for pviommu run; the first has a network device.
devices_of() {
	# A list of words.
	# shellcheck disable=SC2086
	nvme=$(nth "$1" $NVMES)
	devices="-device vfio-pci,host=$nvme,addr=$GUEST_NVME"
	names="--device $nvme=00:$GUEST_NVME"
	[ "$1" = 1 ] || return 0
	devices="$devices -device vfio-pci,host=$NET,addr=$GUEST_NET,rombar=0"
	names="$names --device $NET=00:$GUEST_NET"
}

swap_to_disk() {
	modprobe virtio_blk || fail "no virtio_blk"
	wait_until [ -b /dev/vda ] || fail "no disk to swap to"
	swap_to /dev/vda
}

# vmstat NAME
vmstat() {
	awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat
}

# sum_of NAME: a counter of all apertures.
sum_of() {
	cat "$DEBUGFS"/vm-*/aperture-* 2>/dev/null |
		awk -v name="$1" '$1 == name { sum += $2 } END { print sum + 0 }'
}

# watch FILE: appends "SECONDS FREE-KIB SWAPPED-KIB PINNED-PAGES RECLAIMED-PAGES", some times a
# second.
watch() {
	while :; do
		cat /proc/uptime /proc/meminfo "$DEBUGFS"/vm-*/aperture-* 2>/dev/null | awk '
			NR == 1 { now = $1 }
			{ sum[$1] += $2 }
			END { print now, sum["MemFree:"] + 0, sum["SwapTotal:"] - sum["SwapFree:"],
				    sum["pinned"] + 0, sum["reclaimed"] + 0 }'
		sleep 0.2
	done >"$1"
}

# Does the guest that was started come to its end of booting?
comes_up() {
	wait_begins
	until guest_gone; do
		! guest_listen || [ "$line" != "pause booted" ] || return 0
		sleep 0.2
		is_in_time || return
	done
	return 1
}

# The kernel's list of who uses memory when it has to kill the VMM is no news.
plain_guests() {
	cat >/tmp/first-to-go <<-'EOF'
		#!/bin/sh
		echo 1000 >/proc/self/oom_score_adj
		exec "$@"
	EOF
	chmod +x /tmp/first-to-go
	dmesg -n 1
	number=0
	up=0
	for name in $GUESTS; do
		number=$((number + 1))
		devices_of $number
		GUEST_WRAP=/tmp/first-to-go
		# A list of words.
		# shellcheck disable=SC2086
		guest_start "plain-$name" '' $devices
		comes_up || echo "plain-$name did not come up"
	done
	# The kernel may have ended one for the sake of the next.
	for name in $GUESTS; do
		guest_select "plain-$name"
		if guest_alive; then
			up=$((up + 1))
			result "plain $name up"
		else
			result "plain $name gone"
		fi
		kill -KILL "$guest_pid" 2>/dev/null
		wait "$guest_pid"
	done
	dmesg -n 7
	check_not "plain VFIO does not start all three guests" [ $up = 3 ]
}

start_guests() {
	number=0
	for name in $GUESTS; do
		number=$((number + 1))
		devices_of $number
		GUEST_WRAP="$BIN/pviommu run --direct $names --"
		# A list of words.
		# shellcheck disable=SC2086
		guest_start "$name" transparent_hugepage=never $devices
		guest_until pause booted
		guest_step pviommu mode=direct idle_seconds=0
		guest_step idle
		[ $number != 1 ] || guest_net
		guest_step touch $TOUCH_MIB
	done
}

work() {
	number=0
	for name in $GUESTS; do
		number=$((number + 1))
		guest_select "$name"
		peer=
		[ $number != 1 ] || peer=$NET_PEER
		# shellcheck disable=SC2086
		guest_tell overcommit "$WORK_MIB" "$ROUNDS" $number "$image_md5" $peer
	done
	for name in $GUESTS; do
		guest_select "$name"
		guest_until pause overcommit
	done
}

# was_right NAME: all of its memory, and all that its devices have moved.
was_right() {
	guest_select "$1"
	awk -v rounds="$ROUNDS" -v guest="$1" '
		$1 != "guest" || $2 != guest { next }
		$3 == "memory" { seen++; wrong += $5 }
		$3 == "disk" { works = $4; wrong += $5 }
		$3 == "nic" { moved++; wrong += $5 != $6 }
		END { exit !(seen == rounds && works > 0 && !wrong &&
			     (guest != "first" || moved >= 2)) }' "$LOG/said"
}

load_pviommu
# Lists of words.
# shellcheck disable=SC2086
bind_vfio $NVMES "$NET"
swap_to_disk
forget
plain_guests

pins_before=$(pins)
written=$(vmstat pswpout)
watch "$LOG/memory" </dev/null 7>&- &
watcher=$!
start_guests
result "touched $(sum_of pinned)"
work
result "swapped $((($(vmstat pswpout) - written) * 4)) $((($(vmstat pswpin)) * 4))"
result "reclaimed $(sum_of reclaims) $(sum_of reclaimed)"
result "peak $(sum_of pinned_peak)"
for name in $GUESTS; do
	check "overcommit: guest $name: memory, disk and network are right" was_right "$name"
done
check "overcommit: half a GiB at least was swapped out" \
	[ $((($(vmstat pswpout) - written) * 4)) -ge $((512 * 1024)) ]
check "overcommit: idle pages were taken back" [ "$(sum_of reclaimed)" -gt 0 ]
check "overcommit: the host has refused nothing" [ "$(sum_of refused)" = 0 ]
for name in $GUESTS; do
	guest_select "$name"
	guest_end
done
kill $watcher
check "overcommit: no pins leaked" [ "$(pins)" = "$pins_before" ]
result "checks done"
