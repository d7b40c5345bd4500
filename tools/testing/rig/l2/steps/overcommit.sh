# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of the guest: all of its memory in use, and its devices at work. Functions come
# from init.
#
# Variables come from disk.sh.
# shellcheck disable=SC2154

# What the disk is written to, behind the data that is there.
WORK_OFFSET=$((64 << 20))
WORK_LENGTH=$((1 << 20))

# step_touch MIB: DMA to so much memory, which nobody needs afterwards.
step_touch() {
	wait_for disk find_disk
	must /rig/diskio spread "$disk" $((64 << 20)) $(($1 << 20))
}

# disk_work NUMBER: is what is written read back?
disk_work() {
	/rig/diskio fill "$disk" $WORK_OFFSET $WORK_LENGTH "$1" &&
		/rig/diskio check "$disk" $WORK_OFFSET $WORK_LENGTH "$1"
}

# is_disk_right MD5: is what was there before still there?
is_disk_right() {
	sum=$(/rig/diskio cat "$disk" 0 $((64 << 20)) | md5sum)
	[ "${sum%% *}" = "$1" ]
}

# step_overcommit MIB ROUNDS SEED MD5 [ADDRESS PORT]: fills so much memory, and checks it, so
# many times; meanwhile the disk is at work, and the network if there is a peer. They pause
# in between, since all guests share one processor.
step_overcommit() {
	/rig/memory $(($1 << 20)) "$2" "$3" >/tmp/memory &
	memory=$!
	works=0
	wrong=0
	while kill -0 $memory; do
		works=$((works + 1))
		say "working $works"
		disk_work $works || wrong=$((wrong + 1))
		[ $# -lt 6 ] || transfer 65536 nic "$5" "$6"
		sleep 3
	done 2>/dev/null
	wait $memory || end "failed: memory"
	while read -r line; do
		say "$line"
	done </tmp/memory
	is_disk_right "$4" || wrong=$((wrong + 1))
	say "disk $works $wrong"
}
