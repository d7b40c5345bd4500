# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: what it takes to start a VMM with a device that is passed through, by how much memory
# its guest has: from its start until it is ready to run the guest, which it never does.
#
# Variables come from lib.sh.
# shellcheck disable=SC2154

# The memory device in which instructions are counted.
COUNT=/sys/bus/pci/devices/0000:00:1f.7/resource2

instructions() {
	"$BIN"/instructions $COUNT || fail "no count of instructions"
}

# start MODE MIB [COMMAND...]
start() {
	mode=$1 mib=$2
	shift 2
	pins_before=$(pins)
	began=$(instructions) began_ms=$(milliseconds)
	"$@" qemu-system-x86_64 -M q35,kernel-irqchip=split -accel kvm -cpu host,-xsave -m "$mib" \
		-nodefaults -display none -S -daemonize -pidfile /tmp/pid \
		-device "vfio-pci,host=$NVME,addr=05.0" >"$LOG/$mode-$mib" 2>&1 ||
		fail "$mode, $mib MiB: the VMM does not start"
	count=$(($(instructions) - began)) ms=$(($(milliseconds) - began_ms))
	result "attach $mode $mib $count $ms $(($(pins) - pins_before))"
	pid=$(cat /tmp/pid)
	kill "$pid"
	wait_until [ ! -e "/proc/$pid" ] || fail "$mode, $mib MiB: the VMM does not end"
	wait_until released || fail "$mode, $mib MiB: pages are left pinned"
}

released() {
	[ "$(pins)" = "$pins_before" ]
}

load_pviommu
bind_vfio "$NVME"
echo 1 >${COUNT%/*}/enable || fail "no memory device"
# What is read from files for the first time is so by the first that is started.
start warm 256 "$BIN/pviommu" run --
for round in 1 2 3; do
	echo "round $round"
	for mib in $(option mib | tr , ' '); do
		start plain "$mib"
		start pviommu "$mib" "$BIN/pviommu" run --
		start direct "$mib" "$BIN/pviommu" run --direct --
	done
done
