# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs the job in the emulated host and gives its verdict.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp

# A descriptor that stays open keeps the settings of the result channel.
exec 7>/dev/ttyS1
stty raw -echo </dev/ttyS1

echo /run/rig/l1/modprobe >/proc/sys/kernel/modprobe
ip link set lo up

# shellcheck disable=SC1091
(
	. /run/rig/l1/lib.sh
	. /run/rig/job
) </dev/null >/run/rig/log/job.log 2>&1
status=$?

dmesg >/run/rig/log/dmesg
sync
echo "verdict $status" >&7
sleep 0.1
poweroff -f
