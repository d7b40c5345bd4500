# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: on the debug kernel, the kselftests by the kernel's own runner, then a guest
# that boots from the disk which is passed through, its driver built in, and others under a
# VMM that uses iommufd.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

# Both ways to start the runner, one on each host. What make finds is up to date,
# but it wants to write. It is not to look whether the test modules are, too: over 9p
# that takes minutes.
run_selftests() {
	if [ "$IOMMU" = amd-vi ]; then
		installed_runner
		return
	fi
	tree=$(option tree)
	mkdir /run/upper /run/work
	mount -t overlay -o "lowerdir=$tree,upperdir=/run/upper,workdir=/run/work" overlay "$tree"
	cp -r /run/kernel/selftests/pviommu/test_modules "$tree/debug/kselftest/pviommu/"
	make -C "$tree/source/tools/testing/selftests" O="$tree/debug" KDIR=/nowhere \
		TARGETS=pviommu summary=1 run_tests
}

built_in_guest() {
	root_md5=$(cat /run/rig/root.md5)
	GUEST_ROOT=/dev/nvme0n1
	GUEST_MEMORY=768
	ENDPOINTS="$NVME=$GUEST_NVME $EDU=$GUEST_EDU $NET=$GUEST_NET"
	launch builtin ''
	GUEST_ROOT=''
	guest_until pause booted
	guest_step groups
	check "built in: the root disk is translated" \
		grep -qE "^guest builtin group 0000:00:$GUEST_NVME DMA(-FQ)?$" "$LOG/said"
	guest_step root
	check "built in: the root file system reads right" said data "$root_md5"
	check "built in: it takes writes" said copy "$root_md5"
	check "built in: pinned less than 16 MiB" [ "$(stat_of pinned_peak)" -lt 4096 ]
	guest_step edu
	for fact in inside_write inside_read unmapped_write_blocked unmapped_read_blocked \
		outside_write_blocked outside_read_blocked; do
		check "built in: edu $fact" said edu $fact 1
	done
	guest_net
	forget
	guest_transfer "$MIB"
	check "built in: the network moves data right" moved nic
	guest_step watched
	check "built in: kmemleak finds nothing in the guest" said leaks 0
	check "built in: no misuse of the DMA API" said dma 0
	finish
	GUEST_MEMORY='' ENDPOINTS=''
}

# The same without the IOMMU core: the root disk, and the other devices, in modes that
# are exchanged on the other host.
bounce_guest() {
	disk=bounce others=hybrid
	[ "$IOMMU" != amd-vi ] || disk=hybrid others=bounce
	GUEST_ROOT=/dev/nvme0n1
	GUEST_MEMORY=768
	RUN_OPTIONS=--separate
	ENDPOINTS="$NVME=$GUEST_NVME $EDU=$GUEST_EDU $NET=$GUEST_NET"
	launch bouncing "pviommu.mode=$others,0:$disk pviommu.bounce_mb=16"
	GUEST_ROOT='' RUN_OPTIONS=''
	guest_until pause booted
	guest_step groups
	check "$disk: the root disk is in no group" said "group 0000:00:$GUEST_NVME none"
	guest_step root
	check "$disk: the root file system reads right" said data "$root_md5"
	check "$disk: it takes writes" said copy "$root_md5"
	guest_step edu
	check_edu "$others" edu
	guest_net
	forget
	guest_transfer "$MIB"
	check "$others: the network moves data right" moved nic
	guest_step watched
	check "$disk and $others: kmemleak finds nothing in the guest" said leaks 0
	check "$disk and $others: no misuse of the DMA API" said dma 0
	finish
	GUEST_MEMORY='' ENDPOINTS=''
}

# And in mode direct, before and after the host has taken back what is idle.
direct_root_guest() {
	GUEST_ROOT=/dev/nvme0n1
	GUEST_MEMORY=768
	RUN_OPTIONS=--direct
	ENDPOINTS="$NVME=$GUEST_NVME $EDU=$GUEST_EDU $NET=$GUEST_NET"
	launch direct_root "pviommu.mode=direct pviommu.idle_seconds=0"
	GUEST_ROOT='' RUN_OPTIONS=''
	guest_until pause booted
	guest_step root
	check "direct: the root file system reads right" said data "$root_md5"
	check "direct: it takes writes" said copy "$root_md5"
	guest_step edu
	check "direct: edu writes where it may" said edu inside_write 1
	check "direct: edu reads where it may" said edu inside_read 1
	guest_net
	forget
	guest_transfer "$MIB"
	check "direct: the network moves data right" moved nic
	idle=$(stat_of pinned)
	shrink
	check "direct: the host takes back what is idle ($idle)" wait_until has_reclaimed
	forget
	guest_step root
	check "direct: the root file system reads right after that" said data "$root_md5"
	guest_transfer "$MIB"
	check "direct: the network moves data right after that" moved nic
	guest_step watched
	check "direct: kmemleak finds nothing in the guest" said leaks 0
	check "direct: no misuse of the DMA API" said dma 0
	finish
	GUEST_MEMORY='' ENDPOINTS=''
}

# With a light kernel, and a disk of its own: the VMM and the host are what this is about.
# Some on each host, for they are slow.
iommufd_guests() {
	NVME=$OTHER_NVME
	IOMMUFD=iommufd0
	GUEST_KERNEL=/run/rig/guest-6.12/vmlinuz
	GUEST_INITRD=/run/rig/guest-6.12/guest.cpio
	GUEST_PROGRAM=$(option vmm)
	MANY=apart
	[ "$IOMMU" != amd-vi ] || MANY=together
	# shellcheck disable=SC1091
	. /run/rig/l1/many.sh
	[ "$IOMMU" = amd-vi ] || return
	# shellcheck disable=SC1091
	. /run/rig/l1/driverless.sh
}

leaks_begin
load_pviommu
bind_vfio "$NVME" "$OTHER_NVME" "$EDU" "$NET"
many_devices
selftests_by run_selftests
save_coverage

built_in_guest
bounce_guest
direct_root_guest
iommufd_guests

rmmod kvm_pviommu || fail "kvm-pviommu.ko does not unload"
leaks_end
result "checks done"
