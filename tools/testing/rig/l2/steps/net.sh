# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of the guest: network devices, named by their slot on the PCI bus.
# Functions come from init.

# The name of its interface in $interface; false if it has none.
interface() {
	interface=$(echo /sys/bus/pci/devices/0000:00:"$1"/net/*)
	interface=${interface##*/}
	[ -e "/sys/class/net/$interface" ]
}

carrier() {
	[ "$(cat /sys/class/net/"$interface"/carrier)" = 1 ]
}

step_carrier() {
	must interface "$1"
	wait_for carrier carrier
}

# step_net SLOT ADDRESS
step_net() {
	load e1000e
	wait_for interface interface "$1"
	must ip addr add "$2" dev "$interface"
	must /rig/no_tso "$interface"
	must ip link set "$interface" up
	step_carrier "$1"
}

# step_link SLOT up|down
step_link() {
	must interface "$1"
	must ip link set "$interface" "$2"
}

# Takes the driver away, so that nothing disturbs a measurement.
step_net_off() {
	must rmmod e1000e
}

# transfer BYTES NAME ADDRESS PORT: fetches and sends; says with each the MD5 that
# was counted here and the one that the peer tells, see peer.py.
transfer() {
	file=/tmp/$2
	echo "get $1" | /rig/netio "$3" "$4" >"$file"
	sum=$(head -c "$1" "$file" | md5sum)
	say "$2 got ${sum%% *} $(tail -c +$(($1 + 1)) "$file")"

	head -c "$1" /dev/urandom >"$file"
	sum=$(md5sum <"$file")
	told=$({
		echo "put $1"
		cat "$file"
	} | /rig/netio "$3" "$4")
	say "$2 put ${sum%% *} $told"
	rm "$file"
}

# step_transfer BYTES [NAME ADDRESS PORT]...: at the same time.
step_transfer() {
	bytes=$1
	shift
	transfers=
	while [ $# -gt 0 ]; do
		transfer "$bytes" "$1" "$2" "$3" &
		transfers="$transfers $!"
		shift 3
	done
	# A list of words.
	# shellcheck disable=SC2086
	wait $transfers
}

# step_transfers BYTES [NAME ADDRESS PORT]...: one after the other, in the background, until
# step_enough.
step_transfers() {
	while [ ! -e /tmp/enough ]; do
		step_transfer "$@"
	done
}

# Waits for the last one.
step_enough() {
	touch /tmp/enough
	step_join
	rm /tmp/enough
}

# More than anybody waits for.
step_fetch() {
	echo "get 1073741824" | /rig/netio "$1" "$2" >/dev/null
}

# received NUMBER: have so many bytes come in since $before?
received() {
	now=$(cat "/sys/class/net/$interface/statistics/rx_bytes")
	[ $((now - before)) -ge "$1" ]
}

# Waits until a MiB has come in.
step_flowing() {
	must interface "$1"
	before=$(cat "/sys/class/net/$interface/statistics/rx_bytes")
	wait_for "data on $1" received 1048576
}

# Waits until nothing has come in for a while.
step_standing() {
	must interface "$1"
	now=0
	before=
	while [ "$now" != "$before" ]; do
		sleep 1
		before=$now
		received 0
	done
}

step_hang_up() {
	killall netio
}
