# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of the guest: the passed through disk. Functions come from init.

NVME=/sys/bus/pci/devices/0000:00:05.0

# The passed through disk's file in $disk; false if there is none.
find_disk() {
	disk=$(echo $NVME/nvme/nvme*/nvme*n1)
	disk=/dev/${disk##*/}
	[ -b "$disk" ]
}

# Loads its driver and does nothing.
step_idle() {
	load nvme
	wait_for disk find_disk
	# Longer than any flush queue keeps a mapping.
	sleep 1
}

# step_md5 LENGTH
step_md5() {
	wait_for disk find_disk
	sum=$(must /rig/diskio cat "$disk" 0 "$1" | md5sum)
	say "md5 ${sum%% *}"
}

# step_md5_cached LENGTH: the same by way of the page cache, which has a page for each of the disk's.
step_md5_cached() {
	wait_for disk find_disk
	sum=$(must head -c "$1" "$disk" | md5sum)
	say "md5 ${sum%% *}"
}

# step_write OFFSET LENGTH SEED
step_write() {
	must /rig/diskio fill "$disk" "$@"
}

# step_written OFFSET LENGTH SEED: is what was written there?
step_written() {
	must /rig/diskio check "$disk" "$@"
}

step_time4k() {
	ns=$(must /rig/diskio time "$disk" 4096 2000)
	say "ns4k $ns"
}

step_time128k() {
	ns=$(must /rig/diskio time "$disk" 131072 200)
	say "ns128k $ns"
}

# Four readers at once.
step_parallel() {
	for _ in 1 2 3 4; do
		step_md5 "$1" &
	done
	wait
}

# Reads again and again, until that fails.
step_read() {
	while /rig/diskio cat "$disk" 0 "$1" >/dev/null; do
		:
	done
}

# Says whether there is a disk. One that does not answer is given up within
# seconds, and loading the driver waits for that.
step_try_disk() {
	load nvme-core admin_timeout=10 io_timeout=10
	load nvme
	if find_disk; then
		say disk 1
	else
		say disk 0
	fi
}

# Is the root file system on the passed through disk, and right? Reads /data, which
# was there before, then writes, and reads that back past the cache.
step_root() {
	must find_disk
	must [ "$(awk '$5 == "/" { print $3 }' /proc/self/mountinfo)" = "$(cat "/sys/class/block/${disk##*/}/dev")" ]
	sum=$(md5sum </data)
	say "data ${sum%% *}"
	must cp /data /copy
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sum=$(md5sum </copy)
	say "copy ${sum%% *}"
}
