# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Functions for jobs in the emulated host.
#
# Jobs use these variables.
# shellcheck disable=SC2034

# option NAME: value of rig.NAME on the kernel command line.
option() {
	sed -n "s/.*\brig\.$1=\([^ ]*\).*/\1/p" /proc/cmdline
}

IOMMU=$(option iommu)
EDUS=$(option edu | tr , ' ')
NVMES=$(option nvme | tr , ' ')
NETS=$(option net | tr , ' ')
EDU=${EDUS%% *}
OTHER_EDU=$(echo "$EDUS" | cut -d ' ' -f 2)
NARROW_EDU=$(option narrow_edu)
# Each in one IOMMU group: the functions of a slot, the devices behind a bridge.
TWIN_EDUS=$(option twin_edu | tr , ' ')
BRIDGED_EDUS=$(option bridged_edu | tr , ' ')
NVME=${NVMES%% *}
OTHER_NVME=${NVMES##* }
NET=${NETS%% *}
GUEST_SILENCE=$(option guest_silence)
# Not empty: guests are in mode direct, but for those that are there for another.
DIRECT=$(option direct)
LOG=/run/rig/log
BIN=/run/rig/bin
DEBUGFS=/sys/kernel/debug/pviommu

# result WORD...: a line on the result channel.
result() {
	echo "$*" >&7
}

# nth NUMBER WORD...: counts from 1
nth() {
	shift "$1"
	echo "$1"
}

# Since the boot.
milliseconds() {
	read -r uptime _ </proc/uptime
	echo "${uptime%.*}${uptime#*.}0"
}

# turn_begin, turn_end: between them no other emulated host runs on this machine.
turn_begin() {
	result "turn ask"
	while [ ! -e /run/rig/turn ]; do
		sleep 0.1
	done
}

turn_end() {
	result "turn done"
	while [ -e /run/rig/turn ]; do
		sleep 0.1
	done
}

# wait_begins, is_in_time: a wait for as long as a guest may be silent, by the clock: a busy
# host makes few rounds. One at a time.
wait_begins() {
	read -r clock _ </proc/uptime
	deadline=$((${clock%.*} + GUEST_SILENCE))
}

is_in_time() {
	read -r clock _ </proc/uptime
	[ "${clock%.*}" -lt "$deadline" ]
}

# wait_until COMMAND...: tries it again and again; false if it stays false.
wait_until() {
	wait_begins
	until "$@"; do
		sleep 0.1
		is_in_time || return
	done
}

fail() {
	echo "FAIL: $*"
	result "failure $*"
	exit 1
}

modprobe() {
	/sbin/modprobe -d /run/kernel "$@"
}

load_kvm() {
	modprobe kvm-amd || fail "no kvm-amd"
}

load_vfio() {
	modprobe vfio-pci || fail "no vfio-pci"
}

# Loads our host module, after KVM's and VFIO's, which it uses.
load_pviommu() {
	[ -e $BIN/kvm-pviommu.ko ] || fail "kvm/kvm-pviommu.ko is not built"
	load_kvm
	load_vfio
	[ -e /dev/pviommu ] || insmod $BIN/kvm-pviommu.ko || fail "kvm-pviommu.ko does not load"
}

# bind_vfio BDF...: hands devices to vfio-pci.
bind_vfio() {
	load_vfio
	for bdf; do
		device=/sys/bus/pci/devices/$bdf
		[ -e "$device/iommu_group" ] || fail "$bdf is behind no IOMMU"
		[ ! -e "$device/driver" ] || echo "$bdf" >"$device/driver/unbind"
		echo vfio-pci >"$device/driver_override"
		echo "$bdf" >/sys/bus/pci/drivers_probe
		[ "$(basename "$(readlink "$device/driver")")" = vfio-pci ] ||
			fail "$bdf does not bind to vfio-pci"
	done
}

# unbind_vfio BDF...: gives devices back to the drivers of their choice.
unbind_vfio() {
	for bdf; do
		device=/sys/bus/pci/devices/$bdf
		[ ! -e "$device/driver" ] || echo "$bdf" >"$device/driver/unbind"
		echo >"$device/driver_override"
	done
}

# Options for kselftests: without what this kernel does not have. Such tests are neither
# run nor counted.
selftest_options() {
	[ -e /dev/iommu ] || echo "-V cdev"
}

# many_devices: binds those that only many_test uses, and tells it.
many_devices() {
	# Lists of words.
	# shellcheck disable=SC2086
	bind_vfio "$OTHER_EDU" $TWIN_EDUS $BRIDGED_EDUS
	export PVIOMMU_TEST_EDU2="$OTHER_EDU" PVIOMMU_TEST_TWINS="$TWIN_EDUS"
	export PVIOMMU_TEST_BRIDGED="$BRIDGED_EDUS"
}

swap_to() {
	mkswap "$1" >/dev/null || fail "no swap on $1"
	swapon "$1" || fail "no swap to $1"
}

# swap_on, swap_off: something to swap to, which is memory itself: it is there to be used, not
# to be useful.
swap_on() {
	[ -b /dev/loop0 ] || modprobe loop || fail "no loop device"
	truncate -s 64M /tmp/swap
	swap=$(losetup -f) || fail "no loop device is free"
	losetup "$swap" /tmp/swap || fail "no loop device"
	swap_to "$swap"
}

swap_off() {
	swapoff "$swap" || fail "the swap does not end"
	losetup -d "$swap"
	rm /tmp/swap
}

# Pages pinned for long-term DMA since boot and not released, on all processors.
pins() {
	echo 1 >/proc/sys/vm/stat_refresh
	awk '$1 == "nr_foll_pin_acquired" { n += $2 }
	     $1 == "nr_foll_pin_released" { n -= $2 }
	     END { print n }' /proc/vmstat
}

# locked_kib PID: VmLck + VmPin, which is where the two ways of VFIO account.
locked_kib() {
	awk '$1 == "VmLck:" || $1 == "VmPin:" { n += $2 } END { print n + 0 }' "/proc/$1/status"
}

# aperture_stats PID [APERTURE]: the host module's counters for a VMM, "name value"
# lines, of one aperture or of all.
aperture_stats() {
	# A pattern.
	# shellcheck disable=SC2086
	cat $DEBUGFS/vm-"$1"-*/aperture-${2:-*} 2>/dev/null
}

# shellcheck disable=SC1091
. /run/rig/l1/guest.sh
# shellcheck disable=SC1091
. /run/rig/l1/checks.sh
# shellcheck disable=SC1091
. /run/rig/l1/plug.sh
# shellcheck disable=SC1091
. /run/rig/l1/watch.sh
