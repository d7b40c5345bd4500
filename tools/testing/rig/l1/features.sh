# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: what a guest and its VMM can do beyond reading a disk.
#
# The shell is busybox's. Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

dmar_faults() {
	dmesg | grep -cF "DMAR: [DMA"
}

# iommu=pt does not take a device out of its aperture. This one goes on above
# 4 GiB, where a disk can follow and edu, with 32 bits, cannot; the PCI host bridge,
# whose addresses are not used as IOVAs, makes room there.
passthrough_guest() {
	RUN_OPTIONS="--base 4080M --size 128M"
	launch pt "iommu=pt iommu.forcedac=1" -global q35-pcihost.pci-hole64-size=0
	RUN_OPTIONS=
	guest_until pause booted
	guest_step pviommu
	echo 1 >$TRACING/events/iommu/map/enable
	guest_step idle
	guest_step groups
	check "iommu=pt: the group is translated" \
		grep -qE "^guest pt group 0000:00:$GUEST_NVME DMA(-FQ)?$" "$LOG/said"
	check "iommu=pt: the disk reads back right" reads_right
	echo 0 >$TRACING/events/iommu/map/enable
	check "4 GiB: the disk uses IOVAs above" \
		grep -qE ' map: .*iova=0x0000000[1-9a-f]' $TRACING/trace
	echo >$TRACING/trace
	faults=$(dmar_faults)
	guest_step edu
	check "iommu=pt: DMA inside works" said edu inside_write 1
	check "iommu=pt: DMA outside is blocked" said edu outside_write_blocked 1
	# AMD's driver would tell the module, but QEMU 7.2's AMD-Vi does not tell the
	# driver.
	[ "$IOMMU" != vt-d ] ||
		check "faults: VT-d's driver logs them" [ "$(dmar_faults)" -gt "$faults" ]
	check "4 GiB: edu's IOVAs are below" [ "$(value_of edu highest_iova)" -lt $((4096 * MIB)) ]
	finish
}

# Strict by command line, lazy by the group's file; an emulated device beside; and
# two devices whose masks tell what part of the window is theirs.
mixed_guest() {
	ENDPOINTS="$NVME=$GUEST_NVME $EDU=$GUEST_EDU $NARROW_EDU=$GUEST_NARROW_EDU"
	launch mixed iommu.strict=1 -device "edu,addr=$GUEST_OWN_EDU,dma_mask=0xffffffff"
	ENDPOINTS=
	guest_until pause booted
	guest_step pviommu event_interval=1
	guest_step idle
	check_fault_report
	guest_step groups
	check "type: strict by iommu.strict=1" \
		said "group 0000:00:$GUEST_NVME DMA"
	check "beside: the emulated device is in no group" \
		said "group 0000:00:$GUEST_OWN_EDU none"
	guest_step relax
	guest_step groups
	check "type: lazy by the group's file" \
		said "group 0000:00:$GUEST_NVME DMA-FQ"
	check "type: the disk reads back right after the change" reads_right

	guest_step edu beside "$GUEST_OWN_EDU" narrow "$GUEST_NARROW_EDU"
	check "beside: its DMA works" said beside inside_write 1
	check "beside: nothing confines it" said beside outside_write_blocked 0
	check "mask: edu with 32 bits is beyond 28" \
		[ "$(value_of edu highest_iova)" -ge $((256 * MIB)) ]
	check "mask: and works" said edu inside_write 1
	check "mask: edu with 28 bits does not work there" \
		said narrow inside_write 0
	forget
	guest_step edu_narrow narrow "$GUEST_NARROW_EDU" 28
	check "mask: told of its 28 bits, it stays below" \
		[ "$(value_of narrow highest_iova)" -lt $((256 * MIB)) ]
	check "mask: and writes" said narrow inside_write 1
	check "mask: and reads" said narrow inside_read 1
	check "mask: and is blocked outside" said narrow outside_write_blocked 1
	finish
}

console_says() {
	wait_until grep -q "$1" "$LOG/guest-$guest.console"
}

# A fault that the host's IOMMU driver reports, from there to the guest's log.
check_fault_report() {
	insmod "/run/rig/selftests/test_modules/pviommu_test_fault.ko" || fail "no pviommu_test_fault.ko"
	faults=$(stat_of faults)
	echo "$EDU w 123000" >/sys/module/pviommu_test_fault/parameters/report
	rmmod pviommu_test_fault
	check "faults: one is counted" [ "$(stat_of faults)" = $((faults + 1)) ]
	check "faults: where it was" [ "$(stat_of fault_iova)" = $((0x123000)) ]
	check "faults: the host logs it" \
		sh -c "dmesg | grep -q '$EDU: pviommu: DMA refused: write at IOVA 0x123000'"
	check "faults: the guest is told, and logs it" console_says \
		"0000:00:$GUEST_EDU: pviommu: DMA write to IOVA 0x123000 refused"
}

# More in flight than the budget has room for, in a window that has the hole for
# interrupts where a guest looks for IOVAs first.
tight_guest() {
	RUN_OPTIONS="--budget 64p"
	[ -n "$DIRECT" ] || RUN_OPTIONS="$RUN_OPTIONS --base 0xfe000000 --size 15M"
	launch tight iommu.strict=0
	RUN_OPTIONS=
	guest_until pause booted
	guest_driver
	guest_step idle
	guest_step parallel "$DATA_LENGTH"
	if [ -n "$DIRECT" ]; then
		guest_step pool 0
		check "budget: the guest had to make room" [ "$(value_of pool evicted_pages)" -gt 0 ]
	else
		check "budget: it was too small" [ "$(stat_of refused)" -gt 0 ]
	fi
	check "budget: never exceeded" [ "$(stat_of pinned_peak)" -le 64 ]
	check "budget: all readers read right" \
		[ "$(grep -cxF "guest tight md5 $image_md5" "$LOG/said")" = 4 ]
	check_not "hole: the guest leaves it out" \
		grep -q "unexpected result" "$LOG/guest-tight.console"
	finish
}

# A VMM that loses the preload library on the way does not run half pinned.
unwatched_guest() {
	PREFIX="env -u LD_PRELOAD"
	launch unwatched ''
	PREFIX=
	vmm_ends
	check "no library: the VMM does not start" [ "$status" -ne 0 ]
	check "no library: its group is busy" \
		grep -q "Device or resource busy" "$LOG/guest-unwatched.qemu"
}

TRACING=/sys/kernel/debug/tracing

load_pviommu
# Lists of words.
# shellcheck disable=SC2086
bind_vfio $NVMES $EDUS $NETS "$NARROW_EDU"
if [ -z "$DIRECT" ]; then
	passthrough_guest
	mixed_guest
fi
tight_guest
unwatched_guest
