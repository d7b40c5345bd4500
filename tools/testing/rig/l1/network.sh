# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: a guest with two network devices, one passed through and one of its VMM's;
# the disk and edu are in the same aperture. Devices come, go and fail while
# others work. After features.sh.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

# What the VMM's own network device is connected to.
own_peer_start() {
	rm -f /run/peer.port
	python3 -B "$BIN/peer.py" /run/peer.port </dev/null >"$LOG/peer" 2>&1 7>&- &
	own_peer=$!
	wait_until [ -s /run/peer.port ] || fail "no peer"
	OWN_PEER="10.0.3.2 $(cat /run/peer.port)"
}

# Lists of words.
# shellcheck disable=SC2086
check_both_networks() {
	guest_step groups
	check_group "net: its group is lazy" "$GUEST_NET" DMA-FQ
	check "net: the emulated device is in no group" \
		said "group 0000:00:$GUEST_OWN_NET none"
	guest_net
	guest_step net $GUEST_OWN_NET 10.0.3.15/24
	guest_step transfer $((4 * MIB)) nic $NET_PEER own $OWN_PEER
	check "net: data is right" moved nic
	check "net: and over the emulated device, at the same time" moved own
}

# QEMU 7.2's e1000e does not tell its driver that the cable is out, only data stops.
# Lists of words.
# shellcheck disable=SC2086
check_link() {
	slot=${NET#0000:00:}
	guest_step link $GUEST_NET down
	guest_step link $GUEST_NET up
	guest_step carrier $GUEST_NET
	forget
	guest_step background transfers $((4 * MIB)) nic $NET_PEER
	guest_step flowing $GUEST_NET
	result "link ${slot%.0} off"
	guest_step standing $GUEST_NET
	guest_step busy
	check "net: the cable is pulled out under traffic" said busy 1
	result "link ${slot%.0} on"
	guest_step enough
	check "net: data is right after the link went down and up" moved nic
}

# Lists of words.
# shellcheck disable=SC2086
check_rebind() {
	guest_step background fetch $NET_PEER
	guest_step flowing $GUEST_NET
	guest_step busy
	check "net: unbound under traffic" said busy 1
	guest_step unbind $GUEST_NET
	guest_step hang_up
	check "net: nothing stays mapped without its driver" comes_to pinned "$pinned_idle"
	guest_step bind $GUEST_NET e1000e
	guest_net
	check "net: data is right with the driver bound again" transfers_right

	forget
	guest_step background read $DATA_LENGTH
	guest_step busy
	check "disk: unbound under traffic" said busy 1
	guest_step unbind $GUEST_NVME
	guest_step join
	guest_step bind $GUEST_NVME nvme
	check "disk: reads right with the driver bound again" reads_right
}

# Lists of words.
# shellcheck disable=SC2086
check_reset() {
	guest_step unbind $GUEST_NVME
	forget
	guest_step background transfers $((4 * MIB)) nic $NET_PEER
	guest_step flowing $GUEST_NET
	guest_step reset $GUEST_NVME
	guest_step busy
	check "reset: of the disk while the network transfers" said busy 1
	guest_step enough
	check "reset: the network's data is right" moved nic
	guest_step bind $GUEST_NVME nvme
	check "reset: the disk reads right" reads_right
}

check_reload() {
	guest_step no_pviommu
	check_not "unload: refused while there are endpoints" said rmmod 0
	check "unload: there was an answer" grep -q '^guest net rmmod ' "$LOG/said"
	forget
	guest_step remove "$GUEST_NVME" "$GUEST_EDU" "$GUEST_NET"
	guest_step no_pviommu
	check "unload: works without" said rmmod 0
	check "unload: nothing is enabled" [ "$(stat_of enabled)" = 0 ]
	check "unload: nothing is pinned" [ "$(stat_of pinned)" = 0 ]
	guest_driver
	guest_step rescan
	check "reload: the disk reads right" reads_right
	guest_net
	check "reload: the network's data is right" transfers_right
	guest_step edu
	check_edu reload edu
}

own_peer_start
ENDPOINTS="$NVME=$GUEST_NVME $EDU=$GUEST_EDU $NET=$GUEST_NET"
launch net iommu.strict=0 -netdev user,id=own,net=10.0.3.0/24 \
	-device "e1000e,netdev=own,addr=$GUEST_OWN_NET,romfile="
ENDPOINTS=
guest_until pause booted
guest_driver
guest_step idle
pinned_idle=$(settles_at pinned)
check_both_networks
check_link
check_rebind
check_reset
check_reload
finish
kill "$own_peer"
