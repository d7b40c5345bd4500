# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: the ways in which a guest's kernel can end: a reboot, a kexec, a panic, and
# a VMM that is killed. edu has no reset of its own, so it is as the kernel before
# has left it. After features.sh.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

# An initramfs that has the usual one and the kernel in it.
make_kexec_initrd() {
	usual=$GUEST_INITRD
	mkdir -p /run/kexec/kexec
	cp "${GUEST_KERNEL:-$KERNEL_IMAGE}" /run/kexec/kexec/vmlinuz
	cp "${usual:-/run/rig/guest.cpio}" /run/kexec/kexec/initrd
	GUEST_INITRD=/run/kexec.cpio
	{
		cat /run/kexec/kexec/initrd
		cd /run/kexec && find kexec | busybox cpio -o -H newc
	} >$GUEST_INITRD
	rm -r /run/kexec
}

# The guest's first kernel, and each after it.
use_disk() {
	guest_driver
	guest_step idle
	check "$1: the disk reads right" reads_right
	check "$1: which pins" [ "$(stat_of pinned)" -gt 0 ]
}

# ends_by STEP: has the VMM reset the VM.
ends_by() {
	resets=$(stat_of resets)
	guest_tell "$1"
	guest_until pause booted
	check "$1: the VMM's reset was seen" [ "$(stat_of resets)" -gt "$resets" ]
	check "$1: nothing stays pinned" [ "$(stat_of pinned)" = 0 ]
	check "$1: nothing stays enabled" [ "$(stat_of enabled)" = 0 ]
}

# Without the driver, then, to show that there was something to block, with it.
check_edu_after_reset() {
	guest_step edu
	check "reboot: a device without a reset cannot write to memory" \
		said edu inside_write_blocked 1
	guest_step edu_off
	check "reboot: its attempts pin nothing" [ "$(stat_of pinned)" = 0 ]
	guest_driver
	forget
	guest_step edu
	check "reboot: nor had it read any" said edu secret_kept 0
	check "reboot: it writes once the driver is there" said edu inside_write 1
	check "reboot: and reads" said edu inside_read 1
	guest_step idle
	check "reboot: the disk reads right" reads_right
}

check_kexec() {
	guest_tell kexec
	guest_until pause booted
	check "kexec: nothing stays enabled" [ "$(stat_of enabled)" = 0 ]
	check "kexec: nothing stays pinned" [ "$(stat_of pinned)" = 0 ]
}

make_kexec_initrd
launch again iommu.strict=1
GUEST_INITRD=$usual
guest_until pause booted
use_disk boot
ends_by reboot
check_edu_after_reset
check_kexec
use_disk kexec
result "expect-panic $guest"
ends_by panic
use_disk panic

kill -KILL "$guest_pid"
wait "$guest_pid"
check "kill: nothing stays pinned" [ "$(pins)" = "$pins_before" ]
