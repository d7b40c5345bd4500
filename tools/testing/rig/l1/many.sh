# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: guests with several devices, in apertures apart or in one, of which some are
# plugged in and pulled out while the disk is read, and change hands between a driver
# of the kernel and one in user space. After features.sh or debug.sh.
#
# MANY: which of the guests; both
#
# The shell is busybox's. Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

# Where both functions of a slot are.
GUEST_TWIN=0c

# The disk is read from now on, over and over.
reading_begins() {
	guest_step background reread "$DATA_LENGTH"
}

# still_reading TEXT
still_reading() {
	guest_step busy
	check "$1: the disk is being read" [ "$(value_of busy)" = 1 ]
}

# All that was read since was right, and it was.
reading_ends() {
	guest_step enough
	# Of awk.
	# shellcheck disable=SC2016
	check "$1: the disk read right" awk -v md5="$image_md5" \
		'$3 == "md5" { n++; if ($4 != md5) bad = 1 } END { exit n < 2 || bad }' "$LOG/said"
}

# The number of the device's group in the guest.
group_of() {
	sed -n "s/^guest $guest group $1 [^ ]* //p" "$LOG/said" | tail -n 1
}

# The order in which "pviommu run" is told of devices is that of the apertures.
EDU_APERTURE=0
NVME_APERTURE=1
TWIN_APERTURE=2

check_groups_apart() {
	guest_step group "0000:00:$GUEST_NVME"
	guest_step group "$GUEST_PLUGGED"
	guest_step group "0000:00:$GUEST_TWIN.0"
	guest_step group "0000:00:$GUEST_TWIN.1"
	check "apart: a group for each aperture" [ "$(
		for device in "0000:00:$GUEST_NVME" "$GUEST_PLUGGED" "0000:00:$GUEST_TWIN.0"; do
			group_of "$device"
		done | sort -u | grep -c .)" = 3 ]
	check "apart: one for both functions" \
		[ "$(group_of "0000:00:$GUEST_TWIN.0")" = "$(group_of "0000:00:$GUEST_TWIN.1")" ]
}

check_apart() {
	[ -n "$DIRECT" ] || check_groups_apart
	guest_step edu_at edu "$GUEST_PLUGGED" keep=1
	check_edu "apart: edu" edu
	for function in 0 1; do
		guest_step found "function$function" "0000:00:$GUEST_TWIN.$function"
		check_edu "apart: function $function" "function$function"
	done
	check "apart: edu keeps a page" comes_to pinned 1 $EDU_APERTURE
	check "apart: it reads there" said edu kept_read 1
	check "apart: the disk has its own" [ "$(stat_of pinned $NVME_APERTURE)" -gt 1 ]
	# It is the same page, which they have at the same address in mode direct.
	twins=2
	[ -z "$DIRECT" ] || twins=1
	check "apart: each of the functions keeps it" comes_to pinned $twins $TWIN_APERTURE
	for fact in "$NVME_APERTURE 1" "$EDU_APERTURE 1" "$TWIN_APERTURE 2"; do
		check "apart: devices of aperture $fact" \
			[ "$(stat_of devices "${fact% *}")" = "${fact#* }" ]
	done
}

# check_vfio TEXT WORD STALE PINNED: a driver in user space, after one that had a page
# mapped at the IOVA STALE. As many pages are pinned when it has ended.
check_vfio() {
	guest_step vfio "$2" "$GUEST_PLUGGED" "stale=$3"
	check "$1: the whole window is there" said "$2" window_last $((272 * MIB - 1))
	check_edu "$1" "$2"
	check "$1: nothing of who was before is mapped" said "$2" stale_read_blocked 1
	check "$1: a mapping outside of the window is refused" said "$2" refused_outside 1
	check "$1: it leaves a page mapped" said "$2" left_read 1
	check "$1: it comes to its end" said "$2" finished 1
	check "$1: nothing of it stays pinned" [ "$(stat_of pinned $EDU_APERTURE)" = "$4" ]
}

# What a host counts that maps 2 MiB as one.
check_huge() {
	guest_step huge_pages 2
	large=$(stat_of large_mapped $EDU_APERTURE)
	guest_step vfio huge "$GUEST_PLUGGED" huge
	check "huge page: reached" said huge huge_inside 1
	check "huge page: unmapped, it is not" said huge huge_unmapped_blocked 1
	[ -z "$large" ] || check "huge page: mapped as one" \
		[ "$(stat_of large_mapped $EDU_APERTURE)" -gt "$large" ]
	check "huge page: nothing of it stays" [ "$(stat_of pinned $EDU_APERTURE)" = 0 ]
}

# A driver in user space that has devices of two apertures, in one container: each
# aperture follows a table of its own, with the same in it.
check_container() {
	guest_step leave "0000:00:$GUEST_TWIN.0"
	guest_step vfio_bind "0000:00:$GUEST_TWIN.1"
	guest_step vfio pair "$GUEST_PLUGGED" "beside=0000:00:$GUEST_TWIN.1"
	for fact in first_inside beside_inside beside_again first_again; do
		check "one container: $fact" said pair $fact 1
	done
	check "one container: nothing of it stays" \
		[ "$(stat_of pinned $EDU_APERTURE) $(stat_of pinned $TWIN_APERTURE)" = "0 0" ]
}

# check_kernel TEXT WORD FORMER KEEP PINNED: edu_dma.ko, after vfio_edu, which has said
# FORMER. It then has as many pages pinned.
check_kernel() {
	guest_step edu_at "$2" "$GUEST_PLUGGED" "stale=$(value_of "$3" left_iova)" "keep=$4"
	check_edu "$1" "$2"
	check "$1: nothing of who was before is mapped" said "$2" stale_read_blocked 1
	guest_step secret
	check "$1: nor has it been written to" said secret 0
	check "$1: it keeps a page" comes_to pinned "$5" $EDU_APERTURE
	check "$1: and reads there" said "$2" kept_read 1
}

# A driver that takes back what it has mapped, then one that does not: that is in the
# kernel's domain again, each time the kernel has the device, and at no other.
check_switching() {
	guest_step vfio_bind "$GUEST_PLUGGED"
	check "VFIO: nothing of who was before is pinned" comes_to pinned 0 $EDU_APERTURE
	check_huge
	check_container
	check_vfio "VFIO" vfio "$(value_of edu kept_iova)" 0
	check_kernel "kernel after VFIO" edu2 vfio 2 1
	guest_step vfio_bind "$GUEST_PLUGGED"
	check_vfio "VFIO again" vfio2 "$(value_of edu2 kept_iova)" 1
	check_kernel "kernel again" edu3 vfio2 2 2
}

# The driver has pages mapped, and leaves them.
check_plug_apart() {
	pull "plug: out, with its driver bound"
	still_reading "plug"
	check "plug: nothing stays in its aperture" \
		[ "$(stat_of devices $EDU_APERTURE) $(stat_of pinned $EDU_APERTURE)" = "0 0" ]
	check "plug: which is not enabled" [ "$(stat_of enabled $EDU_APERTURE)" = 0 ]
	check "plug: the disk's is" [ "$(stat_of enabled $NVME_APERTURE)" = 1 ]

	plug "plug: in again"
	guest_step found edu4 "$GUEST_PLUGGED"
	check_edu "plug: in again" edu4
	check "plug: in again: it keeps a page" comes_to pinned 1 $EDU_APERTURE
}

# Apertures apart, the guest's memory in huge pages.
apart_guest() {
	# Caches of what was read over 9p are in the way.
	echo 3 >/proc/sys/vm/drop_caches
	echo 256 >/proc/sys/vm/nr_hugepages
	[ "$(cat /proc/sys/vm/nr_hugepages)" = 256 ] || fail "no room for huge pages"
	# Lists of words.
	# shellcheck disable=SC2086
	set -- $TWIN_EDUS
	RUN_OPTIONS=--separate
	iommufd=${IOMMUFD:+,iommufd=$IOMMUFD}
	ENDPOINTS="$NVME=$GUEST_NVME"
	launch_plugged apart iommu.strict=0 \
		-object memory-backend-memfd,id=ram,size=512M,hugetlb=on,prealloc=on \
		-machine memory-backend=ram \
		-device "vfio-pci,host=$1,addr=$GUEST_TWIN.0,multifunction=on$iommufd" \
		-device "vfio-pci,host=$2,addr=$GUEST_TWIN.1$iommufd"
	ENDPOINTS=
	guest_until pause booted
	guest_driver
	guest_step idle
	reading_begins
	plug "apart: edu is plugged in"
	[ -z "$IOMMUFD" ] || check_iommufd "apart"
	check_apart
	# In mode direct VFIO has no group to take.
	[ -n "$DIRECT" ] || check_switching
	check_plug_apart
	still_reading "apart"
	reading_ends "apart"
	finish
	echo 0 >/proc/sys/vm/nr_hugepages
}

# VFIO in the guest owns all devices of an aperture, or none.
check_vfio_together() {
	guest_step vfio_bind "$GUEST_PLUGGED"
	guest_step vfio mixed "$GUEST_PLUGGED"
	check "together: VFIO does not take what the disk's driver has" said mixed viable 0
	guest_step unbind "$GUEST_NVME"
	guest_step vfio alone "$GUEST_PLUGGED"
	check_edu "together: VFIO without the disk" alone
	left=$(value_of alone left_iova)
	check "together: nothing of it stays pinned" [ "$(stat_of pinned)" = 0 ]
	guest_step bind "$GUEST_NVME" nvme
	check "together: then the disk reads right again" reads_right
	guest_step edu_at after "$GUEST_PLUGGED" "stale=$left"
	check_edu "together: so does edu" after
	check "together: nothing of VFIO is mapped" said after stale_read_blocked 1
}

# One aperture for both.
together_guest() {
	ENDPOINTS="$NVME=$GUEST_NVME"
	launch_plugged together iommu.strict=0
	ENDPOINTS=
	guest_until pause booted
	guest_driver
	guest_step idle
	reading_begins
	plug "together: edu is plugged in"
	guest_step edu_at edu "$GUEST_PLUGGED" keep=1
	check_edu "together: edu" edu
	check "together: two devices" [ "$(stat_of devices)" = 2 ]
	check "together: pinned less than 16 MiB" [ "$(stat_of pinned_peak)" -lt 4096 ]
	[ -z "$IOMMUFD" ] || check_iommufd "together"
	pull "together: out, with its driver bound"
	still_reading "together"
	check "together: one device" [ "$(stat_of devices)" = 1 ]
	plug "together: in again"
	guest_step found again "$GUEST_PLUGGED"
	check_edu "together: in again" again
	still_reading "together"
	reading_ends "together"
	# The disk's driver keeps what it has needed at most.
	settled=$(settles_at pinned)
	guest_step leave "$GUEST_PLUGGED"
	check "together: what edu has kept does not stay mapped" comes_to pinned $((settled - 1))
	[ -n "$DIRECT" ] || check_vfio_together
	finish
}

for many in ${MANY:-apart together}; do
	"${many}_guest"
done
