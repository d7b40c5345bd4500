# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of the guest: edu devices. Functions come from init.

# say_edu WORD SLOT: what edu_dma.ko found about a device.
say_edu() {
	must cat "/sys/bus/pci/drivers/edu_dma/0000:00:$2/edu_dma" | while read -r line; do
		say "$1 $line"
	done
}

# step_edu [WORD SLOT]...: has all of them try DMA, and tells about these.
step_edu() {
	must insmod /rig/edu_dma.ko
	say_edu edu 06.0
	while [ $# -gt 0 ]; do
		say_edu "$1" "$2"
		shift 2
	done
}

# step_edu_narrow WORD SLOT BITS: again, with as many address bits.
step_edu_narrow() {
	echo "$3" >/sys/module/edu_dma/parameters/bits
	step_unbind "$2"
	step_bind "$2" edu_dma
	say_edu "$1" "$2"
}

step_edu_off() {
	must rmmod edu_dma
}
