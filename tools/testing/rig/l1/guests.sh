# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: the same guest under plain VFIO and behind pviommu, lazy and strict, each
# with a disk and an edu device of its own.
#
# They go through their paces one after another, and stay. Then they are measured
# in turns, rig.rounds times: so whatever slows this machine down for a while
# slows down all three. Whoever has no turn stands still, and with it the other
# host, unless rig.turns=no: then times mean little, and counts as much as ever.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

WRITE_LENGTH=$((8 * MIB))
NET_LENGTH=$((4 * MIB))

MODES="plain lazy strict"

# sample_stats POINT: the counters of the guest's aperture now.
sample_stats() {
	stats=$(aperture_stats "$guest_pid" | tr '\n' ' ')
	[ -z "$stats" ] || result "stats $guest $1 $stats"
}

# sample POINT: also what is locked for the guest. The others stand still, so that
# a change of the pin counters is its doing.
sample() {
	result "locked $guest $1 $(locked_kib "$guest_pid") $(($(pins) - pins_before))"
	sample_stats "$1"
}

watch_locked() {
	sample peak
}

# step NAME [ARGUMENT...]: has the guest take a step, and looks at what is locked.
step() {
	guest_step "$@"
	sample "$1"
}

# paces MODE NUMBER: starts the guest, has it do everything but the measurements.
paces() {
	mode=$1
	# Lists of words.
	# shellcheck disable=SC2086
	nvme=$(nth "$2" $NVMES) edu=$(nth "$2" $EDUS) net=$(nth "$2" $NETS)
	cmdline=''
	GUEST_WRAP=''
	case $mode in
	lazy) cmdline=iommu.strict=0 ;;
	strict) cmdline=iommu.strict=1 ;;
	esac
	if [ "$mode" != plain ]; then
		GUEST_WRAP="$BIN/pviommu run --device $nvme=00:$GUEST_NVME"
		GUEST_WRAP="$GUEST_WRAP --device $edu=00:$GUEST_EDU"
		GUEST_WRAP="$GUEST_WRAP --device $net=00:$GUEST_NET --"
	fi

	pins_before=$(pins)
	result "begin $mode"
	guest_start "$mode" "$cmdline" \
		-device "vfio-pci,host=$nvme,addr=$GUEST_NVME" \
		-device "vfio-pci,host=$edu,addr=$GUEST_EDU" \
		-device "vfio-pci,host=$net,addr=$GUEST_NET,rombar=0"
	guest_until pause booted
	[ "$mode" = plain ] || step pviommu
	step idle
	GUEST_WATCH=watch_locked
	step md5 "$DATA_LENGTH"
	step write "$DATA_LENGTH" "$WRITE_LENGTH" "$2"
	GUEST_WATCH=''
	result "write $mode $(($2 - 1)) $DATA_LENGTH $WRITE_LENGTH $2"
	step edu
	guest_net
	guest_transfer $NET_LENGTH
	sample net
	guest_step net_off
}

measure() {
	for round in $(seq "$rounds"); do
		for mode in $MODES; do
			guest_select "$mode"
			for point in time4k time128k; do
				guest_step $point
				sample_stats $point
			done
		done
	done
}

rounds=$(option rounds)
load_pviommu
# Lists of words.
# shellcheck disable=SC2086
bind_vfio $NVMES $EDUS $NETS

pins_at_start=$(pins)
number=0
for mode in $MODES; do
	number=$((number + 1))
	paces "$mode" $number
done

[ "$(option turns)" = no ] || turn_begin
measure
[ "$(option turns)" = no ] || turn_end

for mode in $MODES; do
	guest_select "$mode"
	guest_end
done
result "leaked $(($(pins) - pins_at_start))"
rmmod kvm_pviommu || fail "kvm-pviommu.ko does not unload"
