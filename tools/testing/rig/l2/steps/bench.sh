# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of the guest: measured work. What took how long is in nanoseconds. Functions come
# from init.
#
# Variables come from disk.sh.
# shellcheck disable=SC2154

# Most of the scratch area of the disk.
SCRATCH="--offset=64M --size=48M"

# Just before fio's I/O and just after it: the host is told, with the times since the boot
# and of idleness, and looks at its counters before it answers. A program of fio's shell.
# shellcheck disable=SC2016
MARK='read -r up idle </proc/uptime; echo "mark $up $idle" >&7; read -r go <&7'

# step_load MODULE [OPTION...]
step_load() {
	load "$@"
}

# From nothing to the first block of the disk.
step_first_read() {
	load nvme
	wait_for disk find_disk
	must /rig/diskio cat "$disk" 0 4096 >/dev/null
}

# run_fio OPTION...: on the scratch area. What it has found in $found, as its fields.
run_fio() {
	# A list of options.
	# shellcheck disable=SC2086
	found=$(/rig/fio --name=fio --filename="$disk" --ioengine=libaio --direct=1 $SCRATCH \
		--thread --randrepeat=1 --output-format=terse --terse-version=3 "$@") ||
		end "failed: fio: $found"
	# It also tells where it has put what MARK has printed: nothing.
	found=$(echo "$found" | grep '^3;')
	[ "$(echo "$found" | cut -d ';' -f 5)" = 0 ] || end "failed: fio: $found"
}

# measure_fio KIND OPTION...: with one job of that kind.
measure_fio() {
	kind=$1
	shift
	wait_for disk find_disk
	run_fio --rw="$kind" "$@" --exec_prerun="$MARK" --exec_postrun="$MARK"
	# KiB and milliseconds, reading or writing.
	case $kind in
	*read) kib=6 ms=9 ;;
	*write) kib=47 ms=50 ;;
	esac
	kib=$(echo "$found" | cut -d ';' -f "$kib")
	ms=$(echo "$found" | cut -d ';' -f "$ms")
	say "fio $kib $((ms * 1000000))"
}

# step_fio KIND BLOCK DEPTH COUNT
step_fio() {
	measure_fio "$1" --bs="$2" --iodepth="$3" --number_ios="$4" --norandommap --io_size=64G
}

# step_fio_cached BLOCK COUNT: from the beginning of the disk on.
step_fio_cached() {
	measure_fio read --bs="$1" --number_ios="$2" --direct=0 --invalidate=1 --ioengine=psync \
		--offset=0 --size=112M
}

# step_fill_memory LENGTH: reads the beginning of the disk again and again, to all of the
# memory that nobody has.
step_fill_memory() {
	kib=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
	must /rig/diskio spread "$disk" "$1" $(((kib / 1024 - 16) << 20)) "$1"
}

# What fio writes it reads back right.
step_fio_verify() {
	run_fio --rw=randwrite --bs=16k --iodepth=8 --io_size=8M --size=8M \
		--verify=crc32c --do_verify=1 --verify_fatal=1
	say "fio_verify 0"
}

# step_net_time receive|send|echo AMOUNT ADDRESS PORT
step_net_time() {
	ns=$(must /rig/netio "$3" "$4" "$1" "$2")
	say "net_time $2 $ns"
}

# Says the most that was in use of the memory that swiotlb=force has DMA go through, if
# there is any.
step_swiotlb() {
	must mount -t debugfs debug /sys/kernel/debug
	say "swiotlb $(cat /sys/kernel/debug/swiotlb/io_tlb_used_hiwater 2>/dev/null)"
}

step_no_drivers() {
	must rmmod e1000e
	must rmmod nvme
}

# Says by which means the driver makes DMA possible.
step_driver_mode() {
	say "driver_mode $(cat /sys/module/pviommu/parameters/mode)"
}
