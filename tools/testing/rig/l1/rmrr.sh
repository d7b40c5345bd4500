# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job, in a host whose firmware has reserved memory for edu: that device cannot be
# passed through, others can.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

group=$(basename "$(readlink "/sys/bus/pci/devices/$EDU/iommu_group")")
check "RMRR: the host has it" \
	grep -q ' direct$' "/sys/kernel/iommu_groups/$group/reserved_regions"

load_pviommu
bind_vfio "$NVME" "$EDU"

GUEST_WRAP=''
guest_start vfio '' -device "vfio-pci,host=$EDU,addr=$GUEST_EDU"
vmm_ends
check "RMRR: VFIO refuses the device" \
	sh -c 'dmesg | grep -q "Firmware has requested this device have a 1:1"'

launch refused ''
vmm_ends
check "RMRR: so does pviommu run, before the VMM starts" [ "$status" = 3 ]
check "RMRR: and says why" \
	grep -q "$EDU: cannot be passed through: .*RMRR" "$LOG/guest-refused.qemu"

"$BIN/pviommu" check "$EDU" >"$LOG/check-edu" 2>&1
check "RMRR: so does pviommu check" [ $? = 3 ]
check "RMRR: which says why, too" grep -q "$EDU: .*RMRR" "$LOG/check-edu"

ENDPOINTS="$NVME=$GUEST_NVME"
launch other ''
ENDPOINTS=
guest_until pause booted
guest_step pviommu
guest_step idle
check "RMRR: the disk beside it reads right" reads_right
finish
result "checks done"
