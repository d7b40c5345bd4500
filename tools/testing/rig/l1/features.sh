# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: what a guest and its VMM can do beyond reading a disk. Each finding is a
# result "check 0|1 NAME", 0 for right.
#
# The shell is busybox's. Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

MIB=1048576
DATA="rig.data_length=$((64 * MIB))"

# check NAME COMMAND...: is the command true?
check() {
	name=$1
	shift
	if "$@"; then
		result "check 0 $name"
	else
		result "check 1 $name ($*)"
	fi
}

# stat_of NAME: one of the aperture's counters now.
stat_of() {
	aperture_stats "$guest_pid" | awk -v name="$1" '$1 == name { print $2 }'
}

# said LINE: did the guest say it?
said() {
	grep -qxF "guest $guest $*" "$LOG/said"
}

# launch NAME CMDLINE STEPS [QEMU-ARGUMENT...]: behind pviommu
#
# RUN_OPTIONS: for pviommu run
launch() {
	name=$1 steps=$3
	GUEST_WRAP="$BIN/pviommu run $RUN_OPTIONS --device $NVME=00:$GUEST_NVME"
	GUEST_WRAP="$GUEST_WRAP --device $EDU=00:$GUEST_EDU -- $PREFIX"
	cmdline="$DATA $2 rig.steps=$steps"
	shift 3
	pins_before=$(pins)
	: >"$LOG/said"
	guest_start "$name" "$cmdline" \
		-device "vfio-pci,host=$NVME,addr=$GUEST_NVME" \
		-device "vfio-pci,host=$EDU,addr=$GUEST_EDU" "$@"
}

# Goes through all steps but the last $1.
go_through() {
	guest_until pause booted
	for step in $(echo "$steps" | tr , '\n' | head -n "-${1:-0}"); do
		guest_go
		guest_until pause "$step"
	done
}

finish() {
	guest_go
	guest_end
	check "$guest: no pins leaked" [ "$(pins)" = "$pins_before" ]
}

image_md5=$(cat /run/rig/disk.md5)

# iommu=pt does not take a device out of its aperture.
passthrough_guest() {
	launch pt iommu=pt pviommu,idle,groups,md5,edu
	go_through
	check "iommu=pt: the group is translated" \
		grep -qE "^guest pt group 0000:00:$GUEST_NVME DMA(-FQ)?$" "$LOG/said"
	check "iommu=pt: the disk reads back right" said "md5 $image_md5"
	check "iommu=pt: DMA inside works" said edu inside_write 1
	check "iommu=pt: DMA outside is blocked" said edu outside_write_blocked 1
	finish
}

# Strict by command line, lazy by the group's file; an emulated device beside.
mixed_guest() {
	launch mixed iommu.strict=1 pviommu,idle,groups,relax,groups,md5,beside \
		-device edu,addr=07.0,dma_mask=0xffffffff
	go_through
	check "type: strict by iommu.strict=1" \
		said "group 0000:00:$GUEST_NVME DMA"
	check "type: lazy by the group's file" \
		said "group 0000:00:$GUEST_NVME DMA-FQ"
	check "type: the disk reads back right after the change" \
		said "md5 $image_md5"
	check "beside: the emulated device is in no group" \
		said "group 0000:00:07.0 none"
	check "beside: its DMA works" said beside inside_write 1
	check "beside: nothing confines it" said beside outside_write_blocked 0
	finish
}

# More in flight than the budget has room for.
tight_guest() {
	RUN_OPTIONS="--budget 64p"
	launch tight iommu.strict=0 pviommu,idle,parallel
	RUN_OPTIONS=
	go_through
	check "budget: it was too small" [ "$(stat_of refused)" -gt 0 ]
	check "budget: never exceeded" [ "$(stat_of pinned_peak)" -le 64 ]
	check "budget: all readers read right" \
		[ "$(grep -cxF "guest tight md5 $image_md5" "$LOG/said")" = 4 ]
	finish
}

# A reboot of the guest, then a VMM that is killed.
reboot_guest() {
	GUEST_NO_REBOOT=
	launch reboot iommu.strict=0 pviommu,idle,md5,reboot
	unset GUEST_NO_REBOOT
	go_through 1
	check "reboot: pinned before" [ "$(stat_of pinned)" -gt 0 ]
	resets=$(stat_of resets)
	guest_go
	guest_until pause booted
	check "reboot: the VMM's reset was seen" [ "$(stat_of resets)" -gt "$resets" ]
	check "reboot: nothing stays pinned" [ "$(stat_of pinned)" = 0 ]
	check "reboot: nothing stays enabled" [ "$(stat_of enabled)" = 0 ]
	: >"$LOG/said"
	for step in pviommu idle md5; do
		guest_go
		guest_until pause "$step"
	done
	check "reboot: the disk reads back right again" said "md5 $image_md5"

	check "kill: pinned before" [ "$(stat_of pinned)" -gt 0 ]
	kill -KILL "$guest_pid"
	wait "$guest_pid"
	exec 8>&- 9>&-
	check "kill: nothing stays pinned" [ "$(pins)" = "$pins_before" ]
}

# A VMM that loses the preload library on the way does not run half pinned.
unwatched_guest() {
	PREFIX="env -u LD_PRELOAD"
	launch unwatched '' idle
	PREFIX=
	waited=0
	while guest_alive && [ $waited -lt 300 ]; do
		sleep 0.1
		waited=$((waited + 1))
	done
	wait "$guest_pid"
	status=$?
	exec 8>&- 9>&-
	check "no library: the VMM does not start" [ $status -ne 0 ]
	check "no library: its group is busy" \
		grep -q "Device or resource busy" "$LOG/guest-unwatched.qemu"
}

load_pviommu
bind_vfio "$NVME" "$EDU"
passthrough_guest
mixed_guest
tight_guest
reboot_guest
unwatched_guest
result "checks done"
