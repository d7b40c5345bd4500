# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of the guest: the pviommu driver, IOMMU groups, drivers of devices, which
# are named by their slot. Functions come from init.

PCI=/sys/bus/pci

# step_pviommu [OPTION...]
step_pviommu() {
	must insmod /rig/pviommu.ko "$@"
}

# Says whether it went: it does not while there are endpoints.
step_no_pviommu() {
	rmmod pviommu
	say "rmmod $?"
}

# step_pool APERTURE: how full things are.
step_pool() {
	[ -d /sys/kernel/debug/pviommu-guest ] || must mount -t debugfs debug /sys/kernel/debug
	must cat "/sys/kernel/debug/pviommu-guest/aperture-$1" | while read -r line; do
		say "pool $line"
	done
}

# Which devices are behind an IOMMU, and how.
step_groups() {
	for device in "$PCI"/devices/*; do
		type=$(cat "$device/iommu_group/type" 2>/dev/null) || type=none
		say "group ${device##*/} $type"
	done
}

# From strict to lazy, with the driver bound.
step_relax() {
	must sh -c 'echo DMA-FQ >/sys/class/nvme/nvme0/device/iommu_group/type'
}

step_unbind() {
	must [ -e "$PCI/devices/0000:00:$1/driver" ]
	echo "0000:00:$1" >"$PCI/devices/0000:00:$1/driver/unbind"
}

# step_bind SLOT DRIVER
step_bind() {
	must sh -c "echo 0000:00:$1 >$PCI/drivers/$2/bind"
}

# The function's own reset.
step_reset() {
	must sh -c "echo 1 >$PCI/devices/0000:00:$1/reset"
}

step_remove() {
	for slot; do
		must sh -c "echo 1 >$PCI/devices/0000:00:$slot/remove"
	done
}

step_rescan() {
	echo 1 >$PCI/rescan
}
