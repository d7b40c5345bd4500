# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of the guest: devices that come, go, and change hands between drivers of the
# kernel and VFIO. They are named by their whole address. Functions come from init.

# step_appeared ADDRESS
step_appeared() {
	wait_for "$1" [ -e "$PCI/devices/$1" ]
}

# step_vanished ADDRESS
step_vanished() {
	wait_for "end of $1" [ ! -e "$PCI/devices/$1" ]
}

# Says how the device is behind an IOMMU, and with which others, by number.
step_group() {
	type=$(cat "$PCI/devices/$1/iommu_group/type" 2>/dev/null) || type=none
	number=$(readlink "$PCI/devices/$1/iommu_group")
	say "group $1 $type ${number##*/}"
}

driver_is() {
	driver=$(readlink "$PCI/devices/$1/driver")
	[ "${driver##*/}" = "$2" ]
}

# Its driver lets go of it.
leave_driver() {
	[ ! -e "$PCI/devices/$1/driver" ] || echo "$1" >"$PCI/devices/$1/driver/unbind"
}

step_leave() {
	must [ -e "$PCI/devices/$1/driver" ]
	leave_driver "$1"
}

# step_found WORD ADDRESS: what edu_dma.ko found about a device, once it has.
step_found() {
	wait_for "word of $2" [ -e "$PCI/drivers/edu_dma/$2/edu_dma" ]
	must cat "$PCI/drivers/edu_dma/$2/edu_dma" | while read -r line; do
		say "$1 $line"
	done
}

# step_edu_at WORD ADDRESS [OPTION=VALUE]...: has edu_dma.ko try the device anew.
step_edu_at() {
	word=$1
	address=$2
	shift 2
	if [ ! -e /sys/module/edu_dma ]; then
		must insmod /rig/edu_dma.ko "$@"
	else
		for option; do
			echo "${option#*=}" >"/sys/module/edu_dma/parameters/${option%%=*}"
		done
		leave_driver "$address"
		echo >"$PCI/devices/$address/driver_override"
		must sh -c "echo $address >$PCI/drivers/edu_dma/bind"
	fi
	step_found "$word" "$address"
}

# step_vfio_bind ADDRESS: gives it to VFIO. A guest without interrupt remapping has to
# allow that: the host remaps what the device raises.
step_vfio_bind() {
	load vfio-pci
	load vfio_iommu_type1
	echo 1 >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts
	leave_driver "$1"
	echo vfio-pci >"$PCI/devices/$1/driver_override"
	echo "$1" >"$PCI/drivers_probe"
	must driver_is "$1" vfio-pci
}

# step_vfio WORD ADDRESS [OPTION]...: what a driver in user space found about it.
step_vfio() {
	word=$1
	shift
	/rig/vfio_edu "$@" 2>&1 | while read -r line; do
		say "$word $line"
	done
}

step_huge_pages() {
	must sh -c "echo $1 >/proc/sys/vm/nr_hugepages"
}

# step_reread LENGTH: reads the disk again and again, until step_enough.
step_reread() {
	while [ ! -e /tmp/enough ]; do
		step_md5 "$1"
	done
	rm /tmp/enough
}

step_enough() {
	touch /tmp/enough
	step_join
}

# Is what vfio_edu left as it has left it?
step_secret() {
	sum=$(tr -d Z </dev/secret | wc -c)
	say "secret $sum"
}
