# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Functions for jobs in the emulated host: findings about guests, each a result
# "check 0|1 NAME", 0 for right. Loaded by lib.sh.
#
# Variables come from lib.sh and guest.sh.
# shellcheck disable=SC2034,SC2154

MIB=1048576
DATA_LENGTH=$((64 * MIB))

# check NAME COMMAND...: is the command true?
check() {
	name=$1
	shift
	if "$@"; then
		result "check 0 $name"
	else
		result "check 1 $name ($*)"
	fi
}

# check_not NAME COMMAND...
check_not() {
	name=$1
	shift
	if "$@"; then
		result "check 1 $name (not: $*)"
	else
		result "check 0 $name"
	fi
}

# stat_of NAME [APERTURE]: one of the aperture's counters now.
stat_of() {
	aperture_stats "$guest_pid" "$2" | awk -v name="$1" '$1 == name { print $2 }'
}

# stat_is NAME VALUE [APERTURE]
stat_is() {
	[ "$(stat_of "$1" "$3")" = "$2" ]
}

# Has the host take back what is idle in mode direct.
shrink() {
	echo 2 >/proc/sys/vm/drop_caches
}

stat_gets_to() {
	[ -z "$DIRECT" ] || shrink
	stat_is "$@"
}

# comes_to NAME VALUE [APERTURE]: does the counter get there? A lazy guest takes its
# time, and one in mode direct takes no step before the host does.
comes_to() {
	wait_until stat_gets_to "$@"
}

# Has the host taken back idle pages?
has_reclaimed() {
	[ "$(stat_of reclaimed)" -gt 0 ]
}

# stat_stays NAME: does it stay the same for a second? Its value is in $settled.
stat_stays() {
	[ -z "$DIRECT" ] || shrink
	settled=$(stat_of "$1")
	sleep 1
	stat_is "$1" "$settled"
}

# settles_at NAME: the counter, once the guest is at rest.
settles_at() {
	wait_until stat_stays "$1"
	echo "$settled"
}

# said WORD...: did the guest say it since forget?
said() {
	grep -qxF "guest $guest $*" "$LOG/said"
}

forget() {
	: >"$LOG/said"
}

# value_of WORD...: the number that the guest has said after it.
value_of() {
	sed -n "s/^guest $guest $* \([0-9]*\)\$/\1/p" "$LOG/said" | tail -n 1
}

# launch NAME CMDLINE [QEMU-ARGUMENT...]: a guest behind pviommu, until it is up.
#
# ENDPOINTS: what to pass through, HOST=GUEST; the disk and edu
# RUN_OPTIONS: for pviommu run
# IOMMUFD: the name of an iommufd, if the VMM is to use one
# PREFIX: what to put before the VMM
launch() {
	name=$1 cmdline=$2
	shift 2
	wrap="$BIN/pviommu run ${DIRECT:+--direct} $RUN_OPTIONS"
	for endpoint in ${ENDPOINTS:-$NVME=$GUEST_NVME $EDU=$GUEST_EDU}; do
		wrap="$wrap --device ${endpoint%=*}=00:${endpoint#*=}"
		set -- "$@" -device \
			"vfio-pci,host=${endpoint%=*},addr=${endpoint#*=},rombar=0${IOMMUFD:+,iommufd=$IOMMUFD}"
	done
	[ -z "$IOMMUFD" ] || set -- -object "iommufd,id=$IOMMUFD" "$@"
	GUEST_WRAP="$wrap -- $PREFIX"
	pins_before=$(pins)
	forget
	guest_start "$name" "$cmdline" "$@"
}

# guest_driver [OPTION...]: has the guest load its driver.
guest_driver() {
	# Options.
	# shellcheck disable=SC2086
	guest_step pviommu ${DIRECT:+mode=direct idle_seconds=0} "$@"
}

# check_group NAME DEVICE TYPE: what is in mode direct is in no IOMMU group.
check_group() {
	type=$3
	[ -z "$DIRECT" ] || type=none
	check "$1" said group "0000:00:$2" "$type"
}

# Waits for the end of a VMM that must not start; its exit code in $status.
vmm_ends() {
	wait_until guest_gone || guest_failed "it has started"
	wait "$guest_pid"
	status=$?
}

# What is found of DMA that goes where it may and where it may not. In mode direct a page that
# is not mapped any more is where it was, and within reach.
EDU_FACTS="inside_write inside_read"
[ -n "$DIRECT" ] || EDU_FACTS="$EDU_FACTS unmapped_write_blocked unmapped_read_blocked
	outside_write_blocked outside_read_blocked"

# check_edu TEXT WORD: what edu_dma.ko or vfio_edu has said.
check_edu() {
	for fact in $EDU_FACTS; do
		check "$1: $fact" said "$2" "$fact" 1
	done
}

# Reads the disk, and says whether that went right.
reads_right() {
	forget
	guest_step md5 $DATA_LENGTH
	said md5 "$image_md5"
}

# By way of the guest's page cache.
reads_right_cached() {
	forget
	guest_step md5_cached $DATA_LENGTH
	said md5 "$image_md5"
}

# Has the VMM its devices by their own files, and no group and no container?
uses_iommufd() {
	find "/proc/$guest_pid/fd" -exec readlink {} \; >/tmp/files
	grep -q '^/dev/vfio/devices/' /tmp/files && grep -q '^/dev/iommu$' /tmp/files &&
		! grep -q '^/dev/vfio/[^d]' /tmp/files
}

# check_iommufd TEXT: what a VMM that uses it has pinned.
check_iommufd() {
	check "$1: the VMM uses iommufd" uses_iommufd
	check "$1: the host has pinned less than 16 MiB" [ $(($(pins) - pins_before)) -lt 4096 ]
	check "$1: locked less than 16 MiB" [ "$(locked_kib "$guest_pid")" -lt 16384 ]
}

# moved NAME: have all transfers of that name gone right, both ways?
moved() {
	awk -v name="$1" '$3 == name { n++; if ($5 == "" || $5 != $6) bad = 1 }
			  END { exit !n || n % 2 || bad }' "$LOG/said"
}

# Moves data over the passed through network device.
transfers_right() {
	forget
	guest_transfer $((4 * MIB))
	moved nic
}

finish() {
	guest_end
	check "$guest: no pins leaked" [ "$(pins)" = "$pins_before" ]
}

image_md5=$(cat /run/rig/disk.md5)
