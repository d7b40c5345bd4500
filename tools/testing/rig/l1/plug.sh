# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Functions for jobs in the emulated host: a device that is plugged into a running guest
# and pulled out, by its VMM's monitor and the guest's own driver for PCI Express ports.
# Loaded by lib.sh.
#
# Variables come from lib.sh and its like.
# shellcheck disable=SC2034,SC2154

# The root port, and what is behind it: no other bus is below the root bus.
GUEST_PORT=0b.0
GUEST_PLUGGED=0000:01:00.0

# launch_plugged NAME CMDLINE [QEMU-ARGUMENT...]: as launch, with an empty root port.
#
# PLUGGED: what will be plugged in; edu
# PLUGGED_APERTURE: the number of its aperture, if it is to have a number
launch_plugged() {
	monitor=/run/guest/$1.qmp
	rm -f "$monitor"
	name=$1 plugged_cmdline=$2
	shift 2
	RUN_OPTIONS="$RUN_OPTIONS --device ${PLUGGED:-$EDU}=00:$GUEST_PORT/00.0"
	RUN_OPTIONS="$RUN_OPTIONS${PLUGGED_APERTURE:+@$PLUGGED_APERTURE}"
	launch "$name" "$plugged_cmdline" -qmp "unix:$monitor,server=on,wait=off" \
		-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off \
		-device "pcie-root-port,id=rp0,chassis=1,slot=1,addr=$GUEST_PORT" "$@"
	RUN_OPTIONS=
}

# plug TEXT: plugs it in, until the guest has seen it.
#
# IOMMUFD: as for launch
plug() {
	python3 -B "$BIN/plug.py" "$monitor" add vfio-pci "host=${PLUGGED:-$EDU}" bus=rp0 \
		id=plugged ${IOMMUFD:+"iommufd=$IOMMUFD"} >>"$LOG/plug" 2>&1
	check "$1" [ $? = 0 ]
	guest_step appeared "$GUEST_PLUGGED"
}

# pull TEXT: has the guest let it go, until the VMM has, too.
pull() {
	python3 -B "$BIN/plug.py" "$monitor" del plugged "$GUEST_SILENCE" >>"$LOG/plug" 2>&1
	check "$1" [ $? = 0 ]
	guest_step vanished "$GUEST_PLUGGED"
}
