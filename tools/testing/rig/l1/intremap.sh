# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job, in a host that does not remap interrupts: VFIO can be told to let that pass,
# pviommu cannot.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

modprobe vfio_iommu_type1 allow_unsafe_interrupts=1
load_pviommu
bind_vfio "$NVME" "$EDU"

check_refused() {
	vmm_ends
	check "intremap: pviommu stops the VMM" [ "$status" = 5 ]
	check "intremap: and says why" grep -q "pviommu: .*interrupt" "$LOG/guest-$guest.qemu"
	check "intremap: the host's log says what to do" \
		sh -c 'dmesg | grep -q "pviommu: not attached: .*remap its interrupts"'
	check "intremap: nothing stays pinned" [ "$(pins)" = "$pins_before" ]
}

GUEST_WRAP=''
guest_start vfio '' -device "vfio-pci,host=$NVME,addr=$GUEST_NVME"
guest_until pause booted
check "intremap: VFIO lets it pass" guest_alive
guest_end

launch refused ''
check_refused
result "checks done"
